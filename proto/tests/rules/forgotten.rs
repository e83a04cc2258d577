//! What is forgotten, and not before nothing can come of it.

use msg_proto::{
    control::{Control, Departure},
    counters::Counter,
    engine::{Recovery, ReloadConfig},
    ids::{ClientId, Incarnation, MsgId, Seq},
    limits,
    local::put,
    outcome::Certainty,
    session::SessionConfig,
    units::Span,
    wire::{Data, DatagramBuilder, Flow, Frame},
};

use super::{
    by_hand::{ByHand, register},
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

/// Time passes with a peer that says that it is there.
fn pass(w: &mut ByHand, seconds: u64) {
    for _ in 0..seconds {
        w.pass(1000);
        w.peer_says(|b| assert!(b.put_ping()));
    }
}

fn put_message(b: &mut DatagramBuilder<'_>, flow: &Flow) {
    let data = Data { msgid: MsgId(1), seq: Seq(1), at_least_once: false, call: None, payload: b"x" };
    assert!(b.put_flow(flow, 0) && b.put_data(&data));
}

/// What the peer is answered that sends a message of this flow.
fn refusals(w: &mut ByHand, flow: &Flow) -> Vec<Certainty> {
    w.peer_says(|b| put_message(b, flow));
    w.peer_hears(|f| {
        if let Frame::Nack(nack) = f { nack.entries().next().map(|e| e.verdict.certainty) } else { None }
    })
}

#[test]
fn i3_that_a_process_was_here_is_known_for_a_minute() {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let clients = [100, 101].map(|id| (id, w.try_client(7, &register(id))));
    for (_, (conn, _)) in &clients {
        w.hang_up(*conn);
        w.pass(1);
    }
    for ((id, (_, incarnation)), (seconds, certainty)) in
        clients.into_iter().zip([(50, Certainty::NotStarted), (25, Certainty::Unknown)])
    {
        pass(&mut w, seconds);
        let flow = w.flow(200, id, incarnation.unwrap());
        assert_eq!(refusals(&mut w, &flow), [certainty]);
    }
}

#[test]
fn i3_what_a_dead_process_may_have_begun_is_known_as_long_as_that_it_was_here() {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let (conn, incarnation) = w.try_client(7, &register(100));
    let flow =
        |w: &ByHand| Flow { interval: Span::from_millis(60_000), ..w.flow(200, 100, incarnation.unwrap()) };
    let first = flow(&w);
    w.peer_says(|b| put_message(b, &first));
    w.hear(conn);
    w.hang_up(conn);
    // What is said of it is lost; the sender asks again.
    w.datagrams();
    pass(&mut w, 30);
    let again = flow(&w);
    assert_eq!(refusals(&mut w, &again), [Certainty::Unknown]);
}

#[test]
fn what_waits_to_be_said_to_a_lost_peer_outlives_flows_that_are_forgotten() {
    let mut w = ByHand::new();
    w.link_up(&[200, 201]);
    let (conn, incarnation) = w.try_client(7, &register(100));
    let quick = Span::from_millis(10);
    let flows = [200, 201].map(|src| Flow { interval: quick, ..w.flow(src, 100, incarnation.unwrap()) });
    w.peer_says(|b| flows.iter().for_each(|flow| put_message(b, flow)));
    w.hear(conn);
    w.control(&Control::Withdraw {
        client: ClientId(201),
        incarnation: Incarnation(1),
        cause: Departure::Died,
    });
    w.pass(6000);
    assert_eq!(w.engine.status(w.now).peers[0].state, "down");
    w.say(conn, |out| put::taken(out, 2));
    w.pass(20_000);
    w.link_up(&[200]);
    w.peer_says(|b| assert!(b.put_ping()));
    w.say(conn, |_| ());
}

#[test]
fn the_last_message_of_a_dead_sender_can_be_taken_late() {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let (conn, incarnation) = w.try_client(7, &register(100));
    let interval = Span::from_millis(10);
    let flow = Flow { interval, ..w.flow(200, 100, incarnation.unwrap()) };
    w.peer_says(|b| put_message(b, &flow));
    w.hear(conn);
    let (client, cause) = (ClientId(200), Departure::Died);
    w.control(&Control::Withdraw { client, incarnation: Incarnation(1), cause });
    pass(&mut w, 30);
    w.say(conn, |out| put::taken(out, 1));
    let acked = w.peer_hears(|f| if let Frame::Ack(_) = f { Some(()) } else { None });
    assert_eq!((acked.len(), w.engine.fault(conn)), (1, None));
}

#[test]
fn who_sends_no_more_is_forgotten_and_nobody_else() {
    let mut w = ByHand::new();
    w.link_up(&[]);
    let (conn, incarnation) = w.try_client(7, &register(100));
    let most = u32::try_from(limits::MAX_FLOWS_PER_CLIENT).unwrap();
    let (client, one) = (ClientId(1000), Incarnation(1));
    w.control(&Control::Announce { client, incarnation: one, priority: 0, uid: 7 });
    let quick = Span::from_millis(10);
    let from = |w: &ByHand, n| Flow { interval: quick, ..w.flow(1000 + n, 100, incarnation.unwrap()) };
    for n in 0..most {
        let flow = from(&w, n);
        w.peer_says(|b| put_message(b, &flow));
    }
    w.hear(conn);
    w.say(conn, |out| put::taken(out, u64::from(most)));
    w.control(&Control::Withdraw { client, incarnation: one, cause: Departure::Died });
    pass(&mut w, 20);
    w.hear(conn);
    for (n, is_given) in [(most, true), (most + 1, false)] {
        let flow = from(&w, n);
        w.peer_says(|b| put_message(b, &flow));
        assert_eq!(!w.hear(conn).is_empty(), is_given, "there was room for one");
    }
}

#[test]
fn i7_so_much_is_kept_for_who_is_not_here_and_so_long() {
    let mut w = ByHand::new();
    w.link_up(&[]);
    let most = u32::try_from(4 * limits::MAX_FLOWS_PER_CLIENT).unwrap();
    for others in [0, 1 << 20] {
        let mut answered = 0;
        for first in (0..=most).step_by(512) {
            let from = |n| Flow { presence: 0, ..w.flow(others + first + n, 100, Incarnation(1)) };
            let flows: Vec<_> = (0..512).map(from).collect();
            w.peer_says(|b| flows.iter().for_each(|flow| put_message(b, flow)));
            answered += w.peer_hears(|f| if let Frame::Nack(_) = f { Some(()) } else { None }).len();
            w.now = w.now + Span(1);
        }
        assert_eq!(answered, most as usize);
        for _ in 0..(limits::TOMBSTONE_MS + 2 * limits::EXPIRE_MS) / 4000 {
            w.pass(4000);
            w.peer_says(|b| assert!(b.put_ping()));
        }
    }
}
