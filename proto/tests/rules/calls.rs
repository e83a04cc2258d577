//! Messages of the call layer: what a daemon adds to them, and how they are withdrawn.

use msg_proto::{
    counters::Counter,
    engine::Recovery,
    ids::MsgId,
    outcome::{Reason, Verdict},
    units::Span,
};

use super::{
    NOT_STARTED, UNKNOWN, verdict,
    world::{Options, World, clear, cut},
};

fn outcomes(w: &World, client: usize) -> Vec<(MsgId, Result<(), Verdict>)> {
    assert!(w.clients[client].failed.is_empty());
    w.clients[client].call_outcomes.clone()
}

#[test]
fn a_call_message_says_who_sent_it_and_when_in_the_receivers_clock() {
    // Node 1's clock is three hours ahead. The call waits 300 ms for its way, and is 40 KB and a few bytes long.
    for len in [3, 40_000] {
        let mut w =
            World::with(&Options { clocks: vec![1 << 40, (1 << 40) + 10_800_000_000], ..Options::default() });
        let (a, b) = (w.client(0, 100, 100, 20), w.client(1, 200, 100, 20));
        w.run(50);
        w.network = cut();
        let sent_at = w.clock(1);
        w.send_call(a, 200, &vec![7; len]).unwrap();
        w.run(300);
        w.network = clear();
        w.run(300);
        let [call] = &w.clients[b].calls[..] else { panic!("{:?}", w.clients[b].calls) };
        assert_eq!((call.data.len(), &*call.node), (len, "a"));
        assert!(call.sent_at <= sent_at, "the age is under-estimated");
        assert!(sent_at.since(call.sent_at) < Span::from_millis(5), "{:?} {sent_at:?}", call.sent_at);
        assert!(w.clients[b].taken.is_empty());
    }
}

#[test]
fn on_one_node_too() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 100, 20), w.client(0, 200, 100, 20));
    let sent_at = w.clock(0);
    w.send_call(a, 200, b"local").unwrap();
    w.run(5);
    let [call] = &w.clients[b].calls[..] else { panic!("{:?}", w.clients[b].calls) };
    assert_eq!((&*call.data, call.sent_at, &*call.node), (&b"local"[..], sent_at, "a"));
}

#[test]
fn who_leaves_still_says_who_he_is() {
    for node in [0, 1] {
        let mut w = World::new();
        let (a, b) = (w.client(0, 100, 100, 20), w.client(node, 200, 100, 20));
        w.run(50);
        w.drain_client(a);
        w.run(5);
        w.send_call(a, 200, b"from one that leaves").unwrap();
        w.run(5);
        let users: Vec<_> = w.clients[b].calls.iter().map(|call| call.uid).collect();
        assert_eq!(users, [0]);
    }
}

#[test]
fn what_never_left_is_withdrawn_not_started() {
    let mut w = World::new();
    let a = w.client(0, 100, 100, 20);
    let lost = w.send_call(a, 200, b"to nobody").unwrap();
    w.run(30);
    assert!(w.withdraw(a, lost));
    w.run(1);
    assert_eq!(outcomes(&w, a), [(lost, Err(verdict(Reason::NoRoute, NOT_STARTED)))]);
    assert!(!w.withdraw(a, lost), "it has ended");
    let b = w.client(0, 200, 100, 20);
    w.run(500);
    assert!(w.clients[b].calls.is_empty());
}

#[test]
fn what_left_is_withdrawn_unknown_and_what_was_taken_not_at_all() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 100, 20), w.client(1, 200, 100, 20));
    w.run(50);
    let taken = w.send_call(a, 200, b"taken").unwrap();
    w.run(20);
    assert!(!w.withdraw(a, taken));
    w.network = cut();
    let lost = w.send_call(a, 200, b"lost").unwrap();
    w.run(20);
    assert!(w.withdraw(a, lost));
    w.run(1);
    assert_eq!(outcomes(&w, a), [(taken, Ok(())), (lost, Err(verdict(Reason::Cancelled, UNKNOWN)))]);
    w.network = clear();
    w.send_call(a, 200, b"next").unwrap();
    w.run(500);
    let got: Vec<_> = w.clients[b].calls.iter().map(|c| c.data.clone()).collect();
    assert_eq!(got, [&b"taken"[..], b"next"], "what stands behind it moves");
}

#[test]
fn a_plain_message_is_not_withdrawn() {
    let mut w = World::new();
    let a = w.client(0, 100, 100, 20);
    let plain = w.send(a, 200, b"to nobody", b"").unwrap();
    w.run(5);
    let before = w.counter(0, Counter::MessagesFailed);
    assert!(!w.withdraw(a, plain));
    w.run(5);
    assert_eq!(w.counter(0, Counter::MessagesFailed), before);
}

#[test]
fn a_call_is_as_old_as_the_clock_says_that_its_daemon_does_not_count() {
    for to in [0, 1] {
        let mut w = World::with(&Options { recovery: Recovery::TimerOnly, ..Options::default() });
        let (a, b) = (w.client(0, 100, 1000, 10), w.client(to, 200, 1000, 10));
        w.run(50);
        w.network = cut();
        w.clients[b].is_stopped = true;
        let sent_at = w.now + w.clocks[to];
        w.send_call(a, 200, b"x").unwrap();
        w.run(10);
        // The sender's daemon stands still for less than the message's time, and more than it takes for lateness.
        w.now += 3_000_000;
        (w.network, w.clients[b].is_stopped) = (clear(), false);
        w.run(3_000);
        let seen: Vec<_> = w.clients[b].calls.iter().map(|c| c.sent_at.0).collect();
        assert!(seen.len() == 1 && seen[0] <= sent_at, "to node {to}: {seen:?}, sent at {sent_at}");
    }
}
