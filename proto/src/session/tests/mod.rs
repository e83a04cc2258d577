//! Tests of the session as a whole, against a scripted daemon and against naive models.

mod deliveries;
mod memory;
mod model;
mod outcomes;
mod presence;
mod replay;
mod runs;
mod sets;
mod stream;
mod submits;

use super::*;
use crate::{
    control::Registered,
    ids::Instance,
    local::{ClientFrame, Deliver, Submit, put, split},
    outcome::{Certainty, Reason, Verdict},
};

pub(super) const DST: ClientId = ClientId(200);
pub(super) const SRC: Instance = Instance { client: ClientId(7), incarnation: Incarnation(70) };
pub(super) const INTERVAL: Span = Span::from_millis(1000);

pub(super) fn config() -> SessionConfig {
    SessionConfig {
        client: ClientId(100),
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: 0,
        priority: 0,
        arrival: crate::control::Arrival::Alone,
        ack: AckMode::OnTake,
        outcomes: Outcomes::Failures,
        name: "test".to_owned(),
    }
}

pub(super) fn session() -> Session {
    Session::new(config(), MsgId(1), Seq(1))
}

/// A session that has registered, with nothing to write.
pub(super) fn registered() -> Session {
    let mut s = session();
    s.handle_connected(Time(0));
    write_all(&mut s);
    feed(&mut s, Time(0), |out| put::registered(out, &grant(1)));
    assert!(matches!(s.poll_event(Time(0)), Some(Event::Registered(_))));
    s
}

pub(super) fn grant(start: u64) -> Registered {
    Registered {
        version: 1,
        node: "vm-a".to_owned(),
        start,
        incarnation: Incarnation(5),
        interval_ms: 1000,
        times: 10,
        max_stored: 1000,
        max_stored_bytes: 8 << 20,
        max_message_bytes: 1 << 20,
    }
}

pub(super) fn feed(s: &mut Session, now: Time, write: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    write(&mut bytes);
    assert_eq!(s.handle_bytes(now, &bytes), bytes.len());
}

/// Everything that the session wants to write, as bytes; it counts as written.
pub(super) fn write_all(s: &mut Session) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !s.output().is_empty() {
        let len = s.output().len();
        bytes.extend_from_slice(s.output());
        s.consume_output(Time(0), len);
    }
    bytes
}

pub(super) fn frames(mut bytes: &[u8]) -> Vec<ClientFrame<'_>> {
    let mut frames = Vec::new();
    while let Some((raw, len)) = split(bytes).expect("a frame") {
        frames.push(ClientFrame::parse(raw).expect("a client's frame"));
        bytes = &bytes[len..];
    }
    assert!(bytes.is_empty(), "half a frame");
    frames
}

pub(super) fn submits(bytes: &[u8]) -> Vec<Submit<'_>> {
    frames(bytes)
        .into_iter()
        .filter_map(|f| if let ClientFrame::Submit(submit) = f { Some(submit) } else { None })
        .collect()
}

pub(super) fn send(s: &mut Session, now: Time) -> MsgId {
    s.send(now, DST, b"payload", b"user", SendFlags::default()).expect("room")
}

/// Time passes, and the session is called as it asks to be.
pub(super) fn pass(s: &mut Session, to: Time) {
    while let Some(at) = s.poll_timeout().filter(|at| *at <= to) {
        s.handle_timeout(at);
    }
    s.handle_timeout(to);
}

pub(super) fn verdict(reason: Reason, certainty: Certainty) -> Verdict {
    Verdict { reason, certainty }
}

pub(super) fn failures(s: &mut Session, now: Time) -> Vec<(MsgId, Verdict)> {
    let mut all = Vec::new();
    while let Some(event) = s.poll_event(now) {
        if let Event::Failed(f) = event {
            all.push((f.msgid, f.verdict));
        }
    }
    all
}

pub(super) fn delivery(number: u64, seq: u32) -> Deliver<'static> {
    Deliver {
        number,
        src: SRC,
        msgid: MsgId(seq),
        seq: Seq(seq),
        floor: Seq(1),
        channel: Channel::Ordered,
        send_time: Time(0),
        interval: INTERVAL,
        round: 0,
        call: None,
        payload: b"data",
    }
}
