//! What stands before a request, a reply and a cancellation in their messages. Byte pictures are in `SPEC.md`, 4.4.

use super::{CallFailure, Procedure, Why, Xid};
use crate::{
    bytes::{Put, Reader},
    outcome::Certainty,
    units::Span,
};

/// Bytes before a request.
pub const REQUEST_HEAD: usize = 24;

/// Bytes before a reply, and all of a cancellation.
pub const REPLY_HEAD: usize = 16;

/// A message of the call layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CallFrame<'a> {
    /// Asks for a procedure to be run.
    Request {
        /// Which.
        procedure: Procedure,
        /// Names the call.
        xid: Xid,
        /// An earlier copy of it may have begun.
        is_repeat: bool,
        /// Its caller chose [`super::Semantics::AtLeastOnce`].
        at_least_once: bool,
        /// It is not to be begun when that much time has passed since it was sent.
        timeout: Span,
        /// What the caller gave.
        body: &'a [u8],
    },
    /// Answers one.
    Reply {
        /// Which procedure.
        procedure: Procedure,
        /// Which call.
        xid: Xid,
        /// What the server gave, or why there is none.
        answer: Answer<'a>,
    },
    /// Its caller does not wait any more.
    Cancel {
        /// Which procedure.
        procedure: Procedure,
        /// Which call.
        xid: Xid,
    },
}

/// What a server gave, or why there is none.
pub type Answer<'a> = Result<&'a [u8], CallFailure>;

/// A message of the call layer that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MalformedCall;

mod kind {
    pub(super) const REQUEST: u8 = 1;
    pub(super) const REPLY: u8 = 2;
    pub(super) const CANCEL: u8 = 3;
}

mod flag {
    pub(super) const REPEAT: u8 = 1;
    pub(super) const AT_LEAST_ONCE: u8 = 2;
}

impl<'a> CallFrame<'a> {
    /// Reads a message.
    ///
    /// # Errors
    ///
    /// A kind, flag or field out of range.
    pub fn parse(message: &'a [u8]) -> Result<Self, MalformedCall> {
        Self::read(message).ok_or(MalformedCall)
    }

    fn read(message: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(message);
        let [kind, a, b, zero] = r.array()?;
        let (procedure, xid) = (Procedure(r.u32()?), Xid(r.u64()?));
        if zero != 0 {
            return None;
        }
        match kind {
            kind::REQUEST if b == 0 && a & !(flag::REPEAT | flag::AT_LEAST_ONCE) == 0 => {
                Some(Self::Request {
                    procedure,
                    xid,
                    is_repeat: a & flag::REPEAT != 0,
                    at_least_once: a & flag::AT_LEAST_ONCE != 0,
                    timeout: Span(r.u64()?),
                    body: r.rest(),
                })
            }
            kind::REPLY => Some(Self::Reply { procedure, xid, answer: read_answer(a, b, r.rest())? }),
            kind::CANCEL if a == 0 && b == 0 && r.is_empty() => Some(Self::Cancel { procedure, xid }),
            _ => None,
        }
    }
}

fn read_answer(status: u8, why: u8, body: &[u8]) -> Option<Answer<'_>> {
    if status == 0 {
        return (why == 0).then_some(Ok(body));
    }
    let certainty = Certainty::from_wire(status - 1)?;
    let why = Why::from_wire(why)?;
    body.is_empty().then_some(Err(CallFailure { certainty, why }))
}

/// A request's head; its body follows.
pub fn put_request(
    out: &mut Vec<u8>,
    (procedure, xid): (Procedure, Xid),
    is_repeat: bool,
    at_least_once: bool,
    timeout: Span,
) {
    let flag_if = |set, flag| if set { flag } else { 0 };
    let flags = flag_if(is_repeat, flag::REPEAT) | flag_if(at_least_once, flag::AT_LEAST_ONCE);
    head(out, [kind::REQUEST, flags, 0], procedure, xid);
    out.put_u64(timeout.0);
}

/// A reply.
pub fn put_reply(out: &mut Vec<u8>, procedure: Procedure, xid: Xid, answer: Answer<'_>) {
    match answer {
        Ok(body) => {
            head(out, [kind::REPLY, 0, 0], procedure, xid);
            out.put(body);
        }
        Err(CallFailure { certainty, why }) => {
            head(out, [kind::REPLY, certainty as u8 + 1, why.to_wire()], procedure, xid);
        }
    }
}

/// A cancellation.
pub fn put_cancel(out: &mut Vec<u8>, procedure: Procedure, xid: Xid) {
    head(out, [kind::CANCEL, 0, 0], procedure, xid);
}

fn head(out: &mut Vec<u8>, [kind, a, b]: [u8; 3], procedure: Procedure, xid: Xid) {
    out.put(&[kind, a, b, 0]);
    out.put_u32(procedure.0);
    out.put_u64(xid.0);
}
