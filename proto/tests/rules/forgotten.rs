//! What is forgotten, and not before nothing can come of it.

use msg_proto::{
    counters::Counter,
    engine::{Recovery, ReloadConfig},
    session::SessionConfig,
    wire::Frame,
};

use super::{
    frames,
    world::{Fate, Options, World, clear, cut, session_config},
};

#[test]
fn a_flow_whose_sender_died_is_known_as_long_as_its_copies_come() {
    let mut w = World::with(&Options { recovery: Recovery::TimerOnly, ..Options::default() });
    let (a, b) = (w.client(0, 100, 30_000, 3), w.client(1, 200, 30_000, 3));
    w.run(20);
    w.network = Box::new(|_, datagram| {
        let has_ack = frames(datagram).iter().any(|f| matches!(f, Frame::Ack(_)));
        if has_ack { Fate::Drop } else { Fate::Arrive(vec![100]) }
    });
    w.send(a, 200, b"once", b"").unwrap();
    w.run(50);
    // Its daemon goes on with it: three copies more, half a minute after each other.
    w.kill(a);
    w.run(150_000);
    assert_eq!(w.payloads(b), [b"once"]);
    assert_eq!(w.counter(1, Counter::Duplicates), 3);
}

#[test]
fn what_a_process_that_stands_still_was_given_is_kept_until_it_goes_on() {
    let mut w = World::new();
    let quick = |id| SessionConfig { interval_ms: 10, times: Some(2), ..session_config(id) };
    let slow = |id| SessionConfig { interval_ms: 60_000, ..session_config(id) };
    let (a, b, c) = (w.client_with(0, quick(100)), w.client(1, 200, 10, 2), w.client_with(0, slow(101)));
    w.run(20);
    w.clients[b].is_stopped = true;
    // The one flow ends; the other has more than the window of deliveries holds.
    w.send(a, 200, b"from a dead one", b"").unwrap();
    for _ in 0..7 {
        w.send(c, 200, &[7; 100_000], b"").unwrap();
    }
    w.run(10);
    w.kill(a);
    w.run(40_000);
    w.clients[b].is_stopped = false;
    w.run(1000);
    let taken: Vec<_> = w.payloads(b).iter().map(Vec::len).collect();
    assert_eq!(taken, [100_000; 7]);
    assert_eq!(w.counter(1, Counter::StaleDeliveriesDropped), 1);
}

#[test]
fn one_flow_that_is_forgotten_takes_nothing_of_another_with_it() {
    let mut w = World::new();
    let quick = |id| SessionConfig { interval_ms: 10, times: Some(2), ..session_config(id) };
    let slow = |id| SessionConfig { interval_ms: 30_000, ..session_config(id) };
    let (a, b, c) = (w.client_with(0, quick(100)), w.client(1, 200, 10, 2), w.client_with(0, slow(101)));
    w.run(20);
    w.send(a, 200, b"x", b"").unwrap();
    w.run(5);
    assert_eq!(w.clients[b].taken.len(), 1);
    w.kill(a);
    w.run(500);
    // Standing still it is given more than its window holds: some waits while the other flow is forgotten.
    w.clients[b].is_stopped = true;
    for _ in 0..7 {
        w.send(c, 200, &[7; 100_000], b"").unwrap();
    }
    w.run(25_000);
    w.clients[b].is_stopped = false;
    w.run(100);
    assert_eq!((w.clients[b].taken.len(), w.clients[c].acked.len()), (8, 7));
}

/// The config of a world's node 0, with these peers.
fn reload(w: &mut World, has_peer: bool) {
    let config = super::world::config(&Options::default(), 0, 0);
    let peers = if has_peer { config.peers } else { Vec::new() };
    let now = w.clock(0);
    let (chain, limits, clients) = (config.chain, config.limits, config.clients);
    let chain = msg_proto::engine::ChainConfig { recovery: Recovery::TimerOnly, ..chain };
    w.engines[0].handle_reload(now, ReloadConfig { peers, chain, limits, clients });
    w.drain();
}

#[test]
fn a_removed_peer_is_remembered_while_anything_is_on_its_way_to_it_or_from_it() {
    for what in 0..3 {
        let mut w = World::new();
        let (a, b) = (w.client(0, 100, 1000, 60), w.client(1, 200, 1000, 60));
        w.run(50);
        match what {
            // A message that it may have begun; one for one of its clients only; a flow from it.
            0 => {
                w.network = cut();
                w.send(a, 200, b"x", b"").unwrap();
            }
            1 => {
                w.network = cut();
                let to = w.who(b);
                w.send_to(a, &to, b"x").unwrap();
            }
            _ => {
                w.send(b, 100, b"x", b"").unwrap();
            }
        }
        w.run(20);
        for _ in 0..3 {
            reload(&mut w, false);
            w.run(20);
        }
        assert!(w.engines[0].status(w.clock(0)).peers.is_empty());
        w.network = clear();
        reload(&mut w, true);
        w.run(3000);
        w.send(b, 100, b"y", b"").unwrap();
        w.send(a, 200, b"y", b"").unwrap();
        w.run(100);
        assert_eq!(w.clients[a].taken.len(), 1 + usize::from(what == 2), "{what}");
        assert_eq!(w.clients[b].taken.len(), 1 + usize::from(what == 0), "{what}");
        assert_eq!(w.clients[b].calls.len(), usize::from(what == 1), "{what}");
        assert!(w.clients[a].failed.is_empty());
    }
}

#[test]
fn how_losses_are_found_is_not_reloaded() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 3), w.client(1, 200, 1000, 3));
    w.run(50);
    reload(&mut w, true);
    let mut sent = 0;
    w.network = Box::new(move |from, datagram| {
        let has_data = from == 0 && frames(datagram).iter().any(|f| matches!(f, Frame::Data(_)));
        sent += u32::from(has_data);
        if has_data && sent == 1 { Fate::Drop } else { Fate::Arrive(vec![100]) }
    });
    w.send(a, 200, b"x", b"").unwrap();
    w.run(200);
    assert_eq!(w.payloads(b), [b"x"], "long before its interval is over");
    assert_eq!((w.counter(0, Counter::FastRetransmits), w.counter(0, Counter::Retransmits)), (1, 0));
}

#[test]
fn what_is_known_of_a_path_survives_a_new_path_beside_it() {
    let mut w = World::with(&Options { max_mtu: 8972, ..Options::default() });
    w.run(3000);
    let path = |w: &World, n: usize| {
        let path = w.engines[0].status(w.clock(0)).peers[0].paths[n].clone();
        (path.mtu, path.heard_ms_ago.is_some(), path.active)
    };
    assert_eq!(path(&w, 0), (8972, true, true));
    let mut config = super::world::config(&Options { max_mtu: 8972, ..Options::default() }, 0, 0);
    config.peers[0].addresses.insert(0, ([127, 0, 0, 9], 7400).into());
    let (peers, chain, limits) = (config.peers, config.chain, config.limits);
    let now = w.clock(0);
    w.engines[0].handle_reload(now, ReloadConfig { peers, chain, limits, clients: Vec::new() });
    assert_eq!((path(&w, 0), path(&w, 1)), ((1200, false, false), (8972, true, true)));
}

#[test]
fn a_message_that_waits_for_the_peers_clock_goes_as_soon_as_that_is_known() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 3), w.client(1, 200, 1000, 3));
    w.run(500);
    w.send(a, 200, b"so that the way is known", b"").unwrap();
    w.run(50);
    // This node stood still, or its clock jumped: what the peer's shows is not known until it says so.
    w.clocks[0] += 3_000_000;
    w.send(a, 200, b"x", b"").unwrap();
    w.run(2);
    assert_eq!(w.clients[b].taken.len(), 2);
}
