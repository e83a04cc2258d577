//! Reads frames. What is out of its range is refused here, so nobody behind has to ask again.

use super::{
    super::{WireError, call::parse_call, header::Kind},
    ACK_RUN, Ack, AckRun, DATA_HEAD, Data, FRAME_HEAD, Flow, Fragment, Frame, Heartbeat, LINK_ACK_RANGE,
    LinkAck, NACK_ENTRY, Nack, NackEntry, Partial, Skip, flag, kind,
};
use crate::{
    bytes::Reader,
    control::{self, Control, Hello},
    ids::{Channel, ClientId, FlowId, Incarnation, Instance, MsgId, Seq, SessionId},
    limits,
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
};

/// Reads a datagram's frames, front to back. After an error it ends.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    rest: Reader<'a>,
    place: Place,
}

/// Which frames may come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// A hello datagram's HELLO.
    Hello,
    /// A hello datagram's padding.
    AfterHello,
    /// What belongs to a session, but for messages: no FLOW has said whose they are.
    Session,
    /// What belongs to a session.
    Flow,
}

impl<'a> Frames<'a> {
    /// The frames in what follows the head of a datagram of that kind. A hello datagram holds a HELLO and then
    /// padding; what belongs to a session is refused there, and a HELLO everywhere else.
    #[must_use]
    pub const fn new(datagram: Kind, bytes: &'a [u8]) -> Self {
        let place = match datagram {
            Kind::Hello => Place::Hello,
            Kind::Frames => Place::Session,
        };
        Self { rest: Reader::new(bytes), place }
    }

    /// The next frame, if that is the DATA of a message that no call layer marked: what most frames are. Anything else is left
    /// for [`next`](Iterator::next). What comes of it stays in registers, where an enum of all frames is built in memory.
    #[inline]
    pub fn next_plain_data(&mut self) -> Option<Data<'a>> {
        let (flags, msgid, seq, payload) = self.peek_plain()?;
        self.skip_plain(payload.len());
        Some(Data { msgid, seq, at_least_once: flags & flag::AT_LEAST_ONCE != 0, call: None, payload })
    }

    /// The same, and it stays the next: its flags, numbers and payload.
    #[inline(always)]
    pub(crate) fn peek_plain(&self) -> Option<(u8, MsgId, Seq, &'a [u8])> {
        if self.place != Place::Flow {
            return None;
        }
        let mut rest = self.rest;
        let mut head = rest.chunk::<{ FRAME_HEAD + DATA_HEAD }>()?;
        let (kind, flags, len) = (head.u8()?, head.u8()?, head.u16()?);
        if kind != kind::DATA || flags & !flag::AT_LEAST_ONCE != 0 {
            return None;
        }
        let payload = rest.bytes(usize::from(len).checked_sub(DATA_HEAD)?)?;
        Some((flags, MsgId(head.u32()?), Seq(head.u32()?), payload))
    }

    /// What [`peek_plain`](Self::peek_plain) gave, with so long a payload, is done with.
    #[inline(always)]
    pub(crate) fn skip_plain(&mut self, payload: usize) {
        // Its bytes are there: they were seen.
        let _seen = self.rest.bytes(FRAME_HEAD + DATA_HEAD + payload);
    }

    fn parse(&mut self) -> Option<Frame<'a>> {
        let mut head = self.rest.chunk::<FRAME_HEAD>()?;
        let (kind, flags, len) = (head.u8()?, head.u8()?, head.u16()?);
        let body = self.rest.bytes(usize::from(len))?;
        let allowed = match kind {
            kind::FLOW | kind::ACK | kind::NACK | kind::PARTIAL => flag::UNORDERED,
            kind::DATA | kind::FRAGMENT => flag::AT_LEAST_ONCE | flag::CALL | flag::INSTANCE,
            kind::HEARTBEAT => flag::REPLY,
            _ => 0,
        };
        if flags & !allowed != 0 {
            return None;
        }
        let r = Reader::new(body);
        match kind {
            kind::HELLO if self.place == Place::Hello => {
                self.place = Place::AfterHello;
                parse_hello(body).map(Frame::Hello)
            }
            _ if self.place == Place::Hello => None,
            kind::PADDING => body.iter().all(|b| *b == 0).then_some(Frame::Padding),
            _ if self.place == Place::AfterHello => None,
            kind::HEARTBEAT => parse_heartbeat(r, flags),
            kind::FLOW => {
                self.place = Place::Flow;
                parse_flow(r, flags)
            }
            kind::DATA if self.place == Place::Flow => parse_data(r, flags),
            kind::FRAGMENT if self.place == Place::Flow => parse_fragment(r, flags),
            kind::SKIP if self.place == Place::Flow => parse_skip(r),
            kind::ACK => parse_ack(r, flags),
            kind::NACK => parse_nack(r, flags),
            kind::PARTIAL => parse_partial(r, flags),
            kind::CONTROL => parse_control(r),
            kind::CONTROL_ACK => parse_control_ack(r),
            kind::LINK_ACK => parse_link_ack(r),
            kind::GOODBYE => body.is_empty().then_some(Frame::Goodbye),
            kind::PING => body.is_empty().then_some(Frame::Ping),
            _ => None,
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Result<Frame<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let frame = self.parse();
        if frame.is_none() {
            self.rest = Reader::new(&[]);
        }
        Some(frame.ok_or(WireError::Malformed))
    }
}

fn done<T>(r: Reader<'_>, value: T) -> Option<T> {
    r.is_empty().then_some(value)
}

fn channel(flags: u8) -> Channel {
    if flags & flag::UNORDERED == 0 { Channel::Ordered } else { Channel::Unordered }
}

fn parse_flow_id(r: &mut Reader<'_>, flags: u8) -> Option<FlowId> {
    let (src, dst) = (ClientId(r.u32()?), ClientId(r.u32()?));
    let (src_inc, dst_inc) = (Incarnation(r.u64()?), Incarnation(r.u64()?));
    (src_inc != Incarnation::NONE && dst_inc != Incarnation::NONE).then_some(FlowId {
        src: Instance { client: src, incarnation: src_inc },
        dst: Instance { client: dst, incarnation: dst_inc },
        channel: channel(flags),
    })
}

fn parse_hello(body: &[u8]) -> Option<Hello> {
    let hello: Hello = control::decode(body)?;
    let named = (1..=limits::MAX_NODE_NAME_BYTES).contains(&hello.node.len());
    (named && hello.session != SessionId::NONE).then_some(hello)
}

fn parse_heartbeat<'a>(mut r: Reader<'a>, flags: u8) -> Option<Frame<'a>> {
    let heartbeat = Heartbeat {
        wants_reply: flags & flag::REPLY != 0,
        clock: Time(r.u64()?),
        echo: Time(r.u64()?),
        held: Span(u64::from(r.u32()?)),
    };
    done(r, Frame::Heartbeat(heartbeat))
}

fn parse_flow<'a>(mut r: Reader<'a>, flags: u8) -> Option<Frame<'a>> {
    let id = parse_flow_id(&mut r, flags)?;
    let send_time = Time(r.u64()?);
    let interval_ms = r.u32()?;
    if !(limits::MIN_INTERVAL_MS..=limits::MAX_INTERVAL_MS).contains(&interval_ms) {
        return None;
    }
    let interval = Span::from_millis(u64::from(interval_ms));
    let flow = Flow { id, send_time, interval, floor: Seq(r.u32()?), presence: r.u32()? };
    done(r, Frame::Flow(flow))
}

fn parse_data<'a>(mut r: Reader<'a>, flags: u8) -> Option<Frame<'a>> {
    let mut fixed = r.chunk::<DATA_HEAD>()?;
    let (msgid, seq) = (MsgId(fixed.u32()?), Seq(fixed.u32()?));
    let (at_least_once, call) = (flags & flag::AT_LEAST_ONCE != 0, parse_call(&mut r, flags)?);
    Some(Frame::Data(Data { msgid, seq, at_least_once, call, payload: r.rest() }))
}

fn parse_fragment<'a>(mut r: Reader<'a>, flags: u8) -> Option<Frame<'a>> {
    let (msgid, seq, offset, total) = (MsgId(r.u32()?), Seq(r.u32()?), r.u32()?, r.u32()?);
    let call = parse_call(&mut r, flags)?;
    let bytes = r.rest();
    let (start, end) = (offset as usize, (offset as usize).checked_add(bytes.len())?);
    let whole_units = bytes.len().is_multiple_of(limits::FRAGMENT_UNIT) || end == total as usize;
    let fits = end <= total as usize && total as usize <= limits::MAX_MESSAGE_BYTES;
    if bytes.is_empty() || !fits || !whole_units || !start.is_multiple_of(limits::FRAGMENT_UNIT) {
        return None;
    }
    let at_least_once = flags & flag::AT_LEAST_ONCE != 0;
    Some(Frame::Fragment(Fragment { msgid, seq, at_least_once, call, offset, total, bytes }))
}

fn parse_skip(mut r: Reader<'_>) -> Option<Frame<'_>> {
    let skip = Skip { seq: Seq(r.u32()?), count: r.u32()? };
    (1..=limits::SEQ_SPAN).contains(&skip.count).then_some(())?;
    done(r, Frame::Skip(skip))
}

pub(super) fn parse_run(r: &mut Reader<'_>) -> Option<AckRun> {
    let run = AckRun { msgid: MsgId(r.u32()?), seq: Seq(r.u32()?), count: r.u32()? };
    (1..=limits::SEQ_SPAN).contains(&run.count).then_some(run)
}

fn parse_ack<'a>(mut r: Reader<'a>, flags: u8) -> Option<Frame<'a>> {
    let flow = parse_flow_id(&mut r, flags)?;
    let send_time = Time(r.u64()?);
    let runs = r.rest();
    let whole = !runs.is_empty() && runs.len().is_multiple_of(ACK_RUN);
    let valid = whole && runs.chunks_exact(ACK_RUN).all(|c| parse_run(&mut Reader::new(c)).is_some());
    valid.then_some(Frame::Ack(Ack { flow, send_time, runs }))
}

pub(super) fn parse_nack_entry(r: &mut Reader<'_>) -> Option<NackEntry> {
    let (msgid, seq) = (MsgId(r.u32()?), Seq(r.u32()?));
    let (reason, certainty) = (Reason::from_wire(r.u8()?)?, Certainty::from_wire(r.u8()?)?);
    (r.u16()? == 0).then_some(NackEntry { msgid, seq, verdict: Verdict { reason, certainty } })
}

fn parse_nack<'a>(mut r: Reader<'a>, flags: u8) -> Option<Frame<'a>> {
    let flow = parse_flow_id(&mut r, flags)?;
    let send_time = Time(r.u64()?);
    let entries = r.rest();
    let whole = !entries.is_empty() && entries.len().is_multiple_of(NACK_ENTRY);
    let valid =
        whole && entries.chunks_exact(NACK_ENTRY).all(|c| parse_nack_entry(&mut Reader::new(c)).is_some());
    valid.then_some(Frame::Nack(Nack { flow, send_time, entries }))
}

fn parse_partial<'a>(mut r: Reader<'a>, flags: u8) -> Option<Frame<'a>> {
    let flow = parse_flow_id(&mut r, flags)?;
    let (send_time, msgid, seq) = (Time(r.u64()?), MsgId(r.u32()?), Seq(r.u32()?));
    let bitmap = r.rest();
    let valid = !bitmap.is_empty() && bitmap.len() <= limits::MAX_FRAGMENT_UNITS / 8;
    valid.then_some(Frame::Partial(Partial { flow, send_time, msgid, seq, bitmap }))
}

fn parse_control(mut r: Reader<'_>) -> Option<Frame<'_>> {
    let seq = r.u32()?;
    let body: Control = control::decode(r.rest())?;
    (seq > 0 && body.incarnation() != Some(Incarnation::NONE)).then_some(Frame::Control { seq, body })
}

fn parse_control_ack(mut r: Reader<'_>) -> Option<Frame<'_>> {
    let next = r.u32()?;
    (next > 0).then_some(())?;
    done(r, Frame::ControlAck { next })
}

fn parse_link_ack(mut r: Reader<'_>) -> Option<Frame<'_>> {
    let (largest, delay) = (r.u64()?, Span(u64::from(r.u32()?)));
    let (first, window) = (r.u32()?, r.u32()?);
    let ranges = r.rest();
    let count = 1 + ranges.len() / LINK_ACK_RANGE;
    let whole = ranges.len().is_multiple_of(LINK_ACK_RANGE);
    let ack = LinkAck { largest, delay, first, window, ranges };
    let valid = whole && count <= limits::MAX_ACK_RANGES && ack.ranges().count() == count;
    valid.then_some(Frame::LinkAck(ack))
}

/// The `count` numbers from `high` down: (lowest, highest). `None` for none, and where they would pass below 0.
pub(super) fn range_below(high: u64, count: u32) -> Option<(u64, u64)> {
    Some((high.checked_sub(u64::from(count.checked_sub(1)?))?, high))
}
