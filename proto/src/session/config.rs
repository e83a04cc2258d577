//! What a session is told when it starts, and with each send.

use crate::{
    control::{Arrival, Register},
    ids::{ClientId, Incarnation},
    local::VERSIONS,
};

/// What a session is told when it starts.
#[derive(Clone, Debug)]
pub struct SessionConfig {
    /// Which client it is.
    pub client: ClientId,
    /// Which of its lives; [`Incarnation::NONE`] for a new one.
    pub incarnation: Incarnation,
    /// `interval` in milliseconds (R4), in [`crate::limits::MIN_INTERVAL_MS`] to
    /// [`crate::limits::MAX_INTERVAL_MS`]; 0: the daemon's.
    pub interval_ms: u32,
    /// Retransmissions (R5); `None`: the daemon's.
    pub times: Option<u8>,
    /// Messages without an outcome (R3), at most [`crate::limits::MAX_STORED_CEILING`]; 0: the daemon's.
    pub max_stored: u32,
    /// Among instances of one clientid, the highest is active.
    pub priority: u8,
    /// What becomes of other instances of the clientid on its node.
    pub arrival: Arrival,
    /// When the daemon is told that a message was taken.
    pub ack: AckMode,
    /// Which outcomes become events.
    pub outcomes: Outcomes,
    /// Its program, for the status. At most [`crate::limits::MAX_CLIENT_NAME_BYTES`].
    pub name: String,
}

/// When the daemon is told that a message was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckMode {
    /// As soon as it is handed over: an ack says that the process has it.
    OnTake,
    /// When its handler has returned: an ack says that the process has dealt with it. One message at a time.
    OnHandled,
}

/// Which outcomes become events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcomes {
    /// Failures. What is acked only makes room.
    Failures,
    /// [`super::Event::Acked`] too.
    All,
}

/// How one message is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendFlags {
    /// It waits for no other message, and none waits for it (I5).
    pub unordered: bool,
    /// Another instance may be given it even if the first may have begun.
    pub at_least_once: bool,
}

impl SessionConfig {
    pub(super) fn register(&self, incarnation: Incarnation, arrival: Arrival) -> Register {
        Register {
            versions: VERSIONS,
            client: self.client,
            incarnation,
            interval_ms: self.interval_ms,
            times: self.times,
            max_stored: self.max_stored,
            priority: self.priority,
            arrival,
            name: self.name.clone(),
        }
    }
}
