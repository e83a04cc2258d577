//! What the daemon reads from a client's socket.

use msg_proto::{
    counters::Counter,
    engine::{Credentials, Engine},
    limits,
    local::{ClientFrame, put, split},
    units::{Span, Time},
};

use super::engine::{check_counters, config, register};

/// A client's stream: the first byte says how it is cut into reads, and whether a registration stands before it.
///
/// What can be read can be written, and gives the same bytes; where the stream is cut changes nothing that counts; and
/// in the end every message that was accepted has its outcome, and nothing is left.
pub fn local_client_frames(data: &[u8]) {
    let Some((options, stream)) = data.split_first() else { return };
    rewrite(stream);
    let mut bytes = Vec::new();
    if options & 1 != 0 {
        put::register(&mut bytes, &register(100));
        put::ready(&mut bytes);
    }
    bytes.extend_from_slice(stream);
    let whole = run(&bytes, bytes.len().max(1));
    let cut = run(&bytes, 1 + usize::from(options >> 1));
    assert_eq!(whole, cut, "where the stream is cut changes something");
}

fn rewrite(mut stream: &[u8]) {
    while let Ok(Some((raw, len))) = split(stream) {
        assert!((8..=limits::MAX_LOCAL_FRAME_BYTES).contains(&len));
        let Ok(frame) = ClientFrame::parse(raw) else { return };
        let mut out = Vec::new();
        match &frame {
            ClientFrame::Register(register) => put::register(&mut out, register),
            ClientFrame::FlowTaken(taken) => put::flow_taken(&mut out, taken),
            ClientFrame::Ready => put::ready(&mut out),
            ClientFrame::Submit(submit) => put::submit(&mut out, submit),
            ClientFrame::Taken { upto } => put::taken(&mut out, *upto),
            ClientFrame::Stale { number } => put::stale(&mut out, *number),
            ClientFrame::Goodbye => put::client_goodbye(&mut out),
            ClientFrame::FlowBound(bound) => put::flow_bound(&mut out, bound),
            ClientFrame::Drained => put::drained(&mut out),
            ClientFrame::Subscribe { client } => put::subscribe(&mut out, *client),
            ClientFrame::Withdraw { msgid } => put::withdraw(&mut out, *msgid),
            ClientFrame::GivenUp { upto } => put::given_up(&mut out, *upto),
            ClientFrame::Watch(watch) => put::watch(&mut out, watch),
        }
        assert_eq!(out, stream[..len], "{frame:?}");
        stream = &stream[len..];
    }
}

/// A connection's life; returns what must not depend on how it was cut.
fn run(stream: &[u8], cut: usize) -> [u64; 4] {
    let start = Time(1 << 40);
    let mut engine = Engine::new(config(0, 0, Vec::new()), start);
    let Ok(conn) = engine.handle_connect(start, Credentials { pid: 1, uid: 0, gid: 0 }) else {
        panic!("the first connection is refused")
    };
    let mut is_closed = false;
    for part in stream.chunks(cut) {
        engine.handle_client_bytes(start, conn, part);
        is_closed |= engine.poll_close().is_some();
        check_counters(&engine);
    }
    let value = |counter| engine.counters().value(counter);
    let counts = [
        value(Counter::MessagesSubmitted),
        value(Counter::MalformedLocalFrames),
        engine.chain_depth() as u64,
        u64::from(is_closed),
    ];
    // What it reads may bring more: it is told of a target, and then come the messages.
    for _ in 0..1000 {
        while engine.poll_writable().is_some() {}
        let pending = engine.output(conn).len();
        engine.consume_output(start, conn, pending);
    }
    assert!(engine.output(conn).is_empty());
    engine.handle_disconnect(start, conn);
    finish(&mut engine, start);
    counts
}

/// Lets the time pass until everything has ended.
fn finish(engine: &mut Engine, mut now: Time) {
    // The longest life of a message, in scans; then what was left behind expires.
    let steps = 2 * 257 + 2 * limits::TOMBSTONE_MS.div_ceil(limits::EXPIRE_MS) + 600_000 * 257 / 10_000;
    for _ in 0..steps {
        let Some(at) = engine.poll_timeout() else { break };
        assert!(at >= now, "{at:?} is before {now:?}");
        now = Time(at.0.max(now.0)) + Span(u64::from(at == now));
        engine.handle_timeout(now);
        check_counters(engine);
    }
    assert_eq!(engine.chain_depth(), 0, "messages without an outcome");
    assert_eq!(engine.poll_timeout(), None, "an engine that has nothing to do");
    while engine.poll_writable().is_some() {}
}
