//! Nodes whose clocks differ by a day, and daemons that read theirs at the right time.

use std::{ffi::OsString, os::unix::net::UnixStream};

use msg::Incarnation;
use msg_proto::units::Span;
use msg_tests::{
    client_process::{ClientProcess, ClientSpec, boot_clock_a_day_ahead, wall_clock_a_day_ahead},
    node::{Node, NodeSpec, join},
    party::Party,
    promise::{self, Receiver},
    report,
};

const SIZES: (usize, usize) = (4, 3_000);
const HALF_A_DAY: Span = Span::from_millis(12 * 3_600 * 1_000);

#[test]
fn boot_clocks_may_differ_by_a_day() {
    let Some(wrapper) = boot_clock_a_day_ahead() else {
        report::line("boot clocks: SKIPPED: `unshare --time` does not work here (it needs root)");
        return;
    };
    let (at_a, at_b) = talk("boot clocks", wrapper, Vec::new());
    // What the process beside b wrote is in its own clock.
    assert!(at_b.at.since(at_a.at) > HALF_A_DAY, "the clocks do not differ");
}

#[test]
fn wall_clocks_may_differ_by_a_day() {
    let Some(env) = wall_clock_a_day_ahead() else {
        report::line("wall clocks: SKIPPED: libfaketime is not installed (Debian: faketime)");
        return;
    };
    let (at_a, at_b) = talk("wall clocks", Vec::new(), env);
    // Incarnations grow with the wall time at which their daemon started.
    let (of_a, of_b) = (at_b.incarnation, at_a.incarnation);
    assert!(of_b.0.saturating_sub(of_a.0) > HALF_A_DAY.0, "the clocks do not differ: {of_a} and {of_b}");
}

/// The last message that came to one side.
struct Last {
    incarnation: Incarnation,
    at: msg_proto::units::Time,
}

/// Messages in both directions between `a` and a node under another clock, with its client.
fn talk(test: &str, wrapper: Vec<OsString>, env: Vec<(OsString, OsString)>) -> (Last, Last) {
    let seed = report::seed(test, 20_260_808);
    let spec = |name| NodeSpec::new(name).chain("interval_ms = 2000");
    let (mut a, mut b) = (spec("a"), spec("b"));
    join(&mut a, &mut b);
    (b.wrapper, b.env) = (wrapper.clone(), env);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let here = Party::join(100, a.client(100), seed, SIZES.0..=SIZES.1);
    let spec = ClientSpec { wrapper, interval_ms: 2_000, ..ClientSpec::new(b.socket(), 200, seed, SIZES) };
    let mut there = ClientProcess::start(spec);
    here.send(200, 500);
    there.send(100, 500);
    let outcomes = promise::check(&here, &there);
    assert_eq!((outcomes.taken, outcomes.failures()), (500, 0), "{outcomes}");
    assert_eq!(there.flush(), (500, 0), "{:?}", there.failures());
    here.wait_for_taken(500);
    for node in [&a, &b] {
        let stale = node.counter("stale_messages_dropped") + node.counter("stale_acks_dropped");
        assert_eq!((stale, node.counter("future_stamps")), (0, 0));
    }
    let last = |receiver: &dyn Receiver, src| {
        let taken = receiver.taken_from(src).pop().expect("messages came");
        Last { incarnation: taken.incarnation, at: taken.at }
    };
    (last(&here, there.id()), last(&there, here.id()))
}

/// Times that are read for who comes and goes are later than that of what came before in the same turn of the daemon.
#[test]
fn clients_that_come_and_go_under_traffic_are_no_step_of_the_clock() {
    let seed = report::seed("clients that come and go", 20_261_128);
    let (mut a, mut b) = (NodeSpec::new("a"), NodeSpec::new("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let sender = Party::join(100, a.client(100), seed, 4..=300);
    let receiver = Party::join(200, b.client(200), seed, 4..=300);
    for n in 1..=300 {
        sender.send(200, 20);
        for node in [&a, &b] {
            drop(UnixStream::connect(node.socket()).expect("it listens"));
        }
        if n % 10 == 0 {
            receiver.wait_for_taken(20 * n);
        }
    }
    assert_eq!([&a, &b].map(|node| node.counter("clock_steps")), [0, 0]);
    assert_eq!([&a, &b].map(|node| node.counter("links_up")), [1, 1]);
}
