//! How a message ends (I1, I3).

use serde::{Deserialize, Serialize};

use crate::units::Span;

/// Why a message failed. Whether the peer may have begun is [`Certainty`], never implied by the reason.
///
/// The values are those of the wire, of the local socket and of `MSG_R_*` in `libmsg.h`; they never change.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Reason {
    /// No node has that client.
    NoRoute = 1,
    /// Sent, and not answered in time (R5).
    NoAnswer = 2,
    /// Not allowed: config says who may send to whom.
    Refused = 3,
    /// The process or its node is draining.
    GoingAway = 4,
    /// The process died, or left, before it took the message.
    ReceiverGone = 5,
    /// The receiver's queue stayed full.
    QueueFull = 6,
    /// Larger than the receiving node's `max_message_bytes`.
    TooLarge = 7,
    /// The sender took it back.
    Cancelled = 8,
}

impl Reason {
    /// All of them, in the order of their values.
    pub const ALL: [Self; 8] = [
        Self::NoRoute,
        Self::NoAnswer,
        Self::Refused,
        Self::GoingAway,
        Self::ReceiverGone,
        Self::QueueFull,
        Self::TooLarge,
        Self::Cancelled,
    ];

    /// The reason with that value, if there is one.
    #[must_use]
    pub fn from_wire(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u8 == value)
    }

    /// Its name, as the status and `msgctl` print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "NoRoute",
            Self::NoAnswer => "NoAnswer",
            Self::Refused => "Refused",
            Self::GoingAway => "GoingAway",
            Self::ReceiverGone => "ReceiverGone",
            Self::QueueFull => "QueueFull",
            Self::TooLarge => "TooLarge",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// What is known of a failed message (I3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Certainty {
    /// No process was or ever will be given it: repeating it is safe.
    NotStarted = 0,
    /// A process may have been given it, at most once.
    Unknown = 1,
}

impl Certainty {
    /// The certainty with that value, if there is one.
    #[must_use]
    pub const fn from_wire(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::NotStarted),
            1 => Some(Self::Unknown),
            _ => None,
        }
    }

    /// Its name, as the status and `msgctl` print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotStarted => "NotStarted",
            Self::Unknown => "Unknown",
        }
    }
}

/// A failure's verdict: why, and what is known.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// What is known.
    pub certainty: Certainty,
}

/// How long after the send the outcome is known at the latest (I1): the first copy and `times` retransmissions, each
/// given one `interval` to be answered, a scan, and 10 ms.
pub(crate) fn lifetime(interval: Span, times: u8) -> Span {
    interval.times(u64::from(times) + 1) + interval.div(2) + Span::from_millis(SLACK_MS)
}

const SLACK_MS: u64 = 10;
