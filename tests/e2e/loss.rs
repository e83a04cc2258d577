//! A network that loses, doubles, delays and corrupts, in both directions.

use std::time::Duration;

use msg::SendFlags;
use msg_tests::{
    node::{Node, NodeSpec, join_by_relay},
    party::Party,
    promise, report, wait,
};
use msgd::{
    clock,
    relay::{Direction, Faults, Share},
};

/// 10 % lost, 5 % doubled, 1 % corrupted, 0 to 4 ms on the way.
pub(crate) const ROUGH: Faults = Faults {
    loss: Share::percent(10),
    duplication: Share::percent(5),
    corruption: Share::percent(1),
    delay_max: Duration::from_millis(4),
    ..Faults::NONE
};

#[test]
fn everything_arrives_complete_once_and_in_order() {
    arrives("loss, adaptive", 5_000, SendFlags::NONE, "interval_ms = 200");
}

#[test]
fn everything_arrives_by_the_timer_alone() {
    arrives(
        "loss, timer only, unordered",
        1_000,
        SendFlags::UNORDERED,
        "interval_ms = 200\nadaptive = false",
    );
}

/// Each scan's copies move an ordered flow on to the first of them that is lost, about ten messages: so the chain
/// needs the time for that many scans.
#[test]
fn everything_arrives_in_order_by_the_timer_alone() {
    arrives(
        "loss, timer only, ordered",
        100,
        SendFlags::NONE,
        "interval_ms = 200\ntimes = 50\nadaptive = false",
    );
}

fn arrives(test: &str, count: u32, flags: SendFlags, chain: &str) {
    let seed = report::seed(test, 20_260_101);
    // Small datagrams, as on a network: loopback carries so large ones that few are left to be lost.
    let spec = |name| NodeSpec::new(name).node("max_mtu = 1200").chain(chain);
    let (mut a, mut b) = (spec("a"), spec("b"));
    let relay = join_by_relay(&mut a, &mut b, seed);
    relay.set_both(ROUGH);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let sender = Party::join(100, a.client(100), seed, 4..=9_000);
    let receiver = Party::join(200, b.client(200), seed, 4..=9_000);
    let begin = clock::now();
    sender.send_with(200, count, flags);
    sender.flush();
    let took = wait::ms_since(begin);
    let outcomes = promise::check(&sender, &receiver);

    let [there, back] = Direction::BOTH.map(|direction| relay.counts(direction));
    let (at_a, at_b) = (a.status().counters, b.status().counters);
    report::line(format_args!(
        "{test}: {outcomes} in {took:.0} ms; retransmits {}, fast retransmits {}, redundant copies {}, datagrams lost as a saw it {}; \
         at b duplicates {}, replayed {}, checksum errors {}, stale {}; relay a->b {} of {} lost, b->a {} of {}",
        at_a["retransmits"],
        at_a["fast_retransmits"],
        at_a["redundant_copies"],
        at_a["datagrams_lost"],
        at_b["duplicates"],
        at_b["replayed_datagrams"],
        at_b["checksum_errors"],
        at_b["stale_messages_dropped"],
        there.lost,
        there.received,
        back.lost,
        back.received,
    ));
    assert_eq!((outcomes.taken, outcomes.failures()), (count as usize, 0), "{outcomes}");
    assert!(there.lost > 0 && there.duplicated > 0 && there.corrupted > 0, "{there:?}");
    assert!(at_a["retransmits"] + at_a["fast_retransmits"] > 0);
    // The relay doubled datagrams that came, and changed others: all were seen as what they are.
    assert!(at_b["replayed_datagrams"] > 0 && at_b["checksum_errors"] > 0);
}
