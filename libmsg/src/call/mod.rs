//! Calls: a request to a process that serves a procedure, and its reply. What is promised is in README.md.
//!
//! The state is [`msg_proto::call`]; `state` is what the lock guards of it, `serve` the server's side.

mod serve;
mod state;

pub use serve::{Call, ProcedureOptions, ReplyError, Responder};
pub(crate) use state::{CallResult, CallState, DoneFn, OnCall, OnDone};

use std::{fmt, time::Duration};

use msg_proto::{
    call::{
        self, CallCounters, CallFailure, CallId, Procedure, ReplyCacheLimits, RunId, Semantics, StartError,
        Why, Xid,
    },
    ids::ClientId,
    limits,
    outcome::{Certainty, Reason},
    units::Span,
};

use crate::{Client, Error, SendError, callback::Kinds, client::Inner, clock};

/// The call with that number, for somebody who answers by it.
pub(crate) const fn run_id(number: u64) -> RunId {
    RunId(number)
}

/// How a call is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallOptions {
    /// Its outcome comes by then, give or take a tenth of a second; more than nothing, and at most a day.
    pub timeout: Duration,
    /// What may be concluded when it fails.
    pub semantics: Semantics,
    /// With [`Semantics::AtMostOnce`]: how often it is made again when it is known not to have started.
    pub retries: u32,
    /// An XID of the caller's own, so that it can repeat the call after it was restarted. Not to be used for another
    /// request to the same procedure.
    pub xid: Option<Xid>,
    /// An earlier life of the caller may have made this call: with an XID of its own, which has to be given.
    pub is_repeat: bool,
    /// Its request waits for no other message, and none waits for it.
    pub is_unordered: bool,
}

impl CallOptions {
    /// At most once, not made again, ordered.
    #[must_use]
    pub const fn new(timeout: Duration) -> Self {
        let semantics = Semantics::AtMostOnce;
        Self { timeout, semantics, retries: 0, xid: None, is_repeat: false, is_unordered: false }
    }
}

/// What a server answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// The call's XID.
    pub xid: Xid,
    /// The answer.
    pub data: Vec<u8>,
}

/// A call without a reply. [`certainty`](Self::certainty) says whether the procedure may have run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CallError {
    /// It was made, and failed.
    Failed(CallFailure),
    /// It was not made: its request was not accepted.
    NotSent(SendError),
    /// It was not made: a call with that XID waits already.
    XidInUse,
    /// It was not made: its timeout is nothing, or more than a day.
    Timeout,
    /// It was not made: it is a repeat, and has no XID of the caller's own, or 0.
    NoXid,
    /// It was not made: in a callback it would wait for itself. [`Client::start_call`] does not wait.
    InCallback,
}

impl CallError {
    /// Whether the procedure may have run.
    #[must_use]
    pub const fn certainty(&self) -> Certainty {
        match self {
            Self::Failed(failure) => failure.certainty,
            _ => Certainty::NotStarted,
        }
    }
}

impl Client {
    /// Calls a procedure and waits for its reply. Failure callbacks run meanwhile, in this thread; what else comes waits
    /// for [`dispatch`](Self::dispatch) or [`recv`](Self::recv).
    ///
    /// # Errors
    ///
    /// [`CallError::certainty`] says whether the procedure may have run.
    pub fn call(
        &self,
        dst: ClientId,
        procedure: Procedure,
        request: &[u8],
        options: CallOptions,
    ) -> Result<Reply, CallError> {
        if self.in_callback() {
            return Err(CallError::InCallback);
        }
        let call = self.begin(dst, procedure, request, options, OnDone::Waits)?;
        let waited = self.wait_for(self.lock(), None, Kinds::Failures, |client, inner, now| {
            let (mut inner, _) = client.run_callbacks(inner, Kinds::Failures, now);
            inner.take_calls(*now);
            inner.turn_calls(*now);
            let result = inner.calls.take_result(call);
            (inner, result)
        });
        // A refused client's calls have all ended.
        let result = waited.ok().and_then(|(_, result)| result);
        result.unwrap_or(Err(CallError::Failed(REFUSED)))
    }

    /// Calls a procedure and does not wait: `callback` is called with what comes of it, once, in
    /// [`dispatch`](Self::dispatch) or [`flush`](Self::flush).
    ///
    /// # Errors
    ///
    /// Nothing was sent then, and the callback is not called. [`SendError::WouldBlock`] when there is no room.
    pub fn start_call(
        &self,
        dst: ClientId,
        procedure: Procedure,
        request: &[u8],
        options: CallOptions,
        callback: impl FnOnce(&Self, Result<Reply, CallError>) + Send + 'static,
    ) -> Result<CallId, CallError> {
        self.begin(dst, procedure, request, options, OnDone::Callback(Box::new(callback)))
    }

    /// Does not wait for a call any more: it ends at once, with what is known of it, and its server is told. `false` if it
    /// has ended already.
    pub fn cancel_call(&self, call: CallId) -> bool {
        if self.is_forked() {
            return false;
        }
        let mut inner = self.lock();
        let was_waiting = inner.calls.cancel(clock::now(), call);
        self.finish_turn(&mut inner);
        was_waiting
    }

    /// The XID of a call that waits.
    #[must_use]
    pub fn xid(&self, call: CallId) -> Option<Xid> {
        self.lock().calls.xid(call)
    }

    /// What happened to calls, in numbers that only grow.
    #[must_use]
    pub fn call_counters(&self) -> CallCounters {
        self.lock().calls.counters()
    }

    /// Keeps the replies that this process gives, so that a repeat of a call is answered from them and not run again. It
    /// cannot be turned off: who repeats a call relies on it. Called again, only larger limits count.
    ///
    /// A number is how many replies are kept; [`ReplyCacheLimits`] says how many bytes, and for how long, too.
    pub fn enable_reply_cache(&self, limits: impl Into<ReplyCacheLimits>) {
        self.lock().calls.enable_reply_cache(limits.into());
    }

    fn begin(
        &self,
        dst: ClientId,
        procedure: Procedure,
        request: &[u8],
        options: CallOptions,
        on_done: OnDone,
    ) -> Result<CallId, CallError> {
        if self.is_forked() {
            return Err(CallError::NotSent(SendError::Forked));
        }
        // What is not begun leaves it here, to be dropped without the lock.
        let mut on_done = Some(on_done);
        let mut inner = self.lock();
        if !inner.link.is_connected() {
            inner.link.handle_time(&self.poller, clock::now());
        }
        let started = inner.begin_call((dst, procedure), request, options, &mut on_done);
        self.finish_turn(&mut inner);
        started
    }

    /// Sends what calls have to send, before the lock is given back.
    pub(crate) fn finish_turn(&self, inner: &mut Inner) {
        let now = clock::now();
        inner.turn_calls(now);
        if !inner.in_callback() {
            inner.write(now);
        }
        if inner.calls.has_work() {
            inner.link.record_news();
        }
        self.settle(inner);
    }
}

impl Inner {
    fn begin_call(
        &mut self,
        target: (ClientId, Procedure),
        request: &[u8],
        options: CallOptions,
        on_done: &mut Option<OnDone>,
    ) -> Result<CallId, CallError> {
        let granted = self.link.session.granted();
        let limit = granted.max_message_bytes.saturating_sub(call::REQUEST_HEAD);
        if request.len() > limit {
            return Err(CallError::NotSent(SendError::TooLarge { limit }));
        }
        let options = call::CallOptions {
            timeout: Span::from(options.timeout),
            semantics: options.semantics,
            retries: options.retries,
            repeat_after: granted.interval,
            xid: options.xid,
            is_repeat: options.is_repeat,
            is_unordered: options.is_unordered,
        };
        self.turn_calls(clock::now());
        self.calls.start(&mut self.link.session, clock::now(), target, request, options, on_done)
    }
}

const REFUSED: CallFailure =
    CallFailure { certainty: Certainty::Unknown, why: Why::Request(Reason::Refused) };

impl From<StartError> for CallError {
    fn from(error: StartError) -> Self {
        match error {
            StartError::WouldBlock => Self::NotSent(SendError::WouldBlock),
            StartError::XidInUse => Self::XidInUse,
            StartError::Timeout => Self::Timeout,
            StartError::NoXid => Self::NoXid,
        }
    }
}

impl From<CallFailure> for CallError {
    fn from(failure: CallFailure) -> Self {
        Self::Failed(failure)
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(failure) => failure.fmt(f),
            Self::NotSent(error) => write!(f, "not started: {error}"),
            Self::XidInUse => f.write_str("not started: a call with this XID waits already"),
            Self::Timeout => {
                write!(
                    f,
                    "not started: a timeout is more than 0 and at most {} ms",
                    limits::MAX_CALL_TIMEOUT_MS
                )
            }
            Self::NoXid => {
                f.write_str("not started: a repeat has the XID of the call that it repeats, which is not 0")
            }
            Self::InCallback => write!(f, "not started: {}", Error::InCallback),
        }
    }
}

impl std::error::Error for CallError {}
