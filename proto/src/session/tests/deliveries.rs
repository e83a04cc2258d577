//! R6 and R8 once more, order (I5), and what the daemon is told.

use super::*;
use crate::local::{FlowTaken, Progress};

fn poll(s: &mut Session, now: Time) -> Vec<u32> {
    let mut seqs = Vec::new();
    while let Some(event) = s.poll_event(now) {
        if let Event::Message(m) = event {
            seqs.push(m.msgid.0);
        }
    }
    seqs
}

fn deliver(s: &mut Session, all: &[Deliver<'_>]) {
    feed(s, Time(0), |out| all.iter().for_each(|d| put::deliver(out, d)));
}

fn taken(upto: u64) -> ClientFrame<'static> {
    ClientFrame::Taken { upto }
}

fn stale(number: u64) -> ClientFrame<'static> {
    ClientFrame::Stale { number }
}

#[test]
fn a_message_comes_as_it_was_sent() {
    let mut s = registered();
    deliver(&mut s, &[delivery(1, 3), Deliver { payload: b"", ..delivery(2, 4) }]);
    let first = Message { src: SRC, msgid: MsgId(3), channel: Channel::Ordered, age: Span(9), data: b"data" };
    assert_eq!(s.poll_event(Time(9)), Some(Event::Message(first)));
    let second = Message { msgid: MsgId(4), data: b"", ..first };
    assert_eq!(s.poll_event(Time(9)), Some(Event::Message(second)));
    assert_eq!(s.poll_event(Time(9)), None);
    assert_eq!(frames(&write_all(&mut s)), [taken(2)]);
    assert!(s.output().is_empty());
}

#[test]
fn r6_what_grew_stale_in_the_socket_is_not_taken() {
    let mut s = registered();
    let unordered = |number, seq, at| Deliver {
        send_time: Time(at),
        channel: Channel::Unordered,
        ..delivery(number, seq)
    };
    deliver(&mut s, &[unordered(1, 1, 5), unordered(2, 2, 4), unordered(3, 3, 5)]);
    // Exactly `interval` old is not too old.
    assert_eq!(poll(&mut s, Time(5) + INTERVAL), [1, 3]);
    assert_eq!(frames(&write_all(&mut s)), [stale(2), taken(3)]);
    assert_eq!(s.counters().stale_dropped, 1);
    // Given again, it is taken.
    deliver(&mut s, &[unordered(4, 2, 2_000_000)]);
    assert_eq!(poll(&mut s, Time(2_000_000)), [2]);
    assert_eq!(frames(&write_all(&mut s)), [taken(4)]);
    // The daemon is told that it is done with, though nothing was taken since: it stands in our window.
    deliver(&mut s, &[unordered(5, 4, 2_000_000)]);
    assert_eq!(poll(&mut s, Time(2_000_001) + INTERVAL), [0; 0]);
    assert_eq!(frames(&write_all(&mut s)), [stale(5), taken(5)]);
}

#[test]
fn i5_nothing_overtakes_a_stale_delivery() {
    let mut s = registered();
    let now = Time(10) + INTERVAL;
    let fresh = |number, seq, round| Deliver { send_time: Time(10), round, ..delivery(number, seq) };
    let other = Instance { client: ClientId(8), ..SRC };
    deliver(
        &mut s,
        &[
            fresh(1, 1, 4),
            Deliver { send_time: Time(9), ..fresh(2, 2, 4) },
            fresh(3, 3, 4),
            Deliver { src: other, ..fresh(4, 9, 0) },
            Deliver { channel: Channel::Unordered, ..fresh(5, 8, 4) },
            fresh(6, 2, 5),
            fresh(7, 3, 5),
        ],
    );
    assert_eq!(poll(&mut s, now), [1, 9, 8, 2, 3]);
    assert_eq!(frames(&write_all(&mut s)), [stale(2), stale(3), taken(7)]);
    // A new stream counts rounds anew.
    s.handle_disconnected(now);
    s.handle_connected(now);
    feed(&mut s, now, |out| {
        put::registered(out, &grant(1));
        put::deliver(out, &fresh(1, 4, 0));
    });
    assert_eq!(poll(&mut s, now), [4]);
}

#[test]
fn r8_what_was_taken_is_answered_again_and_not_handed_over() {
    let mut s = registered();
    deliver(&mut s, &[delivery(1, 1), delivery(2, 2), delivery(3, 1)]);
    assert_eq!(poll(&mut s, Time(0)), [1, 2]);
    assert_eq!(frames(&write_all(&mut s)), [taken(3)]);
    // Even if the copy that asks is old, and below the floor.
    deliver(&mut s, &[Deliver { floor: Seq(3), ..delivery(4, 3) }, delivery(5, 2)]);
    assert_eq!(poll(&mut s, Time(0)), [3]);
    deliver(&mut s, &[delivery(6, 3)]);
    assert_eq!(poll(&mut s, Time(u64::MAX)), []);
    assert_eq!(frames(&write_all(&mut s)), [taken(6)]);
    assert_eq!(s.counters().duplicates, 3);
}

#[test]
fn on_handled_answers_when_the_handler_has_returned() {
    let mut s = Session::new(SessionConfig { ack: AckMode::OnHandled, ..config() }, MsgId(1), Seq(1));
    s.handle_connected(Time(0));
    feed(&mut s, Time(0), |out| put::registered(out, &grant(1)));
    deliver(&mut s, &[delivery(1, 1), delivery(2, 2)]);
    write_all(&mut s);
    assert_eq!(poll(&mut s, Time(0)), [1]);
    assert!(s.output().is_empty() && s.has_messages());
    s.message_handled();
    assert_eq!(frames(&write_all(&mut s)), [taken(1)]);
    assert_eq!(poll(&mut s, Time(0)), [2]);
    // The next daemon knows that it runs, and not more: it is not to be acked yet.
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    let flow = |floor, progress| {
        let (src, channel) = (SRC, Channel::Ordered);
        ClientFrame::FlowTaken(FlowTaken { src, channel, floor: Seq(floor), progress, bitmap: &[1] })
    };
    let bytes = write_all(&mut s);
    let said = frames(&bytes);
    assert_eq!(said[1..], [flow(1, Progress::Taken), flow(2, Progress::Begun), ClientFrame::Ready]);
    feed(&mut s, Time(0), |out| put::registered(out, &grant(1)));
    deliver(&mut s, &[delivery(1, 3)]);
    assert_eq!(poll(&mut s, Time(0)), []);
    s.message_handled();
    assert_eq!(frames(&write_all(&mut s)), [flow(2, Progress::Taken)]);
    assert_eq!(poll(&mut s, Time(0)), [3]);
}

#[test]
fn outcomes_do_not_wait_behind_messages() {
    let mut s = registered();
    let msgid = send(&mut s, Time(0));
    let big = vec![7; 1 << 20];
    feed(&mut s, Time(0), |out| {
        put::deliver(out, &Deliver { payload: &big, ..delivery(1, 1) });
        put::resolved(out, &[(msgid, 1)]);
        put::deliver(out, &delivery(2, 2));
    });
    assert_eq!(s.unresolved(), 0);
    assert_eq!(poll(&mut s, Time(0)), [1, 2]);
}

#[test]
fn the_old_streams_messages_are_still_taken() {
    let mut s = registered();
    deliver(&mut s, &[delivery(1, 1), delivery(2, 2)]);
    assert_eq!(s.handle_bytes(Time(0), &[200, 0, 0, 0, 66]), 5);
    s.handle_disconnected(Time(0));
    assert_eq!(poll(&mut s, Time(0)), [1, 2]);
    assert!(s.output().is_empty());
    s.handle_connected(Time(0));
    let bytes = write_all(&mut s);
    let ClientFrame::FlowTaken(flow) = &frames(&bytes)[1] else { panic!("FLOW_TAKEN second") };
    assert_eq!(flow.bitmap, [3]);
}

#[test]
fn the_input_buffer_is_bounded() {
    let mut s = registered();
    let mut number = 0;
    let mut bytes = Vec::new();
    loop {
        number += 1;
        bytes.clear();
        put::deliver(&mut bytes, &Deliver { payload: &[0; 50_000], ..delivery(number, 1) });
        if s.handle_bytes(Time(0), &bytes) < bytes.len() {
            break;
        }
    }
    assert!(s.input_space(1).is_empty());
    assert!(s.memory_bytes() < 3 << 20);
    assert!(s.poll_event(Time(0)).is_some());
    assert!(s.input_space(1).len() >= 50_000);
}
