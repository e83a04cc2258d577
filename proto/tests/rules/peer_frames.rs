//! What a peer's frames do, one by one: stamps, floors, answers.

use msg_proto::{
    control::{Control, Departure, Register},
    counters::Counter,
    ids::{Channel, ClientId, ConnId, Incarnation, MsgId, Seq},
    limits,
    local::{DaemonFrame, put},
    outcome::{Certainty, Reason, Verdict},
    units::Span,
    wire::{AckRun, Data, DatagramBuilder, Flow, Fragment, Frame, Heartbeat, NackEntry, Skip},
};

use super::by_hand::{ByHand, frames, register, submit};

fn data(n: u32) -> Data<'static> {
    Data { msgid: MsgId(n), seq: Seq(n), at_least_once: false, call: None, payload: b"x" }
}

fn put_data(b: &mut DatagramBuilder<'_>, flow: &Flow, numbers: &[u32]) {
    assert!(b.put_flow(flow, 0));
    numbers.iter().for_each(|n| assert!(b.put_data(&data(*n))));
}

/// A node with client 100, and its peer's client 200.
fn world() -> (ByHand, ConnId, Incarnation) {
    world_with(&register(100))
}

fn world_with(body: &Register) -> (ByHand, ConnId, Incarnation) {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let (conn, incarnation) = w.try_client(7, body);
    w.datagrams();
    (w, conn, incarnation.expect("it is free"))
}

/// The msgids of what was delivered.
fn delivered(w: &mut ByHand, conn: ConnId) -> Vec<u32> {
    let bytes = w.hear(conn);
    let deliver = |f| if let DaemonFrame::Deliver(d) = f { Some(d.msgid.0) } else { None };
    frames(&bytes).into_iter().filter_map(deliver).collect()
}

fn count(w: &ByHand, counter: Counter) -> u64 {
    w.engine.counters().value(counter)
}

#[test]
fn r6_a_stamp_lets_in_what_is_as_old_as_its_interval_and_nothing_of_the_future() {
    for (earlier, later, counter) in [
        (0, 0, None),
        (1_000_000, 0, None),
        (1_000_001, 0, Some(Counter::StaleMessagesDropped)),
        (0, 1, Some(Counter::FutureStamps)),
    ] {
        let (mut w, conn, incarnation) = world();
        w.now = w.now + Span(2_000_000);
        let flow = w.flow(200, 100, incarnation);
        let send_time = flow.send_time.minus(Span(earlier)) + Span(later);
        w.peer_says(|b| put_data(b, &Flow { send_time, ..flow }, &[1]));
        assert_eq!(delivered(&mut w, conn).is_empty(), counter.is_some(), "{earlier} {later}");
        for c in [Counter::StaleMessagesDropped, Counter::FutureStamps] {
            assert_eq!(count(&w, c), u64::from(counter == Some(c)));
        }
    }
}

#[test]
fn a_message_whose_sender_was_not_announced_yet_waits_for_that() {
    let (mut w, conn, incarnation) = world();
    let flow = Flow { presence: 3, ..w.flow(201, 100, incarnation) };
    w.peer_says(|b| put_data(b, &flow, &[1]));
    assert_eq!((delivered(&mut w, conn), count(&w, Counter::EarlyMessages)), (vec![], 1));
    w.control(&Control::Announce { client: ClientId(201), incarnation: Incarnation(1), priority: 0, uid: 7 });
    w.peer_says(|b| put_data(b, &flow, &[1]));
    assert_eq!(delivered(&mut w, conn), [1]);
}

#[test]
fn a_client_that_is_registering_is_given_nothing() {
    let (mut w, _, _) = world();
    let conn = w.connect(7);
    w.say(conn, |out| put::register(out, &register(101)));
    let bytes = w.hear(conn);
    let Some(DaemonFrame::Registered(body)) = frames(&bytes).into_iter().next() else { panic!("REGISTERED") };
    let flow = w.flow(200, 101, body.incarnation);
    w.peer_says(|b| put_data(b, &flow, &[1]));
    assert_eq!((delivered(&mut w, conn), count(&w, Counter::QueueFullRefusals)), (vec![], 1));
    w.say(conn, put::ready);
    w.peer_says(|b| put_data(b, &flow, &[1]));
    assert_eq!(delivered(&mut w, conn), [1]);
}

#[test]
fn i7_what_is_asked_of_who_is_not_here_is_answered_and_forgotten() {
    let (mut w, conn, _) = world();
    // What else was to expire has.
    for _ in 0..=2 * limits::EXPIRE_MS / 1000 {
        w.pass(1000);
        w.peer_says(|b| assert!(b.put_ping()));
    }
    let flow = w.flow(200, 100, Incarnation(1));
    w.peer_says(|b| put_data(b, &flow, &[1]));
    let nacked = w.peer_hears(|f| if let Frame::Nack { .. } = f { Some(()) } else { None });
    assert_eq!((nacked.len(), delivered(&mut w, conn)), (1, vec![]));
    // That it is forgotten some time is one of the invariants.
    w.pass(1);
}

#[test]
fn i7_so_many_flows_go_to_a_client() {
    let (mut w, conn, incarnation) = world();
    let most = u32::try_from(limits::MAX_FLOWS_PER_CLIENT).unwrap();
    for src in 0..=most {
        let flow = w.flow(1000 + src, 100, incarnation);
        w.peer_says(|b| put_data(b, &flow, &[1]));
        let taken = delivered(&mut w, conn).len();
        assert_eq!(taken, usize::from(src < most));
    }
    assert_eq!(count(&w, Counter::QueueFullRefusals), 1);
}

#[test]
fn i7_senders_that_die_leave_no_flows_behind_whatever_their_daemon_still_says() {
    let (mut w, conn, incarnation) = world();
    let most = u32::try_from(limits::MAX_FLOWS_PER_CLIENT).unwrap();
    for n in 0..most {
        let (client, one) = (ClientId(1000 + n), Incarnation(1));
        let flow = Flow { interval: Span::from_millis(10), ..w.flow(client.0, 100, incarnation) };
        w.control(&Control::Announce { client, incarnation: one, priority: 0, uid: 7 });
        w.peer_says(|b| put_data(b, &flow, &[1]));
        let cause = Departure::Died;
        w.control(&Control::Withdraw { client, incarnation: one, cause });
        w.peer_says(|b| put_data(b, &Flow { floor: Seq(2), ..flow }, &[]));
        w.datagrams();
    }
    for _ in 0..6 {
        w.pass(4000);
        w.peer_says(|b| assert!(b.put_ping()));
    }
    let given = delivered(&mut w, conn).len() as u64;
    w.say(conn, |out| put::taken(out, given));
    for _ in 0..6 {
        w.pass(4000);
        w.peer_says(|b| assert!(b.put_ping()));
    }
    let flow = w.flow(200, 100, incarnation);
    w.peer_says(|b| put_data(b, &flow, &[1]));
    assert_eq!((delivered(&mut w, conn).len(), count(&w, Counter::QueueFullRefusals)), (1, 0));
}

#[test]
fn i5_floors_and_skips_let_go_on_what_waits() {
    let (mut w, conn, incarnation) = world();
    let flow = w.flow(200, 100, incarnation);
    w.peer_says(|b| put_data(b, &flow, &[2, 4, 7, 9]));
    assert_eq!(delivered(&mut w, conn), []);
    w.peer_says(|b| {
        put_data(b, &flow, &[]);
        assert!(b.put_skip(&Skip { seq: Seq(1), count: 1 }));
    });
    assert_eq!(delivered(&mut w, conn), [2]);
    w.peer_says(|b| put_data(b, &Flow { floor: Seq(4), ..flow }, &[]));
    assert_eq!(delivered(&mut w, conn), [4]);
    w.peer_says(|b| put_data(b, &Flow { floor: Seq(8), ..flow }, &[]));
    assert_eq!(delivered(&mut w, conn), [], "7 was given up");
    // An earlier floor is one of a copy that was late.
    w.peer_says(|b| put_data(b, &Flow { floor: Seq(2), ..flow }, &[2, 7, 8]));
    assert_eq!(delivered(&mut w, conn), [8, 9]);
    w.say(conn, |out| put::taken(out, 4));
    let acked =
        w.peer_hears(|f| if let Frame::Ack(ack) = f { Some(ack.runs().collect::<Vec<_>>()) } else { None });
    let msgids: Vec<_> = acked.concat().iter().flat_map(|r| r.msgid.0..r.msgid.0 + r.count).collect();
    assert_eq!(msgids, [8, 9], "what is below the floor is decided");
}

/// Two messages of client 100 to the peer's, which has them.
fn sent(w: &mut ByHand, conn: ConnId) {
    let now = w.now;
    w.say(conn, |out| (1..3).for_each(|n| put::submit(out, &submit(200, n, now, b"x"))));
    w.hear(conn);
    let data = |f: Frame<'_>| if let Frame::Data(d) = f { Some(d.msgid.0) } else { None };
    assert_eq!(w.peer_hears(data), [1, 2]);
}

type Runs = Vec<(u32, u32)>;

/// What its library is told: msgids that were taken, and what failed.
fn told(w: &mut ByHand, conn: ConnId) -> (Runs, Vec<(u32, Verdict)>) {
    let bytes = w.hear(conn);
    let (mut acked, mut failed) = (Vec::new(), Vec::new());
    for frame in frames(&bytes) {
        match frame {
            DaemonFrame::Resolved(resolved) => acked.extend(resolved.runs().map(|(id, n)| (id.0, n))),
            DaemonFrame::Failed(f) => failed.push((f.msgid.0, f.verdict)),
            _ => {}
        }
    }
    (acked, failed)
}

#[test]
fn r9_an_answer_is_for_the_message_with_both_its_numbers_to_that_instance() {
    let (mut w, conn, incarnation) = world();
    sent(&mut w, conn);
    let reversed = |w: &ByHand| {
        let flow = w.flow(200, 100, incarnation).id;
        msg_proto::ids::FlowId { src: flow.dst, dst: flow.src, channel: flow.channel }
    };
    let flow = reversed(&w);
    let run = AckRun { msgid: MsgId(1), seq: Seq(1), count: 1 };
    let mut other = flow;
    other.dst.incarnation = Incarnation(9);
    let mut unordered = flow;
    unordered.channel = Channel::Unordered;
    let wrong = [(other, run), (unordered, run), (flow, AckRun { seq: Seq(2), ..run })];
    let now = w.now;
    for (n, (flow, run)) in wrong.into_iter().enumerate() {
        w.peer_says(|b| assert_eq!(b.put_ack(&flow, now, &[run]), 1));
        assert_eq!(told(&mut w, conn), (vec![], vec![]), "case {n}");
        assert_eq!(count(&w, Counter::UnmatchedAcks), n as u64 + 1);
    }
    w.now = w.now + Span(1_000_000);
    w.peer_says(|b| assert_eq!(b.put_ack(&flow, now, &[AckRun { count: 2, ..run }]), 1));
    assert_eq!(told(&mut w, conn), (vec![(1, 2)], vec![]), "as old as its interval, and in one run");
    w.peer_says(|b| assert_eq!(b.put_ack(&flow, now, &[AckRun { count: 2, ..run }]), 1));
    assert_eq!(count(&w, Counter::UnmatchedAcks), 4, "they have an outcome");
    w.now = w.now + Span(1);
    w.peer_says(|b| assert_eq!(b.put_ack(&flow, now, &[run]), 1));
    assert_eq!(count(&w, Counter::StaleAcksDropped), 1);
}

#[test]
fn i3_a_refusal_says_what_is_known() {
    let (refused, unknown) = (Reason::Refused, Certainty::Unknown);
    let not_started = Certainty::NotStarted;
    let nack = |reason, certainty| Verdict { reason, certainty };
    for (verdict, fails_at_once) in [
        (nack(refused, not_started), true),
        (nack(Reason::TooLarge, not_started), true),
        (nack(Reason::ReceiverGone, unknown), true),
        (nack(Reason::ReceiverGone, not_started), false),
        (nack(Reason::GoingAway, not_started), false),
    ] {
        let (mut w, conn, incarnation) = world_with(&Register { times: Some(0), ..register(100) });
        sent(&mut w, conn);
        let back = w.flow(200, 100, incarnation).id;
        let flow = msg_proto::ids::FlowId { src: back.dst, dst: back.src, channel: back.channel };
        let (now, entry) = (w.now, NackEntry { msgid: MsgId(1), seq: Seq(1), verdict });
        w.peer_says(|b| assert_eq!(b.put_nack(&flow, now, &[entry]), 1));
        let want = if fails_at_once { vec![(1, verdict)] } else { vec![] };
        assert_eq!(told(&mut w, conn), (vec![], want), "{verdict:?}");
        // What another instance could still be given waits for one to the end, and says why none was.
        w.pass(13_000);
        let (_, failed) = told(&mut w, conn);
        let last = failed.last().expect("all end");
        assert_eq!(last, &(2, nack(Reason::NoAnswer, unknown)));
        if !fails_at_once {
            assert_eq!(failed[0], (1, verdict));
        }
    }
}

#[test]
fn i6_who_may_still_come_back_after_a_start_is_not_said_to_be_gone() {
    let mut w = ByHand::with(|config| config.grace = Span::from_millis(60_000));
    w.link_up(&[200]);
    let flow = w.flow(200, 100, Incarnation(5));
    w.peer_says(|b| put_data(b, &flow, &[1]));
    let nacked = w.peer_hears(|f| if let Frame::Nack { .. } = f { Some(()) } else { None });
    assert_eq!(nacked.len(), 0);
    let conn = w.client(7, &Register { incarnation: Incarnation(5), ..register(100) });
    w.peer_says(|b| put_data(b, &flow, &[1]));
    assert_eq!(delivered(&mut w, conn), [1]);
}

#[test]
fn i7_so_many_refusals_of_a_flow_wait_however_often_it_asks() {
    let (mut w, _, _) = world();
    let flow = w.flow(200, 100, Incarnation(1));
    for _ in 0..limits::SEQ_SPAN / 2048 {
        w.peer_says(|b| put_data(b, &flow, &[1; 2048]));
    }
    w.peer_says(|b| put_data(b, &flow, &[1]));
    let said = w.peer_hears(|f| if let Frame::Nack(nack) = f { Some(nack.entries().count()) } else { None });
    assert_eq!(said.into_iter().sum::<usize>(), limits::SEQ_SPAN as usize);
}

#[test]
fn a_peer_that_says_two_lengths_of_one_message_harms_nobody() {
    let (mut w, conn, incarnation) = world();
    let flow = w.flow(200, 100, incarnation);
    let part = |total: u32, offset: u32| Fragment {
        msgid: MsgId(1),
        seq: Seq(1),
        at_least_once: false,
        call: None,
        offset,
        total,
        bytes: &[7; 2048][..(total - offset).min(1024) as usize],
    };
    for (total, offset) in [(2000, 0), (9000, 8 * 1024), (2000, 1024)] {
        w.peer_says(|b| {
            assert!(b.put_flow(&flow, 0));
            assert!(b.put_fragment(&part(total, offset)));
        });
        w.pass(1);
    }
    assert_eq!(delivered(&mut w, conn), [1], "what is whole is one");
}

#[test]
fn a_large_message_that_was_put_together_is_written_from_where_it_stands() {
    for (total, parts) in [(4_095, 1), (4_096, 3), (300_000, 3)] {
        let (mut w, conn, incarnation) = world();
        let flow = w.flow(200, 100, incarnation);
        let message: Vec<u8> =
            (0..total).map(|n: u32| n.wrapping_mul(0x9E37_79B1).to_be_bytes()[0]).collect();
        for (index, bytes) in message.chunks(3 * 1024).enumerate() {
            let offset = u32::try_from(index * 3 * 1024).unwrap();
            let (msgid, seq) = (MsgId(1), Seq(1));
            let part = Fragment { msgid, seq, at_least_once: false, call: None, offset, total, bytes };
            w.peer_says(|b| assert!(b.put_flow(&flow, 0) && b.put_fragment(&part)));
        }
        w.peer_says(|b| put_data(b, &flow, &[2]));
        // What stands before it, it, and what stands behind it.
        assert_eq!(w.engine.output(conn).parts().count(), parts, "{total}");
        let bytes = w.hear(conn);
        let deliver = |f| if let DaemonFrame::Deliver(d) = f { Some(d.payload) } else { None };
        let given: Vec<_> = frames(&bytes).into_iter().filter_map(deliver).collect();
        assert!(given == [&message[..], b"x"], "{total}");
        assert!(w.engine.output(conn).is_empty());
    }
}

#[test]
fn a_round_trip_is_known_from_an_echo_of_ours_and_from_nothing_else() {
    let (mut w, _, _) = world();
    let round_trip = |w: &ByHand| w.engine.status(w.now).peers[0].rtt_us;
    assert_eq!(round_trip(&w), 0);
    let (never, later) = (msg_proto::units::Time(0), w.now + Span(1));
    for (echo, want) in [(never, 0), (later, 0), (w.now.minus(Span(700)), 500)] {
        let heartbeat = Heartbeat { wants_reply: false, clock: w.now, echo, held: Span(200) };
        w.peer_says(|b| assert!(b.put_heartbeat(&heartbeat)));
        assert_eq!(round_trip(&w), want, "{echo:?}");
    }
}

#[test]
fn i5_what_a_library_dropped_as_stale_is_given_again_and_in_order_what_stood_behind_it() {
    for (channel, again) in [(Channel::Ordered, vec![2, 3, 4]), (Channel::Unordered, vec![2])] {
        let (mut w, conn, incarnation) = world();
        let mut flow = w.flow(200, 100, incarnation);
        flow.id.channel = channel;
        w.peer_says(|b| put_data(b, &flow, &[1, 2, 3, 4]));
        assert_eq!(delivered(&mut w, conn), [1, 2, 3, 4]);
        w.say(conn, |out| {
            put::taken(out, 1);
            put::stale(out, 2);
        });
        w.peer_says(|b| put_data(b, &flow, &[1, 2, 3, 4]));
        assert_eq!(delivered(&mut w, conn), again);
    }
}
