//! Calls that a server has taken and not answered yet.

use std::sync::Arc;

use super::{
    CallCounters, LostReply, Procedure, ProcedureOptions, Xid,
    cache::{CallKey, Digest},
};
use crate::{ids::Instance, session::Taker, units::Time};

/// A call, to the process that serves it. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RunId(pub u64);

/// Who calls, as its node says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requester {
    /// Its process.
    pub instance: Instance,
    /// The user that it runs as, or [`crate::local::UNKNOWN_UID`].
    pub uid: u32,
    /// Its node.
    pub node: Arc<str>,
}

/// A request, without what its frame says of its kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) procedure: Procedure,
    pub(super) xid: Xid,
    pub(super) is_repeat: bool,
    pub(super) at_least_once: bool,
    pub(super) deadline: Time,
    pub(super) body: &'a [u8],
}

/// Which call a reply is for, and until when it is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) procedure: Procedure,
    pub(super) xid: Xid,
    pub(super) deadline: Time,
}

impl Request<'_> {
    /// What its reply is for.
    pub(super) const fn asked(&self) -> Asked {
        Asked { procedure: self.procedure, xid: self.xid, deadline: self.deadline }
    }
}

/// A call that a handler is to begin now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Job {
    /// Answer it with this.
    pub run: RunId,
    /// Who calls.
    pub from: Requester,
    /// Which procedure.
    pub procedure: Procedure,
    /// The call's XID.
    pub xid: Xid,
    /// It may have run before, and what it answered then is gone.
    pub is_repeat: bool,
    /// After which its caller does not wait any more.
    pub deadline: Time,
    /// What the caller gave.
    pub request: Vec<u8>,
}

/// A call without an answer.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) key: CallKey,
    pub(super) digest: Digest,
    /// Who asked last, and gets the reply.
    pub(super) from: Requester,
    pub(super) deadline: Time,
    pub(super) is_repeat: bool,
    /// It is begun though its caller be gone.
    pub(super) at_least_once: bool,
    pub(super) is_cancelled: bool,
    /// Its caller's process is gone...
    pub(super) is_abandoned: bool,
    /// ... and it is not begun unless a repeat comes for it.
    pub(super) is_aside: bool,
    /// The request, until a handler begins it.
    pub(super) request: Option<Vec<u8>>,
}

impl Run {
    /// What its reply is for.
    pub(super) const fn asked(&self) -> Asked {
        Asked { procedure: self.key.procedure, xid: self.key.xid, deadline: self.deadline }
    }

    /// Whether it may have run before, what was answered then is gone, and it does not run then.
    pub(super) fn is_lost(&self, options: &ProcedureOptions, counters: &mut CallCounters) -> bool {
        if !self.is_repeat || options.is_idempotent {
            return false;
        }
        counters.lost += 1;
        match options.lost_reply {
            LostReply::Run => false,
            LostReply::Refuse => true,
            LostReply::BySemantics => !self.at_least_once,
        }
    }

    /// Whether somebody wants its answer.
    pub(super) fn is_wanted(&self, now: Time) -> bool {
        !self.is_cancelled && !self.is_abandoned && now < self.deadline
    }
}

impl Requester {
    /// Its process, and where that is.
    pub(super) fn process(&self) -> Taker {
        Taker { instance: self.instance, node: self.node.clone() }
    }
}
