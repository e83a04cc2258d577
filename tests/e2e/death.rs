//! Processes that die: what others sent them, and what they sent, still ends, and ends truly.

use msg_tests::{
    client_process::{ClientProcess, ClientSpec},
    node::{Node, NodeSpec, join, join_by_relay},
    party::Party,
    promise, report, wait,
};

const COUNT: u32 = 60;
/// Some of them fit into the socket of a process that does not read; the rest has not left the daemon.
const SIZES: (usize, usize) = (20_000, 20_000);

/// A receiver that stands still, with messages in its socket and more in its daemon, and dies.
fn receiver_dies(test: &str, interval_ms: u64, times: u8) -> (Node, Node, Party, ClientProcess) {
    let seed = report::seed(test, 20_260_606);
    let spec = |name| NodeSpec::new(name).chain(&format!("interval_ms = {interval_ms}\ntimes = {times}"));
    let (mut a, mut b) = (spec("a"), spec("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let mut receiver = ClientProcess::start(ClientSpec::new(b.socket(), 200, seed, SIZES));
    let sender = Party::join(100, a.client(100), seed, SIZES.0..=SIZES.1);
    receiver.stop();
    sender.send(200, COUNT);
    wait::until("all of it is with the receiver's daemon", || {
        b.status().clients.iter().any(|client| client.queue_messages == u64::from(COUNT))
    });
    receiver.kill();
    assert_eq!(receiver.taken(), 0);
    (a, b, sender, receiver)
}

#[test]
fn of_a_receiver_that_died_it_is_said_what_is_known() {
    let (_a, _b, sender, receiver) = receiver_dies("receiver dies", 2_000, 1);
    let outcomes = promise::check(&sender, &receiver);
    report::line(format_args!("receiver dies: {outcomes}"));
    assert_eq!(outcomes.failures(), COUNT as usize);
    // What was written to its socket it may have begun to read; of the rest it is sure that it has not.
    assert!(outcomes.failed.keys().any(|kind| kind.ends_with("/Unknown")), "{outcomes}");
    assert!(outcomes.failed.keys().any(|kind| kind.ends_with("/NotStarted")), "{outcomes}");
}

#[test]
fn a_successor_is_given_what_the_dead_one_cannot_have_begun() {
    let (_a, b, sender, receiver) = receiver_dies("successor", 2_000, 5);
    let seed = sender.seed();
    let successor = ClientProcess::start(ClientSpec::new(b.socket(), 200, seed, SIZES));
    let outcomes = promise::check_all(&sender, &[&receiver, &successor]);
    report::line(format_args!("successor: {outcomes}"));
    assert!(outcomes.taken > 0 && outcomes.failures() > 0, "{outcomes}");
    assert_eq!(outcomes.taken + outcomes.failures(), COUNT as usize, "nothing twice: {outcomes}");
    assert!(outcomes.failed.keys().all(|kind| kind == "ReceiverGone/Unknown"), "{outcomes}");
}

#[test]
fn what_a_dead_sender_had_sent_still_ends() {
    let seed = report::seed("sender dies", 20_260_607);
    let spec = |name| NodeSpec::new(name).chain("interval_ms = 200\ntimes = 4");
    let (mut a, mut b) = (spec("a"), spec("b"));
    let relay = join_by_relay(&mut a, &mut b, seed);
    let (a, b) = (Node::start(&a), Node::start(&b));
    let receiver = Party::join(200, b.client(200), seed, 4..=1_000);
    for (round, is_healed) in [true, false].into_iter().enumerate() {
        let spec = ClientSpec { times: 20, ..ClientSpec::new(a.socket(), 100, seed, (4, 1_000)) };
        let spec = if is_healed { spec } else { ClientSpec { interval_ms: 600, times: 2, ..spec } };
        let mut sender = ClientProcess::start(spec);
        wait::until("the link is up", || a.status().peers[0].state == "up");
        relay.cut_both();
        sender.send(200, 200);
        wait::until("its daemon has them", || a.counter("chain_depth") == 200);
        sender.kill();
        wait::until("its daemon has seen its death", || a.status().clients.is_empty());
        if is_healed {
            assert_eq!(a.counter("chain_depth"), 200);
            relay.heal_both();
            receiver.wait_for_taken(200);
        }
        wait::until("all have ended", || a.counter("chain_depth") == 0);
        relay.heal_both();
        let failed = if round == 0 { 0 } else { 200 };
        assert_eq!((a.counter("messages_acked"), a.counter("messages_failed")), (200, failed));
    }
    assert_eq!(receiver.taken(), 200);
}
