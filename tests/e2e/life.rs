//! In which order things start, and how nodes come and go.

use std::time::Duration;

use msg_proto::{
    outcome::{Certainty, Reason},
    units::Span,
};
use msg_tests::{
    node::{Node, NodeSpec, join},
    party::Party,
    promise, report, wait,
};

/// Who starts when: a node before its client, else in any order.
const ORDERS: [[&str; 4]; 6] = [
    ["node a", "client a", "node b", "client b"],
    ["node a", "node b", "client a", "client b"],
    ["node a", "node b", "client b", "client a"],
    ["node b", "node a", "client a", "client b"],
    ["node b", "node a", "client b", "client a"],
    ["node b", "client b", "node a", "client a"],
];

#[test]
fn whatever_starts_first_everything_arrives() {
    let seed = report::seed("start-up orders", 20_260_505);
    for order in ORDERS {
        let spec = |name| NodeSpec::new(name).chain("interval_ms = 200\ntimes = 50");
        let (mut a, mut b) = (spec("a"), spec("b"));
        join(&mut a, &mut b);
        let (mut node_a, mut node_b, mut client_a, mut client_b) = (None, None, None, None);
        for step in order {
            match step {
                "node a" => node_a = Some(Node::start(&a)),
                "node b" => node_b = Some(Node::start(&b)),
                "client a" => client_a = node_a.as_ref().map(|node| start(node, 100, 200, seed)),
                _ => client_b = node_b.as_ref().map(|node| start(node, 200, 100, seed)),
            }
        }
        let (client_a, client_b) = (client_a.expect("started"), client_b.expect("started"));
        for (from, to) in [(&client_a, &client_b), (&client_b, &client_a)] {
            let outcomes = promise::check(from, to);
            assert_eq!((outcomes.taken, outcomes.failures()), (20, 0), "{order:?}: {outcomes}");
        }
    }
}

/// A client that sends before it knows whether anybody is there.
fn start(node: &Node, id: u32, dst: u32, seed: u64) -> Party {
    let party = Party::join(id, node.client(id), seed, 4..=3_000);
    party.send(dst, 20);
    party
}

#[test]
fn on_one_node_it_is_the_same() {
    let seed = report::seed("one node", 20_260_506);
    let node = Node::start(&NodeSpec::new("a"));
    let (a, b) = (start(&node, 100, 200, seed), start(&node, 200, 100, seed));
    a.send(200, 2_000);
    b.send(100, 2_000);
    for (from, to) in [(&a, &b), (&b, &a)] {
        let outcomes = promise::check(from, to);
        assert_eq!((outcomes.taken, outcomes.failures()), (2_020, 0), "{outcomes}");
    }
    assert_eq!(node.counter("datagrams_sent"), 0);
}

#[test]
fn what_is_for_nobody_waits_its_time_and_was_never_started() {
    let seed = report::seed("nobody", 20_260_507);
    let (mut a, mut b) = (NodeSpec::new("a"), NodeSpec::new("b"));
    join(&mut a, &mut b);
    let (a, _b) = (Node::start(&a), Node::start(&b));
    a.wait_for_links();
    let sender = Party::join(100, a.client(100).interval(Duration::from_millis(50)).times(3), seed, 4..=100);
    sender.send(200, 20);
    sender.flush();
    for failed in &sender.log().failed {
        assert_eq!(
            (failed.verdict.reason, failed.verdict.certainty),
            (Reason::NoRoute, Certainty::NotStarted)
        );
    }
    assert!(promise::failure_times(&sender).iter().all(|&ms| ms >= 200.0));
}

#[test]
fn a_peer_that_stops_and_returns() {
    comes_back("terminated", Node::terminate);
}

#[test]
fn a_peer_that_is_killed_and_returns() {
    comes_back("killed", Node::kill);
}

/// A node ends under traffic in both directions, stays away for a moment, and returns.
fn comes_back(test: &str, end: fn(&mut Node)) {
    let seed = report::seed(test, 20_260_508);
    let spec = |name| NodeSpec::new(name).chain("interval_ms = 200\ntimes = 40");
    let (mut a, mut b) = (spec("a"), spec("b"));
    join(&mut a, &mut b);
    let (node_a, mut node_b) = (Node::start(&a), Node::start(&b));
    let (a, b) = (start(&node_a, 100, 200, seed), start(&node_b, 200, 100, seed));
    for round in 0..3 {
        if round == 1 {
            end(&mut node_b);
        }
        a.send(200, 100);
        b.send(100, 100);
        if round == 1 {
            wait::throughout("the client stays", Duration::from_millis(300), || b.client().unresolved() > 0);
            node_b.start_again();
        }
    }
    let lines: Vec<_> = [(&a, &b), (&b, &a)].map(|(from, to)| promise::check(from, to).to_string()).into();
    report::line(format_args!("{test}: there {}; back {}", lines[0], lines[1]));
    // Whatever became of what was under way, the flows go on.
    let before = [(a.taken(), a.log().failed.len()), (b.taken(), b.log().failed.len())];
    a.send(200, 50);
    b.send(100, 50);
    for (from, to) in [(&a, &b), (&b, &a)] {
        promise::check(from, to);
    }
    let after = [(a.taken(), a.log().failed.len()), (b.taken(), b.log().failed.len())];
    let expected = before.map(|(taken, failed)| (taken + 50, failed));
    assert_eq!(after, expected);
    let limit = Span::from_millis(200 * 41 + 100 + 1_000).as_millis();
    let times = [promise::failure_times(&a), promise::failure_times(&b)].concat();
    assert!(times.iter().all(|&ms| ms < limit as f64), "I1: {}", report::spread(&times));
}
