//! What holds after every step.

use msg_proto::{counters::Counter, engine::Engine, units::Span};

use super::{
    config,
    world::{Node, World},
};

/// Every message that was submitted is acked, failed, or still in the chain, and every failure has a certainty.
pub(in crate::fuzz) fn check_counters(engine: &Engine) {
    let value = |counter| engine.counters().value(counter);
    let (acked, failed) = (value(Counter::MessagesAcked), value(Counter::MessagesFailed));
    let depth = engine.chain_depth() as u64;
    assert_eq!(
        value(Counter::MessagesSubmitted),
        acked + failed + depth,
        "submitted = acked + failed + depth"
    );
    assert_eq!(failed, value(Counter::FailedNotStarted) + value(Counter::FailedUnknown));
}

pub(super) fn check(world: &World) {
    for node in &world.nodes {
        check_counters(&node.engine);
        check_queues(node);
        let longest = Span(1 << 40);
        assert!(node.engine.poll_timeout().is_none_or(|at| at <= node.now + longest), "a timer for nobody");
        for library in node.slots.iter().filter_map(|s| s.library.as_ref()) {
            assert!(library.session.memory_bytes() <= 16 << 20);
            // A process that is stopped has not been told of all.
            let counters = library.session.counters();
            let ended = counters.acked + counters.failed;
            let all = ended + library.session.unresolved() as u64;
            assert_eq!(all, library.accepted as u64, "one outcome for each send");
            assert!(library.outcomes as u64 <= ended, "an outcome twice");
        }
    }
}

fn check_queues(node: &Node) {
    let limits = config(0, 0, Vec::new()).limits;
    for slot in &node.slots {
        if let Some(conn) = slot.conn {
            let unread = node.engine.output(conn).len();
            assert!(unread <= msgd::limits::MAX_UNREAD_OUTPUT_BYTES + (1 << 20), "{unread} bytes unread");
        }
    }
    let status = node.engine.status(node.now);
    assert!(status.clients.len() <= limits.max_clients);
    for client in &status.clients {
        assert!(client.chain_depth <= u64::from(client.max_stored), "{client:?}");
        assert!(client.chain_bytes <= limits.client_queue_bytes as u64, "{client:?}");
        assert_eq!(client.submitted, client.acked + client.failed + client.chain_depth, "{client:?}");
        assert!(client.queue_bytes <= limits.client_queue_bytes as u64, "{client:?}");
    }
    let shown: u64 = status.clients.iter().map(|c| c.chain_depth).sum();
    let all = node.engine.chain_depth();
    assert!(shown <= all as u64);
    assert_eq!(node.engine.chain_status(node.now, None, usize::MAX).len(), all);
}

/// When everything has had the time to end.
pub(super) fn check_finished(world: &World) {
    for node in &world.nodes {
        for client in node.engine.status(node.now).clients {
            if client.interval_ms * (u64::from(client.times) + 2) < 8_000 {
                assert_eq!(client.chain_depth, 0, "{client:?}");
            }
        }
        for library in node.slots.iter().filter_map(|s| s.library.as_ref()) {
            assert_eq!(library.session.unresolved(), 0, "{:?}", library.session.state());
            assert_eq!(library.outcomes, library.accepted, "every outcome was told, once");
        }
    }
}
