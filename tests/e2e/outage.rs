//! A daemon that is away, or stands still, and clients that are late to come back (I6).

use std::time::Duration;

use msg::{Certainty, SendError, SendFlags};
use msg_proto::units::Span;
use msg_tests::{
    client_process::{ClientProcess, ClientSpec},
    node::{Node, NodeSpec, join},
    party::Party,
    promise::{self, failure_times},
    report, wait,
};
use msgd::clock;
use rustix::process::Signal;

const SIZES: (usize, usize) = (20_000, 20_000);
const INTERVAL_MS: u64 = 400;
const TIMES: u8 = 4;
/// I1, and what a busy machine takes to run a callback.
const BOUND_MS: f64 = (INTERVAL_MS * (TIMES as u64 + 1) + INTERVAL_MS / 2 + 10 + 2_000) as f64;

fn brief(node: &Node, id: u32, seed: u64) -> Party {
    let builder = node.client(id).interval(Duration::from_millis(INTERVAL_MS)).times(TIMES);
    Party::join(id, builder.max_stored(300), seed, SIZES.0..=SIZES.1)
}

/// Sends until there is no room. How many were accepted, and how long the slowest call took.
fn fill(sender: &Party) -> (usize, Span) {
    let (mut count, mut slowest) = (0, Span::ZERO);
    loop {
        let begin = clock::now();
        let sent = sender.try_send(200, SendFlags::NONE);
        slowest = slowest.max(clock::now().since(begin));
        match sent {
            Ok(_) => count += 1,
            Err(SendError::WouldBlock) => return (count, slowest),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn without_a_daemon_sends_are_accepted_and_end_in_time() {
    let seed = report::seed("no daemon", 20_261_201);
    let mut node = Node::start(&NodeSpec::new("a"));
    let mut receiver = ClientProcess::start(ClientSpec::new(node.socket(), 200, seed, SIZES));
    let sender = brief(&node, 100, seed);
    // Some of what is sent now is in the socket of a process that does not read, some has not left the daemon.
    receiver.stop();
    sender.send(200, 50);
    wait::until("the daemon has it", || node.counter("chain_depth") == 50);
    node.kill();
    let (count, slowest) = fill(&sender);
    report::line(format_args!("no daemon: {count} sends, the slowest call {slowest:?}"));
    assert_eq!(count, 250, "max_stored");
    assert!(slowest < Span::from_millis(1_000), "a send waited {slowest:?}");
    sender.flush();
    receiver.kill();
    let outcomes = promise::check(&sender, &receiver);
    report::line(format_args!("no daemon: {outcomes}; {}", report::spread(&failure_times(&sender))));
    assert_eq!(outcomes.failures(), 300);
    assert!(failure_times(&sender).iter().all(|&ms| ms < BOUND_MS));
    let sent = sender.log().sent.values().flatten().map(|sent| sent.msgid).collect::<Vec<_>>();
    for failed in &sender.log().failed {
        // What a daemon had may have begun; what was sent when there was none cannot.
        let may_have_begun = sent[..50].contains(&failed.msgid);
        assert_eq!(failed.verdict.certainty == Certainty::Unknown, may_have_begun, "{failed:?}");
    }
    node.start_again();
    let successor = ClientProcess::start(ClientSpec::new(node.socket(), 200, seed, SIZES));
    sender.send(200, 50);
    let outcomes = promise::check_all(&sender, &[&receiver, &successor]);
    assert_eq!((outcomes.taken, outcomes.failures()), (50, 300), "{outcomes}");
}

/// The library ends what a daemon that stands still has; it cannot take it back. When the daemon goes on, what is over must
/// not be handed over by it.
#[test]
fn what_is_given_up_with_a_daemon_that_stands_still_is_not_handed_over_later() {
    let seed = report::seed("a daemon stands still", 20_261_202);
    let (mut a, mut b) = (NodeSpec::new("a"), NodeSpec::new("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    // Beside the sender, and on the other node.
    for node in [&a, &b] {
        let receiver = Party::join(200, node.client(200), seed, SIZES.0..=SIZES.1);
        let sender = brief(&a, 100, seed);
        sender.send(200, 20);
        promise::check(&sender, &receiver);
        let before = receiver.taken();
        sender.send(200, 10);
        a.signal(Signal::STOP);
        let (count, slowest) = fill(&sender);
        assert!(slowest < Span::from_millis(1_000), "a send waited {slowest:?}");
        sender.flush();
        let given_up = sender.log().failed.len();
        let unknown =
            sender.log().failed.iter().filter(|f| f.verdict.certainty == Certainty::Unknown).count();
        report::line(format_args!(
            "a daemon stands still: {count} sent to it, {given_up} given up, {unknown} Unknown; {}",
            report::spread(&failure_times(&sender))
        ));
        assert!(given_up >= count && unknown > 0, "what is in its socket may begin yet");
        assert!(failure_times(&sender).iter().all(|&ms| ms < BOUND_MS));
        a.signal(Signal::CONT);
        wait::until("the daemon goes on", || a.counter("chain_depth") == 0);
        sender.send(200, 20);
        let outcomes = promise::check(&sender, &receiver);
        assert!(receiver.taken() - before >= 20, "{outcomes}");
        drop(sender);
        drop(receiver);
        wait::until("both have left", || [&a, &b].iter().all(|node| node.status().clients.is_empty()));
    }
}

/// Two nodes, of which `b` has a client that stands still when its daemon is killed and started again. It has been sent 20
/// messages that it has taken, and 20 that it has not.
fn late(test: &str, grace_ms: u64) -> (Node, Node, Party, ClientProcess) {
    let seed = report::seed(test, 20_261_203);
    let spec = |name| {
        let chain = "interval_ms = 200\ntimes = 100";
        NodeSpec::new(name).chain(chain).node(&format!("grace_ms = {grace_ms}"))
    };
    let (mut a, mut b) = (spec("a"), spec("b"));
    join(&mut a, &mut b);
    let (a, mut b) = (Node::start(&a), Node::start(&b));
    let receiver =
        ClientProcess::start(ClientSpec { times: 100, ..ClientSpec::new(b.socket(), 200, seed, (4, 100)) });
    let sender = Party::join(100, a.client(100), seed, 4..=100);
    sender.send(200, 20);
    receiver.wait_for_taken(20);
    receiver.stop();
    sender.send(200, 20);
    wait::until("its daemon has them", || {
        b.status().clients.iter().any(|client| client.queue_messages == 20)
    });
    b.kill();
    b.start_again();
    a.wait_for_links();
    (a, b, sender, receiver)
}

#[test]
fn a_stopped_client_that_returns_within_the_grace_has_missed_nothing() {
    let (_a, _b, sender, receiver) = late("late, within the grace", 60_000);
    wait::throughout("nothing fails", Duration::from_millis(1_000), || sender.log().failed.is_empty());
    sender.send(200, 20);
    receiver.go_on();
    let outcomes = promise::check(&sender, &receiver);
    assert_eq!((outcomes.taken, outcomes.failures()), (60, 0), "{outcomes}");
}

#[test]
fn a_stopped_client_is_gone_after_the_grace_and_comes_back_as_itself() {
    let (_a, b, sender, receiver) = late("late, after the grace", 300);
    sender.flush();
    let times = failure_times(&sender);
    report::line(format_args!("late, after the grace: {}", report::spread(&times)));
    // Its daemon says that it is gone; the messages' own time is 20 s.
    assert_eq!(times.len(), 20);
    assert!(times.iter().all(|&ms| ms < 10_000.0), "{times:?}");
    receiver.go_on();
    wait::until("it is back", || b.status().clients.iter().any(|client| client.id == 200));
    sender.send(200, 20);
    let outcomes = promise::check(&sender, &receiver);
    assert_eq!((outcomes.taken, outcomes.failures()), (40, 20), "{outcomes}");
    assert!(outcomes.failed.keys().all(|kind| kind.ends_with("/Unknown")), "{outcomes}");
}

#[test]
fn a_client_that_died_with_its_daemon_is_told_from_one_that_is_late() {
    let (_a, b, sender, mut receiver) = late("died with its daemon", 300);
    receiver.kill();
    let successor = ClientProcess::start(ClientSpec::new(b.socket(), 200, sender.seed(), (4, 100)));
    sender.send(200, 20);
    let outcomes = promise::check_all(&sender, &[&receiver, &successor]);
    report::line(format_args!(
        "died with its daemon: {outcomes}; {}",
        report::spread(&failure_times(&sender))
    ));
    assert_eq!((outcomes.taken, outcomes.failures()), (40, 20), "{outcomes}");
}
