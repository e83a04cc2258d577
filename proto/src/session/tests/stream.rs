//! What a daemon may say and when, and what is made of it.

use super::*;
use crate::{
    control::LocalRule,
    local::{Bound, CallOrigin, DrainCause, Failed, UNKNOWN_UID},
    session::lives::Taker,
};

fn failed(msgid: MsgId) -> Failed<'static> {
    let verdict = verdict(Reason::NoAnswer, Certainty::Unknown);
    Failed { msgid, dst: DST, tries: 1, verdict, user: b"" }
}

fn bound(incarnation: u64) -> Bound<'static> {
    let dst = Instance { client: DST, incarnation: Incarnation(incarnation) };
    Bound { dst, channel: Channel::Ordered, upto: Seq(0), node: "vm-b" }
}

#[test]
fn it_says_how_much_is_to_be_written() {
    let mut s = registered();
    assert_eq!(s.output_len(), 0);
    for n in 1..4 {
        send(&mut s, Time(0));
        assert_eq!((s.output_len(), submits(s.output()).len()), (s.output().len(), n));
    }
    s.consume_output(Time(0), 1);
    assert_eq!(s.output_len(), s.output().len());
}

#[test]
fn it_knows_its_node_from_the_daemon() {
    assert_eq!((session().node(), registered().node()), ("", "vm-a"));
}

#[test]
fn nothing_comes_before_registered_and_that_only_once() {
    type Write = fn(&mut Vec<u8>);
    let frames: [Write; 7] = [
        |out| put::deliver(out, &delivery(1, 1)),
        |out| put::resolved(out, &[(MsgId(1), 1)]),
        |out| put::failed(out, &failed(MsgId(1))),
        |out| put::bound(out, &bound(3)),
        |out| put::presence(out, DST, false, &[]),
        |out| put::gone(out, SRC),
        |out| put::drain(out, DrainCause::Asked),
    ];
    for (n, write) in frames.into_iter().enumerate() {
        let mut early = session();
        early.handle_connected(Time(0));
        send(&mut early, Time(0));
        feed(&mut early, Time(0), write);
        assert_eq!((early.state(), early.unresolved()), (State::Broken, 1), "frame {n}");
        let mut s = registered();
        send(&mut s, Time(0));
        feed(&mut s, Time(0), write);
        assert_eq!(s.state(), State::Registered, "frame {n}");
    }
}

#[test]
fn a_daemon_of_another_version_is_refused_for_good() {
    let mut s = session();
    s.handle_connected(Time(0));
    send(&mut s, Time(0));
    feed(&mut s, Time(0), |out| put::registered(out, &Registered { version: 9, ..grant(1) }));
    assert_eq!(s.state(), State::Refused);
    let nack = s.refusal().expect("it says why").clone();
    assert!(nack.rule == LocalRule::Version && nack.text.contains("version 9"), "{nack:?}");
    assert_eq!(s.poll_event(Time(0)), Some(Event::Refused(nack)));
    assert!(matches!(s.poll_event(Time(0)), Some(Event::Failed(_))));
    assert_eq!(
        s.send(Time(0), DST, b"", b"", SendFlags::default()),
        Err(SendError::Refused(LocalRule::Version))
    );
    s.handle_connected(Time(1));
    assert_eq!((s.state(), s.output().len()), (State::Refused, 0));
}

#[test]
fn a_daemon_that_gives_another_incarnation_is_left() {
    for incarnation in [0, 6] {
        let mut s = registered();
        s.handle_disconnected(Time(0));
        s.handle_connected(Time(0));
        let body = Registered { incarnation: Incarnation(incarnation), ..grant(2) };
        feed(&mut s, Time(0), |out| put::registered(out, &body));
        assert_eq!((s.state(), s.incarnation()), (State::Broken, Incarnation(5)), "{incarnation}");
    }
}

#[test]
fn who_took_a_call_is_who_the_daemon_said_last() {
    let mut s = registered();
    let send_call = |s: &mut Session| s.send_call(Time(0), DST, b"x", SendFlags::default()).expect("room");
    let calls = [0; 3].map(|_| send_call(&mut s));
    feed(&mut s, Time(0), |out| {
        put::resolved(out, &[(calls[0], 1)]);
        for (call, incarnation) in [(calls[1], 3), (calls[2], 4)] {
            put::bound(out, &bound(incarnation));
            put::resolved(out, &[(call, 1)]);
        }
    });
    let taker = |incarnation| Taker { instance: bound(incarnation).dst, node: "vm-b".into() };
    assert_eq!(s.poll_call_outcome(), Some((calls[0], Ok(None))), "it did not say");
    assert_eq!(s.poll_call_outcome(), Some((calls[1], Ok(Some(taker(3))))));
    assert_eq!(s.poll_call_outcome(), Some((calls[2], Ok(Some(taker(4))))));
    assert_eq!((s.poll_call_outcome(), s.has_outcomes()), (None, false));
}

#[test]
fn outcomes_of_what_has_one_are_counted() {
    let mut s = registered();
    let ids = [0; 4].map(|_| send(&mut s, Time(0)));
    feed(&mut s, Time(0), |out| put::resolved(out, &[(ids[1], 2)]));
    feed(&mut s, Time(0), |out| put::resolved(out, &[(ids[0], 4)]));
    assert_eq!((s.counters().acked, s.counters().unmatched_outcomes, s.unresolved()), (4, 2, 0));
}

#[test]
fn a_drain_is_told_until_it_is_polled() {
    let mut s = registered();
    let msgid = send(&mut s, Time(0));
    feed(&mut s, Time(0), |out| {
        put::failed(out, &failed(msgid));
        put::drain(out, DrainCause::Superseded);
        put::drain(out, DrainCause::Asked);
    });
    assert!(s.has_drain_notice() && s.is_draining());
    assert!(!registered().is_draining());
    assert!(matches!(s.poll_notice(), Some(Event::Failed(_))));
    assert!(s.has_drain_notice());
    assert_eq!(s.poll_notice(), Some(Event::Drain(DrainCause::Superseded)));
    assert!(!s.has_drain_notice() && s.is_draining());
    assert_eq!(s.poll_notice(), None, "once");
}

fn deliver(s: &mut Session, all: &[Deliver<'_>]) {
    feed(s, Time(0), |out| all.iter().for_each(|d| put::deliver(out, d)));
}

/// A message of the call layer.
fn call(number: u64, seq: u32, is_addressed: bool) -> Deliver<'static> {
    let origin = CallOrigin { sent_at: Time(0), uid: 7, node: "vm-b", is_addressed };
    let channel = if is_addressed { Channel::Unordered } else { Channel::Ordered };
    Deliver { call: Some(origin), channel, payload: b"call", ..delivery(number, seq) }
}

#[test]
fn messages_and_calls_come_with_their_bytes() {
    let mut s = registered();
    deliver(&mut s, &[call(1, 1, false), delivery(2, 2), call(3, 3, false), delivery(4, 4)]);
    assert!(s.has_call_next());
    let Some(Delivery::Call(first)) = s.poll_delivery(Time(0)) else { panic!("the call") };
    assert_eq!((first.data, first.uid, first.node.as_str(), first.src), (&b"call"[..], 7, "vm-b", SRC));
    assert!(!s.has_call_next());
    let Some(Delivery::Message(second)) = s.poll_delivery(Time(0)) else { panic!("the message") };
    assert_eq!((second.data, second.msgid), (&b"data"[..], MsgId(2)));
    // Who knows of no calls is given none.
    assert!(s.has_call_next());
    let last = s.poll_message(Time(0)).map(|m| (m.data.to_vec(), m.msgid));
    assert_eq!(last, Some((b"data".to_vec(), MsgId(4))));
    assert_eq!(s.counters().calls_dropped, 1);
    assert!(!s.has_call_next() && s.poll_delivery(Time(0)).is_none());
    assert_eq!(frames(&write_all(&mut s)), [ClientFrame::Taken { upto: 4 }]);
}

#[test]
fn whom_a_sender_runs_as_is_known_though_the_next_daemon_does_not_know() {
    let uid = |s: &mut Session, d: Deliver<'static>| {
        deliver(s, &[d]);
        let Some(Delivery::Call(call)) = s.poll_delivery(Time(0)) else { panic!("a call") };
        call.uid
    };
    let of = |d: Deliver<'static>, uid| Deliver { call: d.call.map(|c| CallOrigin { uid, ..c }), ..d };
    let mut s = registered();
    assert_eq!(uid(&mut s, of(call(1, 1, true), UNKNOWN_UID)), UNKNOWN_UID, "nobody has said");
    assert_eq!(uid(&mut s, call(2, 1, false)), 7);
    // The sender leaves, so nobody tells a daemon that was started since.
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    write_all(&mut s);
    feed(&mut s, Time(0), |out| put::registered(out, &grant(2)));
    assert_eq!(uid(&mut s, of(call(1, 2, true), UNKNOWN_UID)), 7, "whichever channel it takes");
    assert_eq!(uid(&mut s, of(call(2, 3, true), 8)), 8, "what is said counts");
    assert_eq!(uid(&mut s, of(call(3, 3, false), UNKNOWN_UID)), 8);
    let stranger = Instance { incarnation: Incarnation(71), ..SRC };
    assert_eq!(uid(&mut s, Deliver { src: stranger, ..of(call(4, 1, true), UNKNOWN_UID) }), UNKNOWN_UID);
}

#[test]
fn who_takes_no_more_says_so_behind_what_it_has_taken() {
    let mut s = registered();
    deliver(&mut s, &[delivery(1, 1), delivery(2, 2)]);
    assert!(s.poll_message(Time(0)).is_some());
    s.drain(Time(0));
    assert!(s.is_draining() && !s.has_messages() && s.poll_delivery(Time(0)).is_none());
    assert_eq!(frames(&write_all(&mut s)), [ClientFrame::Taken { upto: 1 }, ClientFrame::Drained]);
    deliver(&mut s, &[delivery(3, 3)]);
    assert!(s.poll_delivery(Time(0)).is_none());
    assert!(s.output().is_empty(), "once, and nothing of what came since");
    // What is for it only it takes, whatever stands before it.
    deliver(&mut s, &[delivery(4, 4), call(5, 5, true), call(6, 6, false)]);
    assert!(matches!(s.poll_delivery(Time(0)), Some(Delivery::Call(c)) if c.data == b"call"));
    assert!(s.poll_delivery(Time(0)).is_none());
    assert_eq!(frames(&write_all(&mut s)), [ClientFrame::Taken { upto: 5 }]);
    // To another daemon it comes as one that leaves.
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    let bytes = write_all(&mut s);
    let all = frames(&bytes);
    let ClientFrame::Register(register) = &all[0] else { panic!("REGISTER first") };
    assert_eq!(register.arrival, crate::control::Arrival::Leaving);
    // It says so again, behind READY.
    assert_eq!(all[all.len() - 2..], [ClientFrame::Ready, ClientFrame::Drained]);
}

#[test]
fn i5_while_a_handler_runs_nothing_is_given_to_another_instance() {
    let mut s = Session::new(SessionConfig { ack: AckMode::OnHandled, ..config() }, MsgId(1), Seq(1));
    s.handle_connected(Time(0));
    feed(&mut s, Time(0), |out| put::registered(out, &grant(1)));
    write_all(&mut s);
    deliver(&mut s, &[delivery(1, 1), call(2, 2, true)]);
    assert!(s.poll_message(Time(0)).is_some());
    assert!(!s.holds_drained());
    s.drain(Time(0));
    assert!(s.holds_drained() && s.output().is_empty());
    s.record_backlog(1);
    s.message_handled();
    assert!(s.holds_drained(), "one was polled that waits for its handler");
    assert!(s.poll_delivery(Time(0)).is_none(), "a TAKEN for it would cover what was discarded");
    assert_eq!(frames(&write_all(&mut s)), [ClientFrame::Taken { upto: 1 }]);
    s.record_backlog(0);
    assert!(!s.holds_drained());
    assert!(s.poll_delivery(Time(0)).is_some());
    assert_eq!(frames(&write_all(&mut s)), [ClientFrame::Drained]);
    s.message_handled();
    assert_eq!(frames(&write_all(&mut s)), [ClientFrame::Taken { upto: 2 }]);
}

#[test]
fn a_goodbye_is_not_said_while_a_handler_runs() {
    for is_handled in [true, false] {
        let mut s = Session::new(SessionConfig { ack: AckMode::OnHandled, ..config() }, MsgId(1), Seq(1));
        s.handle_connected(Time(0));
        feed(&mut s, Time(0), |out| put::registered(out, &grant(1)));
        write_all(&mut s);
        deliver(&mut s, &[delivery(1, 1), delivery(2, 2)]);
        assert!(s.poll_message(Time(0)).is_some());
        if is_handled {
            s.message_handled();
        }
        s.close(Time(0));
        let said = write_all(&mut s);
        let goodbye = [ClientFrame::Taken { upto: 1 }, ClientFrame::Goodbye];
        assert_eq!(frames(&said), if is_handled { &goodbye[..] } else { &[] });
        assert!(s.poll_message(Time(0)).is_none() && s.state() == State::Closed);
    }
}

#[test]
fn who_is_gone_is_told_behind_what_it_sent() {
    let mut s = registered();
    let taker = Taker { instance: SRC, node: "vm-b".into() };
    s.watch(Time(0), &taker);
    s.watch(Time(0), &taker);
    let bytes = write_all(&mut s);
    assert_eq!(frames(&bytes).len(), 1, "a watch lasts until it is told");
    assert!(!s.has_gone());
    feed(&mut s, Time(0), |out| {
        put::deliver(out, &delivery(1, 1));
        put::gone(out, SRC);
        put::gone(out, SRC);
    });
    assert!(!s.has_gone() && s.poll_gone().is_none());
    assert!(s.poll_message(Time(0)).is_some());
    assert!(s.has_gone());
    assert_eq!((s.poll_gone(), s.poll_gone()), (Some(SRC), None));
    // On a new stream nothing is before it any more.
    s.watch(Time(0), &taker);
    feed(&mut s, Time(0), |out| {
        put::deliver(out, &delivery(2, 2));
        put::gone(out, SRC);
    });
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    assert_eq!(s.poll_gone(), Some(SRC));
}

#[test]
fn buffers_of_messages_are_used_again() {
    let mut s = registered();
    let mut most = 0;
    for _ in 0..2000 {
        let msgid = s.send(Time(0), DST, &[1; 1000], b"", SendFlags::default()).expect("room");
        write_all(&mut s);
        feed(&mut s, Time(0), |out| put::resolved(out, &[(msgid, 1)]));
        most = most.max(s.unresolved.memory_bytes());
    }
    assert!(most < 5000, "{most} for one message at a time");
}

#[test]
fn a_flow_whose_messages_have_ended_goes_on_beside_one_that_waits() {
    let mut s = registered();
    let flags = SendFlags::default();
    // The oldest of all is another flow's, to another client and over the same channel; and the other way round.
    s.send(Time(0), ClientId(7), b"", b"", flags).expect("room");
    s.send(Time(0), DST, b"", b"", SendFlags { unordered: true, ..flags }).expect("room");
    for _ in 0..=limits::SEQ_SPAN {
        let msgid = s.send(Time(0), DST, b"", b"", flags).expect("room");
        write_all(&mut s);
        feed(&mut s, Time(0), |out| put::resolved(out, &[(msgid, 1)]));
    }
    assert_eq!(s.unresolved(), 2);
}

#[test]
fn i3_what_was_written_to_a_stream_that_broke_may_have_begun() {
    let mut s = registered();
    let send = |s: &mut Session| s.send_call(Time(0), DST, b"x", SendFlags::default()).expect("room");
    let (written, partly, never) = (send(&mut s), send(&mut s), send(&mut s));
    let len = s.output().len() / 3;
    s.consume_output(Time(0), len + 1);
    feed(&mut s, Time(0), |out| out.extend_from_slice(&[0; 8]));
    assert_eq!(s.state(), State::Broken);
    for msgid in [written, partly, never] {
        assert!(s.withdraw(Time(0), msgid));
    }
    let cancelled = verdict(Reason::Cancelled, Certainty::NotStarted);
    assert_eq!(s.poll_call_outcome(), Some((never, Err(cancelled))));
    assert_eq!(s.poll_call_outcome(), None, "a daemon may have read the others");
}

#[test]
fn i4_a_message_that_is_written_but_for_a_byte_when_it_fails_is_never_written() {
    let to = Taker { instance: SRC, node: "a-node-with-a-name".into() };
    for is_addressed in [false, true] {
        for missing in [0, 1] {
            let mut s = registered();
            if is_addressed {
                s.send_call_to(Time(0), &to, b"payload").expect("room");
            } else {
                send(&mut s, Time(0));
            }
            let len = s.output().len() - missing;
            s.consume_output(Time(0), len);
            pass(&mut s, Time(60_000_000));
            assert_eq!(s.unresolved(), 0);
            let state = if missing == 0 { State::Registered } else { State::Broken };
            assert_eq!(s.state(), state, "{is_addressed}");
        }
    }
}

#[test]
fn an_input_with_room_enough_does_not_grow() {
    let mut s = registered();
    // What was read is used up: its place is free again.
    let all = s.input_space(1).len();
    let memory = s.memory_bytes();
    assert_eq!(s.input_space(all).len(), all);
    assert_eq!(s.memory_bytes(), memory);
    // A frame's beginning stays, behind what is used up.
    let mut frames = Vec::new();
    put::deliver(&mut frames, &delivery(1, 1));
    put::deliver(&mut frames, &delivery(2, 2));
    assert_eq!(s.handle_bytes(Time(0), &frames[..frames.len() - 1]), frames.len() - 1);
    assert!(s.poll_message(Time(0)).is_some());
    let (rest, memory) = (s.input_space(1).len(), s.memory_bytes());
    assert!(rest < all);
    assert!(s.input_space(rest + 1).len() > rest);
    assert_eq!(s.memory_bytes(), memory);
    assert!(s.input_space(all + 1).len() > all && s.memory_bytes() > memory);
    assert_eq!(s.handle_bytes(Time(0), &frames[frames.len() - 1..]), 1);
    assert_eq!(s.poll_message(Time(0)).map(|m| m.msgid), Some(MsgId(2)));
}

#[test]
fn drained_is_said_when_it_is_written_to_a_daemon_that_has_registered_us() {
    let mut s = session();
    s.drain(Time(0));
    s.handle_connected(Time(0));
    write_all(&mut s);
    assert!(!s.has_said_drained(), "the daemon has not registered us");
    feed(&mut s, Time(0), |out| put::registered(out, &grant(1)));
    assert!(s.has_said_drained());
    s.handle_disconnected(Time(0));
    assert!(!s.has_said_drained(), "another daemon does not know");
    let mut s = registered();
    s.drain(Time(0));
    let left = s.output().len() - 1;
    s.consume_output(Time(0), left);
    assert!(!s.has_said_drained(), "a part of it is not written");
    s.consume_output(Time(0), 1);
    assert!(s.has_said_drained());
    s.close(Time(0));
    assert!(s.has_said_drained());
}
