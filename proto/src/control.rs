//! The rare bodies, in `serde` + `bincode` 1.3.3: the only file that names that crate.
//!
//! Fixed-width little-endian integers, a size limit, no trailing bytes. The format is frozen by golden
//! bytes; `wincode` reads the same bytes, should bincode 1 ever have to go (RUSTSEC-2025-0141).

use std::fmt;

use bincode::Options;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ids::{ClientId, Incarnation, SessionId},
    limits::MAX_CONTROL_BODY_BYTES,
    units::Time,
};

/// A range of protocol versions that somebody speaks, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VersionRange {
    /// The lowest.
    pub lowest: u8,
    /// The highest.
    pub highest: u8,
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.lowest, self.highest)
    }
}

impl VersionRange {
    /// The highest version that both ranges hold.
    #[must_use]
    pub fn agree(self, other: Self) -> Option<u8> {
        let highest = self.highest.min(other.highest);
        (highest >= self.lowest.max(other.lowest)).then_some(highest)
    }
}

/// Opens a link, and answers an opening. Body of HELLO.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// The sender's node name.
    pub node: String,
    /// The session that the sender wants to be addressed with.
    pub session: SessionId,
    /// The receiver's session as the sender knows it: the echo that proves that hellos arrive both ways.
    pub echo: SessionId,
    /// Which start of the sender's daemon: grows with every start.
    pub start: u64,
    /// The sender's clock.
    pub clock: Time,
    /// The largest message that the sender's node takes.
    pub max_message_bytes: u32,
    /// Bytes of datagrams that the sender's socket can hold.
    pub receive_window: u32,
}

/// One step of the ordered stream of presences on a link. Body of CONTROL.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Control {
    /// The sender's node has this client.
    Announce {
        /// Its number.
        client: ClientId,
        /// Which of its lives.
        incarnation: Incarnation,
        /// The highest priority is active.
        priority: u8,
        /// Its process's user, as the sender's node saw it.
        uid: u32,
    },
    /// That client is gone.
    Withdraw {
        /// Its number.
        client: ClientId,
        /// Which of its lives.
        incarnation: Incarnation,
        /// How it went.
        cause: Departure,
    },
    /// Everything that this node has was announced: what was known before and not announced again is gone.
    Synced,
    /// The sender's node wants to know when that client of the receiver's is gone.
    Watch {
        /// Its number.
        client: ClientId,
        /// Which of its lives.
        incarnation: Incarnation,
    },
    /// That client of the sender's is gone, and so is every message that it sent to one instance.
    Gone {
        /// Its number.
        client: ClientId,
        /// Which of its lives.
        incarnation: Incarnation,
    },
}

impl Control {
    /// Of the client that the step is about.
    #[must_use]
    pub const fn incarnation(&self) -> Option<Incarnation> {
        match *self {
            Self::Announce { incarnation, .. }
            | Self::Withdraw { incarnation, .. }
            | Self::Watch { incarnation, .. }
            | Self::Gone { incarnation, .. } => Some(incarnation),
            Self::Synced => None,
        }
    }
}

/// How a client went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Departure {
    /// It said goodbye.
    Left,
    /// Its connection ended without one.
    Died,
    /// It is draining.
    GoingAway,
}

/// A process asks to be a client. Body of REGISTER.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Register {
    /// The local versions that the library speaks.
    pub versions: VersionRange,
    /// Who it is.
    pub client: ClientId,
    /// Its incarnation, when it comes back; [`Incarnation::NONE`] when it is new.
    pub incarnation: Incarnation,
    /// `interval` in milliseconds; 0: the daemon's.
    pub interval_ms: u32,
    /// Retransmissions; `None`: the daemon's.
    pub times: Option<u8>,
    /// Messages in the chain; 0: the daemon's.
    pub max_stored: u32,
    /// Among instances, the highest is active.
    pub priority: u8,
    /// What becomes of other instances of the clientid on this node.
    pub arrival: Arrival,
    /// Its program, for the status. At most [`crate::limits::MAX_CLIENT_NAME_BYTES`].
    pub name: String,
}

/// How a client registers beside other instances of its clientid on the same node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Arrival {
    /// There must be none.
    Alone,
    /// They stay.
    Beside,
    /// It takes the clientid over from the one that it replaces.
    Takeover,
    /// It comes back only for its outcomes: it was drained, and takes nothing.
    Leaving,
}

/// The daemon's answer to [`Register`]. Body of REGISTERED.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registered {
    /// The local version that both go on in.
    pub version: u8,
    /// The daemon's node.
    pub node: String,
    /// Which start of the daemon.
    pub start: u64,
    /// The client's incarnation from now on.
    pub incarnation: Incarnation,
    /// `interval` granted.
    pub interval_ms: u32,
    /// Retransmissions granted.
    pub times: u8,
    /// Messages that the chain holds.
    pub max_stored: u32,
    /// Bytes of messages that the chain holds.
    pub max_stored_bytes: u64,
    /// The largest message.
    pub max_message_bytes: u32,
}

/// Why the daemon ends a connection. Body of the local NACK.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LocalNack {
    /// The rule.
    pub rule: LocalRule,
    /// One sentence: what, where, what to do.
    pub text: String,
}

/// A rule of the local socket, broken by a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LocalRule {
    /// A frame's length, type, flags or fields are out of range.
    Malformed,
    /// No version in common.
    Version,
    /// The clientid is registered by another process.
    ClientIdTaken,
    /// Config does not let this user be that clientid.
    NotAllowed,
    /// `max_clients`, or connections that have not registered.
    TooManyClients,
    /// REGISTER did not come in time.
    RegisterTimeout,
    /// A frame that is not allowed in the connection's state.
    OutOfTurn,
    /// A msgid or sequence number that does not follow.
    BadSequence,
    /// More messages, bytes or flows than granted.
    Quota,
    /// Reserved: no daemon says it. A client that a newer process took over from is told [`crate::local::DrainCause`].
    Superseded,
}

/// Appends a body to `out`.
pub(crate) fn encode<T: Serialize>(body: &T, out: &mut Vec<u8>) {
    let before = out.len();
    let result = options().serialize_into(&mut *out, body);
    debug_assert!(result.is_ok(), "control bodies are bounded by their constructors: {result:?}");
    if result.is_err() {
        out.truncate(before);
    }
}

/// Reads a body that must fill `bytes` exactly.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    options().deserialize(bytes).ok()
}

fn options() -> impl Options {
    bincode::DefaultOptions::new()
        .with_fixint_encoding()
        .with_little_endian()
        .with_limit(MAX_CONTROL_BODY_BYTES as u64)
        .reject_trailing_bytes()
}
