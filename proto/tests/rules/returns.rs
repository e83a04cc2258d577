//! Clients that lose their connection and come back to a daemon that lives on, or do not.

use msg_proto::{
    control::{Arrival, Register},
    ids::{Channel, ClientId, ConnId, Incarnation, Instance, Seq},
    limits,
    local::{Addressee, DaemonFrame, FlowTaken, Progress, Submit, put},
    outcome::{Certainty, Reason, Verdict},
    units::Span,
    wire::{AckRun, Data, Flow, Frame},
};

use super::by_hand::{ByHand, frames, register, submit};

/// A node with client 100, and its peer's client 200.
fn world() -> (ByHand, ConnId, Incarnation) {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let (conn, incarnation) = w.try_client(7, &register(100));
    w.datagrams();
    (w, conn, incarnation.expect("it is free"))
}

fn back(incarnation: Incarnation) -> Register {
    Register { incarnation, ..register(100) }
}

/// The msgids of the messages that leave for the peer.
fn leaving(w: &mut ByHand) -> Vec<u32> {
    w.peer_hears(|f| if let Frame::Data(d) = f { Some(d.msgid.0) } else { None })
}

fn is_told_of_targets(bytes: &[u8]) -> bool {
    frames(bytes).iter().any(|f| matches!(f, DaemonFrame::Bound(_)))
}

#[test]
fn i6_no_message_goes_to_an_instance_that_its_senders_library_was_not_told_of() {
    let (mut w, conn, _) = world();
    let now = w.now;
    w.say(conn, |out| put::submit(out, &submit(200, 1, now, b"x")));
    assert_eq!(leaving(&mut w), []);
    // All of it has to be written.
    while w.engine.poll_writable().is_some() {}
    let len = w.engine.output(conn).len();
    w.engine.consume_output(now, conn, len - 1);
    assert_eq!(leaving(&mut w), []);
    w.engine.consume_output(now, conn, 1);
    assert_eq!(leaving(&mut w), [1]);
    w.say(conn, |out| put::submit(out, &submit(200, 2, now, b"x")));
    assert_eq!(leaving(&mut w), [2], "now it knows");
}

#[test]
fn i6_what_it_may_not_have_read_it_is_told_again() {
    for has_read in [false, true] {
        let (mut w, conn, incarnation) = world();
        let now = w.now;
        w.say(conn, |out| put::submit(out, &submit(200, 1, now, b"x")));
        if has_read {
            assert!(is_told_of_targets(&w.hear(conn)));
            assert_eq!(leaving(&mut w), [1]);
        }
        w.hang_up(conn);
        assert_eq!(leaving(&mut w), []);
        let again = w.client(7, &back(incarnation));
        assert_eq!(is_told_of_targets(&w.hear(again)), !has_read);
        assert_eq!(leaving(&mut w).len(), usize::from(!has_read));
    }
}

#[test]
fn what_a_dead_client_was_not_told_of_goes_when_it_is_gone_for_good() {
    let (mut w, conn, _) = world();
    let now = w.now;
    w.say(conn, |out| put::submit(out, &submit(200, 1, now, b"x")));
    w.hang_up(conn);
    // Within the grace it could come back, and would have to be told.
    w.engine.handle_timeout(w.now);
    assert_eq!(leaving(&mut w), []);
    let end = w.now + Span::from_millis(3500);
    let mut went = Vec::new();
    while let Some(at) = w.engine.poll_timeout().filter(|at| *at <= end) {
        w.now = w.now.max(at);
        w.engine.handle_timeout(w.now);
        went.extend(leaving(&mut w).into_iter().map(|_| w.now.since(now).as_millis()));
    }
    assert!((2000..=3100).contains(went.first().expect("it goes")), "{went:?}");
}

#[test]
fn outcomes_that_came_about_meanwhile_are_told_to_one_that_comes_back() {
    for has_others in [false, true] {
        let (mut w, conn, incarnation) = world();
        let now = w.now;
        w.say(conn, |out| (1..4).for_each(|n| put::submit(out, &submit(200, n, now, b"x"))));
        w.hear(conn);
        assert_eq!(leaving(&mut w), [1, 2, 3]);
        if has_others {
            let other = w.client(7, &register(101));
            w.hang_up(other);
        }
        w.hang_up(conn);
        let flow = w.flow(200, 100, incarnation).id;
        let flow = msg_proto::ids::FlowId { src: flow.dst, dst: flow.src, channel: flow.channel };
        let run = |n| AckRun { msgid: msg_proto::ids::MsgId(n), seq: Seq(n), count: 1 };
        w.peer_says(|b| assert_eq!(b.put_ack(&flow, now, &[run(1), run(3)]), 2));
        w.pass(100);
        assert_eq!(w.engine.chain_depth(), 1);
        let ack = w.now;
        w.peer_says(|b| assert_eq!(b.put_ack(&flow, ack, &[run(2)]), 1));
        assert_eq!(w.engine.chain_depth(), 0, "and the client is remembered without any");
        let again = w.client(7, &back(incarnation));
        let bytes = w.hear(again);
        let runs = |f: DaemonFrame<'_>| {
            if let DaemonFrame::Resolved(r) = f { Some(r.runs().collect()) } else { None }
        };
        let runs: Vec<Vec<_>> = frames(&bytes).into_iter().filter_map(runs).collect();
        let mut msgids: Vec<_> = runs.concat().into_iter().map(|(id, n)| (id.0, n)).collect();
        msgids.sort_unstable();
        assert_eq!(msgids, [(1, 1), (2, 1), (3, 1)]);
        // What it submits once more had its outcome.
        w.say(again, |out| put::submit(out, &submit(200, 2, now, b"x")));
        assert_eq!((w.engine.chain_depth(), leaving(&mut w)), (0, vec![]));
    }
}

#[test]
fn what_a_library_gave_up_while_its_daemon_stood_still_keeps_nothing_waiting() {
    let (mut w, conn, incarnation) = world();
    let now = w.now;
    w.say(conn, |out| put::submit(out, &submit(200, 1, now, b"x")));
    w.hear(conn);
    assert_eq!(leaving(&mut w), [1]);
    let flow = w.flow(200, 100, incarnation).id;
    let flow = msg_proto::ids::FlowId { src: flow.dst, dst: flow.src, channel: flow.channel };
    let run = AckRun { msgid: msg_proto::ids::MsgId(1), seq: Seq(1), count: 1 };
    // It hangs up, and gives up 2 to 13, of which the daemon never heard.
    w.hang_up(conn);
    w.peer_says(|b| assert_eq!(b.put_ack(&flow, now, &[run]), 1));
    let again = w.client(7, &back(incarnation));
    w.say(again, |out| put::submit(out, &submit(200, 14, now, b"x")));
    let skips = w.peer_hears(|f| if let Frame::Skip(s) = f { Some((s.seq, s.count)) } else { None });
    assert_eq!(skips, [(Seq(1), 13)]);
}

#[test]
fn i5_what_a_library_says_that_it_has_taken_is_given_to_it_no_more() {
    for channel in [Channel::Ordered, Channel::Unordered] {
        let (mut w, conn, incarnation) = world();
        w.hang_up(conn);
        let src = w.flow(200, 100, incarnation).id.src;
        let taken =
            FlowTaken { src, channel, floor: Seq(10), progress: Progress::Taken, bitmap: &[0b1010, 0b1] };
        let conn = w.connect(7);
        w.say(conn, |out| {
            put::register(out, &back(incarnation));
            put::flow_taken(out, &taken);
            put::ready(out);
        });
        let mut flow = Flow { floor: Seq(10), ..w.flow(200, 100, incarnation) };
        flow.id.channel = channel;
        w.peer_says(|b| {
            assert!(b.put_flow(&flow, 0));
            for n in 10..20 {
                let (msgid, seq) = (msg_proto::ids::MsgId(n), Seq(n));
                assert!(b.put_data(&Data { msgid, seq, at_least_once: false, call: None, payload: b"x" }));
            }
        });
        let bytes = w.hear(conn);
        let given = |f| if let DaemonFrame::Deliver(d) = f { Some(d.seq.0) } else { None };
        let given: Vec<_> = frames(&bytes).into_iter().filter_map(given).collect();
        let said = w.peer_hears(|f| match f {
            Frame::Ack(ack) => Some(ack.runs().map(|r| (r.seq.0, r.count, None)).collect::<Vec<_>>()),
            Frame::Nack(nack) => Some(nack.entries().map(|e| (e.seq.0, 1, Some(e.verdict))).collect()),
            _ => None,
        });
        let mut said = said.concat();
        said.sort_unstable_by_key(|(seq, ..)| *seq);
        // 11, 13 and 18 were taken; in order the library has passed what stands before them.
        let passed = Some(Verdict { reason: Reason::ReceiverGone, certainty: Certainty::NotStarted });
        if channel == Channel::Ordered {
            assert_eq!(given, [19]);
            let refused = |n| (n, 1, passed);
            let acked = |n| (n, 1, None);
            assert_eq!(
                said,
                [
                    refused(10),
                    acked(11),
                    refused(12),
                    acked(13),
                    refused(14),
                    refused(15),
                    refused(16),
                    refused(17),
                    acked(18)
                ]
            );
        } else {
            assert_eq!(given, [10, 12, 14, 15, 16, 17, 19]);
            assert_eq!(said, [(11, 1, None), (13, 1, None), (18, 1, None)]);
        }
    }
}

#[test]
fn i3_what_was_not_written_to_a_dead_process_was_not_started() {
    let (mut w, conn, incarnation) = world();
    let flow = w.flow(200, 100, incarnation);
    w.peer_says(|b| {
        assert!(b.put_flow(&flow, 0));
        for n in 1..4 {
            let (msgid, seq) = (msg_proto::ids::MsgId(n), Seq(n));
            assert!(b.put_data(&Data { msgid, seq, at_least_once: false, call: None, payload: b"x" }));
        }
    });
    while w.engine.poll_writable().is_some() {}
    let len = w.engine.output(conn).len();
    // All of the first, and a byte of the second.
    w.engine.consume_output(w.now, conn, len / 3 + 1);
    w.hang_up(conn);
    let said = w.peer_hears(|f| match f {
        Frame::Nack(nack) => Some(nack.entries().map(|e| (e.seq.0, e.verdict.certainty)).collect::<Vec<_>>()),
        _ => None,
    });
    let (unknown, not_started) = (Certainty::Unknown, Certainty::NotStarted);
    assert_eq!(said.concat(), [(1, unknown), (2, unknown), (3, not_started)]);
}

/// What the peer is answered that sends a message to that process.
fn refusals(w: &mut ByHand, id: u32, incarnation: Incarnation) -> Vec<Verdict> {
    let flow = w.flow(200, id, incarnation);
    w.peer_says(|b| {
        assert!(b.put_flow(&flow, 0));
        let (msgid, seq) = (msg_proto::ids::MsgId(1), Seq(1));
        assert!(b.put_data(&Data { msgid, seq, at_least_once: false, call: None, payload: b"x" }));
    });
    w.peer_hears(|f| if let Frame::Nack(nack) = f { nack.entries().next().map(|e| e.verdict) } else { None })
}

#[test]
fn i7_who_has_as_many_flows_as_may_be_comes_back_in_a_handler_and_with_no_more() {
    let most = u32::try_from(limits::MAX_FLOWS_PER_CLIENT).unwrap();
    for (flows, is_taken) in [(most, true), (most + 1, false)] {
        let (mut w, conn, incarnation) = world();
        w.hang_up(conn);
        let taken = |n, progress| FlowTaken {
            src: Instance { client: ClientId(1000 + n), incarnation: Incarnation(1) },
            channel: Channel::Ordered,
            floor: Seq(1),
            progress,
            bitmap: &[1],
        };
        let conn = w.connect(7);
        w.say(conn, |out| {
            put::register(out, &back(incarnation));
            (0..flows).for_each(|n| put::flow_taken(out, &taken(n, Progress::Taken)));
            // The last one's handler runs.
            put::flow_taken(out, &taken(flows - 1, Progress::Begun));
            put::ready(out);
        });
        let bytes = w.hear(conn);
        let is_refused = frames(&bytes).iter().any(|f| matches!(f, DaemonFrame::Nack(_)));
        assert_eq!(is_refused, !is_taken, "{flows}");
    }
}

#[test]
fn what_is_asked_of_processes_that_were_never_here_is_answered_too() {
    let (mut w, _, _) = world();
    for (n, incarnation) in [(100, 4), (100, 5), (300, 6)] {
        let said = refusals(&mut w, n, Incarnation(incarnation));
        assert_eq!(said, [Verdict { reason: Reason::ReceiverGone, certainty: Certainty::Unknown }]);
    }
}

#[test]
fn of_each_that_died_here_it_is_known_that_it_was_here() {
    for has_unresolved in [false, true] {
        let (mut w, conn, incarnation) = world();
        let others = [101, 102].map(|id| w.try_client(7, &register(id)));
        if has_unresolved {
            let now = w.now;
            w.say(others[0].0, |out| put::submit(out, &submit(999, 1, now, b"nobody")));
        }
        w.hang_up(conn);
        for (conn, _) in others {
            w.hang_up(conn);
        }
        // One of them comes back; of the others all is remembered.
        w.client(7, &Register { incarnation: others[0].1.unwrap(), ..register(101) });
        for (id, incarnation) in [(100, incarnation), (102, others[1].1.unwrap())] {
            let said = refusals(&mut w, id, incarnation);
            assert_eq!(
                said,
                [Verdict { reason: Reason::ReceiverGone, certainty: Certainty::NotStarted }],
                "{id}"
            );
        }
    }
}

#[test]
fn one_that_leaves_is_not_announced_to_a_peer_that_comes_up() {
    let mut w = ByHand::new();
    let conns = [100, 101].map(|id| w.client(7, &register(id)));
    let half = w.connect(7);
    w.say(half, |out| put::register(out, &register(102)));
    w.say(conns[0], put::drained);
    w.pass(1000);
    w.receive(&w.hello(77, 0));
    let sessions = w.peer_hears(|f| if let Frame::Hello(hello) = f { Some(hello.session) } else { None });
    w.receive(&w.hello(77, sessions.last().unwrap().0));
    let announced = w.peer_hears(|f| match f {
        Frame::Control { body: msg_proto::control::Control::Announce { client, .. }, .. } => Some(client.0),
        _ => None,
    });
    assert_eq!(announced, [101]);
}

#[test]
fn i1_the_time_of_what_comes_late_counts_from_its_sending() {
    let mut w = ByHand::new();
    let conn = w.client(7, &register(100));
    w.pass(30_000);
    let ages = [0, 999, 1000, 3500, 9999, 10_000, 25_000];
    for (n, ms) in (1..).zip(ages) {
        let sent = w.now.minus(Span::from_millis(ms));
        w.say(conn, |out| put::submit(out, &submit(999, n, sent, b"nobody")));
    }
    let now = w.now;
    let left = w.engine.chain_status(now, None, 9).into_iter().map(|e| (e.age_ms, e.times_left));
    let want: Vec<_> = ages.into_iter().zip([10, 10, 9, 7, 1, 0, 0]).collect();
    assert_eq!(left.collect::<Vec<_>>(), want);
    // Each ends eleven intervals after it was sent, and up to a scan more; what is too late for that at once.
    let mut ends = Vec::new();
    while w.engine.chain_depth() > 0 {
        w.now = w.now.max(w.engine.poll_timeout().expect("they are due"));
        w.engine.handle_timeout(w.now);
        w.datagrams();
        let bytes = w.hear(conn);
        for frame in frames(&bytes) {
            if let DaemonFrame::Failed(f) = frame {
                ends.push((f.msgid.0, w.now.since(now).as_millis()));
            }
        }
    }
    assert_eq!(ends.len(), ages.len());
    for (msgid, after) in ends {
        let age = ages[msgid as usize - 1];
        let due = 11_000_u64.saturating_sub(age);
        assert!((due..=due + 510).contains(&after), "sent {age} ms ago, it ends {after} ms later");
    }
}

#[test]
fn i6_a_receiver_is_told_the_floor_when_the_senders_library_can_read_the_outcome() {
    let (mut w, conn, incarnation) = world();
    let (now, there) = (w.now, w.flow(200, 100, incarnation).id);
    let flow = msg_proto::ids::FlowId { src: there.dst, dst: there.src, channel: there.channel };
    let send = |w: &mut ByHand, n| {
        w.say(conn, |out| put::submit(out, &submit(200, n, now, b"x")));
        w.peer_hears(|f| if let Frame::Flow(flow) = f { Some(flow.floor.0) } else { None })
    };
    send(&mut w, 1);
    w.hear(conn);
    assert_eq!(leaving(&mut w), [1]);
    let run = AckRun { msgid: msg_proto::ids::MsgId(1), seq: Seq(1), count: 1 };
    w.peer_says(|b| assert_eq!(b.put_ack(&flow, now, &[run]), 1));
    assert_eq!(send(&mut w, 2), [1]);
    while w.engine.poll_writable().is_some() {}
    let len = w.engine.output(conn).len();
    w.engine.consume_output(now, conn, len - 1);
    assert_eq!(send(&mut w, 3), [1], "half of it is not written");
    w.hear(conn);
    assert_eq!(send(&mut w, 4), [2]);
}

#[test]
fn what_had_begun_is_handled_and_nothing_else_is() {
    for (src, seq, progress, is_right) in [
        (200, 3, Progress::Taken, true),
        (200, 4, Progress::Taken, false),
        (201, 3, Progress::Taken, false),
        (200, 3, Progress::Begun, false),
    ] {
        let (mut w, conn, incarnation) = world();
        w.hang_up(conn);
        let taken = |src, seq, progress| FlowTaken {
            src: Instance { client: ClientId(src), incarnation: Incarnation(1) },
            channel: Channel::Ordered,
            floor: Seq(seq),
            progress,
            bitmap: &[1],
        };
        let conn = w.connect(7);
        w.say(conn, |out| {
            put::register(out, &back(incarnation));
            put::flow_taken(out, &taken(201, 3, Progress::Taken));
            put::flow_taken(out, &taken(200, 3, Progress::Begun));
            put::ready(out);
            put::flow_taken(out, &taken(src, seq, progress));
        });
        let bytes = w.hear(conn);
        let is_refused = frames(&bytes).iter().any(|f| matches!(f, DaemonFrame::Nack(_)));
        assert_eq!(is_refused, !is_right, "{src}, {seq}, {progress:?}");
    }
}

#[test]
fn i7_so_many_messages_are_answered_when_one_that_came_back_to_leave_is_drained() {
    let (mut w, conn, incarnation) = world();
    w.hang_up(conn);
    let conn = w.client(7, &Register { arrival: Arrival::Leaving, ..back(incarnation) });
    let (most, flow) = (limits::DELIVERY_WINDOW_MESSAGES, w.flow(200, 100, incarnation));
    for first in (0..=most).step_by(1000) {
        w.peer_says(|b| {
            assert!(b.put_flow(&flow, 0));
            for n in (first..=most).take(1000) {
                let n = u32::try_from(n + 1).unwrap();
                let (msgid, seq) = (msg_proto::ids::MsgId(n), Seq(n));
                assert!(b.put_data(&Data { msgid, seq, at_least_once: false, call: None, payload: b"x" }));
            }
        });
    }
    let answered = |w: &mut ByHand| {
        let nacks = w.peer_hears(|f| if let Frame::Nack(n) = f { Some(n.entries().count()) } else { None });
        nacks.into_iter().sum::<usize>()
    };
    assert_eq!(answered(&mut w), 0);
    w.say(conn, put::drained);
    assert_eq!(answered(&mut w), most);
}

#[test]
fn what_is_for_one_process_that_comes_back_after_a_start_goes_to_it_at_once() {
    for arrival in [Arrival::Alone, Arrival::Leaving] {
        let mut w = ByHand::with(|config| config.grace = Span::from_millis(60_000));
        let conn = w.client(7, &register(200));
        let (now, incarnation) = (w.now, Incarnation(5));
        let to = Some(Addressee { incarnation, node: "a" });
        let channel = Channel::Unordered;
        let reply = Submit { is_call: true, channel, to, ..submit(100, 1, now, b"reply") };
        w.say(conn, |out| put::submit(out, &reply));
        let again = w.client(7, &Register { arrival, ..back(incarnation) });
        let bytes = w.hear(again);
        let is_it = |f: &DaemonFrame<'_>| matches!(f, DaemonFrame::Deliver(d) if d.payload == b"reply");
        assert!(frames(&bytes).iter().any(is_it), "{arrival:?}");
    }
}
