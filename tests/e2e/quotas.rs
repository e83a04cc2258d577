//! Queues that are full: whoever fills them is told or waits, and nobody else notices.

use std::{thread, time::Duration};

use msg::{Certainty, SendError, SendFlags};
use msg_tests::{
    client_process::{ClientProcess, ClientSpec},
    node::{Node, NodeSpec, join},
    party::Party,
    promise, report, wait,
};
use msgd::clock;

#[test]
fn the_1001st_send_would_block() {
    let seed = report::seed("max_stored", 20_260_707);
    let node = Node::start(&NodeSpec::new("a"));
    let sender = Party::join(100, node.client(100).interval(Duration::from_secs(2)).times(0), seed, 4..=100);
    for number in 1..=1_000 {
        assert!(sender.try_send(200, SendFlags::NONE).is_ok(), "send {number}");
    }
    assert_eq!(sender.try_send(200, SendFlags::NONE), Err(SendError::WouldBlock));
    wait::until("the daemon has them", || node.counter("chain_depth") == 1_000);
    sender.flush();
    assert_eq!(sender.log().failed.len(), 1_000);
    assert!(sender.log().failed.iter().all(|failed| failed.verdict.certainty == Certainty::NotStarted));
    sender.try_send(200, SendFlags::NONE).expect("there is room again");
}

/// Two nodes, and a client of `b`, number 200, that does not read.
fn with_a_stopped_client(seed: u64, limits: &str) -> (Node, Node, ClientProcess) {
    let spec = |name| NodeSpec::new(name).chain("interval_ms = 200\ntimes = 100").limits(limits);
    let (mut a, mut b) = (spec("a"), spec("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let stopped = ClientProcess::start(ClientSpec::new(b.socket(), 200, seed, SIZES));
    stopped.stop();
    (a, b, stopped)
}

/// Some are copied on their way to a client that reads late, and some are not.
const SIZES: (usize, usize) = (2_000, 8_000);

#[test]
fn who_does_not_read_costs_only_itself() {
    let seed = report::seed("stopped client", 20_260_708);
    let (a, b, stopped) = with_a_stopped_client(seed, "");
    let flooders = [(&a, 100), (&b, 101)].map(|(node, id)| {
        let party = Party::join(id, node.client(id), seed, SIZES.0..=SIZES.1);
        party.send(200, 1_000);
        party
    });
    wait::until("its queue holds megabytes", || {
        b.status().clients.iter().any(|client| client.id == 200 && client.queue_bytes > 3_000_000)
    });
    let resident = b.resident_bytes();
    // Others: between the nodes, and on the node of the one that stands still.
    let others = [(&a, 110, 210), (&b, 111, 211)].map(|(node, from, to)| {
        let from = Party::join(from, node.client(from), seed, 4..=2_000);
        (from, Party::join(to, b.client(to), seed, 4..=2_000))
    });
    let begin = clock::now();
    for (from, to) in &others {
        from.send(to.id().0, 3_000);
        let outcomes = promise::check(from, to);
        assert_eq!((outcomes.taken, outcomes.failures()), (3_000, 0), "{outcomes}");
    }
    let took = wait::ms_since(begin);
    assert_eq!(stopped.taken(), 0);
    let grown = b.resident_bytes().saturating_sub(resident);
    report::line(format_args!(
        "stopped client: others sent 6,000 messages in {took:.0} ms; b grew by {grown} bytes"
    ));
    assert!(grown < 64 << 20, "{grown} bytes");
    stopped.go_on();
    for flooder in &flooders {
        let outcomes = promise::check(flooder, &stopped);
        assert_eq!((outcomes.taken, outcomes.failures()), (1_000, 0), "{outcomes}");
    }
}

#[test]
fn a_full_receive_queue_holds_its_senders_back() {
    let seed = report::seed("full queue", 20_260_709);
    let limit = 2_097_152;
    let (a, b, stopped) = with_a_stopped_client(seed, &format!("client_queue_bytes = {limit}"));
    let senders: Vec<Party> =
        (100..103).map(|id| Party::join(id, a.client(id), seed, SIZES.0..=SIZES.1)).collect();
    thread::scope(|scope| {
        for sender in &senders {
            scope.spawn(|| sender.send(200, 1_000));
        }
        wait::until("copies are refused", || b.counter("queue_full_refusals") > 0);
        let queue = |of: &Node| {
            let clients = of.status().clients;
            clients.iter().find(|client| client.id == 200).expect("registered").queue_bytes
        };
        wait::throughout("the queue keeps to its limit", Duration::from_millis(500), || queue(&b) <= limit);
        stopped.go_on();
    });
    for sender in &senders {
        let outcomes = promise::check(sender, &stopped);
        assert_eq!((outcomes.taken, outcomes.failures()), (1_000, 0), "{outcomes}");
    }
}
