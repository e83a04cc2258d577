//! Calls: a request and its reply, above messages. Sans-I/O; the rules are in `SPEC.md`, section 4.4.
//!
//! The driver's law is that of [`crate::session`]: one `handle_*` or operation, then drain every `poll_*`. Both sides
//! write ordinary messages, marked as the call layer's ([`crate::session::Session::send_call`]).
//!
//! * `header`: the bytes that stand before a request and its reply. `xid`: numbers that cannot be guessed.
//! * `caller`, `options`, `pending`: calls that wait for their reply, how each is made, and how it ends.
//! * `server`, `run`: calls that came and what is answered, and those that run. `cache`: replies that were given.

mod cache;
mod caller;
mod drive;
mod header;
mod options;
mod pending;
mod run;
mod server;
mod xid;

#[cfg(test)]
mod tests;

use std::fmt;

pub use cache::ReplyCacheLimits;
pub use caller::{CallId, CallRequest, Caller, Cancellation, Done};
pub use header::{
    Answer, CallFrame, MalformedCall, REPLY_HEAD, REQUEST_HEAD, put_cancel, put_reply, put_request,
};
pub use options::{CallOptions, StartError};
pub use run::{Job, Requester, RunId};
pub use server::{LostReply, ProcedureOptions, Reply, ReplyError, Server};
pub use xid::XidSource;

use crate::{
    ids::Instance,
    outcome::{Certainty, Reason},
    session::{CallMessage, Taker},
    units::Time,
};

/// Names a call to its caller and its server: a repeat keeps it, and a reply carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Xid(pub u64);

/// Which of a server's procedures a call is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Procedure(pub u32);

/// What a caller may conclude when a call has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Semantics {
    /// The procedure ran once or not at all. Nothing that may have begun is repeated.
    AtMostOnce,
    /// The procedure ran once or more often, or not at all if nobody took it. The call is repeated until it is
    /// answered, or its deadline: with a reply, or with why there will be none ([`Why::NoReply`], [`Why::NoProcedure`],
    /// [`Why::XidReused`], [`Why::ReplyLost`]). A request that is not allowed or too large ends it, too.
    AtLeastOnce,
}

/// How a call ended that has no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallFailure {
    /// Whether the procedure may have run.
    pub certainty: Certainty,
    /// What happened.
    pub why: Why,
}

/// Why a call has no reply. That says nothing of whether the procedure ran: [`CallFailure::certainty`] does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Its request failed as a message, or ([`Reason::ReceiverGone`]) who took it is gone.
    Request(Reason),
    /// Its time is over. If that is so as nobody was there to be given it, it is [`Reason::NoRoute`].
    Deadline,
    /// It was cancelled.
    Cancelled,
    /// The server does not serve that procedure.
    NoProcedure,
    /// The server has as many calls as it takes.
    Busy,
    /// The server knows that XID for a request with other bytes.
    XidReused,
    /// It is a repeat, and the server does not have the reply any more.
    ReplyLost,
    /// The server's handler gave no reply.
    NoReply,
}

/// Both sides of one client, and what comes to them.
#[derive(Debug)]
pub struct Calls {
    /// The calls that it makes.
    pub caller: Caller,
    /// The calls that it serves.
    pub server: Server,
    /// What happened.
    pub counters: CallCounters,
    /// When they last had their turn.
    turned_at: Time,
}

/// What happened to calls, in numbers that only grow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CallCounters {
    /// Calls begun here.
    pub calls: u64,
    /// Of them, those that ended with a reply.
    pub replies: u64,
    /// Those that failed not started.
    pub failed_not_started: u64,
    /// Those that failed unknown.
    pub failed_unknown: u64,
    /// Requests sent again.
    pub repeats: u64,
    /// Replies dropped because no call waits for their XID.
    pub unknown_replies: u64,
    /// Messages of the call layer that cannot be read.
    pub malformed: u64,
    /// Requests that came.
    pub requests: u64,
    /// Handlers begun.
    pub runs: u64,
    /// Requests answered from the cache.
    pub hits: u64,
    /// Requests that were neither in the cache nor running.
    pub misses: u64,
    /// Repeats of calls that were running: they get that run's reply.
    pub in_progress_hits: u64,
    /// Repeats whose reply was not there any more.
    pub lost: u64,
    /// Known XIDs with another request's bytes.
    pub mismatches: u64,
    /// Replies that the cache gave up for its limits.
    pub evictions: u64,
    /// Requests not begun because their time was over.
    pub late: u64,
    /// Requests not begun because as many run as may.
    pub busy: u64,
    /// Calls whose caller cancelled them.
    pub cancelled: u64,
    /// Calls whose caller's process ended before they were answered.
    pub abandoned: u64,
    /// Replies that the process which called was not known to take.
    pub lost_replies: u64,
}

impl Calls {
    /// No call yet. Both keys are drawn at random.
    #[must_use]
    pub fn new(xid_key: [u8; 16], hash_key: [u8; 16]) -> Self {
        let (caller, server) = (Caller::new(xid_key), Server::new(hash_key));
        Self { caller, server, counters: CallCounters::default(), turned_at: Time(0) }
    }

    /// Whether there is no call, neither made nor to be answered, and nothing to be told of one.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.caller.is_idle() && self.server.is_idle()
    }

    /// An instance that [`poll_watch`](Self::poll_watch) named is gone: see [`crate::session::Session::poll_gone`].
    pub fn handle_gone(&mut self, instance: Instance) {
        self.caller.handle_gone(instance);
        self.server.handle_gone(instance, &mut self.counters);
    }

    /// An instance whose end is to be told.
    pub fn poll_watch(&mut self) -> Option<Taker> {
        self.caller.poll_watch().or_else(|| self.server.poll_watch())
    }

    /// A message of the call layer came, and counts as taken.
    pub fn handle_message(&mut self, now: Time, message: &CallMessage<'_>) {
        let Self { caller, server, counters, .. } = self;
        let Ok(frame) = CallFrame::parse(message.data) else {
            counters.malformed += 1;
            return;
        };
        let from =
            || Requester { instance: message.src, uid: message.uid, node: message.node.as_str().into() };
        match frame {
            CallFrame::Request { procedure, xid, is_repeat, at_least_once, timeout, body } => {
                let deadline = message.sent_at + timeout;
                let request = run::Request { procedure, xid, is_repeat, at_least_once, deadline, body };
                server.handle_request(now, from(), &request, counters);
            }
            CallFrame::Reply { procedure, xid, answer } => {
                if !caller.handle_reply(now, message.src.client, (procedure, xid), answer) {
                    counters.unknown_replies += 1;
                }
            }
            CallFrame::Cancel { procedure, xid } => server.handle_cancel(&from(), (procedure, xid), counters),
        }
    }
}

impl CallFailure {
    pub(crate) const fn not_started(why: Why) -> Self {
        Self { certainty: Certainty::NotStarted, why }
    }

    pub(crate) const fn unknown(why: Why) -> Self {
        Self { certainty: Certainty::Unknown, why }
    }
}

impl Why {
    /// Its number in a reply; a request's own failure never stands in one.
    const fn to_wire(self) -> u8 {
        match self {
            Self::Request(_) => 0,
            Self::Deadline => 1,
            Self::Cancelled => 2,
            Self::NoProcedure => 3,
            Self::Busy => 4,
            Self::XidReused => 5,
            Self::ReplyLost => 6,
            Self::NoReply => 7,
        }
    }

    fn from_wire(number: u8) -> Option<Self> {
        const ALL: [Why; 7] = [
            Why::Deadline,
            Why::Cancelled,
            Why::NoProcedure,
            Why::Busy,
            Why::XidReused,
            Why::ReplyLost,
            Why::NoReply,
        ];
        ALL.into_iter().find(|why| why.to_wire() == number)
    }
}

impl fmt::Display for Xid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Procedure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(Reason::NoRoute) => f.write_str("no node has that client"),
            Self::Request(Reason::ReceiverGone) => f.write_str("the process that it was for is gone"),
            Self::Request(reason) => write!(f, "its request failed: {}", reason.name()),
            Self::Deadline => f.write_str("its time is over"),
            Self::Cancelled => f.write_str("it was cancelled"),
            Self::NoProcedure => f.write_str("the server does not serve that procedure"),
            Self::Busy => f.write_str("the server has as many calls as it takes"),
            Self::XidReused => f.write_str("its XID was used for another request"),
            Self::ReplyLost => f.write_str("it is a repeat, and its reply is gone"),
            Self::NoReply => f.write_str("the server's handler gave no reply"),
        }
    }
}

impl fmt::Display for CallFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = match self.certainty {
            Certainty::NotStarted => "not started",
            Certainty::Unknown => "outcome unknown",
        };
        match (self.certainty, self.why) {
            (Certainty::Unknown, Why::Request(Reason::ReceiverGone)) => {
                write!(f, "{known}: the process that took it is gone")
            }
            (_, why) => write!(f, "{known}: {why}"),
        }
    }
}

impl std::error::Error for CallFailure {}
