//! A line that carries nothing for a while, in one direction or the other.

use std::{thread, time::Duration};

use msg::{Certainty, Reason, SendFlags, Verdict};
use msg_tests::{
    node::{Node, NodeSpec, join_by_relay},
    party::Party,
    promise, report, wait,
};
use msgd::relay::{Direction, Line};

const CHAIN: &str = "interval_ms = 200\ntimes = 4";
const SENDS: u32 = 50;
const UNKNOWN: Verdict = Verdict { reason: Reason::NoAnswer, certainty: Certainty::Unknown };

#[test]
fn what_does_not_arrive_fails_in_time_and_never_arrives() {
    // Neither is anything given before the cut nor while it lasts: what fails has not arrived.
    assert_eq!(fails_in_time("cut a->b", Direction::AToB), 0);
}

#[test]
fn what_arrives_without_an_answer_fails_too_and_is_given_once() {
    // It arrived, and its acks did not.
    assert_eq!(fails_in_time("cut b->a", Direction::BToA), SENDS as usize);
}

/// Sends across a line that is cut in one direction, heals it, and has traffic pass for 2 s. Returns how many of what
/// failed had arrived.
fn fails_in_time(test: &str, cut: Direction) -> usize {
    let seed = report::seed(test, 20_260_202);
    let (mut a, mut b) = (NodeSpec::new("a").chain(CHAIN), NodeSpec::new("b").chain(CHAIN));
    let relay = join_by_relay(&mut a, &mut b, seed);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let sender = Party::join(100, a.client(100), seed, 4..=2_000);
    let receiver = Party::join(200, b.client(200), seed, 4..=2_000);
    sender.send(200, 10);
    receiver.wait_for_taken(10);
    sender.flush();

    relay.cut(cut);
    for _ in 0..SENDS {
        sender.try_send(200, SendFlags::NONE).expect("room");
        // Spread over some scans, so that each meets them at another moment.
        thread::park_timeout(Duration::from_millis(3));
    }
    sender.flush();
    assert_eq!(relay.faults(cut).line, Line::Cut);
    let times = promise::failure_times(&sender);
    let failed = sender.log().failed.clone();
    assert_eq!(failed.len(), SENDS as usize);
    assert!(failed.iter().all(|failed| failed.verdict == UNKNOWN), "{:?}", failed[0].verdict);
    report::line(format_args!("{test}: {SENDS} sends failed after {}", report::spread(&times)));
    assert!(times.iter().all(|&ms| (1_000.0..5_000.0).contains(&ms)), "{times:?}");
    let arrived = receiver.taken() - 10;

    relay.heal(cut);
    let mut more = 0;
    wait::throughout("messages pass", Duration::from_millis(2_200), || {
        sender.try_send(200, SendFlags::WAIT).expect("sent");
        more += 1;
        true
    });
    let outcomes = promise::check(&sender, &receiver);
    assert_eq!(outcomes.failures(), SENDS as usize, "{outcomes}");
    assert_eq!(outcomes.taken, 10 + arrived + more, "what had failed came after all: {outcomes}");
    report::line(format_args!("{test}: healed, {more} more messages passed; {outcomes}"));
    arrived
}
