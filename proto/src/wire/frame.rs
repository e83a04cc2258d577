//! The frames of a datagram. Each begins with type, flags and the length of what follows.

mod read;

pub use read::Frames;
use read::{parse_nack_entry, parse_run, range_below};

use super::CallMark;
use crate::{
    bytes::Reader,
    control::{Control, Hello},
    ids::{FlowId, MsgId, Seq},
    outcome::Verdict,
    units::{Span, Time},
};

pub(super) const FRAME_HEAD: usize = 4;
pub(super) const FLOW_BODY: usize = 44;
pub(super) const DATA_HEAD: usize = 8;
pub(super) const FRAGMENT_HEAD: usize = 16;
pub(super) const AGE: usize = 4;
pub(super) const CONTEXT: usize = 32;
pub(super) const ACK_RUN: usize = 12;
pub(super) const NACK_ENTRY: usize = 12;
pub(super) const LINK_ACK_HEAD: usize = 20;
pub(super) const LINK_ACK_RANGE: usize = 8;

pub(super) mod kind {
    pub(crate) const PADDING: u8 = 0;
    pub(crate) const HELLO: u8 = 1;
    pub(crate) const HEARTBEAT: u8 = 2;
    pub(crate) const FLOW: u8 = 3;
    pub(crate) const DATA: u8 = 4;
    pub(crate) const FRAGMENT: u8 = 5;
    pub(crate) const SKIP: u8 = 6;
    pub(crate) const ACK: u8 = 7;
    pub(crate) const NACK: u8 = 8;
    pub(crate) const PARTIAL: u8 = 9;
    pub(crate) const CONTROL: u8 = 10;
    pub(crate) const CONTROL_ACK: u8 = 11;
    pub(crate) const LINK_ACK: u8 = 12;
    pub(crate) const GOODBYE: u8 = 13;
    pub(crate) const PING: u8 = 14;
}

pub(super) mod flag {
    /// FLOW, ACK, NACK, PARTIAL: the flow is the unordered one.
    pub(crate) const UNORDERED: u8 = 1;
    /// DATA, FRAGMENT: another instance may be given it even if this one may have begun.
    pub(crate) const AT_LEAST_ONCE: u8 = 2;
    /// DATA, FRAGMENT: a message of the call layer; its age follows its numbers.
    pub(crate) const CALL: u8 = 4;
    /// HEARTBEAT: send one back at once.
    pub(crate) const REPLY: u8 = 1;
    /// DATA, FRAGMENT: of a message of the call layer, for one instance only.
    pub(crate) const INSTANCE: u8 = 8;
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// Nothing: makes a datagram longer.
    Padding,
    /// Opens a link.
    Hello(Hello),
    /// Clock, round trip, sign of life.
    Heartbeat(Heartbeat),
    /// The flow that the following DATA, FRAGMENT and SKIP belong to.
    Flow(Flow),
    /// A whole message (R1).
    Data(Data<'a>),
    /// A part of a message.
    Fragment(Fragment<'a>),
    /// Sequence numbers that the sender has decided: nothing waits for them.
    Skip(Skip),
    /// Messages taken (R7).
    Ack(Ack<'a>),
    /// Messages that will not be taken.
    Nack(Nack<'a>),
    /// Which parts of a message are there.
    Partial(Partial<'a>),
    /// A step of the ordered control stream.
    Control {
        /// Its number in the stream: 1, 2, ...
        seq: u32,
        /// What it says.
        body: Control,
    },
    /// Control steps below this number have been applied.
    ControlAck {
        /// The next one wanted.
        next: u32,
    },
    /// Datagrams that have arrived.
    LinkAck(LinkAck<'a>),
    /// The node goes away.
    Goodbye,
    /// Nothing, but the datagram is to be acknowledged.
    Ping,
}

/// Clock, round trip, sign of life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// The sender wants one back at once.
    pub wants_reply: bool,
    /// The sender's clock.
    pub clock: Time,
    /// The last clock value that the sender had from the receiver; 0: none yet.
    pub echo: Time,
    /// How long before this heartbeat that value came.
    pub held: Span,
}

/// Context of the messages that follow in the same datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Which flow.
    pub id: FlowId,
    /// When these copies were sent, in the receiver's clock (R1, R6).
    pub send_time: Time,
    /// After which they are stale (R6).
    pub interval: Span,
    /// The lowest sequence number that is unresolved at the sender.
    pub floor: Seq,
    /// The step of the control stream that announced the sending client: it comes first.
    pub presence: u32,
}

/// A whole message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Data<'a> {
    /// Its number in its process.
    pub msgid: MsgId,
    /// Its number in its flow.
    pub seq: Seq,
    /// Another instance may be given it even if this one may have begun.
    pub at_least_once: bool,
    /// Of a message of the call layer: what is known of it.
    pub call: Option<CallMark>,
    /// What the client gave.
    pub payload: &'a [u8],
}

/// A run of units of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fragment<'a> {
    /// Its message's number in its process.
    pub msgid: MsgId,
    /// Its message's number in its flow.
    pub seq: Seq,
    /// See [`Data::at_least_once`].
    pub at_least_once: bool,
    /// See [`Data::call`].
    pub call: Option<CallMark>,
    /// The first byte; a multiple of [`crate::limits::FRAGMENT_UNIT`].
    pub offset: u32,
    /// Bytes of the whole message.
    pub total: u32,
    /// Whole units, or up to the end of the message.
    pub bytes: &'a [u8],
}

/// A run of sequence numbers that the sender has decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Skip {
    /// The first.
    pub seq: Seq,
    /// How many.
    pub count: u32,
}

/// Messages taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// Whose messages.
    pub flow: FlowId,
    /// When it was sent, in the receiver's clock (R7, R9).
    pub send_time: Time,
    runs: &'a [u8],
}

/// Messages with consecutive msgids and sequence numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckRun {
    /// The first one's msgid.
    pub msgid: MsgId,
    /// The first one's sequence number.
    pub seq: Seq,
    /// How many: 1 to [`crate::limits::SEQ_SPAN`].
    pub count: u32,
}

/// Messages that will not be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nack<'a> {
    /// Whose messages.
    pub flow: FlowId,
    /// When it was sent, in the receiver's clock.
    pub send_time: Time,
    entries: &'a [u8],
}

/// One message that will not be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NackEntry {
    /// Its msgid.
    pub msgid: MsgId,
    /// Its sequence number.
    pub seq: Seq,
    /// Why, and what is known.
    pub verdict: Verdict,
}

/// Which units of a message are there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partial<'a> {
    /// Whose message.
    pub flow: FlowId,
    /// When it was sent, in the receiver's clock.
    pub send_time: Time,
    /// The message's msgid.
    pub msgid: MsgId,
    /// Its sequence number.
    pub seq: Seq,
    /// A bit for each unit, lowest first; units beyond the last byte are missing.
    pub bitmap: &'a [u8],
}

/// Datagrams that have arrived (RFC 9000, section 19.3, in fixed fields).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkAck<'a> {
    /// The highest number.
    pub largest: u64,
    /// How long its acknowledgement was held back.
    pub delay: Span,
    /// Numbers in a row from `largest` down, itself included: at least 1.
    pub first: u32,
    /// Bytes of datagrams that the receiver's socket can hold.
    pub window: u32,
    ranges: &'a [u8],
}

impl<'a> Ack<'a> {
    /// The runs; parsing has checked them.
    pub fn runs(&self) -> impl Iterator<Item = AckRun> + use<'a> {
        self.runs.chunks_exact(ACK_RUN).filter_map(|c| parse_run(&mut Reader::new(c)))
    }
}

impl<'a> Nack<'a> {
    /// The entries; parsing has checked them.
    pub fn entries(&self) -> impl Iterator<Item = NackEntry> + use<'a> {
        self.entries.chunks_exact(NACK_ENTRY).filter_map(|c| parse_nack_entry(&mut Reader::new(c)))
    }
}

impl<'a> LinkAck<'a> {
    /// The acknowledged ranges as (lowest, highest) numbers, highest range first; parsing has checked them.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + use<'a> {
        let head = range_below(self.largest, self.first);
        let mut low = head.map(|(low, _)| low);
        let rest = self.ranges.chunks_exact(LINK_ACK_RANGE).map_while(move |c| {
            let mut r = Reader::new(c);
            let (gap, count) = (u64::from(r.u32()?), r.u32()?);
            let range = range_below(low?.checked_sub(gap + 1)?, count)?;
            low = Some(range.0);
            Some(range)
        });
        head.into_iter().chain(rest)
    }
}
