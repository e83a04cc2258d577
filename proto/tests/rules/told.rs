//! What the status says.

use msg_proto::{
    control::{Arrival, Register},
    counters::Counter,
    ids::ClientId,
    limits,
    local::{Submit, put},
    session::SessionConfig,
};

use super::{
    World,
    by_hand::{ByHand, register, submit},
    world::{cut_from, session_config},
};

#[test]
fn it_names_all_instances_and_who_is_active() {
    let mut w = World::new();
    let with = |id, priority| SessionConfig { priority, arrival: Arrival::Beside, ..session_config(id) };
    let here = w.client_with(0, with(200, 1));
    let there = w.client_with(1, with(200, 2));
    let beside = w.client_with(0, with(100, 0));
    w.run(50);
    let incarnation = |w: &World, client| w.who(client).instance.incarnation.to_string();
    for node in 0..2 {
        let status = w.engines[node].status(w.clock(node));
        let all: Vec<_> = status
            .instances
            .iter()
            .map(|i| (i.client, i.incarnation.clone(), i.node.as_str(), i.priority, i.active))
            .collect();
        let want = [
            (100, incarnation(&w, beside), "a", 0, true),
            (200, incarnation(&w, there), "b", 2, true),
            (200, incarnation(&w, here), "a", 1, false),
        ];
        assert_eq!(all, want);
    }
    let status = w.engines[0].status(w.clock(0));
    let states: Vec<_> = status.clients.iter().map(|c| (c.id, c.priority, c.state.as_str())).collect();
    assert_eq!(states, [(100, 0, "active"), (200, 1, "standby")]);
    assert_eq!(status.peers[0].clients, [200]);
    w.drain_client(here);
    w.run(50);
    let status = w.engines[0].status(w.clock(0));
    let states: Vec<_> = status.clients.iter().map(|c| (c.id, c.state.as_str())).collect();
    assert_eq!(states, [(100, "active"), (200, "leaving")]);
    assert_eq!(status.instances.len(), 2, "one that leaves is none that messages go to");
}

#[test]
fn it_counts_what_a_client_sent_and_took() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 200, 2), w.client(0, 101, 200, 2));
    for _ in 0..3 {
        w.send(a, 101, &[1; 1000], b"").unwrap();
    }
    w.send(a, 999, b"nobody", b"").unwrap();
    w.send(a, 999, b"nobody", b"").unwrap();
    w.run(300);
    let client = |w: &World, id| {
        let status = w.engines[0].status(w.clock(0));
        status.clients.into_iter().find(|c| c.id == id).expect("registered")
    };
    let c = client(&w, 100);
    assert_eq!((c.submitted, c.acked, c.failed, c.taken), (5, 3, 0, 0));
    assert_eq!((c.chain_depth, c.chain_bytes, c.oldest_ms), (2, 2 * (6 + 64), 300));
    assert_eq!((c.interval_ms, c.times, c.max_stored, c.name.as_str()), (200, 2, 1000, "test"));
    assert_eq!(client(&w, 101).taken, 3);
    w.clients[b].is_stopped = true;
    w.send(a, 101, &[1; 1000], b"").unwrap();
    w.run(1);
    assert_eq!(client(&w, 101).queue_messages, 1);
    assert!((1000..1100).contains(&client(&w, 101).queue_bytes), "{}", client(&w, 101).queue_bytes);
    w.send(a, 101, b"", b"").unwrap();
    w.run(1);
    assert_eq!(client(&w, 101).queue_messages, 2);
    w.run(2000);
    let c = client(&w, 100);
    assert_eq!((c.submitted, c.acked, c.failed), (7, 3, 4));
    assert_eq!((c.chain_depth, c.chain_bytes, c.oldest_ms), (0, 0, 0));
}

#[test]
fn a_message_that_does_not_even_enter_the_chain_counts_as_failed() {
    let mut w = ByHand::new();
    let conn = w.client(7, &Register { max_stored: 1, ..register(100) });
    let now = w.now;
    w.say(conn, |out| (1..=3).for_each(|n| put::submit(out, &submit(999, n, now, b"x"))));
    let c = &w.engine.status(now).clients[0];
    assert_eq!((c.submitted, c.failed, c.chain_depth), (3, 2, 1));
    let count = |c| w.engine.counters().value(c);
    assert_eq!((count(Counter::MessagesFailed), count(Counter::FailedNotStarted)), (2, 2));
    assert_eq!(count(Counter::MessagesSubmitted), 3);
}

#[test]
fn it_shows_what_is_in_the_chains_and_what_it_waits_for() {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let conns = [101, 100].map(|id| w.client(7, &register(id)));
    let sent = w.now;
    let user = b"id 7 \\ \n\xff~ ";
    w.say(conns[0], |out| {
        put::submit(out, &Submit { user, ..submit(999, 1, sent, b"no route") });
        put::submit(out, &submit(200, 2, sent, b"over the link"));
    });
    w.say(conns[1], |out| put::submit(out, &submit(100, 1, sent, b"to itself")));
    // Their libraries have read where the messages go; these go now.
    conns.iter().for_each(|conn| drop(w.hear(*conn)));
    let later = w.now + msg_proto::units::Span::from_millis(30);
    let shown = |w: &ByHand, client: Option<u32>, limit| {
        let entries = w.engine.chain_status(later, client.map(ClientId), limit);
        let shown = entries.into_iter().map(|e| (e.client, e.msgid, e.dst, e.waits_for));
        shown.collect::<Vec<_>>()
    };
    let all = [
        (100, 1, 100, "answer".to_owned()),
        (101, 1, 999, "route".to_owned()),
        (101, 2, 200, "link".to_owned()),
    ];
    assert_eq!(shown(&w, None, 9), all);
    assert_eq!(shown(&w, None, 2), all[..2]);
    assert_eq!(shown(&w, Some(101), 9), all[1..]);
    assert_eq!(w.engine.status(w.now).peers[0].queued, 1);
    assert!(!w.datagrams().is_empty());
    assert_eq!(shown(&w, Some(101), 9)[1].3, "answer");
    assert!(w.engine.status(w.now).peers[0].in_flight_bytes > 0);
    let entry = &w.engine.chain_status(later, Some(ClientId(101)), 1)[0];
    assert_eq!((entry.len, entry.age_ms, entry.copies, entry.times_left), (8, 30, 0, 10));
    assert_eq!(entry.user_buff, r"id 7 \x5c \x0a\xff~ ");
}

#[test]
fn it_shows_when_a_peer_was_heard_and_that_it_is_down() {
    let mut w = World::new();
    let heard = |w: &World| {
        let peer = &w.engines[0].status(w.clock(0)).peers[0];
        (peer.state.clone(), peer.heard_ms_ago, peer.paths[0].heard_ms_ago, peer.paths[0].active)
    };
    assert_eq!(heard(&w), ("connecting".to_owned(), None, None, true));
    w.run(50);
    w.client(0, 100, 200, 2);
    w.run(1000);
    w.network = cut_from(1);
    w.run(2000);
    let (state, at, path_at, _) = heard(&w);
    assert_eq!((state.as_str(), at), ("up", path_at));
    assert!(at.is_some_and(|ms| (2000..=3100).contains(&ms)), "{at:?}");
    w.run(limits::LINK_LOST_MS);
    assert_eq!(heard(&w).0, "down");
    let peer = &w.engines[0].status(w.clock(0)).peers[0];
    assert_eq!((peer.clients.len(), peer.in_flight_bytes, peer.clock_step_ms_ago), (0, 0, None));
}

#[test]
fn what_has_not_left_yet_does_not_count_as_sent_again() {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let conn = w.client(7, &register(100));
    let sent = w.now;
    w.say(conn, |out| put::submit(out, &submit(200, 1, sent, b"x")));
    w.hear(conn);
    // The socket takes nothing for longer than an interval.
    for _ in 0..15 {
        w.now = w.now + msg_proto::units::Span::from_millis(100);
        w.engine.handle_timeout(w.now);
    }
    let scanned = w.engine.counters().value(Counter::ScannedEntries);
    assert_eq!((scanned, w.engine.counters().value(Counter::Retransmits)), (1, 0));
    w.datagrams();
    w.pass(1000);
    assert_eq!(w.engine.counters().value(Counter::Retransmits), 1);
}
