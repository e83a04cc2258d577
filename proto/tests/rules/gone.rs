//! Clients, nodes and daemons that go, and what becomes of what was sent.

use super::*;

#[test]
fn a_receiver_that_dies_gives_true_certainty() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 100, 5), w.client(1, 200, 100, 5));
    w.run(20);
    w.clients[b].is_stopped = true;
    w.send(a, 200, b"in its socket", b"").unwrap();
    w.run(50);
    w.kill(b);
    w.send(a, 200, b"after its death", b"").unwrap();
    w.run(1000);
    let failed = &w.clients[a].failed;
    assert_eq!(failed[0].0.verdict, verdict(Reason::ReceiverGone, UNKNOWN));
    assert!(failed[0].1 < 100_000, "told at once, not timed out");
    assert_eq!(failed[1].0.verdict, verdict(Reason::NoRoute, NOT_STARTED));
}

#[test]
fn what_a_dead_receiver_cannot_have_begun_goes_to_its_successor() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 100, 20), w.client(1, 200, 100, 20));
    w.run(20);
    w.kill(b);
    for i in 0..10_u8 {
        w.send(a, 200, &[i], b"").unwrap();
    }
    w.run(200);
    let successor = w.client(1, 200, 100, 20);
    w.run(200);
    assert_eq!(w.payloads(successor), (0..10).map(|i| vec![i]).collect::<Vec<_>>());
    assert_eq!(w.clients[a].acked.len(), 10);
}

#[test]
fn a_senders_messages_end_after_its_death() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 100, 5), w.client(1, 200, 100, 5));
    w.run(20);
    w.network = cut();
    w.send(a, 200, b"posthumous", b"").unwrap();
    w.drain();
    w.kill(a);
    w.run(150);
    w.network = clear();
    w.run(300);
    assert_eq!(w.payloads(b), [b"posthumous"]);
    assert_eq!(w.engines[0].chain_depth(), 0);
    let again = w.client(0, 100, 100, 5);
    w.send(again, 200, b"next life", b"").unwrap();
    w.run(100);
    assert_eq!(w.payloads(b), [&b"posthumous"[..], b"next life"]);
}

#[test]
fn a_peer_goes_and_returns() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 20), w.client(1, 200, 1000, 20));
    w.run(20);
    w.network = cut();
    w.run(10_000);
    assert_eq!(w.engines[0].status(w.clock(0)).peers[0].state, "down");
    w.send(a, 200, b"waits for the peer", b"").unwrap();
    w.run(3000);
    w.network = clear();
    w.run(2500);
    assert_eq!(w.payloads(b), [b"waits for the peer"]);
    assert_eq!(w.engines[0].status(w.clock(0)).peers[0].state, "up");
}

#[test]
fn i6_daemons_are_killed_under_traffic_and_nothing_is_lost_doubled_disordered_or_failed() {
    for seed in 0..20 {
        let recovery = if seed % 2 == 0 { Recovery::Adaptive } else { Recovery::TimerOnly };
        let mut w = World::with(&Options { recovery, ..Options::default() });
        let clients = [w.client(0, 100, 100, 60), w.client(1, 200, 100, 60), w.client(0, 101, 100, 60)];
        w.run(20);
        let mut random = Random(seed);
        w.network = Box::new(move |_, _| {
            if random.next(100) < 5 { Fate::Drop } else { Fate::Arrive(vec![50 + random.next(900)]) }
        });
        let mut random = Random(seed + 1000);
        let ids = [100, 200, 101];
        for i in 0..300_u32 {
            for (from, client) in clients.iter().enumerate() {
                for to in (0..3).filter(|to| *to != from) {
                    w.send(
                        *client,
                        ids[to],
                        &[from.to_le_bytes()[0], to.to_le_bytes()[0], i.to_le_bytes()[0], i.to_le_bytes()[1]],
                        b"",
                    )
                    .unwrap();
                }
            }
            let micros = random.next(3000);
            w.run_micros(micros);
            if random.next(10) == 0 {
                let node = usize::from(random.next(2) == 0);
                w.restart(node);
            }
        }
        w.run(8000);
        for (to, client) in clients.iter().enumerate() {
            assert!(w.clients[*client].failed.is_empty(), "seed {seed}: {:?}", w.clients[*client].failed);
            assert_eq!(w.clients[*client].session.unresolved(), 0, "seed {seed}");
            for from in (0..3).filter(|from| *from != to) {
                let got: Vec<u32> = w
                    .payloads(*client)
                    .iter()
                    .filter(|p| usize::from(p[0]) == from)
                    .map(|p| u32::from(p[2]) | u32::from(p[3]) << 8)
                    .collect();
                assert_eq!(got, (0..300).collect::<Vec<_>>(), "seed {seed}: {from} to {to}");
            }
        }
    }
}
