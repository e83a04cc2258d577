//! What a session tells its driver.

use std::fmt;

use super::{PresenceEvent, SessionConfig, UserBuf};
use crate::{
    control::{LocalNack, LocalRule, Registered},
    ids::{Channel, ClientId, Incarnation, Instance, MsgId},
    limits,
    local::{DrainCause, LocalError},
    outcome::Verdict,
    units::{Span, Time},
};

/// What a session tells its driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// The daemon has registered us, for the first time or again.
    Registered(Granted),
    /// A message: taken from now on.
    Message(Message<'a>),
    /// A message of ours was taken; only with [`super::Outcomes::All`].
    Acked {
        /// Which.
        msgid: MsgId,
    },
    /// A message of ours failed. It is never handed over from now on (I4).
    Failed(Failure),
    /// The daemon refused us for good. Told once; everything unresolved fails.
    Refused(LocalNack),
    /// The daemon is of no use any more: the stream will end, or must be ended.
    DaemonGone(Gone),
    /// Nothing more is taken from now on: the daemon asked for it, for this reason. Outcomes still come.
    Drain(DrainCause),
    /// The instances of a clientid that was subscribed to are others. In its place among the messages.
    Presence(PresenceEvent),
}

/// Why a daemon is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gone {
    /// It said goodbye and will close the stream.
    Goodbye,
    /// It sent what cannot be read: close the stream.
    Malformed(LocalError),
    /// It did not even read what was to be written until that fell due: close the stream.
    Silent,
}

/// A message that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Who sent it.
    pub src: Instance,
    /// Its number in its sender's process.
    pub msgid: MsgId,
    /// Whether it was sent in order.
    pub channel: Channel,
    /// How long ago this copy was sent, by this node's clock.
    pub age: Span,
    /// Its bytes, in the session's input buffer.
    pub data: &'a [u8],
}

/// What was delivered and taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery<'a> {
    /// A message.
    Message(Message<'a>),
    /// A message of the call layer ([`crate::call`]).
    Call(CallMessage<'a>),
}

/// A message of the call layer that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallMessage<'a> {
    /// Who sent it.
    pub src: Instance,
    /// When its client sent it, by this node's clock: never too late ([`crate::local::CallOrigin::sent_at`]).
    pub sent_at: Time,
    /// The user that its sender runs as, or [`crate::local::UNKNOWN_UID`].
    pub uid: u32,
    /// Its sender's node.
    pub node: String,
    /// Its bytes, in the session's input buffer.
    pub data: &'a [u8],
}

/// A message that failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Its number.
    pub msgid: MsgId,
    /// Whom it was for.
    pub dst: ClientId,
    /// Why, and what is known (I3).
    pub verdict: Verdict,
    /// Copies that left this node, as far as the daemon said; 1 if it was handed to a daemon that did not say.
    pub tries: u32,
    /// What was given with the send.
    pub user: UserBuf,
}

/// What the daemon granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// Our incarnation.
    pub incarnation: Incarnation,
    /// Which start of the daemon; 0 before the first registration.
    pub daemon_start: u64,
    /// Time for an answer (R4).
    pub interval: Span,
    /// Retransmissions (R5).
    pub times: u8,
    /// Messages without an outcome (R3).
    pub max_stored: usize,
    /// What they may be charged, in bytes.
    pub max_stored_bytes: usize,
    /// The largest message, in bytes.
    pub max_message_bytes: usize,
}

/// Where a session stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No stream.
    Disconnected,
    /// REGISTER is on its way, and behind it everything unresolved.
    Registering,
    /// Registered.
    Registered,
    /// The daemon said goodbye: the stream will end. What is sent now waits for the next one.
    GoingAway,
    /// The stream cannot be used any more: the driver closes it and calls `handle_disconnected`.
    Broken,
    /// The daemon refused us for good: the driver closes the stream.
    Refused,
    /// `close` was called.
    Closed,
}

/// Why a send was not accepted. Nothing has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendError {
    /// The chain or a flow is full; or a send before found it so, and too much still waits for the stream. Passes as outcomes come
    /// and output is written: [`poll_room`](super::Session::poll_room).
    WouldBlock,
    /// The message is larger than that many bytes.
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The user data are longer than that many bytes.
    UserDataTooLong {
        /// Bytes.
        limit: usize,
    },
    /// More destinations than [`limits::MAX_FLOWS_PER_CLIENT`].
    TooManyFlows,
    /// The daemon refused us, for that rule.
    Refused(LocalRule),
    /// The session is closed.
    Closed,
}

/// What happened in a session, in numbers that only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionCounters {
    /// Messages of ours that were taken.
    pub acked: u64,
    /// Messages of ours that failed.
    pub failed: u64,
    /// Deliveries dropped as stale when their turn came (R6), or because one before them was.
    pub stale_dropped: u64,
    /// Deliveries of what was taken before (R8).
    pub duplicates: u64,
    /// Outcomes of messages that had one, or that never were.
    pub unmatched_outcomes: u64,
    /// Messages that the session failed itself because no daemon did in time.
    pub given_up: u64,
    /// Messages of the call layer that were taken and dropped, as the driver polled for others only.
    pub calls_dropped: u64,
}

/// An event that waits; everything but messages, which wait in the input buffer.
#[derive(Debug)]
pub(super) enum Notice {
    Registered(Granted),
    Acked(MsgId),
    Failed(Failure),
    Refused(LocalNack),
    Gone(Gone),
    Drain(DrainCause),
}

impl From<Notice> for Event<'static> {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Registered(granted) => Self::Registered(granted),
            Notice::Acked(msgid) => Self::Acked { msgid },
            Notice::Failed(failure) => Self::Failed(failure),
            Notice::Refused(nack) => Self::Refused(nack),
            Notice::Gone(gone) => Self::DaemonGone(gone),
            Notice::Drain(cause) => Self::Drain(cause),
        }
    }
}

impl State {
    /// Whether SUBMIT may be written now.
    pub(super) const fn takes_submits(self) -> bool {
        matches!(self, Self::Registering | Self::Registered)
    }

    /// Whether the daemon still reads and says things.
    pub(super) const fn is_up(self) -> bool {
        matches!(self, Self::Registering | Self::Registered | Self::GoingAway)
    }
}

impl Granted {
    pub(super) fn before_registration(config: &SessionConfig) -> Self {
        let or = |asked, default| if asked == 0 { default } else { asked };
        let interval_ms = or(config.interval_ms, limits::DEFAULT_INTERVAL_MS);
        Self {
            incarnation: config.incarnation,
            daemon_start: 0,
            interval: Span::from_millis(u64::from(interval_ms)),
            times: config.times.unwrap_or(limits::DEFAULT_TIMES),
            max_stored: or(config.max_stored, limits::DEFAULT_MAX_STORED) as usize,
            max_stored_bytes: limits::DEFAULT_CLIENT_QUEUE_BYTES,
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
        }
    }

    /// The daemon's numbers, held below the limits that our own tables have.
    pub(super) fn from_registered(body: &Registered) -> Self {
        let bytes = usize::try_from(body.max_stored_bytes).unwrap_or(usize::MAX);
        Self {
            incarnation: body.incarnation,
            daemon_start: body.start,
            interval: Span::from_millis(u64::from(body.interval_ms)),
            times: body.times,
            max_stored: body.max_stored.min(limits::MAX_STORED_CEILING) as usize,
            max_stored_bytes: bytes.min(limits::MAX_CLIENT_QUEUE_BYTES),
            max_message_bytes: (body.max_message_bytes as usize).min(limits::MAX_MESSAGE_BYTES),
        }
    }

    /// How long after a send its outcome is known at the latest (I1).
    #[must_use]
    pub fn lifetime(&self) -> Span {
        crate::outcome::lifetime(self.interval, self.times)
    }

    pub(super) fn give_up_at(&self, sent_at: Time, state: State) -> Time {
        let at = sent_at + self.lifetime();
        let hang = self.interval.div(2) + Span::from_millis(super::HANG_SLACK_MS);
        if state == State::Registered { at + hang } else { at }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => {
                f.write_str("no room: wait for outcomes, and for what waits to be written; or ask for a larger max_stored")
            }
            Self::TooLarge { limit } => write!(f, "message too large: at most {limit} bytes"),
            Self::UserDataTooLong { limit } => write!(f, "user data too long: at most {limit} bytes"),
            Self::TooManyFlows => {
                write!(f, "too many destinations: at most {}", limits::MAX_FLOWS_PER_CLIENT)
            }
            Self::Refused(rule) => write!(f, "the daemon refused this client ({rule:?})"),
            Self::Closed => f.write_str("the client is closed"),
        }
    }
}

impl std::error::Error for SendError {}
