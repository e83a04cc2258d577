//! Three nodes in which everybody talks to everybody, over three lines that lose and corrupt.

use std::thread;

use msg_tests::{
    node::{Node, NodeSpec, join_by_relay},
    party::Party,
    promise, report,
};

use crate::loss::ROUGH;

const COUNT: u32 = 300;

#[test]
fn three_nodes_talk_all_to_all() {
    let seed = report::seed("three nodes", 20_260_303);
    let mut specs = ["a", "b", "c"].map(|name| NodeSpec::new(name).chain("interval_ms = 300\ntimes = 20"));
    let [a, b, c] = &mut specs;
    let relays = [join_by_relay(a, b, seed), join_by_relay(b, c, seed + 1), join_by_relay(a, c, seed + 2)];
    relays.iter().for_each(|relay| relay.set_both(ROUGH));
    let nodes = specs.each_ref().map(Node::start);
    let ids = [100, 200, 300];
    let parties: Vec<Party> =
        nodes.iter().zip(ids).map(|(node, id)| Party::join(id, node.client(id), seed, 4..=4_000)).collect();
    thread::scope(|scope| {
        for party in &parties {
            scope.spawn(|| {
                for _ in 0..COUNT {
                    ids.iter().filter(|id| **id != party.id().0).for_each(|id| party.send(*id, 1));
                }
            });
        }
    });
    for from in &parties {
        for to in parties.iter().filter(|to| to.id() != from.id()) {
            let outcomes = promise::check(from, to);
            assert_eq!((outcomes.taken, outcomes.failures()), (COUNT as usize, 0), "{outcomes}");
        }
    }
    let resent = |node: &Node| node.counter("retransmits") + node.counter("fast_retransmits");
    report::line(format_args!(
        "three nodes: 6 flows of {COUNT} messages; resent {:?}",
        nodes.each_ref().map(resent)
    ));
}
