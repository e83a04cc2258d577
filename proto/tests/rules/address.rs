//! Messages for one instance and no other: as a reply is for the process that called, whoever is active by then.

use msg_proto::{
    control::Arrival,
    local::DrainCause,
    outcome::Reason,
    session::{SendFlags, SessionConfig, Taker},
};

use super::{NOT_STARTED, Options, Random, UNKNOWN, World, cut_from, verdict, world::session_config};

fn quick(id: u32) -> SessionConfig {
    SessionConfig { interval_ms: 100, times: Some(20), ..session_config(id) }
}

/// A server on the first node, and three instances of a client: a standby beside it, the active one and a standby on the second.
fn world() -> (World, usize, [usize; 3]) {
    let mut w = World::with(&Options { clocks: vec![1 << 40, 1 << 41], ..Options::default() });
    let server = w.client_with(0, quick(200));
    let standby = |w: &mut World, node, priority| {
        w.client_with(node, SessionConfig { priority, arrival: Arrival::Beside, ..quick(100) })
    };
    let instances = [standby(&mut w, 0, 1), standby(&mut w, 1, 9), standby(&mut w, 1, 1)];
    w.run(50);
    (w, server, instances)
}

/// The payloads that a client took, of the call layer.
fn calls(w: &World, client: usize) -> Vec<&[u8]> {
    w.clients[client].calls.iter().map(|call| &*call.data).collect()
}

fn takeover(w: &mut World, node: usize) -> usize {
    w.client_with(node, SessionConfig { priority: 9, arrival: Arrival::Takeover, ..quick(100) })
}

#[test]
fn it_goes_to_that_one_whoever_is_active() {
    let (mut w, server, instances) = world();
    for (n, instance) in instances.into_iter().enumerate() {
        let to = w.who(instance);
        let payload = vec![u8::try_from(n).unwrap(); 1 + 3000 * n];
        let msgid = w.send_to(server, &to, &payload).unwrap();
        w.run(20);
        assert_eq!(calls(&w, instance), [&payload[..]]);
        assert_eq!(w.clients[server].call_outcomes.last(), Some(&(msgid, Ok(()))));
        assert_eq!(w.clients[server].takers.last(), Some(&to));
    }
    assert_eq!(w.counter(0, msg_proto::counters::Counter::Retransmits), 0);
}

#[test]
fn when_that_one_is_gone_it_fails_and_goes_to_nobody() {
    let (mut w, server, instances) = world();
    for instance in instances {
        let to = w.who(instance);
        w.clients[instance].is_stopped = true;
        // One that may have been begun when it dies, and one that comes for a dead one.
        let begun = w.send_to(server, &to, b"begun").unwrap();
        w.run(20);
        w.kill(instance);
        w.run(20);
        let late = w.send_to(server, &to, b"late").unwrap();
        w.run(20);
        let outcomes = &w.clients[server].call_outcomes;
        let gone = |certainty| Err(verdict(Reason::ReceiverGone, certainty));
        assert_eq!(outcomes[outcomes.len() - 2..], [(begun, gone(UNKNOWN)), (late, gone(NOT_STARTED))]);
    }
    let nowhere = Taker { node: "nowhere".into(), ..w.who(instances[0]) };
    w.send_to(server, &nowhere, b"nowhere").unwrap();
    w.run(1000);
    let outcomes = &w.clients[server].call_outcomes;
    assert_eq!(outcomes.last().map(|(_, o)| *o), Some(Err(verdict(Reason::ReceiverGone, NOT_STARTED))));
    assert_eq!(outcomes.len(), 7);
    assert!(instances.iter().all(|instance| calls(&w, *instance).is_empty()));
}

#[test]
fn one_that_is_superseded_still_takes_it_and_nothing_else() {
    for len in [1, 5000] {
        let (mut w, server, [_, active, _]) = world();
        let old = w.who(active);
        let payload = vec![7; len];
        w.clients[active].is_stopped = true;
        // All of this stands in its socket, or half reassembled, when it is superseded.
        w.send(server, 100, b"plain 1", b"").unwrap();
        w.send_to(server, &old, b"addressed 1").unwrap();
        w.send(server, 100, b"plain 2", b"").unwrap();
        w.run(10);
        let new = takeover(&mut w, 1);
        w.send_to(server, &old, &payload).unwrap();
        w.send(server, 100, b"plain 3", b"").unwrap();
        w.run(10);
        w.clients[active].is_stopped = false;
        w.run(200);
        assert_eq!(w.clients[active].drain, Some(DrainCause::Superseded));
        assert_eq!(calls(&w, active), [&b"addressed 1"[..], &payload]);
        assert_eq!(w.payloads(active), [b""; 0]);
        assert_eq!(w.payloads(new), [b"plain 1", b"plain 2", b"plain 3"]);
        assert!(calls(&w, new).is_empty());
        assert_eq!(w.clients[server].session.unresolved(), 0);
        assert!(w.clients[server].call_outcomes.iter().all(|(_, outcome)| outcome.is_ok()));
        // Until it has left.
        w.send_to(server, &old, b"addressed 3").unwrap();
        w.run(10);
        assert_eq!(calls(&w, active).len(), 3);
        w.leave(active);
        w.send_to(server, &old, b"addressed 4").unwrap();
        w.run(10);
        let last = w.clients[server].call_outcomes.last().map(|(_, outcome)| *outcome);
        assert_eq!(last, Some(Err(verdict(Reason::ReceiverGone, NOT_STARTED))));
        w.engines.iter().for_each(|engine| engine.check_invariants().unwrap());
    }
}

#[test]
fn what_waits_for_room_at_one_that_leaves_goes_on_waiting() {
    let (mut w, server, [_, active, _]) = world();
    let old = w.who(active);
    w.clients[active].is_stopped = true;
    // The window of deliveries holds one of these, and nothing behind it.
    let large = vec![7; 400_000];
    for _ in 0..2 {
        w.send_to(server, &old, &large).unwrap();
        w.send(server, 100, &large, b"").unwrap();
    }
    w.run(40);
    let new = takeover(&mut w, 1);
    w.run(10);
    assert_eq!(w.clients[server].call_outcomes, []);
    w.clients[active].is_stopped = false;
    w.run(500);
    assert_eq!(calls(&w, active), [&large[..], &large]);
    assert_eq!(w.payloads(new), [&large[..], &large]);
    assert!(w.payloads(active).is_empty());
    w.engines.iter().for_each(|engine| engine.check_invariants().unwrap());
}

#[test]
fn one_that_stands_still_keeps_no_other_message_back() {
    let (mut w, server, [_, active, standby]) = world();
    let to = w.who(standby);
    w.clients[standby].is_stopped = true;
    w.send_to(server, &to, b"for the standby").unwrap();
    let unordered = SendFlags { unordered: true, at_least_once: false };
    w.send_with(server, 100, b"for whoever is active", b"", unordered).unwrap();
    w.run(10);
    assert_eq!(w.payloads(active), [b"for whoever is active"]);
    // Another one is active; what is in doubt at the standby does not matter.
    let new = takeover(&mut w, 1);
    w.send_with(server, 100, b"for the new one", b"", unordered).unwrap();
    w.run(10);
    assert_eq!(w.payloads(new), [b"for the new one"]);
    w.clients[standby].is_stopped = false;
    w.run(300);
    assert_eq!(calls(&w, standby), [b"for the standby"]);
}

#[test]
fn on_one_node_what_waits_is_called_back_when_its_time_is_over() {
    let (mut w, server, [beside, ..]) = world();
    let to = w.who(beside);
    w.clients[beside].is_stopped = true;
    let large = vec![7; 400_000];
    for _ in 0..2 {
        w.send_to(server, &to, &large).unwrap();
    }
    w.run(2300);
    let outcomes: Vec<_> = w.clients[server].call_outcomes.iter().map(|(_, o)| *o).collect();
    let expected = [verdict(Reason::NoAnswer, UNKNOWN), verdict(Reason::NoAnswer, NOT_STARTED)];
    assert_eq!(outcomes, expected.map(Err));
    w.clients[beside].is_stopped = false;
    w.run(500);
    assert!(calls(&w, beside).is_empty(), "I4");
}

#[test]
fn i6_it_is_taken_once_whichever_daemon_dies() {
    for node in [0, 1] {
        for leaves in [false, true] {
            let (mut w, server, [_, active, _]) = world();
            let to = w.who(active);
            w.send_to(server, &to, b"taken before").unwrap();
            w.run(10);
            if leaves {
                takeover(&mut w, 1);
                w.run(10);
            }
            w.network = cut_from(1);
            w.send_to(server, &to, b"acked after").unwrap();
            w.run(10);
            w.restart(node);
            w.network = super::clear();
            w.send_to(server, &to, b"sent after").unwrap();
            w.run(1500);
            let mut taken = calls(&w, active);
            taken.sort_unstable();
            assert_eq!(taken, [&b"acked after"[..], b"sent after", b"taken before"], "{node} {leaves}");
            let outcomes = &w.clients[server].call_outcomes;
            assert!(outcomes.len() == 3 && outcomes.iter().all(|(_, o)| o.is_ok()), "{outcomes:?}");
        }
    }
}

#[test]
fn without_a_way_it_waits_out_its_time() {
    let (mut w, server, [_, active, _]) = world();
    let to = w.who(active);
    w.network = super::cut();
    w.send_to(server, &to, b"lost").unwrap();
    w.run(6000);
    w.send_to(server, &to, b"never left").unwrap();
    w.run(3000);
    let outcomes: Vec<_> = w.clients[server].call_outcomes.iter().map(|(_, o)| *o).collect();
    let expected = [verdict(Reason::NoAnswer, UNKNOWN), verdict(Reason::NoRoute, NOT_STARTED)];
    assert_eq!(outcomes, expected.map(Err));
}

/// Whatever dies, is superseded and drained: what is for one is taken by that one only, once, and told truly.
#[test]
fn a_lost_node_ends_what_is_for_whoever_is_active_and_not_what_is_for_one_instance() {
    let (mut w, _, [here, active, _]) = world();
    let server = w.client_with(0, SessionConfig { times: Some(200), ..quick(201) });
    for instance in [here, active] {
        w.clients[instance].is_stopped = true;
    }
    let flags = SendFlags { unordered: true, at_least_once: false };
    let plain = w.send_with(server, 100, b"plain", b"", flags).unwrap();
    let (here, there) = (w.who(here), w.who(active));
    let addressed = [&here, &there].map(|to| w.send_to(server, to, b"addressed").unwrap());
    w.run(50);
    w.cuts = vec![(0, 1), (1, 0)];
    w.run(7000);
    // The active one is given up, and the flow goes to the one that stands still here.
    let failed: Vec<_> = w.clients[server].failed.iter().map(|(f, _)| (f.msgid, f.verdict)).collect();
    assert_eq!(failed, [(plain, verdict(Reason::NoAnswer, UNKNOWN))]);
    assert_eq!(w.clients[server].call_outcomes, [], "their time is not over");
    w.cuts.clear();
    for client in &mut w.clients {
        client.is_stopped = false;
    }
    w.run(3000);
    assert_eq!(w.clients[server].call_outcomes.len(), 2);
    assert!(addressed.iter().all(|msgid| w.clients[server].call_outcomes.contains(&(*msgid, Ok(())))));
}

#[test]
fn i6_nobody_else_is_ever_given_it() {
    for seed in 0..60 {
        let mut w = World::with(&Options { clocks: vec![1 << 40, 1 << 41, 5], ..Options::default() });
        let mut random = Random(seed);
        let server = w.client_with(0, quick(200));
        w.run(50);
        let (mut instances, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            let node = usize::try_from(random.next(3)).unwrap();
            let arrival = if random.next(2) == 0 { Arrival::Takeover } else { Arrival::Beside };
            let priority = u8::try_from(random.next(2)).unwrap();
            let one = usize::try_from(random.next(instances.len().max(1) as u64)).unwrap();
            match (random.next(10), instances.get(one).copied()) {
                (0..2, _) | (_, None) => {
                    instances.push(w.client_with(node, SessionConfig { priority, arrival, ..quick(100) }));
                }
                (2, Some(one)) => w.kill(one),
                (3, Some(one)) if !w.clients[one].is_stopped => w.leave(one),
                (4, Some(one)) => w.drain_client(one),
                (5, Some(one)) => w.clients[one].is_stopped = !w.clients[one].is_stopped,
                (6, _) => {
                    w.clients.iter_mut().filter(|c| c.node == node).for_each(|c| c.is_stopped = false);
                    w.restart(node);
                }
                (7, _) => w.cuts = vec![(0, node)],
                (8, _) => w.cuts = vec![(node, 0)],
                _ => w.cuts.clear(),
            }
            for one in instances.iter().rev().take(4) {
                let (to, number) = (w.who(*one), u32::try_from(sent.len()).unwrap());
                if w.send_to(server, &to, &number.to_le_bytes()).is_ok() {
                    sent.push(*one);
                }
                w.send(server, 100, b"plain", b"").ok();
            }
            w.run(1 + random.next(120));
            for engine in &w.engines {
                engine.check_invariants().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            }
        }
        w.cuts.clear();
        instances.iter().for_each(|one| w.clients[*one].is_stopped = false);
        w.run(10_000);
        assert_eq!(w.clients[server].session.unresolved(), 0, "seed {seed}");
        let mut taken = vec![0; sent.len()];
        for one in &instances {
            for call in calls(&w, *one) {
                let number = u32::from_le_bytes(call.try_into().unwrap()) as usize;
                assert_eq!(sent[number], *one, "seed {seed}: somebody else's");
                taken[number] += 1;
            }
        }
        assert!(taken.iter().all(|n| *n <= 1), "seed {seed}: {taken:?}");
        let mut outcomes = w.clients[server].call_outcomes.clone();
        outcomes.sort_unstable_by_key(|(msgid, _)| msgid.0);
        assert_eq!(outcomes.len(), sent.len(), "seed {seed}");
        for (taken, (msgid, outcome)) in taken.iter().zip(&outcomes) {
            let is_true = match outcome {
                Ok(()) => *taken == 1,
                Err(verdict) => verdict.certainty == UNKNOWN || *taken == 0,
            };
            assert!(is_true, "seed {seed}: {msgid:?} {outcome:?} {taken}");
        }
    }
}
