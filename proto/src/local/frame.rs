//! The frames of the local socket, as values that borrow what is long.

use super::{
    LocalError, RawFrame,
    flow_taken::{FlowTaken, parse_flow_taken},
    instances::{
        Bound, DrainCause, Presence, Watch, parse_bound, parse_clientid, parse_drain, parse_gone,
        parse_presence, parse_watch,
    },
    message::{Deliver, Submit},
};
use crate::{
    bytes::Reader,
    control::{self, LocalNack, Register, Registered},
    ids::{Channel, ClientId, Incarnation, Instance, MsgId, Seq},
    limits,
    outcome::{Certainty, Reason, Verdict},
};

pub(super) mod kind {
    pub(crate) const REGISTER: u8 = 1;
    pub(crate) const FLOW_TAKEN: u8 = 2;
    pub(crate) const READY: u8 = 3;
    pub(crate) const SUBMIT: u8 = 4;
    pub(crate) const TAKEN: u8 = 5;
    pub(crate) const STALE: u8 = 6;
    pub(crate) const CLIENT_GOODBYE: u8 = 7;
    pub(crate) const WITHDRAW: u8 = 8;
    pub(crate) const FLOW_BOUND: u8 = 9;
    pub(crate) const DRAINED: u8 = 10;
    pub(crate) const SUBSCRIBE: u8 = 11;
    pub(crate) const WATCH: u8 = 12;
    pub(crate) const GIVEN_UP: u8 = 13;
    pub(crate) const REGISTERED: u8 = 65;
    pub(crate) const DELIVER: u8 = 66;
    pub(crate) const RESOLVED: u8 = 67;
    pub(crate) const FAILED: u8 = 68;
    pub(crate) const NACK: u8 = 69;
    pub(crate) const DAEMON_GOODBYE: u8 = 70;
    pub(crate) const BOUND: u8 = 71;
    pub(crate) const DRAIN: u8 = 72;
    pub(crate) const PRESENCE: u8 = 73;
    pub(crate) const GONE: u8 = 74;
    pub(crate) const UNBOUND: u8 = 75;
}

pub(super) mod flag {
    pub(crate) const UNORDERED: u8 = 1;
    pub(crate) const AT_LEAST_ONCE: u8 = 2;
    pub(crate) const PARTIAL: u8 = 1;
    /// FLOW_TAKEN: begun, and not handled.
    pub(crate) const BEGUN: u8 = 2;
    /// SUBMIT, DELIVER: a message of the call layer.
    pub(crate) const CALL: u8 = 4;
    /// SUBMIT, DELIVER: of the call layer, for one instance only.
    pub(crate) const INSTANCE: u8 = 8;
}

pub(super) const RESOLVED_RUN: usize = 8;

/// What a client's library sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientFrame<'a> {
    /// Asks to be a client. The first frame of a connection.
    Register(Register),
    /// What a client that comes back has taken of one flow. Between REGISTER and READY; behind that, of what it said it had
    /// begun.
    FlowTaken(FlowTaken<'a>),
    /// Everything was reported: messages may come.
    Ready,
    /// A message (R1).
    Submit(Submit<'a>),
    /// Every delivery up to this number was taken, but for those reported stale.
    Taken {
        /// The highest number.
        upto: u64,
    },
    /// A delivery that was stale when its turn came (R6): dropped, never handed over.
    Stale {
        /// Its number.
        number: u64,
    },
    /// The client leaves.
    Goodbye,
    /// Which instance may have begun messages of a flow that are submitted again. Between REGISTER and READY.
    FlowBound(Bound<'a>),
    /// Nothing but what was reported taken was begun, nor will be: the client takes no more.
    Drained,
    /// The client wants to know of the instances of another.
    Subscribe {
        /// Which.
        client: ClientId,
    },
    /// A message of the call layer is of no use any more: it ends at once, with what is known of it.
    Withdraw {
        /// Which.
        msgid: MsgId,
    },
    /// The client has ended, by itself, what was unresolved up to a message.
    GivenUp {
        /// The last one.
        upto: MsgId,
    },
    /// The client wants to know when an instance is gone.
    Watch(Watch<'a>),
}

/// What the daemon sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DaemonFrame<'a> {
    /// The client is registered.
    Registered(Registered),
    /// A message for the client.
    Deliver(Deliver<'a>),
    /// Messages of the client that were taken.
    Resolved(Resolved<'a>),
    /// A message of the client that failed.
    Failed(Failed<'a>),
    /// The client broke a rule: the connection ends.
    Nack(LocalNack),
    /// The daemon goes away.
    Goodbye,
    /// To which instance a flow's messages go from now on.
    Bound(Bound<'a>),
    /// The client is to take no more, and to say so.
    Drain(DrainCause),
    /// The instances of a clientid that the client has subscribed to.
    Presence(Presence<'a>),
    /// An instance that the client watches is gone, and no reply will come from it.
    Gone(Instance),
    /// A flow's messages go to no instance any more, and none may have begun any that is unresolved.
    Unbound {
        /// The destination.
        dst: ClientId,
        /// Which of the two flows.
        channel: Channel,
    },
}

/// Messages that were taken: runs of msgids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resolved<'a>(&'a [u8]);

/// A message that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failed<'a> {
    /// Its number in the process.
    pub msgid: MsgId,
    /// Whom it was for.
    pub dst: ClientId,
    /// Copies that left this node.
    pub tries: u32,
    /// Why, and what is known.
    pub verdict: Verdict,
    /// The sender's user data.
    pub user: &'a [u8],
}

impl<'a> Resolved<'a> {
    /// (first msgid, how many); parsing has checked them.
    pub fn runs(&self) -> impl Iterator<Item = (MsgId, u32)> + use<'a> {
        self.0.chunks_exact(RESOLVED_RUN).filter_map(|c| {
            let mut r = Reader::new(c);
            Some((MsgId(r.u32()?), r.u32()?))
        })
    }
}

impl<'a> ClientFrame<'a> {
    /// Reads a frame that a library sent.
    ///
    /// # Errors
    ///
    /// Names the field that is out of range.
    #[inline]
    pub fn parse(raw: RawFrame<'a>) -> Result<Self, LocalError> {
        let r = Reader::new(raw.body);
        let allowed = match raw.kind {
            kind::SUBMIT => return Submit::parse(raw).map(Self::Submit),
            kind::FLOW_TAKEN => flag::UNORDERED | flag::BEGUN,
            kind::FLOW_BOUND => flag::UNORDERED,
            _ => 0,
        };
        check_flags(raw.flags, allowed)?;
        match raw.kind {
            kind::TAKEN => parse_number(r).map(|upto| Self::Taken { upto }),
            kind::STALE => parse_number(r).map(|number| Self::Stale { number }),
            kind::REGISTER => parse_register(raw.body),
            kind::FLOW_TAKEN => parse_flow_taken(r, raw.flags).map(Self::FlowTaken),
            kind::READY => parse_empty(raw.body, Self::Ready),
            kind::CLIENT_GOODBYE => parse_empty(raw.body, Self::Goodbye),
            kind::WITHDRAW => parse_msgid(r).map(|msgid| Self::Withdraw { msgid }),
            kind::FLOW_BOUND => parse_bound(r, raw.flags).map(Self::FlowBound),
            kind::DRAINED => parse_empty(raw.body, Self::Drained),
            kind::SUBSCRIBE => parse_clientid(r).map(|client| Self::Subscribe { client }),
            kind::WATCH => parse_watch(r).map(Self::Watch),
            kind::GIVEN_UP => parse_msgid(r).map(|upto| Self::GivenUp { upto }),
            _ => Err(LocalError("frame type: 1 to 13 from a client")),
        }
    }
}

impl<'a> DaemonFrame<'a> {
    /// Reads a frame that a daemon sent.
    ///
    /// # Errors
    ///
    /// Names the field that is out of range.
    #[inline]
    pub fn parse(raw: RawFrame<'a>) -> Result<Self, LocalError> {
        let r = Reader::new(raw.body);
        let allowed = match raw.kind {
            kind::DELIVER => return Deliver::parse(raw).map(Self::Deliver),
            kind::BOUND | kind::UNBOUND => flag::UNORDERED,
            kind::PRESENCE => flag::PARTIAL,
            _ => 0,
        };
        check_flags(raw.flags, allowed)?;
        match raw.kind {
            kind::RESOLVED => parse_resolved(raw.body),
            kind::FAILED => parse_failed(r),
            kind::REGISTERED => parse_registered(raw.body),
            kind::NACK => body(raw.body, "NACK body").map(Self::Nack),
            kind::DAEMON_GOODBYE => parse_empty(raw.body, Self::Goodbye),
            kind::BOUND => match parse_bound(r, raw.flags)? {
                Bound { upto: Seq(0), .. } => parse_bound(r, raw.flags).map(Self::Bound),
                _ => Err(LocalError("BOUND: bytes 4 to 7 of the body are zero")),
            },
            kind::DRAIN => parse_drain(r),
            kind::PRESENCE => parse_presence(r, raw.flags),
            kind::GONE => parse_gone(r),
            kind::UNBOUND => {
                let dst = parse_clientid(r)?;
                Ok(Self::Unbound { dst, channel: channel(raw.flags) })
            }
            _ => Err(LocalError("frame type: 65 to 75 from a daemon")),
        }
    }
}

pub(super) fn check_flags(flags: u8, allowed: u8) -> Result<(), LocalError> {
    if flags & !allowed == 0 { Ok(()) } else { Err(LocalError("frame flags: unknown bit")) }
}

pub(super) fn check_interval(ms: u32) -> Result<(), LocalError> {
    let allowed = (limits::MIN_INTERVAL_MS..=limits::MAX_INTERVAL_MS).contains(&ms);
    if allowed {
        Ok(())
    } else {
        Err(LocalError("interval_ms: 10 to 600,000 (in REGISTER, 0: the daemon's)"))
    }
}

pub(super) fn check_incarnation(incarnation: Incarnation) -> Result<(), LocalError> {
    if incarnation == Incarnation::NONE { Err(LocalError("incarnation: not 0")) } else { Ok(()) }
}

pub(super) fn channel(flags: u8) -> Channel {
    if flags & flag::UNORDERED == 0 { Channel::Ordered } else { Channel::Unordered }
}

fn body<T: serde::de::DeserializeOwned>(bytes: &[u8], what: &'static str) -> Result<T, LocalError> {
    control::decode(bytes).ok_or(LocalError(what))
}

fn parse_empty<T>(body: &[u8], value: T) -> Result<T, LocalError> {
    if body.is_empty() { Ok(value) } else { Err(LocalError("frame length: this type has no body")) }
}

fn parse_number(mut r: Reader<'_>) -> Result<u64, LocalError> {
    r.u64().filter(|_| r.is_empty()).ok_or(LocalError("frame length: a delivery number is 8 bytes"))
}

fn parse_msgid(mut r: Reader<'_>) -> Result<MsgId, LocalError> {
    r.u32().filter(|_| r.is_empty()).map(MsgId).ok_or(LocalError("frame length: a msgid is 4 bytes"))
}

fn parse_register(bytes: &[u8]) -> Result<ClientFrame<'_>, LocalError> {
    let register: Register = body(bytes, "REGISTER body")?;
    if register.interval_ms != 0 {
        check_interval(register.interval_ms)?;
    }
    if register.max_stored > limits::MAX_STORED_CEILING {
        return Err(LocalError("max_stored: at most 65,536"));
    }
    if register.name.len() > limits::MAX_CLIENT_NAME_BYTES {
        return Err(LocalError("name: at most 64 bytes"));
    }
    Ok(ClientFrame::Register(register))
}

fn parse_registered(bytes: &[u8]) -> Result<DaemonFrame<'_>, LocalError> {
    let registered: Registered = body(bytes, "REGISTERED body")?;
    check_interval(registered.interval_ms)?;
    check_incarnation(registered.incarnation)?;
    Ok(DaemonFrame::Registered(registered))
}

fn parse_resolved(body: &[u8]) -> Result<DaemonFrame<'_>, LocalError> {
    if body.is_empty() || !body.len().is_multiple_of(RESOLVED_RUN) {
        return Err(LocalError("frame length: RESOLVED is runs of 8 bytes"));
    }
    let resolved = Resolved(body);
    if resolved.runs().any(|(_, n)| n == 0 || n > limits::MSGID_SPAN) {
        return Err(LocalError("RESOLVED count: 1 to 262,144"));
    }
    Ok(DaemonFrame::Resolved(resolved))
}

fn parse_failed(mut r: Reader<'_>) -> Result<DaemonFrame<'_>, LocalError> {
    let mut fields = || Some((r.u32()?, r.u32()?, r.u32()?, r.u8()?, r.u8()?, r.u16()?));
    let Some((msgid, dst, tries, reason, certainty, zero)) = fields() else {
        return Err(LocalError("frame length: FAILED has at least 16 bytes of body"));
    };
    let verdict = Reason::from_wire(reason).zip(Certainty::from_wire(certainty));
    let (reason, certainty) = verdict.ok_or(LocalError("FAILED: unknown reason or certainty"))?;
    if zero != 0 {
        return Err(LocalError("FAILED: bytes 14 and 15 of the body are zero"));
    }
    if r.rest().len() > limits::MAX_USER_BYTES {
        return Err(LocalError("user data: at most 64 bytes"));
    }
    let verdict = Verdict { reason, certainty };
    Ok(DaemonFrame::Failed(Failed {
        msgid: MsgId(msgid),
        dst: ClientId(dst),
        tries,
        verdict,
        user: r.rest(),
    }))
}
