//! What a client's lock guards of its calls.

use std::{
    collections::{HashMap, VecDeque},
    fmt, mem,
    sync::Arc,
};

use msg_proto::{
    call::{
        CallCounters, CallId, CallOptions, Calls, Done, Job, Procedure, ProcedureOptions, ReplyCacheLimits,
        ReplyError, RunId, Xid,
    },
    ids::ClientId,
    session::{CallMessage, Delivery, Session},
    units::{Span, Time},
};

use super::{CallError, Reply, serve::Dropped};
use crate::{Call, Client, Received, SendError, client::Inner, sync};

/// A handler.
pub(crate) type OnCall = Box<dyn FnMut(&Client, Call) + Send>;
/// A callback of a call that has ended.
pub(crate) type DoneFn = Box<dyn FnOnce(&Client, CallResult) + Send>;
/// What came of a call.
pub(crate) type CallResult = Result<Reply, CallError>;

/// Who is told of what came of a call.
pub(crate) enum OnDone {
    /// A thread that waits.
    Waits,
    /// A callback.
    Callback(DoneFn),
}

/// The calls of a client, and who waits for them.
pub(crate) struct CallState {
    calls: Calls,
    on_done: HashMap<CallId, OnDone>,
    results: HashMap<CallId, CallResult>,
    ended: VecDeque<(DoneFn, CallResult)>,
    dropped: Dropped,
    /// Messages that stood before one of the call layer while nobody asked for them.
    stash: VecDeque<Received>,
    stash_bytes: usize,
    is_used: bool,
}

impl CallState {
    pub(crate) fn new(xid_key: [u8; 16], hash_key: [u8; 16]) -> Self {
        Self {
            calls: Calls::new(xid_key, hash_key),
            on_done: HashMap::new(),
            results: HashMap::new(),
            ended: VecDeque::new(),
            dropped: Dropped::default(),
            stash: VecDeque::new(),
            stash_bytes: 0,
            is_used: false,
        }
    }

    pub(super) fn start(
        &mut self,
        session: &mut Session,
        now: Time,
        target: (ClientId, Procedure),
        request: &[u8],
        options: CallOptions,
        on_done: &mut Option<OnDone>,
    ) -> Result<CallId, CallError> {
        self.is_used = true;
        if self.calls.caller.has_unsent() {
            return Err(CallError::NotSent(SendError::WouldBlock));
        }
        let call = self.calls.caller.start(now, target, request, options)?;
        if let Err(error) = self.calls.send_request(session, now) {
            self.calls.caller.forget(call);
            return Err(CallError::NotSent(error.into()));
        }
        self.on_done.extend(on_done.take().map(|on_done| (call, on_done)));
        Ok(call)
    }

    pub(super) fn take_result(&mut self, call: CallId) -> Option<CallResult> {
        self.results.remove(&call)
    }

    pub(super) fn cancel(&mut self, now: Time, call: CallId) -> bool {
        self.calls.caller.cancel(now, call)
    }

    pub(super) fn xid(&self, call: CallId) -> Option<Xid> {
        self.calls.caller.xid(call)
    }

    pub(super) const fn counters(&self) -> CallCounters {
        self.calls.counters
    }

    pub(super) fn enable_reply_cache(&mut self, limits: ReplyCacheLimits) {
        self.calls.server.enable_reply_cache(limits);
    }

    pub(super) fn serve(&mut self, procedure: Procedure, options: ProcedureOptions) {
        self.is_used = true;
        self.calls.server.serve(procedure, options);
    }

    pub(super) fn reply(
        &mut self,
        now: Time,
        run: RunId,
        reply: &[u8],
        max: usize,
    ) -> Result<(), ReplyError> {
        self.calls.server.reply(now, run, reply, max, &mut self.calls.counters)
    }

    pub(super) fn give_up(&mut self, now: Time, run: RunId) {
        self.calls.server.give_up(now, run, &mut self.calls.counters);
    }

    pub(super) fn waits(&self, now: Time, run: RunId) -> bool {
        self.calls.server.caller_waits(now, run)
    }

    pub(super) fn time_left(&self, now: Time, run: RunId) -> Span {
        self.calls.server.time_left(now, run)
    }

    /// A message of the call layer came.
    pub(crate) fn handle_message(&mut self, now: Time, message: &CallMessage<'_>) {
        self.calls.handle_message(now, message);
    }

    /// A call to begin now.
    pub(crate) fn poll_job(&mut self, now: Time) -> Option<Call> {
        let job: Job = self.calls.server.poll_job(now, &mut self.calls.counters)?;
        Some(Call::new(job, self.dropped.clone()))
    }

    /// Somebody asks for what comes.
    pub(crate) fn refuse_unserved(&mut self) {
        self.calls.server.refuse_unserved();
    }

    /// A callback to run.
    pub(crate) fn poll_ended(&mut self) -> Option<(DoneFn, CallResult)> {
        self.ended.pop_front()
    }

    /// Calls that wait to be begun.
    pub(crate) fn jobs(&self) -> usize {
        self.calls.server.jobs()
    }

    /// Whether calls wait to be begun.
    pub(crate) fn has_jobs(&self) -> bool {
        self.calls.server.has_jobs()
    }

    /// Whether a dispatch has something to do with calls.
    pub(crate) fn has_work(&self) -> bool {
        !self.ended.is_empty() || self.calls.server.has_jobs()
    }

    /// Whether a dispatch would find nothing of calls, nor any message that waits because of one.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.has_work() && self.stash.is_empty() && self.calls.is_idle() && self.calls.server.was_asked()
    }

    /// Whether messages of the call layer are looked for behind others.
    pub(crate) const fn is_used(&self) -> bool {
        self.is_used
    }

    pub(crate) fn has_stash(&self) -> bool {
        !self.stash.is_empty()
    }

    /// Messages that are kept.
    pub(crate) fn stashed(&self) -> usize {
        self.stash.len()
    }

    pub(crate) fn take_stashed(&mut self) -> Option<Received> {
        let message = self.stash.pop_front()?;
        self.stash_bytes -= message.data.len();
        Some(message)
    }

    /// Until when the callers of those calls wait that are not answered, and whose callers still wait.
    pub(crate) fn awaited(&self, now: Time) -> impl Iterator<Item = Time> + '_ {
        self.calls.server.awaited(now)
    }

    /// Calls that a drain waits for: made here, without an outcome, and begun here, without an answer, whose callers still wait.
    pub(crate) fn open(&self, now: Time) -> usize {
        self.calls.caller.len() + self.awaited(now).count()
    }

    /// Whether other threads may give up calls, or have done so.
    pub(crate) fn has_responders(&self) -> bool {
        self.is_used && (Arc::strong_count(&self.dropped) > 1 || !sync::lock(&self.dropped).is_empty())
    }

    /// When something falls due.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.calls.caller.poll_timeout()
    }

    fn turn(&mut self, session: &mut Session, now: Time) {
        // Only what is served is ever given to a handler, to be dropped.
        if self.is_used {
            let dropped = mem::take(&mut *sync::lock(&self.dropped));
            for run in dropped {
                self.give_up(now, run);
            }
        }
        self.calls.turn(session, now);
        while let Some(Done { call, xid, result }) = self.calls.poll_done() {
            let result = result.map(|data| Reply { xid, data }).map_err(CallError::from);
            match self.on_done.remove(&call) {
                Some(OnDone::Callback(callback)) => self.ended.push_back((callback, result)),
                Some(OnDone::Waits) => {
                    self.results.insert(call, result);
                }
                None => {}
            }
        }
    }

    fn has_stash_room(&self) -> bool {
        self.stash.len() < STASH_MESSAGES && self.stash_bytes < STASH_BYTES
    }
}

impl Inner {
    /// Does what calls have to do, without running anything.
    pub(crate) fn turn_calls(&mut self, now: Time) {
        self.calls.turn(&mut self.link.session, now);
    }

    /// The next message that is none of the call layer's; those before it are taken.
    pub(crate) fn next_message(&mut self, now: Time) -> Option<Received> {
        if let Some(message) = self.calls.take_stashed() {
            return Some(message);
        }
        loop {
            match self.link.session.poll_delivery(now)? {
                Delivery::Message(message) => return Some(message.into()),
                Delivery::Call(message) => {
                    self.calls.handle_message(now, &message);
                    self.link.session.message_handled();
                }
            }
        }
    }

    /// Takes what has come of the call layer; messages before it are taken, too, and kept.
    pub(crate) fn take_calls(&mut self, now: Time) {
        let session = &mut self.link.session;
        while session.has_call_next() || self.calls.has_stash_room() {
            match session.poll_delivery(now) {
                None => break,
                Some(Delivery::Call(message)) => {
                    self.calls.handle_message(now, &message);
                    session.message_handled();
                }
                Some(Delivery::Message(message)) => {
                    self.calls.stash_bytes += message.data.len();
                    self.calls.stash.push_back(message.into());
                }
            }
        }
        self.calls.calls.take_gone(&mut self.link.session);
    }
}

impl fmt::Debug for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallState").field("calls", &self.calls).finish_non_exhaustive()
    }
}

/// Messages that are kept because they stood before one of the call layer. At the limit the latter wait behind them.
const STASH_MESSAGES: usize = 4096;
const STASH_BYTES: usize = 8 << 20;
