//! What daemons tell each other beside messages, and what a new daemon knows.

use std::collections::BTreeMap;

use msg_proto::{counters::Counter, units::Span};

use super::{
    by_hand::ByHand,
    world::{Options, World, address},
};

fn state(w: &World, node: usize) -> String {
    w.engines[node].status(w.clock(node)).peers[0].state.to_string()
}

#[test]
fn a_daemon_that_goes_says_so_to_its_peers() {
    let mut w = World::new();
    w.client(1, 200, 200, 10);
    w.run(100);
    assert_eq!(state(&w, 1), "up");
    let now = w.clock(0);
    w.engines[0].handle_shutdown(now);
    // Far less than it takes to miss a heartbeat.
    w.run(50);
    assert_ne!(state(&w, 1), "up");
    assert_eq!(w.counter(1, Counter::LinksDown), 1);
}

#[test]
fn i6_a_daemon_knows_again_what_its_clients_have_taken() {
    let mut w = World::with(&Options { clocks: vec![1_000_000, 2_000_000], ..Options::default() });
    let (a, b) = (w.client(0, 100, 1000, 10), w.client(1, 200, 1000, 10));
    w.run(20);
    // Taken, and no ack comes back.
    w.network = super::cut_from(1);
    for _ in 0..3 {
        w.send(a, 200, b"x", b"").unwrap();
    }
    w.run(5);
    assert_eq!((w.clients[b].taken.len(), w.clients[a].acked.len()), (3, 0));
    let taken = w.counter(1, Counter::MessagesDelivered);
    w.network = super::clear();
    w.restart(1);
    w.run(3_000);
    assert_eq!((w.clients[b].taken.len(), w.clients[a].acked.len()), (3, 3));
    assert_eq!(taken, 3);
    assert_eq!(w.counter(1, Counter::MessagesDelivered), 0, "the new daemon gives none of it again");
    assert_eq!(w.clients[b].session.counters().duplicates, 0);
}

#[test]
fn a_clock_that_goes_back_ends_the_session_and_its_stamps() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 10), w.client(1, 200, 1000, 10));
    w.run(100);
    // On its way when the receiver's clock goes back: by that clock it is yet to be sent.
    w.send(a, 200, b"x", b"").unwrap();
    w.drain();
    w.clocks[1] -= 3_000_000;
    w.run(50);
    assert!(w.counter(1, Counter::UnknownSessions) > 0 && w.counter(1, Counter::LinksDown) == 1);
    assert_eq!((w.clients[b].taken.len(), w.clients[a].acked.len()), (1, 1), "in the next session");
}

#[test]
fn a_client_that_comes_back_late_is_given_what_comes_from_then_on() {
    let mut w = World::with(&Options { clocks: vec![1_000_000, 2_000_000], ..Options::default() });
    let (a, b) = (w.client(0, 100, 220, 10), w.client(1, 200, 1000, 10));
    w.run(20);
    // It may have begun when both daemons die, and is sent again, to a process that stands still for longer than the
    // grace: it is refused.
    w.network = super::cut_from(0);
    w.send(a, 200, b"early", b"").unwrap();
    w.run(1);
    w.clients[b].is_alive = false;
    w.restart(1);
    w.restart(0);
    w.network = super::clear();
    w.run(3_000);
    assert_eq!(w.clients[a].failed.len(), 1);
    w.connect(b);
    w.run(1_000);
    w.send(a, 200, b"late", b"").unwrap();
    w.run(1_000);
    assert_eq!(w.payloads(b).last().map(Vec::as_slice), Some(&b"late"[..]), "{:?}", w.clients[a].failed);
}

#[test]
fn a_path_that_carries_nothing_else_is_asked_too() {
    let spare = ([127, 0, 0, 9], 7400).into();
    let mut w = ByHand::with(|config| config.peers[0].addresses.push(spare));
    w.link_up(&[]);
    let (mut to, mut out) = (BTreeMap::<_, u32>::new(), Vec::new());
    for _ in 0..30 {
        w.now = w.now + Span::from_millis(100);
        w.engine.handle_timeout(w.now);
        while let Some(transmit) = w.engine.poll_transmit(w.now, &mut out, 1) {
            *to.entry(transmit.to).or_default() += 1;
            out.clear();
        }
    }
    assert_eq!(to.keys().copied().collect::<Vec<_>>(), [address(1), spare]);
    assert!((2..=4).contains(&to[&spare]), "a heartbeat a second: {to:?}");
}
