//! A client's fault costs that client its connection, and nobody else anything.

use msg_proto::{
    control::{LocalRule, Register},
    engine::Credentials,
    ids::{ClientId, MsgId},
    limits,
    local::{DaemonFrame, Submit, put},
    outcome::{Certainty, Reason, Verdict},
    units::Span,
};

use super::{
    by_hand::{ByHand, frames, register, submit},
    world::{Options, World},
};

#[test]
fn nonsense_from_a_registered_client_ends_its_connection_and_names_it() {
    let mut w = World::new();
    let now = w.clock(0);
    let engine = &mut w.engines[0];
    let conn = engine.handle_connect(now, Credentials { pid: 7, uid: 0, gid: 0 }).expect("few connections");
    let mut stream = registration(0);
    // A frame shorter than its head. The client has nothing in the chain: it is forgotten as it departs.
    stream.extend_from_slice(&[0; 8]);
    engine.handle_client_bytes(now, conn, &stream);

    assert_eq!(engine.poll_close(), Some(conn));
    let fault = engine.fault(conn).expect("a fault");
    assert_eq!((fault.client, fault.pid, fault.rule), (Some(ClientId(100)), 7, LocalRule::Malformed));
    let output = engine.output(conn).to_vec();
    let last = frames(&output).pop();
    assert!(matches!(last, Some(DaemonFrame::Nack(nack)) if nack.rule == LocalRule::Malformed));
    engine.handle_disconnect(now, conn);
    assert!(engine.status(now).clients.is_empty());
}

/// REGISTER and READY.
fn registration(max_stored: u32) -> Vec<u8> {
    let mut stream = Vec::new();
    put::register(&mut stream, &Register { max_stored, ..register(100) });
    put::ready(&mut stream);
    stream
}

/// What a daemon says of messages that a library sends in spite of its limits: (msgid, verdict).
fn refusals(max_stored: u32, sizes: &[usize]) -> Vec<(u32, Verdict)> {
    let options = Options { client_queue_bytes: limits::MIN_CLIENT_QUEUE_BYTES, ..Options::default() };
    let mut w = World::with(&options);
    let now = w.clock(0);
    let engine = &mut w.engines[0];
    let conn = engine.handle_connect(now, Credentials { pid: 7, uid: 0, gid: 0 }).expect("few connections");
    let mut stream = registration(max_stored);
    for (i, size) in (1..).zip(sizes) {
        put::submit(&mut stream, &submit(999, i, now, &vec![1; *size]));
    }
    engine.handle_client_bytes(now, conn, &stream);
    assert_eq!(engine.poll_close(), None);
    assert_eq!(engine.check_invariants(), Ok(()));
    let output = engine.output(conn).to_vec();
    let failed =
        |f: DaemonFrame<'_>| if let DaemonFrame::Failed(f) = f { Some((f.msgid.0, f.verdict)) } else { None };
    frames(&output).into_iter().filter_map(failed).collect()
}

#[test]
fn i7_a_client_beyond_its_limits_loses_the_message_and_not_its_connection() {
    let full = Verdict { reason: Reason::QueueFull, certainty: Certainty::NotStarted };
    assert_eq!(refusals(3, &[10; 3]), []);
    assert_eq!(refusals(3, &[10; 4]), [(4, full)], "one more than it may");
    let share = limits::MIN_CLIENT_QUEUE_BYTES / 2 - limits::MAX_USER_BYTES;
    assert_eq!(refusals(0, &[share; 2]), [], "all bytes that it may");
    assert_eq!(refusals(0, &[share, share + 1]), [(2, full)], "one byte more");
}

#[test]
fn a_connection_has_5_s_to_register() {
    let mut w = World::new();
    let kept = w.client(0, 101, 200, 3);
    let now = w.clock(0);
    let peer = Credentials { pid: 7, uid: 0, gid: 0 };
    let conn = w.engines[0].handle_connect(now, peer).expect("few connections");
    w.run(4_990);
    assert_eq!(w.engines[0].poll_close(), None);
    // One that goes by itself is not counted any more.
    let now = w.clock(0);
    let other = w.engines[0].handle_connect(now, peer).expect("few connections");
    w.engines[0].handle_disconnect(now, other);
    assert_eq!(w.engines[0].check_invariants(), Ok(()));
    w.run(20);
    assert_eq!(w.engines[0].poll_close(), Some(conn));
    assert_eq!(w.engines[0].check_invariants(), Ok(()));
    assert_eq!(w.engines[0].fault(conn).map(|f| f.rule), Some(LocalRule::RegisterTimeout));
    assert_eq!(w.engines[0].poll_close(), None, "and nobody else");
    w.send(kept, 101, b"to itself", b"").unwrap();
    w.run(10);
    assert_eq!(w.clients[kept].taken.len(), 1);
}

#[test]
fn an_engine_that_waits_for_nothing_but_a_register_wakes_up_for_that() {
    let mut w = ByHand::with(|config| config.peers.clear());
    w.client(7, &register(100));
    assert_eq!(w.engine.poll_timeout(), None);
    w.pass(1000);
    w.connect(7);
    let end = w.now + Span::from_millis(limits::REGISTER_TIMEOUT_MS);
    w.pass(1000);
    w.connect(7);
    assert_eq!(w.engine.poll_timeout(), Some(end), "the first one's");
}

#[test]
fn i7_who_sends_and_does_not_read_loses_its_connection() {
    let limit = limits::MIN_CLIENT_QUEUE_BYTES;
    let mut w = ByHand::with(|config| config.limits.client_queue_bytes = limit);
    let conn = w.client(7, &Register { max_stored: 1, ..register(100) });
    let now = w.now;
    // Each beyond the first fails at once, and its user data stands in the output.
    let mut n = 0;
    while w.engine.fault(conn).is_none() && n < 40_000 {
        n += 1;
        let mut bytes = Vec::new();
        put::submit(&mut bytes, &Submit { user: &[7; 64], ..submit(999, n, now, b"x") });
        w.engine.handle_client_bytes(now, conn, &bytes);
    }
    assert_eq!(w.engine.fault(conn).map(|f| f.rule), Some(LocalRule::Quota));
    let held = w.engine.output(conn).len();
    assert!((limit..limit + 1000).contains(&held), "{held}");
}

#[test]
fn i7_msgids_are_within_a_span_of_the_oldest_unresolved() {
    for (msgid, rule) in [(limits::MSGID_SPAN, None), (limits::MSGID_SPAN + 1, Some(LocalRule::BadSequence))]
    {
        let mut w = ByHand::new();
        let conn = w.client(7, &register(100));
        let now = w.now;
        w.say(conn, |out| {
            put::submit(out, &submit(999, 1, now, b"x"));
            put::submit(out, &Submit { msgid: MsgId(msgid), ..submit(999, 2, now, b"x") });
        });
        assert_eq!(w.engine.fault(conn).map(|f| f.rule), rule, "{msgid}");
    }
}
