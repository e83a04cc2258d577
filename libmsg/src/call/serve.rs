//! Serving: handlers, and what they answer with.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

pub use msg_proto::call::ProcedureOptions;
use msg_proto::{
    call::{self, Job, LostReply, Procedure, Requester, RunId, Xid},
    units::Time,
};

use crate::{Client, clock, sync};

/// A call that came. It is answered with [`Client::reply`], by its handler or later by anybody who has its
/// [`responder`](Self::responder).
#[derive(Debug)]
pub struct Call {
    /// Who calls, as its node says.
    pub from: Requester,
    /// Which procedure.
    pub procedure: Procedure,
    /// The call's XID: the same in each repeat.
    pub xid: Xid,
    /// It may have run before, and what was answered then is gone.
    pub is_repeat: bool,
    /// What the caller gave.
    pub request: Vec<u8>,
    /// Answers it.
    pub responder: Responder,
}

/// Answers one call. Dropped without an answer it tells the caller that the procedure ran, and that there is no reply.
#[derive(Debug)]
pub struct Responder {
    run: RunId,
    deadline: Time,
    dropped: Option<Dropped>,
}

/// Calls whose responders were dropped.
pub(crate) type Dropped = Arc<Mutex<Vec<RunId>>>;

/// Why a reply was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReplyError {
    /// The call has its answer already.
    Answered,
    /// It is larger than that many bytes. The call waits for another answer.
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// Too many bytes of replies wait to be sent. Passes as outcomes come.
    WouldBlock,
    /// This process is a fork of the one that connected.
    Forked,
}

impl Call {
    pub(crate) fn new(job: Job, dropped: Dropped) -> Self {
        let Job { run, from, procedure, xid, is_repeat, deadline, request } = job;
        let responder = Responder { run, deadline, dropped: Some(dropped) };
        Self { from, procedure, xid, is_repeat, request, responder }
    }
}

impl Responder {
    /// The call's number, for somebody who answers by it.
    pub(crate) fn into_run(mut self) -> RunId {
        self.dropped = None;
        self.run
    }

    /// How long the caller waits yet, unless it repeats the call.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.deadline.since(clock::now()).into()
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        if let Some(dropped) = &self.dropped {
            sync::lock(dropped).push(self.run);
        }
    }
}

impl Client {
    /// Serves a procedure: `handler` is called with each call of it, in [`dispatch`](Self::dispatch) and
    /// [`flush`](Self::flush), one at a time. A call that is out of time by then is not begun. Serve before the first of these,
    /// and before the first [`recv`](Self::recv): calls that come earlier wait for it, and then those of what is not served fail.
    pub fn serve(&self, procedure: Procedure, handler: impl FnMut(&Self, Call) + Send + 'static) {
        self.serve_with(
            procedure,
            ProcedureOptions { is_idempotent: false, lost_reply: LostReply::BySemantics },
            handler,
        );
    }

    /// Serves a procedure that is idempotent, or chooses what is done with repeats whose reply is gone.
    pub fn serve_with(
        &self,
        procedure: Procedure,
        options: ProcedureOptions,
        handler: impl FnMut(&Self, Call) + Send + 'static,
    ) {
        let mut inner = self.lock();
        inner.calls.serve(procedure, options);
        let old = inner.callbacks.set_handler(procedure, Box::new(handler));
        self.settle(&mut inner);
        drop(inner);
        drop(old);
    }

    /// Answers a call, from any thread.
    ///
    /// # Errors
    ///
    /// Unless it is [`ReplyError::Answered`] the call waits for another answer.
    pub fn reply(&self, to: &Responder, reply: &[u8]) -> Result<(), ReplyError> {
        self.reply_to(to.run, reply)
    }

    pub(crate) fn reply_to(&self, run: RunId, reply: &[u8]) -> Result<(), ReplyError> {
        if self.is_forked() {
            return Err(ReplyError::Forked);
        }
        let mut inner = self.lock();
        let max = inner.link.session.granted().max_message_bytes;
        let replied = inner.calls.reply(clock::now(), run, reply, max);
        self.finish_turn(&mut inner);
        replied.map_err(|error| match error {
            call::ReplyError::NotRunning => ReplyError::Answered,
            call::ReplyError::TooLarge => {
                ReplyError::TooLarge { limit: max.saturating_sub(call::REPLY_HEAD) }
            }
            call::ReplyError::WouldBlock => ReplyError::WouldBlock,
        })
    }

    /// There will be no reply.
    pub(crate) fn give_up(&self, run: RunId) {
        if !self.is_forked() {
            let mut inner = self.lock();
            inner.calls.give_up(clock::now(), run);
            self.finish_turn(&mut inner);
        }
    }

    /// Whether a call's caller still waits, as far as is known here: it has not cancelled, its time is not over, and its
    /// process is not gone. Outside of its handler that is known as of the last dispatch.
    #[must_use]
    pub fn caller_waits(&self, call: &Responder) -> bool {
        self.waits(call.run)
    }

    pub(crate) fn waits(&self, run: RunId) -> bool {
        let mut inner = self.lock();
        if !inner.in_callback() {
            return inner.calls.waits(clock::now(), run);
        }
        // A cancellation may stand in the socket, or the news of its end.
        let now = inner.take_in(&self.poller);
        inner.take_calls(now);
        inner.calls.waits(now, run)
    }

    /// How long a call's caller waits yet.
    pub(crate) fn time_left(&self, run: RunId) -> Duration {
        self.lock().calls.time_left(clock::now(), run).into()
    }
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered => f.write_str("the call has its answer"),
            Self::TooLarge { limit } => write!(f, "reply too large: at most {limit} bytes"),
            Self::WouldBlock => f.write_str("too many replies wait to be sent: dispatch, and try again"),
            Self::Forked => f.write_str("this process is a fork of the one that connected"),
        }
    }
}

impl std::error::Error for ReplyError {}
