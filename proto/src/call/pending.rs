//! A call that waits for its reply: what is known of it, and whether it goes on.

use super::{CallFailure, CallOptions, Procedure, Semantics, Why, Xid, header};
use crate::{
    ids::{ClientId, MsgId},
    outcome::{Certainty, Reason},
    session::Taker,
    units::{Span, Time},
};

/// A call without an outcome.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) dst: ClientId,
    pub(super) procedure: Procedure,
    pub(super) xid: Xid,
    pub(super) options: CallOptions,
    pub(super) deadline: Time,
    /// Some copy of the request may have begun, the present one aside.
    pub(super) may_have_begun: bool,
    /// The last copy failed as no node has that client.
    pub(super) has_no_route: bool,
    pub(super) sends: u32,
    pub(super) state: State,
    pub(super) msgid: Option<MsgId>,
    /// Who took the last copy that was taken, unless it is gone or has refused it: repeats are for it only.
    pub(super) taker: Option<Taker>,
    /// When something is to be done: it stands in `due` with this.
    pub(super) due: Time,
    /// Head and body of the request.
    pub(super) message: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It is to be sent.
    Queued,
    /// Its request has no outcome yet.
    Sent,
    /// The server's library has it.
    Taken,
    /// It is sent again when it is due.
    Waiting,
    /// It has ended for this reason; whether it may have begun is being asked.
    Ending(Why),
}

impl Pending {
    pub(super) fn write_head(&mut self, now: Time) {
        let mut head = Vec::with_capacity(header::REQUEST_HEAD);
        let at_least_once = self.options.semantics == Semantics::AtLeastOnce;
        let timeout = self.deadline.since(now);
        header::put_request(
            &mut head,
            (self.procedure, self.xid),
            self.may_have_begun,
            at_least_once,
            timeout,
        );
        self.message[..header::REQUEST_HEAD].copy_from_slice(&head);
    }

    /// Whether a call goes on when one copy of its request came to nothing.
    pub(super) fn is_made_again(&mut self, why: Why, certainty: Certainty) -> bool {
        let may_pass = match why {
            Why::Request(reason) => !matches!(reason, Reason::Refused | Reason::TooLarge),
            Why::Busy => true,
            _ => false,
        };
        let again = match self.options.semantics {
            Semantics::AtLeastOnce => true,
            Semantics::AtMostOnce => {
                certainty == Certainty::NotStarted && !self.may_have_begun && self.options.retries > 0
            }
        };
        if may_pass && again && self.options.semantics == Semantics::AtMostOnce {
            self.options.retries -= 1;
        }
        may_pass && again
    }

    /// How it ends without a reply. `certainty`: of the present copy of the request.
    pub(super) const fn failure(&self, why: Why, certainty: Certainty) -> CallFailure {
        if self.may_have_begun {
            return CallFailure::unknown(why);
        }
        match (why, certainty) {
            // What is known says more.
            (Why::Deadline, Certainty::NotStarted) if self.has_no_route => {
                CallFailure::not_started(Why::Request(Reason::NoRoute))
            }
            _ => CallFailure { certainty, why },
        }
    }

    /// When a call that came to nothing is made again, or its deadline.
    pub(super) fn retry_at(&self, now: Time) -> Time {
        let back_off = Span::from_millis(FIRST_RETRY_MS << self.sends.min(RETRY_DOUBLINGS));
        self.deadline.min(now + back_off)
    }

    /// When a call that was taken is repeated, or its deadline.
    pub(super) fn repeat_at(&self, now: Time) -> Time {
        match self.options.semantics {
            Semantics::AtMostOnce => self.deadline,
            Semantics::AtLeastOnce => {
                let doublings = self.sends.saturating_sub(1).min(RETRY_DOUBLINGS);
                self.deadline.min(now + self.options.repeat_after.times(1 << doublings))
            }
        }
    }
}

/// A call that is known not to have started is made again after this; twice as long each time...
const FIRST_RETRY_MS: u64 = 5;
/// ... for so many times.
const RETRY_DOUBLINGS: u32 = 6;
