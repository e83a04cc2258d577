//! Hellos that somebody else sends in a node's name.

use msg_proto::{
    control::Hello,
    counters::Counter,
    ids::{DatagramNumber, SessionId},
    limits::HELLO_DATAGRAM_BYTES,
    units::Time,
    wire::{DatagramBuilder, Header, Kind, VERSIONS},
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

fn hello(node: &str, session: u64, echo: u64) -> Vec<u8> {
    let hello = Hello {
        node: node.to_owned(),
        session: SessionId(session),
        echo: SessionId(echo),
        start: 5,
        clock: Time(5),
        max_message_bytes: 1 << 20,
        receive_window: 1 << 20,
    };
    let header = Header {
        version: VERSIONS.lowest,
        kind: Kind::Hello,
        speaks: VERSIONS,
        session: SessionId::NONE,
        number: DatagramNumber(0),
    };
    let mut out = Vec::new();
    let mut builder = DatagramBuilder::new(&mut out, header, HELLO_DATAGRAM_BYTES);
    assert!(builder.put_hello(&hello));
    assert_eq!(builder.finish(), HELLO_DATAGRAM_BYTES);
    out
}
