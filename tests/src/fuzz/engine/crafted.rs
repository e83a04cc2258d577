//! Frames as no daemon and no library would write them, but well-formed: what they name is most often there.

use arbitrary::Unstructured;
use msg_proto::{
    control::{Control, Departure, Hello, Register},
    ids::{Channel, ClientId, DatagramNumber, FlowId, Incarnation, Instance, MsgId, Seq, SessionId},
    local::{Addressee, FlowTaken, Progress, Submit, Watch, put},
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
    wire::{
        AckRun, CallMark, Data, DatagramBuilder, Flow, Fragment, Header, Heartbeat, Kind, NackEntry, Skip,
    },
};

use super::{
    MTU, register,
    script::{byte, client_id, some_bytes},
    world::World,
};
use crate::fuzz::wire;

/// A frame of a client.
pub(super) fn client_frame(bytes: &mut Unstructured<'_>) -> Vec<u8> {
    let (what, a, b) = (byte(bytes), byte(bytes), byte(bytes));
    let mut out = Vec::new();
    let whom = Instance { client: ClientId(client_id(a)), incarnation: Incarnation(1 + u64::from(b >> 6)) };
    match what % 10 {
        0 => put::register(&mut out, &registration(a, b)),
        1 => put::ready(&mut out),
        2 | 3 => {
            let payload = some_bytes(bytes, 64);
            let is_addressed = what & 0x80 != 0;
            let addressee =
                Addressee { incarnation: whom.incarnation, node: ["a", "b", "c"][usize::from(b) % 3] };
            let submit = Submit {
                dst: whom.client,
                msgid: MsgId(number(b)),
                seq: Seq(number(b)),
                channel: if is_addressed { Channel::Unordered } else { channel(what >> 4) },
                at_least_once: what & 0x40 != 0 && !is_addressed,
                is_call: what & 0x08 != 0 || is_addressed,
                to: is_addressed.then_some(addressee),
                send_time: Time(1 << 40),
                user: b"user",
                payload,
            };
            put::submit(&mut out, &submit);
        }
        4 => put::taken(&mut out, u64::from(a)),
        5 => put::stale(&mut out, u64::from(a)),
        6 => {
            let bitmap = some_bytes(bytes, 64);
            let (src, channel, floor) = (whom, channel(what >> 4), Seq(number(b)));
            let progress = if what >> 6 == 3 { Progress::Begun } else { Progress::Taken };
            put::flow_taken(&mut out, &FlowTaken { src, channel, floor, progress, bitmap });
        }
        7 => put::watch(&mut out, &Watch { instance: whom, node: ["a", "b", "c"][usize::from(b) % 3] }),
        8 => put::drained(&mut out),
        _ => put::client_goodbye(&mut out),
    }
    out
}

fn registration(a: u8, b: u8) -> Register {
    Register {
        incarnation: Incarnation(u64::from(b & 3)),
        interval_ms: [0, 10, 50, 1000][usize::from(b >> 2) % 4],
        times: [None, Some(0), Some(1), Some(6)][usize::from(b >> 4) % 4],
        max_stored: u32::from(b >> 6) * 7,
        priority: a >> 6,
        arrival: msg_proto::control::Arrival::Alone,
        ..register(client_id(a))
    }
}

/// A datagram for the session that a node has, if there is one: a few frames.
pub(super) fn peer_frames(world: &World, to: usize, bytes: &mut Unstructured<'_>) -> Option<Vec<u8>> {
    let heard = world.nodes[to].heard.filter(|h| h.kind == Kind::Frames)?;
    let ahead = u64::from(byte(bytes));
    let number = DatagramNumber(heard.number.0.saturating_add(ahead));
    let mut out = Vec::new();
    let mut datagram = DatagramBuilder::new(&mut out, Header { number, ..heard }, MTU);
    let flow = flow(world, to, bytes);
    datagram.put_flow(&flow, 0).then_some(())?;
    for _ in 0..1 + byte(bytes) % 4 {
        put_frame(world, to, &flow, &mut datagram, bytes);
    }
    let _len = datagram.finish();
    Some(out)
}

/// A datagram whose checksum is right, with a header that is most often right, and any frames.
pub(super) fn peer_garbage(world: &World, to: usize, bytes: &mut Unstructured<'_>) -> Vec<u8> {
    let (what, number) = (byte(bytes), byte(bytes));
    let heard = world.nodes[to].heard;
    let session = heard.map_or(SessionId(1), |h| h.session);
    let base = heard.map_or(0, |h| h.number.0);
    let frames = some_bytes(bytes, 255);
    match what % 8 {
        0 => frames.to_vec(),
        1 => wire::datagram(Kind::Hello, SessionId::NONE, 0, frames),
        2 => wire::datagram(Kind::Frames, SessionId(u64::from(number) + 1), base, frames),
        // Only a hello has come.
        _ if session == SessionId::NONE => frames.to_vec(),
        3 => wire::datagram(Kind::Frames, session, u64::MAX - u64::from(number), frames),
        _ => wire::datagram(Kind::Frames, session, base.saturating_add(u64::from(number)), frames),
    }
}

/// A hello of the peer, or of a stranger.
pub(super) fn hello(world: &World, to: usize, bytes: &mut Unstructured<'_>) -> Vec<u8> {
    let (what, session) = (byte(bytes), byte(bytes));
    let own = world.nodes[to].echoed;
    let hello = Hello {
        node: if what & 1 == 0 { ["b", "a"][to] } else { "stranger" }.to_owned(),
        session: SessionId(1 + u64::from(session)),
        echo: [SessionId::NONE, own, SessionId(u64::from(what))][usize::from(what >> 1) % 3],
        start: u64::from(what >> 4),
        clock: Time(u64::from(what) << 32),
        max_message_bytes: [0, 1, 1 << 20, u32::MAX][usize::from(what >> 3) % 4],
        receive_window: [0, 1, 1 << 16, u32::MAX][usize::from(what >> 5) % 4],
    };
    wire::hello_datagram(&hello)
}

/// A flow towards a node: most often from and to clients that are there.
fn flow(world: &World, to: usize, bytes: &mut Unstructured<'_>) -> Flow {
    let (ends, stamp, floor) = (byte(bytes), byte(bytes), byte(bytes));
    let now = world.nodes[to].now;
    let send_time = match stamp % 8 {
        0 => Time(0),
        1 => Time(u64::MAX),
        2 => now + Span(1),
        3 => now.minus(Span::from_millis(99)),
        4 => now.minus(Span::from_millis(101)),
        _ => now,
    };
    Flow {
        id: FlowId {
            src: instance(world, 1 - to, ends & 15),
            dst: instance(world, to, ends >> 4),
            channel: channel(stamp >> 3),
        },
        send_time,
        interval: Span::from_millis(if stamp & 0x80 == 0 { 100 } else { 600_000 }),
        floor: Seq(number(floor)),
        presence: u32::from(stamp >> 4) & 3,
    }
}

fn put_frame(
    world: &World,
    to: usize,
    flow: &Flow,
    d: &mut DatagramBuilder<'_>,
    bytes: &mut Unstructured<'_>,
) {
    let (what, a, b) = (byte(bytes), byte(bytes), byte(bytes));
    let (msgid, seq) = (MsgId(number(a)), Seq(number(b)));
    let at_least_once = what & 0x80 != 0;
    let mark = || CallMark { age: Span::from_millis(u64::from(a)), is_addressed: b & 0x40 != 0 };
    let call = (what & 0x40 != 0).then(mark);
    // Of the messages that go the other way.
    let back = FlowId { src: flow.id.dst, dst: flow.id.src, ..flow.id };
    let _fits = match what % 12 {
        0 => {
            let payload = some_bytes(bytes, 64);
            d.put_data(&Data { msgid, seq, at_least_once, call, payload })
        }
        1 => d.put_fragment(&Fragment { call, ..fragment(msgid, seq, at_least_once, byte(bytes)) }),
        2 => d.put_skip(&Skip { seq, count: [1, 2, 64, 65_536][usize::from(a) % 4] }),
        3 => {
            let count = [1, 2, 100, 65_536][usize::from(what >> 4) % 4];
            d.put_ack(&back, flow.send_time, &[AckRun { msgid, seq, count }]) > 0
        }
        4 => {
            let certainty = if what & 0x10 == 0 { Certainty::NotStarted } else { Certainty::Unknown };
            let reason = Reason::ALL[usize::from(what >> 5) % Reason::ALL.len()];
            let verdict = Verdict { reason, certainty };
            d.put_nack(&back, flow.send_time, &[NackEntry { msgid, seq, verdict }]) > 0
        }
        5 => {
            let bitmap = some_bytes(bytes, 128);
            !bitmap.is_empty() && d.put_partial(&back, flow.send_time, msgid, seq, bitmap)
        }
        6 | 7 => d.put_control(1 + u32::from(b & 31), &control(world, to, a, what)),
        8 => d.put_control_ack(1 + u32::from(a)),
        9 => {
            let high = [u64::from(a), u64::from(a) << 8, u64::MAX][usize::from(b) % 3];
            let low = high.saturating_sub(u64::from(b));
            let window = [0, 1 << 16, u32::MAX][usize::from(what >> 4) % 3];
            d.put_link_ack(Span(u64::from(a) << 10), window, [(low, high)])
        }
        10 => d.put_heartbeat(&Heartbeat {
            wants_reply: at_least_once,
            clock: [Time(0), world.nodes[1 - to].now, Time(u64::MAX)][usize::from(a) % 3],
            echo: [Time(0), world.nodes[to].now, Time(u64::MAX)][usize::from(b) % 3],
            held: Span(u64::from(b) << 8),
        }),
        _ => d.put_goodbye(),
    };
}

fn fragment(msgid: MsgId, seq: Seq, at_least_once: bool, what: u8) -> Fragment<'static> {
    static BYTES: [u8; 1024] = [0x55; 1024];
    // The last of the parts is shorter than the others.
    let total = [1030, 2048, 3000, 65_536, 1 << 20][usize::from(what & 7) % 5];
    let offset = (u32::from(what >> 3) * 1024) % total / 1024 * 1024;
    let len = (total - offset).min(1024) as usize;
    Fragment { msgid, seq, at_least_once, call: None, offset, total, bytes: &BYTES[..len] }
}

fn control(world: &World, to: usize, a: u8, what: u8) -> Control {
    let Instance { client, incarnation } = instance(world, 1 - to, a);
    match what >> 4 {
        0..8 => Control::Announce { client, incarnation, priority: a >> 6, uid: u32::from(a) },
        n @ 8..14 => {
            let cause = [Departure::Left, Departure::Died, Departure::GoingAway][usize::from(n) % 3];
            Control::Withdraw { client, incarnation, cause }
        }
        14 if a & 1 == 0 => Control::Watch { client, incarnation },
        14 => Control::Gone { client, incarnation },
        _ => Control::Synced,
    }
}

/// A client of a node: one that is there, or another.
fn instance(world: &World, node: usize, which: u8) -> Instance {
    let slot = &world.nodes[node].slots[usize::from(which) % 4];
    let known = slot.library.as_ref().map(|l| l.session.incarnation()).filter(|i| *i != Incarnation::NONE);
    let base = 100 * (1 + u32::try_from(node).unwrap_or(0));
    match known {
        Some(incarnation) if which & 8 == 0 => {
            Instance { client: ClientId(base + u32::from(which) % 4), incarnation }
        }
        _ => Instance {
            client: ClientId(client_id(which)),
            incarnation: Incarnation(1 + u64::from(which >> 6)),
        },
    }
}

/// Small numbers, and some that are far away or about to wrap.
fn number(byte: u8) -> u32 {
    match byte {
        0..200 => u32::from(byte),
        200..228 => (u32::from(byte) - 200) << 14,
        228..242 => u32::MAX - (u32::from(byte) - 228),
        _ => u32::from(byte) << 24,
    }
}

fn channel(bits: u8) -> Channel {
    if bits & 1 == 0 { Channel::Ordered } else { Channel::Unordered }
}
