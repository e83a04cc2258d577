//! Another config for running engines.

use msg_proto::{
    control::LocalRule,
    counters::Counter,
    engine::{ChainConfig, ClientRule, LimitConfig, PeerConfig, Recovery, ReloadConfig},
    ids::ClientId,
    limits,
    outcome::Reason,
    units::Span,
};

use super::{
    NOT_STARTED, UNKNOWN, verdict,
    world::{World, address, clear, cut},
};

/// The config that a world's node 0 has.
fn config() -> ReloadConfig {
    ReloadConfig {
        peers: vec![PeerConfig { name: "b".to_owned(), addresses: vec![address(1)] }],
        chain: ChainConfig {
            interval: Span::from_millis(1000),
            times: 10,
            max_stored: limits::DEFAULT_MAX_STORED,
            recovery: Recovery::Adaptive,
        },
        limits: LimitConfig {
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
            max_clients: 8,
            client_queue_bytes: limits::DEFAULT_CLIENT_QUEUE_BYTES,
        },
        clients: Vec::new(),
    }
}

fn reload(w: &mut World, config: ReloadConfig) {
    let now = w.clock(0);
    w.engines[0].handle_reload(now, config);
    w.drain();
}

fn link_state(w: &World, node: usize) -> Option<String> {
    w.engines[node].status(w.clock(node)).peers.first().map(|peer| peer.state.clone())
}

#[test]
fn the_same_config_again_changes_nothing() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 0, 3), w.client(1, 200, 0, 3));
    w.run(50);
    reload(&mut w, config());
    w.send(a, 200, b"x", b"").unwrap();
    w.run(5);
    assert_eq!(w.payloads(b), [b"x"]);
    assert_eq!((w.counter(0, Counter::LinksUp), w.counter(0, Counter::LinksDown)), (1, 0));
}

#[test]
fn what_is_sent_to_a_removed_peers_clients_waits_for_it_to_return() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 30), w.client(1, 200, 1000, 3));
    w.run(50);
    reload(&mut w, ReloadConfig { peers: Vec::new(), ..config() });
    w.run(1);
    assert_eq!(link_state(&w, 0), None);
    assert_eq!(link_state(&w, 1).as_deref(), Some("down"), "it was told goodbye");
    let before = w.counter(0, Counter::DatagramsSent);
    w.send(a, 200, b"waits", b"").unwrap();
    w.run(5000);
    assert_eq!(w.counter(0, Counter::DatagramsSent), before, "a stranger is not answered");
    assert_eq!(w.engines[0].chain_status(w.clock(0), None, 9)[0].waits_for, "route");
    reload(&mut w, config());
    w.run(2000);
    assert_eq!(w.payloads(b), [b"waits"]);
    assert!(w.clients[a].failed.is_empty());
}

#[test]
fn what_a_removed_peer_may_have_begun_is_unknown_and_what_it_cannot_have_is_not() {
    let mut w = World::new();
    let (a, _b) = (w.client(0, 100, 100, 2), w.client(1, 200, 100, 2));
    w.run(50);
    w.network = cut();
    w.send(a, 200, b"left this node", b"").unwrap();
    w.run(5);
    reload(&mut w, ReloadConfig { peers: Vec::new(), ..config() });
    w.send(a, 200, b"did not", b"").unwrap();
    w.run(1000);
    let failed: Vec<_> = w.clients[a].failed.iter().map(|(failure, _)| failure.verdict).collect();
    assert_eq!(failed, [verdict(Reason::NoAnswer, UNKNOWN), verdict(Reason::NoRoute, NOT_STARTED)]);
}

#[test]
fn a_new_peers_link_opens_at_once() {
    let mut w = World::new();
    reload(&mut w, ReloadConfig { peers: Vec::new(), ..config() });
    let (a, b) = (w.client(0, 100, 0, 3), w.client(1, 200, 0, 3));
    w.run(1000);
    assert!(w.payloads(b).is_empty());
    w.send(a, 200, b"x", b"").unwrap();
    reload(&mut w, config());
    w.run(20);
    assert_eq!(w.payloads(b), [b"x"]);
}

#[test]
fn a_peer_with_other_addresses_comes_up_anew_and_one_with_more_stays_up() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 0, 3), w.client(1, 200, 0, 3));
    w.run(50);
    let other = ([127, 0, 0, 9], 7400).into();
    let peer = |addresses| vec![PeerConfig { name: "b".to_owned(), addresses }];
    reload(&mut w, ReloadConfig { peers: peer(vec![other, address(1)]), ..config() });
    w.run(10);
    assert_eq!(w.counter(0, Counter::LinksDown), 0);
    assert_eq!(w.engines[0].status(w.clock(0)).peers[0].paths.len(), 2);
    reload(&mut w, ReloadConfig { peers: peer(vec![other]), ..config() });
    w.send(a, 200, b"x", b"").unwrap();
    w.run(200);
    assert_eq!((w.counter(0, Counter::LinksDown), w.counter(0, Counter::LinksUp)), (1, 2));
    assert_eq!(w.payloads(b), [b"x"]);
}

#[test]
fn smaller_limits_cost_a_message_and_not_the_client() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 3), w.client(1, 200, 1000, 3));
    w.run(50);
    let limits = LimitConfig { max_message_bytes: 10, ..config().limits };
    reload(&mut w, ReloadConfig { limits, ..config() });
    w.send(a, 200, &[b'x'; 11], b"").unwrap();
    w.send(a, 200, &[b'x'; 10], b"").unwrap();
    w.run(50);
    assert_eq!(w.payloads(b), [[b'x'; 10]]);
    assert_eq!(w.clients[a].failed[0].0.verdict, verdict(Reason::TooLarge, NOT_STARTED));
}

#[test]
fn rights_change_under_clients_that_are_there() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 3), w.client(1, 200, 1000, 3));
    w.run(50);
    let rule =
        |uid, may_send_to| vec![ClientRule { id: ClientId(100), uid: Some(uid), gid: None, may_send_to }];
    reload(&mut w, ReloadConfig { clients: rule(0, Some(vec![ClientId(7)])), ..config() });
    w.send(a, 200, b"refused", b"").unwrap();
    w.run(10);
    assert_eq!(w.clients[a].failed[0].0.verdict, verdict(Reason::Refused, NOT_STARTED));
    reload(&mut w, ReloadConfig { clients: rule(0, None), ..config() });
    w.send(a, 200, b"allowed again", b"").unwrap();
    w.network = clear();
    w.run(10);
    assert_eq!(w.payloads(b), [b"allowed again"]);
    let now = w.clock(0);
    w.engines[0].handle_reload(now, ReloadConfig { clients: rule(1, None), ..config() });
    let conn = w.engines[0].poll_close().expect("it is somebody else's now");
    let fault = w.engines[0].fault(conn).expect("that is why");
    assert_eq!((fault.client, fault.rule), (Some(ClientId(100)), LocalRule::NotAllowed));
    assert!(w.engines[0].status(now).clients.is_empty());
}
