//! Hellos that somebody else sends in a node's name, that come late, or too often.

use msg_proto::{
    control::Hello,
    counters::Counter,
    engine::Engine,
    ids::{DatagramNumber, SessionId},
    limits::{self, HELLO_DATAGRAM_BYTES},
    units::{Span, Time},
    wire::{DatagramBuilder, Frame, Frames, Header, Kind, VERSIONS},
};

use super::world::{World, address};

#[test]
fn a_forged_hello_tears_no_link_down() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 200, 10), w.client(1, 200, 200, 10));
    w.run(100);
    for session in 1..100 {
        for echo in [0, 77] {
            let now = w.clock(1);
            w.engines[1].handle_datagram(now, 0, address(0), &hello("a", session, echo));
            w.run(3);
        }
        w.send(a, 200, b"x", b"").unwrap();
    }
    w.run(100);
    assert_eq!(w.clients[b].taken.len(), 99);
    for node in 0..2 {
        assert_eq!((w.counter(node, Counter::LinksUp), w.counter(node, Counter::LinksDown)), (1, 0));
    }
}

#[test]
fn a_hello_of_long_ago_does_not_keep_a_link_down() {
    let mut w = World::new();
    w.client(0, 100, 200, 10);
    w.run(100);
    // One side has left the session, and the other has not; what comes first is a hello that was late.
    w.clocks[0] -= 1_000_000;
    let now = w.clock(0);
    w.engines[0].handle_datagram(now, 0, address(1), &hello("b", 999, 0));
    w.run(500);
    let state = |node: usize| w.engines[node].status(w.clock(node)).peers[0].state.to_string();
    assert_eq!([state(0), state(1)], ["up", "up"]);
    assert_eq!(w.counter(0, Counter::LinksUp), 2);
}

#[test]
fn a_peer_that_is_not_yet_in_the_session_is_told_of_it_and_not_of_an_attempt() {
    let (mut w, local) = alone_and_up(7);
    assert_eq!(w.engine.status(w.now).peers[0].state, "connecting", "it has not said who is there");
    // A hello of long ago begins an attempt beside the session...
    let (attempt, echo) = w.hear(3, 0).pop().expect("an answer");
    assert_eq!(echo, 3);
    assert_ne!(attempt, local);
    // ... and its answer finds the peer where nothing of the session has come yet: answered with the attempt's number, it
    // would answer that again, for ever.
    assert_eq!(w.hear(7, attempt), [(local, 7)]);
    assert_eq!(w.hear(7, local), [], "a heartbeat answers");
    assert_eq!(w.engine.counters().value(Counter::LinksUp), 1);
}

#[test]
fn a_peer_that_opens_anew_gets_through_whichever_of_our_numbers_it_knows() {
    // Its process is the same: it was out of reach for a while, and we do not know that yet.
    let (mut w, local) = alone_and_up(7);
    let (attempt, echo) = w.hear(8, local).pop().expect("an answer");
    assert_eq!(echo, 8);
    assert_ne!(attempt, local);
    assert_eq!(w.hear(8, attempt), []);
    let count = |counter| w.engine.counters().value(counter);
    assert_eq!((count(Counter::LinksUp), count(Counter::RefusedHellos)), (2, 0));
}

#[test]
fn hellos_leave_when_it_is_their_time_and_not_whenever_something_happens() {
    let mut w = alone();
    assert_eq!(w.said().len(), 1);
    for (ms, count) in [(0, 0), (limits::HELLO_MS - 1, 0), (1, 1), (0, 0)] {
        w.now = w.now + Span::from_millis(ms);
        w.engine.handle_timeout(w.now);
        assert_eq!(w.said().len(), count);
    }
}

#[test]
fn an_echo_that_is_not_answered_is_not_repeated() {
    let mut w = alone();
    let (local, _) = w.said().pop().expect("a hello");
    assert_eq!(w.hear(3, 0), [(local, 3)]);
    for echo in [3, 0, 0] {
        w.now = w.engine.poll_timeout().expect("the next hello");
        w.engine.handle_timeout(w.now);
        assert_eq!(w.said(), [(local, echo)]);
    }
}

#[test]
fn a_hello_that_is_longer_is_one() {
    let mut w = alone();
    w.said();
    let mut out = Vec::new();
    let header = header(Kind::Hello, SessionId::NONE);
    let mut builder = DatagramBuilder::new(&mut out, header, 2 * HELLO_DATAGRAM_BYTES);
    assert!(builder.put_hello(&content("b", 7, 0)));
    builder.put_padding(2 * HELLO_DATAGRAM_BYTES);
    assert_eq!(builder.finish(), 2 * HELLO_DATAGRAM_BYTES);
    w.engine.handle_datagram(w.now, 0, address(1), &out);
    assert_eq!(w.said().len(), 1);
}

#[test]
fn copies_of_a_hello_are_not_all_answered() {
    let (mut w, _) = alone_and_up(7);
    let answers: Vec<_> = (0..100).flat_map(|_| w.hear(3, 0)).collect();
    assert_eq!(answers.len(), limits::MAX_HELLO_ANSWERS as usize);
    assert_eq!(w.engine.counters().value(Counter::RefusedHellos), 100 - u64::from(limits::MAX_HELLO_ANSWERS));
    w.now = w.now + Span::from_millis(limits::HELLO_MS);
    assert_eq!(w.hear(3, 0).len(), 1, "who asks again later is answered");
}

#[test]
fn what_an_earlier_session_has_on_its_way_belongs_to_no_other_session_with_its_number() {
    let mut w = alone();
    let (local, _) = w.said().pop().expect("a hello");
    // The peer was in a session, lost it, and opens another. Of the first it has had no answer, and our number is the same.
    for session in [7, 8] {
        assert_eq!(w.hear(session, 0), [(local, session)]);
    }
    let ups = |w: &Alone| w.engine.counters().value(Counter::LinksUp);
    for (session, is_up, unknown) in [(7, 0, 1), (8, 1, 1), (7, 1, 2)] {
        let late = frames(SessionId::of_session(SessionId(local), SessionId(session)));
        w.engine.handle_datagram(w.now, 0, address(1), &late);
        assert_eq!((ups(&w), w.engine.counters().value(Counter::UnknownSessions)), (is_up, unknown));
    }
}

/// An engine whose peer's datagrams are written by hand.
struct Alone {
    engine: Engine,
    now: Time,
}

impl Alone {
    /// A hello comes from the peer; the hellos that answer it: session, echo.
    fn hear(&mut self, session: u64, echo: u64) -> Vec<(u64, u64)> {
        self.engine.handle_datagram(self.now, 0, address(1), &hello("b", session, echo));
        self.said()
    }

    fn said(&mut self) -> Vec<(u64, u64)> {
        let (mut said, mut out) = (Vec::new(), Vec::new());
        while self.engine.poll_transmit(self.now, &mut out, 1).is_some() {
            let (header, frames) = Header::parse(&out).expect("its own");
            if let Some(Ok(Frame::Hello(hello))) = Frames::new(header.kind, frames).next() {
                said.push((hello.session.0, hello.echo.0));
            }
            out.clear();
        }
        said
    }
}

fn alone() -> Alone {
    let mut w = World::new();
    let (mut engine, now) = (w.engines.swap_remove(0), w.clock(0));
    engine.handle_timeout(now);
    Alone { engine, now }
}

/// With a session up, in which the peer's number is this; and its own number.
fn alone_and_up(remote: u64) -> (Alone, u64) {
    let mut alone = alone();
    let (local, _) = alone.said().pop().expect("a hello");
    assert_eq!(alone.hear(remote, local), []);
    assert_eq!(alone.engine.counters().value(Counter::LinksUp), 1);
    (alone, local)
}

fn content(node: &str, session: u64, echo: u64) -> Hello {
    Hello {
        node: node.to_owned(),
        session: SessionId(session),
        echo: SessionId(echo),
        start: 5,
        clock: Time(5),
        max_message_bytes: 1 << 20,
        receive_window: 1 << 20,
    }
}

fn hello(node: &str, session: u64, echo: u64) -> Vec<u8> {
    let mut out = Vec::new();
    let header = header(Kind::Hello, SessionId::NONE);
    let mut builder = DatagramBuilder::new(&mut out, header, HELLO_DATAGRAM_BYTES);
    assert!(builder.put_hello(&content(node, session, echo)));
    assert_eq!(builder.finish(), HELLO_DATAGRAM_BYTES);
    out
}

/// A datagram of a session that says little.
fn frames(session: SessionId) -> Vec<u8> {
    let mut out = Vec::new();
    let mut builder = DatagramBuilder::new(&mut out, header(Kind::Frames, session), HELLO_DATAGRAM_BYTES);
    assert!(builder.put_ping());
    let _len = builder.finish();
    out
}

fn header(kind: Kind, session: SessionId) -> Header {
    Header { version: VERSIONS.lowest, kind, speaks: VERSIONS, session, number: DatagramNumber(0) }
}
