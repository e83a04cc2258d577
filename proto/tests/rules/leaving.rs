//! Clients that leave while they still have to do with what they took, and whose daemon dies meanwhile: who takes over begins
//! nothing before that is done.

use msg_proto::{
    control::Arrival,
    counters::Counter,
    outcome::{Certainty, Reason},
    session::{AckMode, SendFlags, SessionConfig, State},
};

use super::{
    deploy::{Traffic, server},
    verdict,
};

/// Where the sender is: on another node than the servers, and on theirs.
const NODES: [usize; 2] = [0, 1];

/// A server that acks in that way and stands still, and `count` messages in its socket.
fn begun(senders_on: usize, ack: AckMode, count: u32) -> (Traffic, usize) {
    let servers = [(1, SessionConfig { ack, ..server(Arrival::Alone) })];
    let mut t = Traffic::new(2, &[senders_on], &servers);
    let old = t.servers[0];
    t.w.clients[old].is_stopped = true;
    t.send(count);
    t.w.run(5);
    take(&mut t, old);
    (t, old)
}

/// The same, and it goes on but for the handler.
fn handling(senders_on: usize, count: u32) -> (Traffic, usize) {
    let (mut t, old) = begun(senders_on, AckMode::OnHandled, count);
    t.w.clients[old].is_stopped = false;
    (t, old)
}

/// Has it begin the next message; the handler does not return.
fn take(t: &mut Traffic, server: usize) {
    let (node, at) = (t.w.clients[server].node, t.w.now);
    let now = t.w.clock(node);
    let client = &mut t.w.clients[server];
    let message = client.session.poll_message(now).expect("delivered");
    let taken = (message.msgid.0, message.data.to_vec(), at);
    client.taken.push(taken);
}

fn successor(t: &mut Traffic) -> usize {
    let new = t.w.client_with(1, server(Arrival::Takeover));
    t.servers.push(new);
    new
}

#[test]
fn i6_a_successor_waits_for_a_handler_that_runs_when_the_daemon_dies() {
    for from in NODES {
        for count in [1, 3] {
            let (mut t, old) = handling(from, count);
            let new = successor(&mut t);
            t.send(2);
            t.w.run(300);
            assert_eq!(
                t.w.clients[new].taken.len(),
                0,
                "its predecessor has the first, and it goes before them"
            );
            for _ in 0..2 {
                t.w.restart(1);
                t.w.run(2500);
                assert_eq!(t.w.clients[new].taken.len(), 0, "that is so for a daemon that was started since");
                assert_eq!(t.w.clients[t.senders[0]].acked.len(), 0, "ack on handled");
            }
            t.w.clients[old].session.message_handled();
            t.w.run(300);
            t.check(&format!("{count} messages"));
        }
    }
}

#[test]
fn i6_a_successor_waits_for_what_other_threads_have_to_begin_when_the_daemon_dies() {
    for from in NODES {
        let (mut t, old) = begun(from, AckMode::OnTake, 3);
        t.w.clients[old].session.record_backlog(1);
        let new = successor(&mut t);
        t.w.clients[old].is_stopped = false;
        t.w.run(300);
        assert_eq!((t.w.clients[old].taken.len(), t.w.clients[new].taken.len()), (1, 0));
        t.w.restart(1);
        t.w.run(2500);
        assert_eq!(t.w.clients[new].taken.len(), 0, "that is so for a daemon that was started since");
        t.w.clients[old].session.record_backlog(0);
        // Those that came meanwhile are answered at once, not when they come again.
        t.w.run(5);
        t.check("in the order of the sends");
    }
}

/// One was taken, acked, and stands with another thread when a successor comes; then one more is sent.
fn with_backlog(from: usize) -> (Traffic, usize, usize) {
    let (mut t, old) = begun(from, AckMode::OnTake, 1);
    t.w.clients[old].session.record_backlog(1);
    t.w.clients[old].is_stopped = false;
    t.w.run(5);
    assert_eq!(t.w.clients[t.senders[0]].acked.len(), 1, "nothing of the flow is in doubt");
    let new = successor(&mut t);
    t.w.run(5);
    assert!(t.w.clients[old].session.holds_drained());
    t.send(1);
    t.w.run(20);
    assert_eq!(t.w.clients[new].taken.len(), 0, "its predecessor has still to begin the first");
    (t, old, new)
}

#[test]
fn i5_a_successor_waits_for_what_was_acked_and_not_begun() {
    for from in NODES {
        let (mut t, old, new) = with_backlog(from);
        let flags = SendFlags { unordered: true, at_least_once: false };
        t.w.send_with(t.senders[0], 200, b"in no order", b"", flags).unwrap();
        t.w.run(5);
        assert_eq!(t.w.clients[new].taken.len(), 1, "what is unordered waits for none");
        t.w.clients[new].taken.clear();
        t.w.clients[old].session.record_backlog(0);
        t.w.run(5);
        assert_eq!(t.w.clients[new].taken.len(), 1);
    }
}

#[test]
fn i5_a_successor_waits_when_the_daemon_died_since() {
    for from in NODES {
        let (mut t, old) = begun(from, AckMode::OnTake, 1);
        t.w.clients[old].session.record_backlog(1);
        t.w.clients[old].is_stopped = false;
        t.w.run(5);
        let new = successor(&mut t);
        t.w.run(5);
        t.w.restart(1);
        while [old, new].iter().any(|c| t.w.clients[*c].session.state() != State::Registered) {
            t.w.run(1);
        }
        t.send(1);
        t.w.run(20);
        assert_eq!(t.w.clients[new].taken.len(), 0);
        t.w.clients[old].session.record_backlog(0);
        t.w.run(5);
        t.check("then it is given");
    }
}

#[test]
fn a_successor_does_not_wait_for_ever() {
    for from in NODES {
        // Half of the interval of the one that leaves.
        let (mut t, _, new) = with_backlog(from);
        t.w.run(30);
        assert_eq!(t.w.clients[new].taken.len(), 1, "what takes its time is not waited for");
        let (mut t, old, new) = with_backlog(from);
        t.w.kill(old);
        t.w.run(5);
        assert_eq!(t.w.clients[new].taken.len(), 1, "nor is what died");
    }
}

#[test]
fn what_was_dropped_as_stale_goes_back_at_once_when_its_client_leaves() {
    for from in NODES {
        let (mut t, old) = begun(from, AckMode::OnTake, 1);
        t.w.clients[old].session.record_backlog(0);
        t.send(3);
        // They grow stale in its socket. What it drops then comes again with its sender's timer, in 40 ms and more.
        t.w.run(155);
        t.w.clients[old].is_stopped = false;
        t.w.run(1);
        assert!(t.w.counter(1, Counter::StaleDeliveriesDropped) > 0);
        assert_eq!(t.w.clients[old].taken.len(), 1);
        let new = t.w.client_with(0, server(Arrival::Alone));
        t.servers.push(new);
        t.w.drain_client(old);
        t.w.run(10);
        assert_eq!(t.w.clients[new].taken.len(), 3, "none of them is in doubt for longer");
        t.w.run(5);
        t.check("they go to the next");
    }
}

#[test]
fn i3_who_dies_in_a_handler_has_begun_the_message_also_for_a_daemon_that_was_started_since() {
    for from in NODES {
        for leaves in [false, true] {
            let (mut t, old) = handling(from, 2);
            let new = leaves.then(|| successor(&mut t));
            t.w.restart(1);
            t.w.run(300);
            assert_eq!(t.w.clients[t.senders[0]].acked.len(), 0, "ack on handled");
            t.w.kill(old);
            t.w.run(300);
            let failed = &t.w.clients[t.senders[0]].failed;
            let mut failed: Vec<_> = failed.iter().map(|(f, _)| (f.msgid.0, f.verdict)).collect();
            failed.sort_by_key(|(msgid, _)| *msgid);
            let unknown = verdict(Reason::ReceiverGone, Certainty::Unknown);
            match new {
                Some(new) => {
                    assert_eq!(failed, [(1, unknown)]);
                    assert_eq!(t.w.clients[new].taken.len(), 1, "it was not given the other one again");
                }
                None => assert_eq!(failed, [(1, unknown), (2, unknown)]),
            }
        }
    }
}

#[test]
fn i6_what_is_handled_after_the_daemon_died_is_acked_then() {
    for from in NODES {
        let (mut t, old) = handling(from, 3);
        t.w.restart(1);
        t.w.run(300);
        assert_eq!(t.w.clients[t.senders[0]].acked.len(), 0);
        assert_eq!(t.w.clients[old].taken.len(), 1, "one at a time");
        t.w.clients[old].session.message_handled();
        t.w.run(300);
        t.check("after its return");
    }
}

#[test]
fn i6_what_is_handled_while_no_daemon_is_there_is_acked_by_the_next_one() {
    for from in NODES {
        let (mut t, old) = handling(from, 3);
        successor(&mut t);
        t.w.restart(1);
        t.w.clients[old].session.message_handled();
        t.w.restart(1);
        t.w.run(300);
        t.check("between two daemons");
    }
}

#[test]
fn who_is_drained_in_a_handler_of_a_message_from_before_the_daemon_says_so_when_it_returns() {
    for from in NODES {
        let (mut t, old) = handling(from, 2);
        let sender = t.senders[0];
        t.w.restart(1);
        // The copy that the new daemon was sent stands in its socket again.
        t.w.run(300);
        t.w.drain_client(old);
        t.w.run(300);
        assert!(t.w.clients[sender].failed.is_empty());
        let new = t.w.client_with(1, server(Arrival::Beside));
        t.servers.push(new);
        t.w.run(300);
        assert_eq!(t.w.clients[new].taken.len(), 0);
        t.w.clients[old].session.message_handled();
        t.w.run(300);
        t.check("drained");
    }
}

#[test]
fn who_died_with_its_daemon_is_known_to_be_gone_when_the_grace_is_over() {
    for from in NODES {
        let (mut t, old) = begun(from, AckMode::OnHandled, 2);
        let new = t.w.client_with(0, server(Arrival::Beside));
        t.servers.push(new);
        t.w.clients[old].is_alive = false;
        t.w.restart(1);
        t.send(1);
        t.w.run(2500);
        let failed: Vec<_> = t.w.clients[t.senders[0]].failed.iter().map(|(f, _)| f.verdict).collect();
        assert_eq!(failed, [verdict(Reason::ReceiverGone, Certainty::Unknown); 2], "from node {from}");
        assert_eq!(t.w.clients[new].taken.len(), 1, "and the other goes on");
    }
}

#[test]
fn i6_what_nobody_has_begun_is_for_the_next_process_also_under_the_next_daemon() {
    for from in NODES {
        let mut t = Traffic::new(2, &[from], &[(1, server(Arrival::Alone))]);
        let old = t.servers[0];
        t.w.clients[old].is_stopped = true;
        t.send(3);
        t.w.run(5);
        t.w.drain_client(old);
        t.w.run(1);
        t.w.clients[old].is_stopped = false;
        t.w.run(20);
        t.w.kill(old);
        // Neither of them can say what became of a process that it never knew.
        for node in 0..2 {
            t.w.restart(node);
        }
        t.w.run(100);
        let new = t.w.client_with(1, server(Arrival::Alone));
        t.servers.push(new);
        t.w.run(300);
        assert_eq!(t.w.clients[new].taken.len(), 3, "from node {from}");
        t.check("it is given all that waited");
    }
}
