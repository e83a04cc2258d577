//! Hot deployment: takeovers and drains, with nothing lost.

use msg_proto::{
    control::Arrival,
    ids::ClientId,
    local::DrainCause,
    outcome::{Certainty, Reason},
    session::{AckMode, SessionConfig},
};

use super::world::{Options, Random, World, session_config};

fn quick(id: u32) -> SessionConfig {
    SessionConfig { interval_ms: 100, times: Some(100), ..session_config(id) }
}

pub(crate) fn server(arrival: Arrival) -> SessionConfig {
    SessionConfig { arrival, ..quick(200) }
}

/// Senders with ever larger numbers, and who took what.
pub(crate) struct Traffic {
    pub(crate) w: World,
    pub(crate) senders: Vec<usize>,
    pub(crate) servers: Vec<usize>,
    sent: u32,
}

impl Traffic {
    pub(crate) fn new(nodes: usize, senders_on: &[usize], servers: &[(usize, SessionConfig)]) -> Self {
        let clocks = [1_000_000, 90_000_000_000, 5].into_iter().take(nodes).collect();
        let mut w = World::with(&Options { clocks, ..Options::default() });
        w.run(50);
        let numbered = senders_on.iter().zip(100..);
        let senders = numbered.map(|(node, id)| w.client_with(*node, quick(id))).collect();
        let servers = servers.iter().map(|(node, config)| w.client_with(*node, config.clone())).collect();
        w.run(50);
        Self { w, senders, servers, sent: 0 }
    }

    pub(crate) fn send(&mut self, count: u32) {
        for _ in 0..count {
            for sender in self.senders.clone() {
                let mut payload = self.sent.to_le_bytes().to_vec();
                payload.push(u8::try_from(sender).expect("few"));
                self.w.send(sender, 200, &payload, b"").expect("room");
            }
            self.sent += 1;
        }
    }

    /// Each message was taken once, in its sender's order, and none failed.
    pub(crate) fn check(&self, what: &str) {
        for sender in &self.senders {
            let failed = &self.w.clients[*sender].failed;
            assert!(failed.is_empty(), "{what}: {failed:?}");
            let all = self.servers.iter().flat_map(|s| &self.w.clients[*s].taken);
            let mut own: Vec<_> = all
                .filter(|(_, payload, _)| usize::from(payload[4]) == *sender)
                .map(|(_, payload, at)| (*at, u32::from_le_bytes(payload[..4].try_into().expect("four"))))
                .collect();
            own.sort_by_key(|(at, _)| *at);
            let own: Vec<_> = own.into_iter().map(|(_, number)| number).collect();
            assert_eq!(own, (0..self.sent).collect::<Vec<_>>(), "{what}");
            assert_eq!(self.w.clients[*sender].acked.len(), self.sent as usize, "{what}");
        }
    }
}

#[test]
fn a_server_is_replaced_50_times_by_takeover_and_nobody_notices() {
    for seed in 0..8 {
        let mut random = Random(seed);
        let mut t = Traffic::new(2, &[0, 1, 0], &[(1, server(Arrival::Alone))]);
        let ack = if seed % 2 == 0 { AckMode::OnTake } else { AckMode::OnHandled };
        for _ in 0..50 {
            for _ in 0..4 {
                let count = u32::try_from(random.next(4)).unwrap();
                t.send(count);
                let micros = random.next(900);
                t.w.run_micros(micros);
            }
            let old = *t.servers.last().unwrap();
            // Some are in its socket, or on their way, when it is replaced.
            t.w.clients[old].is_stopped = random.next(2) == 0;
            t.send(2);
            let micros = random.next(300);
            t.w.run_micros(micros);
            t.servers.push(t.w.client_with(1, SessionConfig { ack, ..server(Arrival::Takeover) }));
            t.send(1);
            t.w.clients[old].is_stopped = false;
            t.w.run_micros(50);
            assert_eq!(t.w.clients[old].drain, Some(DrainCause::Superseded));
            if random.next(2) == 0 {
                t.w.leave(old);
            }
        }
        t.w.run(500);
        t.check(&format!("seed {seed}"));
    }
}

#[test]
fn what_the_old_one_has_begun_is_acked_by_it_and_its_own_outcomes_reach_it() {
    let mut t =
        Traffic::new(2, &[0], &[(1, SessionConfig { ack: AckMode::OnHandled, ..server(Arrival::Alone) })]);
    let old = t.servers[0];
    t.w.clients[old].is_stopped = true;
    t.send(3);
    t.w.run(5);
    // Its handler runs when it is replaced.
    let now = t.w.clock(1);
    let taken = t.w.clients[old].session.poll_message(now).expect("delivered").msgid;
    t.w.clients[old].taken.push((taken.0, vec![0, 0, 0, 0, 0], t.w.now));
    t.servers.push(t.w.client_with(1, server(Arrival::Takeover)));
    t.w.send(old, 100, b"sent by the old one", b"").unwrap();
    t.w.run(50);
    assert_eq!(
        t.w.clients[t.servers[1]].taken.len(),
        0,
        "the old one has the first, and it goes before them"
    );
    t.w.clients[old].session.message_handled();
    t.w.clients[old].is_stopped = false;
    t.w.run(50);
    t.check("handled by the old one");
    assert_eq!(t.w.clients[old].acked.len(), 1);
    assert_eq!(t.w.clients[old].session.unresolved(), 0);
    assert_eq!(t.w.clients[t.senders[0]].taken.len(), 1);
}

#[test]
fn a_drained_instance_gives_back_what_it_has_not_taken() {
    for by_daemon in [true, false] {
        let mut t = Traffic::new(
            3,
            &[0, 1],
            &[(1, SessionConfig { priority: 1, ..server(Arrival::Alone) }), (2, server(Arrival::Alone))],
        );
        t.send(3);
        t.w.run(10);
        t.w.clients[t.servers[0]].is_stopped = true;
        t.send(5);
        t.w.run(10);
        if by_daemon {
            let now = t.w.clock(1);
            assert_eq!(t.w.engines[1].handle_drain(now, Some(ClientId(200))), 1);
            t.w.run(10);
            assert_eq!(t.w.clients[t.servers[1]].taken.len(), 0, "it may have begun them");
        } else {
            t.w.drain_client(t.servers[0]);
        }
        t.w.clients[t.servers[0]].is_stopped = false;
        t.w.run(10);
        assert_eq!(t.w.clients[t.servers[0]].taken.len(), 6);
        assert_eq!(t.w.clients[t.servers[1]].taken.len(), 10);
        t.w.leave(t.servers[0]);
        t.send(1);
        t.w.run(50);
        t.check("drained");
    }
}

#[test]
fn without_another_instance_a_drain_gives_back_going_away() {
    let mut t = Traffic::new(2, &[0], &[(1, server(Arrival::Alone))]);
    let config = SessionConfig { interval_ms: 100, times: Some(2), ..session_config(150) };
    let sender = t.w.client_with(0, config);
    t.w.clients[t.servers[0]].is_stopped = true;
    t.w.send(sender, 200, b"x", b"").unwrap();
    t.w.run(10);
    t.w.drain_client(t.servers[0]);
    t.w.clients[t.servers[0]].is_stopped = false;
    t.w.run(500);
    let verdict = t.w.clients[sender].failed[0].0.verdict;
    assert_eq!((verdict.reason, verdict.certainty), (Reason::GoingAway, Certainty::NotStarted));
    assert!(t.w.clients[t.servers[0]].taken.is_empty());
}

#[test]
fn a_second_instance_on_one_node_has_to_ask_for_it() {
    let mut t = Traffic::new(2, &[0], &[(1, server(Arrival::Alone)), (1, server(Arrival::Beside))]);
    t.send(1);
    t.w.run(10);
    assert_eq!(t.w.clients[t.servers[1]].taken.len(), 1, "the newest is active");
    t.w.restart(1);
    t.w.run(10);
    t.send(1);
    t.w.run(200);
    t.w.kill(t.servers[1]);
    t.send(1);
    t.w.run(200);
    assert_eq!(t.w.clients[t.servers[0]].taken.len(), 1, "the older one goes on");
    t.check("beside");
}

#[test]
fn i6_daemons_die_during_takeovers_and_drains() {
    for seed in 0..40 {
        let mut random = Random(seed);
        let mut t = Traffic::new(2, &[0, 1], &[(1, server(Arrival::Alone))]);
        for _ in 0..30 {
            t.send(2);
            let micros = random.next(2000);
            t.w.run_micros(micros);
            match random.next(5) {
                0 | 1 => t.servers.push(t.w.client_with(1, server(Arrival::Takeover))),
                2 => t.w.restart(usize::try_from(random.next(2)).unwrap()),
                3 => {
                    let old: Vec<_> =
                        t.servers.iter().copied().filter(|s| t.w.clients[*s].drain.is_some()).collect();
                    old.into_iter().for_each(|server| t.w.leave(server));
                }
                _ => {}
            }
            for engine in &t.w.engines {
                engine.check_invariants().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            }
        }
        t.w.run(8000);
        t.check(&format!("seed {seed}"));
    }
}
