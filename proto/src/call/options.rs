//! How a call is made, and why it is not begun.

use super::{Semantics, Xid};
use crate::{limits, units::Span};

/// How a call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallOptions {
    /// Its outcome comes by then; at most [`limits::MAX_CALL_TIMEOUT_MS`].
    pub timeout: Span,
    /// What may be concluded when it fails.
    pub semantics: Semantics,
    /// How often it is made again when it is known not to have started ([`Semantics::AtMostOnce`]).
    pub retries: u32,
    /// How long after its request was taken it is repeated, if there is no reply; twice as long each time
    /// ([`Semantics::AtLeastOnce`]).
    pub repeat_after: Span,
    /// Its XID, if the caller has its own, so that it can repeat the call after it was restarted.
    pub xid: Option<Xid>,
    /// An earlier life of the caller may have made it before, with that XID: not 0.
    pub is_repeat: bool,
    /// Its request waits for no other message, and none waits for it.
    pub is_unordered: bool,
}

/// Why a call was not begun. Nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartError {
    /// As many calls, or bytes of requests, wait as may.
    WouldBlock,
    /// A call with that XID waits already.
    XidInUse,
    /// The timeout is zero, or longer than [`limits::MAX_CALL_TIMEOUT_MS`].
    Timeout,
    /// It is a repeat, and has no XID of the caller's own: there is nothing that it could be a repeat of.
    NoXid,
}

impl CallOptions {
    /// Whether a call can be made so.
    pub(super) fn check(&self) -> Result<(), StartError> {
        if self.timeout == Span::ZERO || self.timeout > Span::from_millis(limits::MAX_CALL_TIMEOUT_MS) {
            return Err(StartError::Timeout);
        }
        if self.is_repeat && self.xid.is_none_or(|xid| xid == Xid(0)) {
            return Err(StartError::NoXid);
        }
        Ok(())
    }
}
