//! Writes datagrams.

use super::{
    CallMark,
    frame::{
        ACK_RUN, AGE, AckRun, CONTEXT, DATA_HEAD, Data, FLOW_BODY, FRAGMENT_HEAD, FRAME_HEAD, Flow, Fragment,
        Frames, Heartbeat, LINK_ACK_HEAD, LINK_ACK_RANGE, NACK_ENTRY, NackEntry, Skip, flag, kind,
    },
    header::{self, HEADER_BYTES, Header},
};
use crate::{
    bytes::{Fixed, Put, len_u16},
    control::{self, Control, Hello},
    ids::{Channel, FlowId, MsgId, Seq},
    limits::{FRAGMENT_UNIT, HELLO_DATAGRAM_BYTES, MAX_ACK_RANGES, MAX_MTU, MAX_NODE_NAME_BYTES},
    units::{Span, Time},
};

/// Bytes of the largest HELLO's body: its fixed fields, its name's length, its name.
const HELLO_BODY: usize = 40 + 8 + MAX_NODE_NAME_BYTES;
const _: () = assert!(HEADER_BYTES + FRAME_HEAD + HELLO_BODY + FRAME_HEAD <= HELLO_DATAGRAM_BYTES);
const _: () = assert!(MAX_MTU - HEADER_BYTES <= u16::MAX as usize, "a frame's length fits its field");

/// Appends one datagram to a buffer, frame by frame, up to `size` bytes.
///
/// A `put_*` writes nothing and returns `false` (or how much it took) where the frame does not fit.
#[derive(Debug)]
pub struct DatagramBuilder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of it that stand elsewhere.
    elsewhere: usize,
}

impl<'a> DatagramBuilder<'a> {
    /// Begins a datagram of at most `size` bytes, and never more than [`MAX_MTU`], behind what `out` holds.
    pub fn new(out: &'a mut Vec<u8>, header: Header, size: usize) -> Self {
        let start = out.len();
        out.extend_from_slice(&header.to_bytes());
        Self { out, start, end: start + size.min(MAX_MTU), elsewhere: 0 }
    }

    /// Bytes that are still free.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.end.saturating_sub(self.out.len() + self.elsewhere)
    }

    /// Bytes written, head included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.out.len() - self.start + self.elsewhere
    }

    /// Where the buffer ends.
    pub(crate) const fn position(&self) -> usize {
        self.out.len()
    }

    /// Whether no frame has been written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == HEADER_BYTES
    }

    /// Takes the datagram back: as if it had never begun.
    pub fn abandon(self) {
        self.out.truncate(self.start);
    }

    /// Seals the datagram and returns its length.
    ///
    /// # Panics
    ///
    /// With debug assertions, where the other side would refuse the datagram: a value out of its field's range,
    /// or a message without its FLOW.
    #[must_use]
    pub fn finish(self) -> usize {
        let datagram = &mut self.out[self.start..];
        header::seal(datagram);
        debug_assert!(is_readable(datagram), "the other side would refuse what was written");
        datagram.len()
    }

    /// The same, where payloads stand `elsewhere`: each with its [`position`](Self::position), in order.
    #[must_use]
    pub(crate) fn finish_spliced<'p>(
        self,
        elsewhere: impl Iterator<Item = (usize, &'p [u8])> + Clone,
    ) -> usize {
        let (start, len) = (self.start, self.len());
        let elsewhere = elsewhere.map(|(at, bytes)| (at.saturating_sub(start), bytes));
        let datagram = &mut self.out[start..];
        header::seal_spliced(datagram, elsewhere.clone());
        debug_assert!(
            is_readable(&splice(datagram, elsewhere)),
            "the other side would refuse what was written"
        );
        len
    }

    /// A HELLO, padded to [`HELLO_DATAGRAM_BYTES`]: the whole of a hello datagram. `false` where it does not fit,
    /// or the node's name is too long for it.
    pub fn put_hello(&mut self, hello: &Hello) -> bool {
        let room = self.is_empty() && HEADER_BYTES + self.remaining() >= HELLO_DATAGRAM_BYTES;
        if !room || hello.node.len() > MAX_NODE_NAME_BYTES {
            return false;
        }
        let at = self.begin(kind::HELLO, 0);
        control::encode(hello, self.out);
        self.close(at);
        self.put_padding(HELLO_DATAGRAM_BYTES);
        true
    }

    /// Pads the datagram to `size` bytes, or as far as it goes, where at least a frame's head is missing.
    pub fn put_padding(&mut self, size: usize) {
        let missing = size.saturating_sub(self.len()).min(self.remaining());
        if let Some(n) = missing.checked_sub(FRAME_HEAD) {
            let at = self.begin(kind::PADDING, 0);
            self.out.resize(self.out.len() + n, 0);
            self.close(at);
        }
    }

    /// A HEARTBEAT.
    pub fn put_heartbeat(&mut self, heartbeat: &Heartbeat) -> bool {
        if self.remaining() < FRAME_HEAD + 20 {
            return false;
        }
        let at = self.begin(kind::HEARTBEAT, if heartbeat.wants_reply { flag::REPLY } else { 0 });
        self.out.put_u64(heartbeat.clock.0);
        self.out.put_u64(heartbeat.echo.0);
        self.out.put_u32(micros_u32(heartbeat.held));
        self.close(at);
        true
    }

    /// A FLOW, if at least `then` bytes fit behind it.
    pub fn put_flow(&mut self, flow: &Flow, then: usize) -> bool {
        if self.remaining() < FRAME_HEAD + FLOW_BODY + then {
            return false;
        }
        let at = self.begin(kind::FLOW, channel_flag(flow.id.channel));
        self.put_flow_id(&flow.id);
        self.out.put_u64(flow.send_time.0);
        self.out.put_u32(u32::try_from(flow.interval.as_millis()).unwrap_or(u32::MAX));
        self.out.put_u32(flow.floor.0);
        self.out.put_u32(flow.presence);
        self.close(at);
        true
    }

    /// Bytes that [`put_flow`](Self::put_flow) takes.
    #[must_use]
    pub const fn flow_bytes() -> usize {
        FRAME_HEAD + FLOW_BODY
    }

    /// Bytes that a DATA with a payload of `len` takes, if it is none of the call layer's.
    #[must_use]
    pub const fn data_bytes(len: usize) -> usize {
        FRAME_HEAD + DATA_HEAD + len
    }

    /// Bytes that a call layer's DATA or FRAGMENT takes beyond those of a plain one.
    #[must_use]
    pub const fn age_bytes(is_call: bool) -> usize {
        if is_call { AGE } else { 0 }
    }

    /// The largest payload that one DATA carries in a datagram of `size` bytes, whatever its kind.
    #[must_use]
    pub const fn max_data(size: usize) -> usize {
        let size = if size < MAX_MTU { size } else { MAX_MTU };
        size.saturating_sub(HEADER_BYTES + Self::flow_bytes() + Self::data_bytes(0) + AGE)
    }

    /// A DATA.
    #[inline]
    pub fn put_data(&mut self, data: &Data<'_>) -> bool {
        let fits = self.put_data_head(data);
        if fits {
            self.out.put(data.payload);
        }
        fits
    }

    /// A DATA whose payload stands elsewhere. It belongs to where the buffer ends then.
    pub(crate) fn put_data_spliced(&mut self, data: &Data<'_>) -> bool {
        let fits = self.put_data_head(data);
        if fits {
            self.elsewhere += data.payload.len();
        }
        fits
    }

    #[inline]
    fn put_data_head(&mut self, data: &Data<'_>) -> bool {
        let len = Self::data_bytes(data.payload.len()) + Self::age_bytes(data.call.is_some());
        if self.remaining() < len {
            return false;
        }
        let mut head = Fixed::<{ FRAME_HEAD + DATA_HEAD }>::new();
        head.put_u8(kind::DATA);
        head.put_u8(message_flags(data.at_least_once, data.call));
        head.put_u16(len_u16(len - FRAME_HEAD));
        head.put_u32(data.msgid.0);
        head.put_u32(data.seq.0);
        self.out.reserve(len);
        self.out.put(head.all());
        self.put_age(data.call);
        true
    }

    /// Bytes that a FRAGMENT with `len` bytes of a message takes, if it is none of the call layer's.
    #[must_use]
    pub const fn fragment_bytes(len: usize) -> usize {
        FRAME_HEAD + FRAGMENT_HEAD + len
    }

    /// Bytes of a message that a FRAGMENT can carry now: whole units.
    #[must_use]
    pub fn fragment_room(&self, is_call: bool) -> usize {
        let room = self.remaining().saturating_sub(Self::fragment_bytes(0) + Self::age_bytes(is_call));
        room / FRAGMENT_UNIT * FRAGMENT_UNIT
    }

    /// A FRAGMENT.
    pub fn put_fragment(&mut self, fragment: &Fragment<'_>) -> bool {
        let fits = self.put_fragment_head(fragment);
        if fits {
            self.out.put(fragment.bytes);
        }
        fits
    }

    /// A FRAGMENT whose bytes of the message stand elsewhere. They belong to where the buffer ends then.
    pub(crate) fn put_fragment_spliced(&mut self, fragment: &Fragment<'_>) -> bool {
        let fits = self.put_fragment_head(fragment);
        if fits {
            self.elsewhere += fragment.bytes.len();
        }
        fits
    }

    fn put_fragment_head(&mut self, fragment: &Fragment<'_>) -> bool {
        let needed = Self::fragment_bytes(fragment.bytes.len());
        if self.remaining() < needed + Self::age_bytes(fragment.call.is_some()) {
            return false;
        }
        let at = self.begin(kind::FRAGMENT, message_flags(fragment.at_least_once, fragment.call));
        self.out.put_u32(fragment.msgid.0);
        self.out.put_u32(fragment.seq.0);
        self.out.put_u32(fragment.offset);
        self.out.put_u32(fragment.total);
        self.put_age(fragment.call);
        self.close_with(at, fragment.bytes.len());
        true
    }

    /// Bytes that a SKIP takes.
    #[must_use]
    pub const fn skip_bytes() -> usize {
        FRAME_HEAD + 8
    }

    /// A SKIP.
    pub fn put_skip(&mut self, skip: &Skip) -> bool {
        if self.remaining() < Self::skip_bytes() {
            return false;
        }
        let at = self.begin(kind::SKIP, 0);
        self.out.put_u32(skip.seq.0);
        self.out.put_u32(skip.count);
        self.close(at);
        true
    }

    /// An ACK with as many of `runs` as fit; returns how many.
    pub fn put_ack(&mut self, flow: &FlowId, send_time: Time, runs: &[AckRun]) -> usize {
        let n = self.fitting(CONTEXT, ACK_RUN, runs.len());
        if n > 0 {
            let at = self.begin(kind::ACK, channel_flag(flow.channel));
            self.put_flow_id(flow);
            self.out.put_u64(send_time.0);
            for run in &runs[..n] {
                self.out.put_u32(run.msgid.0);
                self.out.put_u32(run.seq.0);
                self.out.put_u32(run.count);
            }
            self.close(at);
        }
        n
    }

    /// A NACK with as many of `entries` as fit; returns how many.
    pub fn put_nack(&mut self, flow: &FlowId, send_time: Time, entries: &[NackEntry]) -> usize {
        let n = self.fitting(CONTEXT, NACK_ENTRY, entries.len());
        if n > 0 {
            let at = self.begin(kind::NACK, channel_flag(flow.channel));
            self.put_flow_id(flow);
            self.out.put_u64(send_time.0);
            for entry in &entries[..n] {
                self.out.put_u32(entry.msgid.0);
                self.out.put_u32(entry.seq.0);
                self.out.put_u8(entry.verdict.reason as u8);
                self.out.put_u8(entry.verdict.certainty as u8);
                self.out.put_u16(0);
            }
            self.close(at);
        }
        n
    }

    /// A PARTIAL.
    pub fn put_partial(
        &mut self,
        flow: &FlowId,
        send_time: Time,
        msgid: MsgId,
        seq: Seq,
        bitmap: &[u8],
    ) -> bool {
        if self.remaining() < FRAME_HEAD + CONTEXT + 8 + bitmap.len() {
            return false;
        }
        let at = self.begin(kind::PARTIAL, channel_flag(flow.channel));
        self.put_flow_id(flow);
        self.out.put_u64(send_time.0);
        self.out.put_u32(msgid.0);
        self.out.put_u32(seq.0);
        self.out.put(bitmap);
        self.close(at);
        true
    }

    /// A CONTROL.
    pub fn put_control(&mut self, seq: u32, body: &Control) -> bool {
        let before = self.out.len();
        let at = self.begin(kind::CONTROL, 0);
        self.out.put_u32(seq);
        control::encode(body, self.out);
        self.close(at);
        if self.out.len() + self.elsewhere > self.end {
            self.out.truncate(before);
            return false;
        }
        true
    }

    /// A CONTROL_ACK.
    pub fn put_control_ack(&mut self, next: u32) -> bool {
        if self.remaining() < FRAME_HEAD + 4 {
            return false;
        }
        let at = self.begin(kind::CONTROL_ACK, 0);
        self.out.put_u32(next);
        self.close(at);
        true
    }

    /// A LINK_ACK of `ranges` (lowest, highest), highest first: as many as fit, at most [`MAX_ACK_RANGES`].
    /// `false` if not even one did.
    ///
    /// What the fields cannot say is left out, so that nothing is acknowledged that did not arrive: it ends before
    /// a range that is not below the one before it, and before a gap that is too wide.
    pub fn put_link_ack(
        &mut self,
        delay: Span,
        window: u32,
        ranges: impl IntoIterator<Item = (u64, u64)>,
    ) -> bool {
        let mut ranges = ranges.into_iter().take(MAX_ACK_RANGES);
        let Some((low, high)) = ranges.next() else { return false };
        let Some((count, mut low)) = link_ack_count(low, high) else { return false };
        if self.remaining() < FRAME_HEAD + LINK_ACK_HEAD {
            return false;
        }
        let at = self.begin(kind::LINK_ACK, 0);
        self.out.put_u64(high);
        self.out.put_u32(micros_u32(delay));
        self.out.put_u32(count);
        self.out.put_u32(window);
        for (next_low, next_high) in ranges {
            let gap = low.checked_sub(next_high).and_then(|n| n.checked_sub(1));
            let Some(gap) = gap.and_then(|n| u32::try_from(n).ok()) else { break };
            let Some((count, counted_low)) = link_ack_count(next_low, next_high) else { break };
            if self.remaining() < LINK_ACK_RANGE {
                break;
            }
            self.out.put_u32(gap);
            self.out.put_u32(count);
            low = counted_low;
        }
        self.close(at);
        true
    }

    /// A GOODBYE.
    pub fn put_goodbye(&mut self) -> bool {
        if self.remaining() < FRAME_HEAD {
            return false;
        }
        let at = self.begin(kind::GOODBYE, 0);
        self.close(at);
        true
    }

    /// A PING.
    pub fn put_ping(&mut self) -> bool {
        if self.remaining() < FRAME_HEAD {
            return false;
        }
        let at = self.begin(kind::PING, 0);
        self.close(at);
        true
    }

    fn fitting(&self, head: usize, each: usize, wanted: usize) -> usize {
        let room = self.remaining().saturating_sub(FRAME_HEAD + head);
        wanted.min(room / each)
    }

    fn begin(&mut self, kind: u8, flags: u8) -> usize {
        self.out.put(&[kind, flags, 0, 0]);
        self.out.len()
    }

    fn close(&mut self, body: usize) {
        self.close_with(body, 0);
    }

    /// A frame that has so many bytes more than are written.
    fn close_with(&mut self, body: usize, more: usize) {
        let len = len_u16(self.out.len() - body + more);
        self.out[body - 2..body].copy_from_slice(&len.to_le_bytes());
    }

    /// Rounded up, so that a receiver never under-estimates it.
    fn put_age(&mut self, call: Option<CallMark>) {
        if let Some(CallMark { age, .. }) = call {
            self.out.put_u32(u32::try_from(age.0.div_ceil(1000)).unwrap_or(u32::MAX));
        }
    }

    fn put_flow_id(&mut self, flow: &FlowId) {
        self.out.put_u32(flow.src.client.0);
        self.out.put_u32(flow.dst.client.0);
        self.out.put_u64(flow.src.incarnation.0);
        self.out.put_u64(flow.dst.incarnation.0);
    }
}

/// A datagram in one piece.
fn splice<'p>(datagram: &[u8], elsewhere: impl Iterator<Item = (usize, &'p [u8])>) -> Vec<u8> {
    let (mut whole, mut from) = (Vec::new(), 0);
    for (at, bytes) in elsewhere {
        whole.extend_from_slice(&datagram[from..at]);
        whole.extend_from_slice(bytes);
        from = at;
    }
    whole.extend_from_slice(&datagram[from..]);
    whole
}

fn is_readable(datagram: &[u8]) -> bool {
    Header::parse(datagram).is_ok_and(|(header, frames)| Frames::new(header.kind, frames).all(|f| f.is_ok()))
}

fn message_flags(at_least_once: bool, call: Option<CallMark>) -> u8 {
    let flag_if = |set, flag| if set { flag } else { 0 };
    let is_addressed = call.is_some_and(|call| call.is_addressed);
    flag_if(at_least_once, flag::AT_LEAST_ONCE)
        | flag_if(call.is_some(), flag::CALL)
        | flag_if(is_addressed, flag::INSTANCE)
}

fn channel_flag(channel: Channel) -> u8 {
    match channel {
        Channel::Ordered => 0,
        Channel::Unordered => flag::UNORDERED,
    }
}

/// How many numbers a range holds, as far as the field counts, and the lowest of those counted.
fn link_ack_count(low: u64, high: u64) -> Option<(u32, u64)> {
    let count = u32::try_from(high.checked_sub(low)?.saturating_add(1)).unwrap_or(u32::MAX);
    Some((count, high - (u64::from(count) - 1)))
}

fn micros_u32(span: Span) -> u32 {
    u32::try_from(span.0).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{super::VERSIONS, *};
    use crate::{
        ids::{DatagramNumber, SessionId},
        wire::{Frame, Kind},
    };

    #[test]
    fn a_link_ack_has_as_many_ranges_as_there_is_room_for() {
        let (session, number) = (SessionId(1), DatagramNumber(1));
        let header =
            Header { version: VERSIONS.lowest, kind: Kind::Frames, speaks: VERSIONS, session, number };
        let least = HEADER_BYTES + FRAME_HEAD + LINK_ACK_HEAD;
        for (size, count) in [
            (least - 1, 0),
            (least, 1),
            (least + LINK_ACK_RANGE - 1, 1),
            (least + LINK_ACK_RANGE, 2),
            (least + 2 * LINK_ACK_RANGE, 3),
        ] {
            let mut out = Vec::new();
            let mut builder = DatagramBuilder::new(&mut out, header, size);
            builder.put_link_ack(Span(1), 1, [(8, 9), (5, 6), (2, 3)]);
            let _len = builder.finish();
            let written = match Frames::new(Kind::Frames, &out[HEADER_BYTES..]).next() {
                Some(Ok(Frame::LinkAck(ack))) => ack.ranges().count(),
                _ => 0,
            };
            assert_eq!(written, count, "{size}");
        }
    }
}
