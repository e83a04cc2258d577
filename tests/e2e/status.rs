//! What the daemon says of itself (DESIGN, section 7).

use msg_tests::{
    node::{Node, NodeSpec, join_by_relay},
    party::Party,
    promise, report,
};
use serde_json::Value;

use crate::loss::ROUGH;

const COUNTERS: [&str; 16] = [
    "messages_submitted",
    "messages_delivered",
    "messages_acked",
    "messages_failed",
    "retransmits",
    "fast_retransmits",
    "duplicates",
    "stale_messages_dropped",
    "stale_acks_dropped",
    "malformed_datagrams",
    "malformed_local_frames",
    "datagrams_sent",
    "datagrams_received",
    "bytes_sent",
    "bytes_received",
    "chain_depth",
];

#[test]
fn the_status_has_what_it_promises_and_its_counters_only_grow() {
    let seed = report::seed("status", 20_261_111);
    let spec = |name| NodeSpec::new(name).chain("interval_ms = 100\ntimes = 20");
    let (mut a, mut b) = (spec("a"), spec("b"));
    let relay = join_by_relay(&mut a, &mut b, seed);
    relay.set_both(ROUGH);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let sender = Party::join(100, a.client(100), seed, 4..=2_000);
    let receiver = Party::join(200, b.client(200), seed, 4..=2_000);
    let nodes = [&a, &b];
    let mut last = nodes.map(document);
    for _ in 0..20 {
        sender.send(200, 25);
        // Nobody has that client: these fail.
        sender.send(999, 2);
        let next = nodes.map(document);
        for (before, after) in last.iter().zip(&next) {
            for (name, value) in before["counters"].as_object().expect("an object") {
                let grown = value.as_u64() <= after["counters"][name].as_u64();
                assert!(grown || name == "chain_depth", "{name} was {value}, is {}", after["counters"][name]);
            }
            assert!(before["uptime_ms"].as_u64() <= after["uptime_ms"].as_u64());
        }
        last = next;
    }
    sender.flush();
    let outcomes = promise::check(&sender, &receiver);
    for node in nodes {
        let counter = |name| node.counter(name);
        let ended = counter("messages_acked") + counter("messages_failed");
        assert_eq!(counter("messages_submitted"), ended + counter("chain_depth"));
        assert_eq!(counter("chain_depth"), 0);
    }
    assert_eq!(
        (a.counter("messages_submitted"), a.counter("messages_failed")),
        (540, 40 + outcomes.failures() as u64)
    );
    let clients = a.status().clients;
    let client = clients.first().expect("the sender");
    assert_eq!((client.submitted, client.acked + client.failed, client.chain_depth), (540, 540, 0));
}

/// The status, with the fields that programs rely on.
fn document(node: &Node) -> Value {
    let body = node.try_get("/v1/status").expect("a status");
    let document: Value = serde_json::from_str(&body).expect("JSON");
    assert!(document["node"].is_string() && document["version"].is_string(), "{body}");
    assert!(document["uptime_ms"].is_u64(), "{body}");
    assert!(document["clients"].is_array() && document["peers"].is_array(), "{body}");
    for name in COUNTERS {
        assert!(document["counters"][name].is_u64(), "{name}: {body}");
    }
    document
}
