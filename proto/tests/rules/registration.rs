//! Who may register, beside whom, and what it is granted.

use msg_proto::{
    control::{Arrival, LocalRule, Register},
    engine::ClientRule,
    ids::{ClientId, ConnId, Incarnation},
    limits,
    local::{DaemonFrame, DrainCause, put},
};

use super::by_hand::{ByHand, frames, register, submit};

fn arriving(arrival: Arrival) -> Register {
    Register { arrival, ..register(100) }
}

fn back(arrival: Arrival, incarnation: Incarnation) -> Register {
    Register { arrival, incarnation, ..register(100) }
}

fn drained(w: &mut ByHand, conn: ConnId) -> Option<DrainCause> {
    let bytes = w.hear(conn);
    frames(&bytes)
        .into_iter()
        .find_map(|f| if let DaemonFrame::Drain(cause) = f { Some(cause) } else { None })
}

fn states(w: &ByHand) -> Vec<(String, String)> {
    w.engine.status(w.now).clients.into_iter().map(|c| (c.incarnation, c.state)).collect()
}

#[test]
fn a_clientid_is_one_processs_unless_others_ask_to_be_beside_it() {
    for (first, second, is_allowed) in [
        (Arrival::Alone, Arrival::Alone, false),
        (Arrival::Beside, Arrival::Alone, false),
        (Arrival::Alone, Arrival::Beside, true),
        (Arrival::Alone, Arrival::Takeover, true),
        (Arrival::Alone, Arrival::Leaving, true),
    ] {
        let mut w = ByHand::new();
        assert!(w.try_client(7, &arriving(first)).1.is_ok());
        let (_, answer) = w.try_client(7, &arriving(second));
        assert_eq!(answer.err(), (!is_allowed).then_some(LocalRule::ClientIdTaken), "{first:?}, {second:?}");
        assert!(w.try_client(7, &register(101)).1.is_ok(), "another one is free");
    }
}

#[test]
fn one_that_comes_back_finds_its_place_beside_those_that_asked_to_be_beside_it() {
    for (other, is_allowed) in [(Arrival::Beside, true), (Arrival::Alone, false)] {
        let mut w = ByHand::new();
        w.client(7, &arriving(other));
        let (_, answer) = w.try_client(7, &back(Arrival::Alone, Incarnation(5)));
        assert_eq!(answer.err(), (!is_allowed).then_some(LocalRule::ClientIdTaken), "{other:?}");
    }
}

#[test]
fn one_that_comes_back_to_its_successor_has_to_leave() {
    for (incarnation, leaves) in [(4, true), (6, false)] {
        for arrival in [Arrival::Alone, Arrival::Beside, Arrival::Takeover] {
            let mut w = ByHand::new();
            w.client(7, &back(Arrival::Takeover, Incarnation(5)));
            if arrival == Arrival::Alone && !leaves {
                continue;
            }
            let (conn, answer) = w.try_client(7, &back(arrival, Incarnation(incarnation)));
            assert_eq!(answer, Ok(Incarnation(incarnation)));
            let status = w.engine.status(w.now);
            let own = status.clients.iter().find(|c| c.incarnation.ends_with(&incarnation.to_string()));
            assert_eq!(own.map(|c| c.state == "leaving"), Some(leaves), "{incarnation}, {arrival:?}");
            drained(&mut w, conn);
        }
    }
    // A new one is none that was superseded.
    let mut w = ByHand::new();
    w.client(7, &back(Arrival::Takeover, Incarnation(u64::MAX >> 1)));
    let (conn, _) = w.try_client(7, &arriving(Arrival::Beside));
    assert_eq!(drained(&mut w, conn), None);
}

#[test]
fn another_user_does_not_join_a_clientid_but_for_root_and_by_config() {
    let try_beside = |rules: Vec<ClientRule>, owner: u32, uid: u32| {
        let mut w = ByHand::with(|config| config.clients = rules);
        assert!(w.try_client(owner, &arriving(Arrival::Alone)).1.is_ok());
        w.try_client(uid, &arriving(Arrival::Beside)).1.err()
    };
    let rule = |id| ClientRule { id: ClientId(id), uid: None, gid: None, may_send_to: None };
    assert_eq!(try_beside(Vec::new(), 7, 7), None);
    assert_eq!(try_beside(Vec::new(), 7, 8), Some(LocalRule::NotAllowed));
    assert_eq!(try_beside(Vec::new(), 0, 8), Some(LocalRule::NotAllowed));
    assert_eq!(try_beside(Vec::new(), 7, 0), None);
    assert_eq!(try_beside(vec![rule(100)], 7, 8), None, "the config says who may");
    assert_eq!(try_beside(vec![rule(101)], 7, 8), Some(LocalRule::NotAllowed), "another's rule");
}

#[test]
fn a_rule_of_the_config_names_a_user_a_group_or_both() {
    // Processes here have group 50.
    for (uid, gid, is_allowed) in [
        (None, None, true),
        (Some(7), None, true),
        (Some(8), None, false),
        (None, Some(50), true),
        (None, Some(51), false),
        (Some(7), Some(50), true),
        (Some(7), Some(51), false),
        (Some(8), Some(50), false),
    ] {
        let rule = ClientRule { id: ClientId(100), uid, gid, may_send_to: None };
        let mut w = ByHand::with(|config| config.clients = vec![rule]);
        let refusal = (!is_allowed).then_some(LocalRule::NotAllowed);
        assert_eq!(w.try_client(7, &register(100)).1.err(), refusal, "{uid:?}, {gid:?}");
        assert!(w.try_client(7, &register(101)).1.is_ok());
    }
}

#[test]
fn a_process_that_comes_back_before_its_end_was_read_takes_its_own_place() {
    let mut w = ByHand::new();
    let (old, answer) = w.try_client(7, &register(100));
    let incarnation = answer.expect("it is free");
    let (new, answer) = w.try_client(7, &back(Arrival::Alone, incarnation));
    assert_eq!(answer, Ok(incarnation));
    assert_eq!(w.engine.poll_close(), Some(old));
    assert_eq!(w.engine.poll_close(), None);
    // What the old one still says is not read.
    let now = w.now;
    w.say(old, |out| put::submit(out, &submit(100, 1, now, b"late")));
    w.hang_up(old);
    w.say(new, |out| put::submit(out, &submit(100, 1, now, b"to itself")));
    let bytes = w.hear(new);
    assert!(matches!(&frames(&bytes)[..], [DaemonFrame::Bound(_)]), "{:?}", frames(&bytes));
    let bytes = w.hear(new);
    assert!(matches!(&frames(&bytes)[..], [DaemonFrame::Deliver(d)] if d.payload == b"to itself"));
    assert_eq!(w.engine.status(now).clients.len(), 1);
}

#[test]
fn one_that_leaves_stays_one_that_leaves() {
    let mut w = ByHand::new();
    let (conn, answer) = w.try_client(7, &arriving(Arrival::Beside));
    let incarnation = answer.expect("it is free");
    let now = w.now;
    w.say(conn, |out| put::submit(out, &submit(999, 1, now, b"nobody")));
    w.hang_up(conn);
    // It was drained while nobody was told; the next time it comes it is one like others only if it never was.
    w.client(7, &back(Arrival::Leaving, incarnation));
    assert_eq!(states(&w), [(incarnation.to_string(), "leaving".to_owned())]);
    let (again, _) = w.try_client(7, &back(Arrival::Beside, incarnation));
    assert_eq!(states(&w), [(incarnation.to_string(), "leaving".to_owned())]);
    w.hang_up(again);
}

#[test]
fn what_a_client_asks_for_is_granted_up_to_the_config() {
    let granted = |body: &Register| {
        let mut w = ByHand::with(|config| {
            config.chain.max_stored = 500;
            config.limits.max_message_bytes = 70_000;
        });
        let conn = w.client(7, body);
        let bytes = w.hear(conn);
        let Some(DaemonFrame::Registered(r)) = frames(&bytes).into_iter().next() else {
            panic!("REGISTERED")
        };
        assert_eq!((r.node.as_str(), r.max_message_bytes), ("a", 70_000));
        assert_eq!(r.max_stored_bytes, limits::DEFAULT_CLIENT_QUEUE_BYTES as u64);
        (r.interval_ms, r.times, r.max_stored)
    };
    assert_eq!(granted(&register(100)), (1000, 10, 500));
    let asked = Register { interval_ms: 70, times: Some(0), max_stored: 499, ..register(100) };
    assert_eq!(granted(&asked), (70, 0, 499));
    assert_eq!(granted(&Register { max_stored: 501, ..register(100) }).2, 500);
}

#[test]
fn so_many_clients_are_registered_and_so_many_connections_wait() {
    let mut w = ByHand::with(|config| config.limits.max_clients = 2);
    let conns = [100, 101].map(|id| w.try_client(7, &register(id)).0);
    assert_eq!(w.try_client(7, &register(102)).1, Err(LocalRule::TooManyClients));
    w.hang_up(conns[0]);
    assert!(w.try_client(7, &register(102)).1.is_ok());

    let mut w = ByHand::new();
    let conns: Vec<_> = (0..limits::MAX_UNREGISTERED).map(|_| w.connect(7)).collect();
    let peer = msg_proto::engine::Credentials { pid: 7, uid: 7, gid: 50 };
    assert!(w.engine.handle_connect(w.now, peer).is_err());
    w.say(conns[0], |out| put::register(out, &register(100)));
    assert!(w.engine.handle_connect(w.now, peer).is_ok(), "one has registered");
    assert!(w.engine.handle_connect(w.now, peer).is_err());
    w.hang_up(conns[1]);
    assert!(w.engine.handle_connect(w.now, peer).is_ok());
}

#[test]
fn a_connection_that_ends_is_not_closed_once_more() {
    let mut w = ByHand::new();
    let conns = [100, 101].map(|id| w.client(7, &register(id)));
    for conn in conns {
        w.say(conn, |out| out.extend_from_slice(&[0; 8]));
    }
    w.hang_up(conns[0]);
    assert_eq!((w.engine.poll_close(), w.engine.poll_close()), (Some(conns[1]), None));
}

#[test]
fn a_takeover_replaces_the_best_that_is_not_above_it() {
    let arriving = |arrival, priority| Register { priority, ..arriving(arrival) };
    let replaced = |newcomer: u8, others: &[u8]| {
        let mut w = ByHand::new();
        let others: Vec<_> =
            others.iter().map(|p| w.try_client(7, &arriving(Arrival::Beside, *p)).0).collect();
        w.client(7, &arriving(Arrival::Takeover, newcomer));
        let leaving = |conn: &ConnId| drained(&mut w, *conn) == Some(DrainCause::Superseded);
        others.iter().map(leaving).collect::<Vec<_>>()
    };
    assert_eq!(replaced(5, &[3, 5, 7]), [false, true, false]);
    assert_eq!(replaced(5, &[5, 5]), [false, true], "of equal ones the newest");
    assert_eq!(replaced(5, &[8, 7]), [false, true], "where all are above it, the least");
    assert_eq!(replaced(5, &[]), [false; 0]);
}

#[test]
fn one_that_took_over_before_the_daemon_was_started_replaces_older_ones_again() {
    let mut w = ByHand::new();
    let old = [
        back(Arrival::Alone, Incarnation(3)),
        back(Arrival::Beside, Incarnation(4)),
        back(Arrival::Beside, Incarnation(9)),
    ]
    .map(|body| w.try_client(7, &body).0);
    w.client(7, &back(Arrival::Takeover, Incarnation(5)));
    let left = old.map(|conn| drained(&mut w, conn));
    assert_eq!(left, [Some(DrainCause::Superseded), None, None]);
}

#[test]
fn a_drain_asks_those_that_are_not_leaving() {
    let mut w = ByHand::new();
    let conns = [100, 101, 102].map(|id| w.try_client(7, &register(id)).0);
    assert_eq!(w.engine.handle_drain(w.now, Some(ClientId(101))), 1);
    assert_eq!(w.engine.handle_drain(w.now, Some(ClientId(101))), 0);
    assert_eq!(w.engine.handle_drain(w.now, None), 2);
    assert_eq!(conns.map(|conn| drained(&mut w, conn)), [Some(DrainCause::Asked); 3]);
}
