//! One sequence number of a flow, as the receiver knows it.

use crate::{
    engine::address::CallCopy,
    ids::MsgId,
    outcome::Verdict,
    units::{Span, Time},
};

/// A message that waits: for order, or for room in its client's window.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) msgid: MsgId,
    pub(crate) send_time: Time,
    pub(crate) interval: Span,
    /// See [`crate::engine::accept::Copy`].
    pub(crate) call: Option<CallCopy>,
    pub(crate) payload: Vec<u8>,
    /// Unordered: it went stale and left the line. A new copy lines it up again.
    pub(crate) is_parked: bool,
}

impl Held {
    /// Whether its last copy was sent longer than its interval ago: it is not given any more (R6), unless a new copy
    /// refreshes it.
    pub(crate) fn is_stale(&self, now: Time) -> bool {
        now.since(self.send_time) > self.interval
    }

    /// Whether no new copy has come, nor will.
    pub(crate) fn is_expired(&self, now: Time) -> bool {
        is_expired(now, self.send_time, self.interval)
    }
}

/// Whether what a copy brought is of no use any more. The next copy leaves one interval after it and up to half a
/// one later (R2, R4), so bytes that were dropped as soon as they are stale would be gone just before it refreshes
/// them.
pub(crate) fn is_expired(now: Time, send_time: Time, interval: Span) -> bool {
    now.since(send_time) > interval.times(2)
}

/// What is known of one sequence number.
#[derive(Debug)]
pub(crate) enum Slot {
    /// No copy has come, or what came was dropped.
    Missing,
    /// A copy waits here.
    Held(Box<Held>),
    /// On its way to the client's library.
    Given,
    /// The client's library has taken it (I2).
    Taken,
    /// It will not be given to this client (I3).
    Refused(Verdict),
    /// The sender has decided it.
    Skipped,
}

/// What a copy that comes is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arrival {
    /// The first that is accepted.
    New,
    /// A repeat of one that waits: refreshes it.
    Waiting,
    /// A repeat of one that the client is being given.
    Given,
    /// A repeat of one that was taken: acknowledge it again (R8).
    Taken,
    /// A repeat of one that was refused: say so again.
    Refused(Verdict),
    /// The sender has decided it already: a late copy.
    Decided,
    /// Further beyond the floor than anybody may be.
    TooFar,
}
