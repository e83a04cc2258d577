//! What stands in the engine itself: chance, and numbers of lives.

use super::*;
use crate::{
    control::{Arrival, Register, VersionRange},
    ids::{Channel, MsgId, Seq},
    limits,
    local::{Submit, put},
    units::Span,
    wire::{Frame, Frames, Header},
};
use client::ConnState;

pub(super) fn engine(start: u64, seed: u64) -> Engine {
    engine_of("vm", start, seed, Vec::new())
}

fn engine_of(node: &str, start: u64, seed: u64, peers: Vec<PeerConfig>) -> Engine {
    let config = EngineConfig {
        node: node.to_owned(),
        start,
        seed,
        listeners: 1,
        peers,
        chain: ChainConfig {
            interval: Span::from_millis(100),
            times: 1,
            max_stored: 10,
            recovery: Recovery::Adaptive,
        },
        limits: LimitConfig {
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
            max_clients: 8,
            client_queue_bytes: limits::DEFAULT_CLIENT_QUEUE_BYTES,
        },
        mtu: limits::MIN_MTU,
        max_mtu: limits::MIN_MTU,
        receive_window: 1 << 20,
        grace: Span::ZERO,
        clients: Vec::new(),
    };
    Engine::new(config, Time(1_000_000))
}

/// A client that has registered, and is ready.
pub(super) fn client(engine: &mut Engine, now: Time, id: u32) -> ConnId {
    let conn = engine.handle_connect(now, Credentials { pid: 1, uid: 0, gid: 0 }).expect("few connections");
    let body = Register {
        versions: VersionRange { lowest: 1, highest: 1 },
        client: ClientId(id),
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: 0,
        priority: 0,
        arrival: Arrival::Alone,
        name: String::new(),
    };
    let mut bytes = Vec::new();
    put::register(&mut bytes, &body);
    put::ready(&mut bytes);
    engine.handle_client_bytes(now, conn, &bytes);
    conn
}

#[test]
fn chance_is_split_mix() {
    let mut engine = engine(1, 1_234_567);
    let published = [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ];
    assert_eq!(published.map(|_| engine.random()), published);
}

#[test]
fn a_new_life_is_younger_than_all_that_are_known() {
    let (client, other) = (ClientId(7), ClientId(8));
    let instance = |client, n| Instance { client, incarnation: Incarnation(n) };
    let mut engine = engine(5000, 1);
    assert_eq!(engine.new_incarnation(client), Incarnation(5000));
    engine.advance(Time(1_000_300));
    assert_eq!(engine.new_incarnation(client), Incarnation(5300), "by time, where nothing is against it");
    engine.departed.push_back((instance(other, 9000), Time(0)));
    engine.by_instance.insert(instance(other, 9000), ClientKey(0));
    assert_eq!(engine.new_incarnation(client), Incarnation(5300), "another client's");
    engine.by_instance.insert(instance(client, 5400), ClientKey(1));
    assert!(engine.new_incarnation(client) > Incarnation(5400));
    engine.departed.push_back((instance(client, 6000), Time(0)));
    engine.departed.push_back((instance(client, 5500), Time(0)));
    assert!(engine.new_incarnation(client) > Incarnation(6000));
    engine.routes.add(instance(client, 7000), 0, 0, chain::Via::Nowhere);
    assert!(engine.new_incarnation(client) > Incarnation(7000));
    // Two daemons beside the same peer do not give the same one.
    assert_ne!(engine.new_incarnation(client), engine.new_incarnation(client));
    engine.routes.add(instance(client, u64::MAX), 0, 0, chain::Via::Nowhere);
    assert_eq!(engine.new_incarnation(client), Incarnation(u64::MAX));
}

#[test]
fn room_of_an_output_is_given_back_when_it_was_not_used_for_a_while() {
    let mut engine = engine(1, 1);
    let at = |ms| Time(1_000_000) + Span::from_millis(ms);
    let conn = engine.handle_connect(at(0), Credentials { pid: 1, uid: 0, gid: 0 }).expect("few connections");
    let write = |engine: &mut Engine, ms, len, read| {
        engine.conns[conn].out.tail().resize(len, 0);
        engine.wake_conn(conn);
        assert_eq!(engine.poll_writable(), Some(conn));
        engine.consume_output(at(ms), conn, read);
    };
    let trim = |engine: &mut Engine, ms| {
        engine.trim_at = Some(at(ms));
        engine.handle_timeout(at(ms));
        engine.conns[conn].out.is_roomy()
    };
    write(&mut engine, 0, 10_000, 10_000);
    assert!(trim(&mut engine, 200), "it was used since");
    write(&mut engine, 200, 10, 9);
    assert!(trim(&mut engine, 400) && trim(&mut engine, 600), "something waits in it");
    engine.consume_output(at(600), conn, 1);
    assert!(trim(&mut engine, 800));
    assert!(!trim(&mut engine, 1000));
    assert_eq!((engine.roomy.len(), engine.trim_at), (0, None));
}

#[test]
fn a_run_of_outcomes_is_no_longer_than_the_span_of_msgids() {
    let mut engine = engine(1, 1);
    let now = Time(1_000_000);
    let conn = client(&mut engine, now, 7);
    let client = engine.conns[conn].state.client().expect("registered");
    for n in 1..limits::MSGID_SPAN + 2 {
        engine.clients[client].push_resolved(MsgId(n));
    }
    let last = (MsgId(limits::MSGID_SPAN + 1), 1);
    assert_eq!(engine.clients[client].resolved, [(MsgId(1), limits::MSGID_SPAN), last]);
}

/// Two nodes, each with a client, 100 and 200, that were told of each other; and their connections.
fn pair() -> ([Engine; 2], [ConnId; 2], Time) {
    let address = |n: u16| SocketAddr::from(([127, 0, 0, 1], 7400 + n));
    let peer = |name: &str, n| vec![PeerConfig { name: name.to_owned(), addresses: vec![address(n)] }];
    let mut nodes = [engine_of("a", 1000, 1, peer("b", 1)), engine_of("b", 2000, 2, peer("a", 0))];
    let mut now = Time(1_000_000);
    let conns = [0, 1].map(|n| client(&mut nodes[n], now, [100, 200][n]));
    // What is written to a client counts as read.
    let settle = |node: &mut Engine, now| {
        while let Some(conn) = node.poll_writable() {
            let len = node.output(conn).len();
            node.consume_output(now, conn, len);
        }
    };
    for turn in 0..200 {
        if turn == 100 {
            let mut first = Vec::new();
            put::submit(&mut first, &message(1, now));
            nodes[0].handle_client_bytes(now, conns[0], &first);
        }
        now = now + Span(500);
        for n in 0..2 {
            let [a, b] = &mut nodes;
            let (from, to) = if n == 0 { (a, b) } else { (b, a) };
            from.handle_timeout(now);
            settle(from, now);
            let mut out = Vec::new();
            while let Some(transmit) = from.poll_transmit(now, &mut out, 1) {
                to.handle_datagram(now, 0, address(n), &out[..transmit.len]);
                out.clear();
            }
            settle(to, now);
        }
    }
    (nodes, conns, now)
}

fn message(n: u32, now: Time) -> Submit<'static> {
    Submit {
        dst: ClientId(200),
        msgid: MsgId(n),
        seq: Seq(n),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call: false,
        to: None,
        send_time: now,
        user: &[],
        payload: b"message",
    }
}

/// That runs come to what looking at each message comes to is shown elsewhere. This is that there are any.
#[test]
fn plain_messages_are_taken_in_and_given_in_one_go() {
    let ([mut a, mut b], conns, now) = pair();
    let ConnState::Ready(client) = a.conns[conns[0]].state else { panic!("it is ready") };
    let mut stream = Vec::new();
    (2..9).for_each(|n| put::submit(&mut stream, &message(n, now)));
    assert_eq!(a.submit_run(client, &stream, None), stream.len());

    let mut out = Vec::new();
    a.poll_transmit(now, &mut out, 1).expect("seven messages");
    let (header, frames) = Header::parse(&out).expect("our own");
    let mut frames = Frames::new(header.kind, frames);
    let flow = frames.by_ref().find_map(|f| if let Ok(Frame::Flow(flow)) = f { Some(flow) } else { None });
    let flow = flow.expect("it says whose they are");
    let inbox = b.inbox_of[&flow.id];
    b.advance(now);
    assert_eq!(b.give_run(inbox, flow.send_time, flow.interval, &mut frames), 7);
    assert!(frames.next().is_none() && !b.output(conns[1]).is_empty());
}
