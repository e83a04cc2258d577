//! Every frame between daemons, as a value that owns its bytes: what was to be written and what was read are then
//! compared as wholes.

use msg_proto::{
    control::{Control, Departure, Hello},
    ids::{Channel, ClientId, FlowId, Incarnation, Instance, MsgId, Seq, SessionId},
    limits,
    units::{Span, Time},
    wire::{
        AckRun, CallMark, Data, DatagramBuilder, Flow, Fragment, Frame, Frames, HEADER_BYTES, Heartbeat,
        Kind, NackEntry, Skip,
    },
};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};

use super::{bytes, config, datagrams::build, flow_id, incarnation, instance, interval, verdict};

/// A frame that owns its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Owned {
    Padding,
    Hello(Hello),
    Heartbeat(Heartbeat),
    Flow(Flow),
    Data {
        msgid: MsgId,
        seq: Seq,
        at_least_once: bool,
        call: Option<CallMark>,
        payload: Vec<u8>,
    },
    Fragment {
        msgid: MsgId,
        seq: Seq,
        at_least_once: bool,
        call: Option<CallMark>,
        offset: u32,
        total: u32,
        bytes: Vec<u8>,
    },
    Skip(Skip),
    Ack {
        flow: FlowId,
        send_time: Time,
        runs: Vec<AckRun>,
    },
    Nack {
        flow: FlowId,
        send_time: Time,
        entries: Vec<NackEntry>,
    },
    Partial {
        flow: FlowId,
        send_time: Time,
        msgid: MsgId,
        seq: Seq,
        bitmap: Vec<u8>,
    },
    Control {
        seq: u32,
        body: Control,
    },
    ControlAck {
        next: u32,
    },
    LinkAck {
        delay: Span,
        window: u32,
        ranges: Vec<(u64, u64)>,
    },
    Goodbye,
    Ping,
}

impl Owned {
    /// Reads all that a frame holds.
    pub(crate) fn of(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Padding => Self::Padding,
            Frame::Hello(hello) => Self::Hello(hello),
            Frame::Heartbeat(heartbeat) => Self::Heartbeat(heartbeat),
            Frame::Flow(flow) => Self::Flow(flow),
            Frame::Data(Data { msgid, seq, at_least_once, call, payload }) => {
                Self::Data { msgid, seq, at_least_once, call, payload: payload.to_vec() }
            }
            Frame::Fragment(Fragment { msgid, seq, at_least_once, call, offset, total, bytes }) => {
                Self::Fragment { msgid, seq, at_least_once, call, offset, total, bytes: bytes.to_vec() }
            }
            Frame::Skip(skip) => Self::Skip(skip),
            Frame::Ack(ack) => {
                Self::Ack { flow: ack.flow, send_time: ack.send_time, runs: ack.runs().collect() }
            }
            Frame::Nack(nack) => {
                Self::Nack { flow: nack.flow, send_time: nack.send_time, entries: nack.entries().collect() }
            }
            Frame::Partial(p) => Self::Partial {
                flow: p.flow,
                send_time: p.send_time,
                msgid: p.msgid,
                seq: p.seq,
                bitmap: p.bitmap.to_vec(),
            },
            Frame::Control { seq, body } => Self::Control { seq, body },
            Frame::ControlAck { next } => Self::ControlAck { next },
            Frame::LinkAck(ack) => {
                let ranges: Vec<_> = ack.ranges().collect();
                assert_eq!(ranges[0], (ack.largest - (u64::from(ack.first) - 1), ack.largest));
                Self::LinkAck { delay: ack.delay, window: ack.window, ranges }
            }
            Frame::Goodbye => Self::Goodbye,
            Frame::Ping => Self::Ping,
        }
    }

    /// Whether a FLOW must come before it.
    pub(crate) fn needs_flow(&self) -> bool {
        matches!(self, Self::Data { .. } | Self::Fragment { .. } | Self::Skip(_))
    }

    /// Writes it, as far as it fits; returns what was written.
    pub(crate) fn put(&self, datagram: &mut DatagramBuilder<'_>) -> Option<Self> {
        let room = datagram.remaining();
        let written = match self {
            Self::Padding => {
                datagram.put_padding(datagram.len() + 7);
                room >= 4
            }
            Self::Hello(hello) => datagram.put_hello(hello),
            Self::Heartbeat(heartbeat) => datagram.put_heartbeat(heartbeat),
            Self::Flow(flow) => datagram.put_flow(flow, 0),
            Self::Data { msgid, seq, at_least_once, call, payload } => {
                let (msgid, seq, at_least_once, call) = (*msgid, *seq, *at_least_once, *call);
                datagram.put_data(&Data { msgid, seq, at_least_once, call, payload })
            }
            Self::Fragment { msgid, seq, at_least_once, call, offset, total, bytes } => {
                let (msgid, seq, at_least_once, call) = (*msgid, *seq, *at_least_once, *call);
                let (offset, total) = (*offset, *total);
                datagram.put_fragment(&Fragment { msgid, seq, at_least_once, call, offset, total, bytes })
            }
            Self::Skip(skip) => datagram.put_skip(skip),
            Self::Ack { flow, send_time, runs } => {
                let n = datagram.put_ack(flow, *send_time, runs);
                let (flow, send_time, runs) = (*flow, *send_time, runs[..n].to_vec());
                return (n > 0).then_some(Self::Ack { flow, send_time, runs });
            }
            Self::Nack { flow, send_time, entries } => {
                let n = datagram.put_nack(flow, *send_time, entries);
                let (flow, send_time, entries) = (*flow, *send_time, entries[..n].to_vec());
                return (n > 0).then_some(Self::Nack { flow, send_time, entries });
            }
            Self::Partial { flow, send_time, msgid, seq, bitmap } => {
                datagram.put_partial(flow, *send_time, *msgid, *seq, bitmap)
            }
            Self::Control { seq, body } => datagram.put_control(*seq, body),
            Self::ControlAck { next } => datagram.put_control_ack(*next),
            Self::LinkAck { delay, window, ranges } => {
                let written = datagram.put_link_ack(*delay, *window, ranges.iter().copied());
                let fit = 1 + room.saturating_sub(24) / 8;
                let ranges = ranges[..fit.min(ranges.len())].to_vec();
                return written.then_some(Self::LinkAck { delay: *delay, window: *window, ranges });
            }
            Self::Goodbye => datagram.put_goodbye(),
            Self::Ping => datagram.put_ping(),
        };
        assert!(written || datagram.remaining() == room, "nothing is written of what does not fit: {self:?}");
        written.then(|| self.clone())
    }
}

fn msgid() -> impl Strategy<Value = MsgId> {
    any::<u32>().prop_map(MsgId)
}

fn seq() -> impl Strategy<Value = Seq> {
    any::<u32>().prop_map(Seq)
}

fn time() -> impl Strategy<Value = Time> {
    any::<u64>().prop_map(Time)
}

fn count() -> impl Strategy<Value = u32> {
    prop_oneof![1..=3u32, Just(limits::SEQ_SPAN), 1..=limits::SEQ_SPAN]
}

fn short_span() -> impl Strategy<Value = Span> {
    any::<u32>().prop_map(|us| Span(u64::from(us)))
}

fn flow() -> impl Strategy<Value = Owned> {
    (flow_id(), time(), interval(), seq(), any::<u32>()).prop_map(
        |(id, send_time, interval, floor, presence)| {
            Owned::Flow(Flow { id, send_time, interval, floor, presence })
        },
    )
}

/// Of a plain message, or of one of the call layer.
fn call() -> impl Strategy<Value = Option<CallMark>> {
    let mark = |(ms, is_addressed)| CallMark { age: Span::from_millis(u64::from(ms)), is_addressed };
    option::of(any::<(u32, bool)>().prop_map(mark))
}

fn data() -> impl Strategy<Value = Owned> {
    (msgid(), seq(), any::<bool>(), call(), bytes(2000)).prop_map(
        |(msgid, seq, at_least_once, call, payload)| Owned::Data { msgid, seq, at_least_once, call, payload },
    )
}

/// Some whole units of a message, or its tail.
fn fragment() -> impl Strategy<Value = Owned> {
    let unit = limits::FRAGMENT_UNIT;
    let place = (1..=limits::MAX_MESSAGE_BYTES).prop_flat_map(move |total| {
        let units = total.div_ceil(unit);
        (0..units, 1..=3usize).prop_map(move |(first, n)| {
            let start = first * unit;
            (start, (start + n * unit).min(total), total)
        })
    });
    (msgid(), seq(), (any::<bool>(), call()), place, any::<u8>()).prop_map(
        |(msgid, seq, (at_least_once, call), (start, end, total), fill)| {
            let of = |n: usize| u32::try_from(n).expect("a message's size");
            let bytes = vec![fill; end - start];
            Owned::Fragment { msgid, seq, at_least_once, call, offset: of(start), total: of(total), bytes }
        },
    )
}

fn ack() -> impl Strategy<Value = Owned> {
    let run = (msgid(), seq(), count()).prop_map(|(msgid, seq, count)| AckRun { msgid, seq, count });
    (flow_id(), time(), vec(run, 1..120)).prop_map(|(flow, send_time, runs)| Owned::Ack {
        flow,
        send_time,
        runs,
    })
}

fn nack() -> impl Strategy<Value = Owned> {
    let entry =
        (msgid(), seq(), verdict()).prop_map(|(msgid, seq, verdict)| NackEntry { msgid, seq, verdict });
    (flow_id(), time(), vec(entry, 1..120)).prop_map(|(flow, send_time, entries)| Owned::Nack {
        flow,
        send_time,
        entries,
    })
}

fn partial() -> impl Strategy<Value = Owned> {
    let bitmap = vec(any::<u8>(), 1..=limits::MAX_FRAGMENT_UNITS / 8);
    (flow_id(), time(), msgid(), seq(), bitmap).prop_map(|(flow, send_time, msgid, seq, bitmap)| {
        Owned::Partial { flow, send_time, msgid, seq, bitmap }
    })
}

fn control() -> impl Strategy<Value = Owned> {
    let cause = select(vec![Departure::Left, Departure::Died, Departure::GoingAway]);
    let body = prop_oneof![
        (any::<(u32, u32)>(), incarnation(), any::<u8>()).prop_map(
            |((client, uid), incarnation, priority)| {
                Control::Announce { client: ClientId(client), incarnation, priority, uid }
            }
        ),
        (any::<u32>(), incarnation(), cause).prop_map(|(client, incarnation, cause)| Control::Withdraw {
            client: ClientId(client),
            incarnation,
            cause
        }),
        Just(Control::Synced),
        instance().prop_map(|Instance { client, incarnation }| Control::Watch { client, incarnation }),
        instance().prop_map(|Instance { client, incarnation }| Control::Gone { client, incarnation }),
    ];
    (1..=u32::MAX, body).prop_map(|(seq, body)| Owned::Control { seq, body })
}

/// Ranges from a highest number down, as a receiver has them, narrow ones as often as the widest.
fn link_ack() -> impl Strategy<Value = Owned> {
    let width = || prop_oneof![0..=3u32, 0..u32::MAX, Just(u32::MAX - 1)];
    let highest = prop_oneof![0..1000u64, any::<u64>(), Just(u64::MAX)];
    let steps = vec((width(), width()), 1..=limits::MAX_ACK_RANGES);
    (short_span(), any::<u32>(), highest, steps).prop_map(|(delay, window, highest, steps)| {
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (gap, more) in steps {
            let high = match ranges.last() {
                None => Some(highest),
                Some((low, _)) => low.checked_sub(u64::from(gap) + 1),
            };
            let Some(high) = high else { break };
            ranges.push((high.saturating_sub(u64::from(more)), high));
        }
        Owned::LinkAck { delay, window, ranges }
    })
}

/// Any frame of a session.
pub(crate) fn frame() -> impl Strategy<Value = Owned> {
    let heartbeat =
        (any::<bool>(), time(), time(), short_span()).prop_map(|(wants_reply, clock, echo, held)| {
            Owned::Heartbeat(Heartbeat { wants_reply, clock, echo, held })
        });
    let skip = (seq(), count()).prop_map(|(seq, count)| Owned::Skip(Skip { seq, count }));
    let messages = prop_oneof![flow(), data(), fragment(), skip];
    let answers = prop_oneof![ack(), nack(), partial(), link_ack()];
    let rest = prop_oneof![
        Just(Owned::Padding),
        heartbeat,
        control(),
        (1..=u32::MAX).prop_map(|next| Owned::ControlAck { next }),
        Just(Owned::Goodbye),
        Just(Owned::Ping),
    ];
    prop_oneof![messages, answers, rest]
}

pub(crate) fn hello() -> impl Strategy<Value = Hello> {
    let node = "[a-z0-9\u{e4}-]{1,32}";
    (node, 1..=u64::MAX, any::<u64>(), any::<u64>(), time(), any::<u32>(), any::<u32>()).prop_map(
        |(node, session, echo, start, clock, max_message_bytes, receive_window)| Hello {
            node,
            session: SessionId(session),
            echo: SessionId(echo),
            start,
            clock,
            max_message_bytes,
            receive_window,
        },
    )
}

fn raw(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("short").to_le_bytes();
    [&[kind, flags, len[0], len[1]][..], body].concat()
}

/// A frame of any type and flags whose length is right, and whose body is anything, or nearly a frame.
fn raw_frame() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![bytes(80), vec(prop_oneof![Just(0u8), any::<u8>()], 0..80)];
    let anything = (0..16u8, 0..4u8, body).prop_map(|(kind, flags, body)| raw(kind, flags, &body));
    let nearly = (frame(), any::<Index>(), any::<u8>(), -3..3isize).prop_map(|(frame, at, value, longer)| {
        let (bytes, start) = alone(&frame, &FLOW);
        let mut body = bytes[start + 4..].to_vec();
        body.resize(body.len().saturating_add_signed(longer), value);
        if !body.is_empty() && longer == 0 {
            let at = at.index(body.len());
            body[at] = value;
        }
        raw(bytes[start], bytes[start + 1], &body)
    });
    prop_oneof![anything, nearly]
}

const FLOW: Owned = {
    let anybody = Instance { client: ClientId(1), incarnation: Incarnation(1) };
    let id = FlowId { src: anybody, dst: anybody, channel: Channel::Ordered };
    let interval = Span::from_millis(1000);
    Owned::Flow(Flow { id, send_time: Time(1), interval, floor: Seq(1), presence: 1 })
};

/// A datagram with a frame and, where it needs that, `context` before it; and where the frame begins.
fn alone(frame: &Owned, context: &Owned) -> (Vec<u8>, usize) {
    let mut start = HEADER_BYTES;
    let out = build(Kind::Frames, limits::MAX_MTU, |d| {
        if frame.needs_flow() {
            assert!(context.put(d).is_some());
            start = d.len();
        }
        assert_eq!(frame.put(d).as_ref(), Some(frame), "it fits");
    });
    (out, start)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_frame_comes_back(frame in frame(), context in flow()) {
        let (out, _) = alone(&frame, &context);
        let frames = if frame.needs_flow() { vec![context, frame] } else { vec![frame] };
        let read: Vec<_> =
            Frames::new(Kind::Frames, &out[HEADER_BYTES..]).map(|f| Owned::of(f.expect("a frame"))).collect();
        prop_assert_eq!(read, frames);
    }

    /// Around the size that a frame needs: it is written where it fits, as far as it can be divided, or not at all.
    #[test]
    fn a_frame_keeps_to_its_room(frame in frame()) {
        let (whole, start) = alone(&frame, &FLOW);
        let divides = matches!(frame, Owned::Ack { .. } | Owned::Nack { .. } | Owned::LinkAck { .. } | Owned::Padding);
        for size in whole.len().saturating_sub(40).max(start)..whole.len() + 2 {
            let mut written = None;
            let out = build(Kind::Frames, size, |d| {
                if frame.needs_flow() {
                    assert!(FLOW.put(d).is_some());
                }
                written = frame.put(d);
            });
            prop_assert!(out.len() <= size, "{} bytes of {}", out.len(), size);
            prop_assert_eq!(out.len() > start, written.is_some());
            prop_assert!(divides || written.is_some() == (size >= whole.len()));
            if written.is_some() {
                let last = Frames::new(Kind::Frames, &out[HEADER_BYTES..]).last();
                prop_assert_eq!(last.expect("a frame").map(Owned::of).ok(), written);
            }
        }
    }

    #[test]
    fn a_hello_comes_back(hello in hello()) {
        let out = build(Kind::Hello, 1200, |d| assert!(d.put_hello(&hello)));
        prop_assert_eq!(out.len(), limits::HELLO_DATAGRAM_BYTES);
        let first = Frames::new(Kind::Hello, &out[HEADER_BYTES..]).next();
        prop_assert_eq!(first, Some(Ok(Frame::Hello(hello))));
    }

    /// What is read can be written, and then it is the same bytes: nothing has two forms.
    #[test]
    fn what_is_read_has_one_form(raw in raw_frame(), context in flow()) {
        let context = build(Kind::Frames, 4000, |d| assert!(context.put(d).is_some()));
        let body = [&context[HEADER_BYTES..], &raw].concat();
        let mut frames = Frames::new(Kind::Frames, &body);
        prop_assert!(matches!(frames.next(), Some(Ok(Frame::Flow(_)))));
        let Some(Ok(frame)) = frames.next() else { return Ok(()) };
        let frame = Owned::of(frame);
        if frame != Owned::Padding {
            let out = build(Kind::Frames, 8000, |d| {
                let flow = Frames::new(Kind::Frames, &body).next().expect("a FLOW").expect("a FLOW");
                assert!(Owned::of(flow).put(d).is_some());
                assert_eq!(frame.put(d).as_ref(), Some(&frame));
            });
            prop_assert_eq!(&out[HEADER_BYTES..], &body);
        }
    }

    /// Who asks for plain messages first reads what who does not ask reads.
    #[test]
    fn plain_messages_are_read_ahead(frames in vec(prop_oneof![2 => data(), 1 => frame()], 0..6), raw in raw_frame()) {
        let bytes = |f: Owned| { let (out, start) = alone(&f, &FLOW); out[start..].to_vec() };
        let first = build(Kind::Frames, 4000, |d| assert!(FLOW.put(d).is_some()));
        let body = [&first[HEADER_BYTES..], &frames.into_iter().flat_map(bytes).collect::<Vec<_>>(), &raw].concat();
        for body in [&body[..], &body[first.len() - HEADER_BYTES..]] {
            let mut ahead = Frames::new(Kind::Frames, body);
            for frame in Frames::new(Kind::Frames, body) {
                let is_plain = matches!(frame, Ok(Frame::Data(Data { call: None, .. })));
                let found = ahead.next_plain_data();
                prop_assert_eq!(found.is_some(), is_plain);
                prop_assert_eq!(found.map(Frame::Data).map(Ok).or_else(|| ahead.next()), Some(frame));
            }
            prop_assert_eq!(ahead.next_plain_data(), None);
            prop_assert_eq!(ahead.next(), None);
        }
    }

    #[test]
    fn no_bytes_do_harm(garbage in bytes(1500), raws in vec(raw_frame(), 0..6)) {
        for body in [garbage, raws.concat()] {
            for kind in [Kind::Hello, Kind::Frames] {
                let mut frames = Frames::new(kind, &body);
                let mut n = 0;
                while let Some(frame) = frames.next() {
                    n += 1;
                    match frame {
                        Ok(frame) => drop(Owned::of(frame)),
                        Err(_) => prop_assert_eq!(frames.next(), None, "it ends with the first error"),
                    }
                }
                prop_assert!(n <= 1 + body.len() / 4, "a frame takes at least its head");
            }
        }
    }
}
