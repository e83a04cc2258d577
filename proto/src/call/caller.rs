//! The caller's side: calls that wait for their reply, and how each of them ends.
//!
//! ```text
//!            record_sent          handle_acked
//! Queued ---------------> Sent -----------------> Taken
//!   ^                      |                        |
//!   | retry, repeat        | handle_failed          | time for a repeat, or who took it is gone
//!   +-------- Waiting <----+------------------------+
//!
//! out of time, or cancelled: Ending, until it is known what became of the request
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::{
    Answer, CallCounters, CallFailure, CallOptions, Procedure, Semantics, StartError, Why, Xid, XidSource,
    header,
    pending::{Pending, State},
};
use crate::{
    ids::{ClientId, Instance, MsgId},
    limits,
    outcome::{Certainty, Reason, Verdict},
    session::Taker,
    units::{Span, Time},
};

/// A call, to the process that made it. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CallId(pub u64);

/// A request to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallRequest<'a> {
    /// Whose.
    pub call: CallId,
    /// To whom.
    pub dst: ClientId,
    /// The instance that it is for, and no other: who took an earlier copy has its run, or its reply.
    pub to: Option<&'a Taker>,
    /// See [`CallOptions::is_unordered`].
    pub is_unordered: bool,
    /// The message.
    pub message: &'a [u8],
}

/// Tells a server that a call's caller does not wait any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cancellation {
    /// For whom the call was.
    pub dst: ClientId,
    /// Which instance took its request, if that is known: it is for that one only.
    pub to: Option<Taker>,
    /// The message.
    pub message: Vec<u8>,
}

/// A call that has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// Which.
    pub call: CallId,
    /// Its XID.
    pub xid: Xid,
    /// What came of it.
    pub result: Result<Vec<u8>, CallFailure>,
}

/// The calls of one client.
#[derive(Debug)]
pub struct Caller {
    xids: XidSource,
    next: u64,
    calls: BTreeMap<CallId, Pending>,
    by_xid: HashMap<Xid, CallId>,
    by_msgid: HashMap<MsgId, CallId>,
    due: BTreeSet<(Time, CallId)>,
    bytes: usize,
    to_send: VecDeque<CallId>,
    to_withdraw: VecDeque<MsgId>,
    to_cancel: VecDeque<Cancellation>,
    to_watch: VecDeque<Taker>,
    done: VecDeque<Done>,
}

impl Caller {
    /// Nobody has called yet. `key` is drawn at random.
    #[must_use]
    pub fn new(key: [u8; 16]) -> Self {
        Self {
            xids: XidSource::new(key),
            next: 0,
            calls: BTreeMap::new(),
            by_xid: HashMap::new(),
            by_msgid: HashMap::new(),
            due: BTreeSet::new(),
            bytes: 0,
            to_send: VecDeque::new(),
            to_withdraw: VecDeque::new(),
            to_cancel: VecDeque::new(),
            to_watch: VecDeque::new(),
            done: VecDeque::new(),
        }
    }

    /// Begins a call; [`poll_send`](Self::poll_send) gives its request.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    pub fn start(
        &mut self,
        now: Time,
        (dst, procedure): (ClientId, Procedure),
        request: &[u8],
        options: CallOptions,
    ) -> Result<CallId, StartError> {
        options.check()?;
        if self.calls.len() + self.done.len() >= limits::MAX_PENDING_CALLS
            || self.bytes + request.len() > limits::MAX_PENDING_CALL_BYTES
        {
            return Err(StartError::WouldBlock);
        }
        if options.xid.is_some_and(|xid| self.by_xid.contains_key(&xid)) {
            return Err(StartError::XidInUse);
        }
        let xid = options.xid.unwrap_or_else(|| self.xids.draw());
        self.next += 1;
        let call = CallId(self.next);
        let mut message = vec![0; header::REQUEST_HEAD];
        message.extend_from_slice(request);
        self.bytes += request.len();
        let deadline = now + options.timeout;
        self.due.insert((deadline, call));
        self.by_xid.insert(xid, call);
        self.to_send.push_back(call);
        let pending = Pending {
            dst,
            procedure,
            xid,
            options,
            deadline,
            may_have_begun: options.is_repeat,
            has_no_route: false,
            sends: 0,
            state: State::Queued,
            msgid: None,
            taker: None,
            due: deadline,
            message,
        };
        self.calls.insert(call, pending);
        Ok(call)
    }

    /// The next request to send. Answer with [`record_sent`](Self::record_sent), with
    /// [`record_not_sent`](Self::record_not_sent) if there is no room now, or with [`forget`](Self::forget) or
    /// [`fail`](Self::fail).
    pub fn poll_send(&mut self, now: Time) -> Option<CallRequest<'_>> {
        let call = loop {
            let call = self.to_send.pop_front()?;
            if self.calls.get(&call).is_some_and(|p| p.state == State::Queued) {
                break call;
            }
        };
        let p = self.calls.get_mut(&call)?;
        p.write_head(now);
        let (dst, to, is_unordered) = (p.dst, p.taker.as_ref(), p.options.is_unordered);
        Some(CallRequest { call, dst, to, is_unordered, message: &p.message })
    }

    /// The request was sent, as this message.
    pub fn record_sent(&mut self, call: CallId, msgid: MsgId, counters: &mut CallCounters) {
        let Some(p) = self.calls.get_mut(&call) else { return };
        if p.sends == 0 {
            counters.calls += 1;
        } else {
            counters.repeats += 1;
        }
        p.sends += 1;
        p.state = State::Sent;
        p.msgid = Some(msgid);
        self.by_msgid.insert(msgid, call);
    }

    /// There was no room for the request: it stays the next one.
    pub fn record_not_sent(&mut self, call: CallId) {
        self.to_send.push_front(call);
    }

    /// A call whose first request could not be sent never was.
    pub fn forget(&mut self, call: CallId) {
        self.remove(call);
    }

    /// A request was not accepted, for good.
    pub fn fail(&mut self, call: CallId, why: Why) {
        self.finish(call, why, Certainty::NotStarted);
    }

    /// A request that is of no use any more. Its outcome is told if there is one to come, or else
    /// [`handle_acked`](Self::handle_acked) is called.
    pub fn poll_withdraw(&mut self) -> Option<MsgId> {
        self.to_withdraw.pop_front()
    }

    /// A cancellation to send. It may be lost: it is only a hint.
    pub fn poll_cancel(&mut self) -> Option<Cancellation> {
        self.to_cancel.pop_front()
    }

    /// An instance that has a request: [`handle_gone`](Self::handle_gone) is to be called when it is gone.
    pub fn poll_watch(&mut self) -> Option<Taker> {
        self.to_watch.pop_front()
    }

    /// The next call that has ended.
    pub fn poll_done(&mut self, counters: &mut CallCounters) -> Option<Done> {
        let done = self.done.pop_front()?;
        match &done.result {
            Ok(_) => counters.replies += 1,
            Err(failure) if failure.certainty == Certainty::NotStarted => counters.failed_not_started += 1,
            Err(_) => counters.failed_unknown += 1,
        }
        Some(done)
    }

    /// A message was taken, by whom, if that is known. `false` if it is no request that waits.
    pub fn handle_acked(&mut self, now: Time, msgid: MsgId, taker: Option<Taker>) -> bool {
        let Some(call) = self.by_msgid.remove(&msgid) else { return false };
        let Some(p) = self.calls.get_mut(&call) else { return false };
        p.msgid = None;
        match p.state {
            State::Ending(why) => self.finish(call, why, Certainty::Unknown),
            _ => {
                p.state = State::Taken;
                self.to_watch.extend(taker.clone());
                p.taker = taker;
                let at = p.repeat_at(now);
                self.set_due(call, at);
            }
        }
        true
    }

    /// A message failed. `false` if it is no request that waits.
    pub fn handle_failed(&mut self, now: Time, msgid: MsgId, verdict: Verdict) -> bool {
        let Some(call) = self.by_msgid.remove(&msgid) else { return false };
        let Some(p) = self.calls.get_mut(&call) else { return false };
        p.msgid = None;
        p.has_no_route = verdict.reason == Reason::NoRoute;
        if verdict.reason == Reason::ReceiverGone {
            p.taker = None;
        }
        match p.state {
            State::Ending(why) => self.finish(call, why, verdict.certainty),
            _ => self.on_not_answered(now, call, Why::Request(verdict.reason), verdict.certainty),
        }
        true
    }

    /// A reply came. `false` if no call waits for it.
    pub fn handle_reply(
        &mut self,
        now: Time,
        src: ClientId,
        (procedure, xid): (Procedure, Xid),
        answer: Answer<'_>,
    ) -> bool {
        let Some(call) = self.by_xid.get(&xid).copied() else { return false };
        let Some(p) = self.calls.get_mut(&call) else { return false };
        // A call that was not sent again yet may still be answered: the reply to an earlier copy.
        if p.dst != src || p.procedure != procedure || (p.sends == 0 && !p.options.is_repeat) {
            return false;
        }
        match answer {
            Ok(body) => {
                self.remove(call);
                self.done.push_back(Done { call, xid, result: Ok(body.to_vec()) });
            }
            Err(CallFailure { certainty, why }) => {
                // Who answers so has no run of it.
                p.taker = None;
                self.on_not_answered(now, call, why, certainty);
            }
        }
        true
    }

    /// An instance is gone, and everything that it sent has come or is lost: it answers none of the requests that it took.
    /// They may have run there. At-least-once goes to the next instance, at once; at-most-once ends.
    pub fn handle_gone(&mut self, instance: Instance) {
        let is_with_it = |p: &Pending| {
            let is_over = matches!(p.state, State::Ending(_));
            !is_over && p.taker.as_ref().is_some_and(|taker| taker.instance == instance)
        };
        let concerned: Vec<_> = self.calls.iter().filter(|(_, p)| is_with_it(p)).map(|(c, _)| *c).collect();
        for call in concerned {
            let Some(p) = self.calls.get_mut(&call) else { continue };
            match p.options.semantics {
                Semantics::AtMostOnce => {
                    self.finish(call, Why::Request(Reason::ReceiverGone), Certainty::Unknown)
                }
                Semantics::AtLeastOnce => {
                    p.taker = None;
                    // A repeat that is on its way to it comes to nothing.
                    if let Some(msgid) = p.msgid.take() {
                        self.by_msgid.remove(&msgid);
                        self.to_withdraw.push_back(msgid);
                    }
                    if p.state != State::Queued {
                        self.repeat(call);
                    }
                }
            }
        }
    }

    /// Its caller does not wait for it any more. `false` if it has ended.
    pub fn cancel(&mut self, now: Time, call: CallId) -> bool {
        let Some(p) = self.calls.get(&call).filter(|p| !matches!(p.state, State::Ending(_))) else {
            return false;
        };
        if p.sends > 0 {
            let mut message = Vec::new();
            header::put_cancel(&mut message, p.procedure, p.xid);
            let (dst, to) = (p.dst, p.taker.clone());
            self.to_cancel.push_back(Cancellation { dst, to, message });
        }
        self.end(now, call, Why::Cancelled);
        true
    }

    /// Nothing will come any more: every call ends, with what is known of it.
    pub fn abort(&mut self, why: Why) {
        for call in self.calls.keys().copied().collect::<Vec<_>>() {
            let state = self.calls.get(&call).map(|p| p.state);
            let is_out = !matches!(state, Some(State::Queued | State::Waiting));
            self.finish(call, why, if is_out { Certainty::Unknown } else { Certainty::NotStarted });
        }
    }

    /// The XID of a call that waits.
    #[must_use]
    pub fn xid(&self, call: CallId) -> Option<Xid> {
        self.calls.get(&call).map(|p| p.xid)
    }

    /// [`poll_timeout`](Self::poll_timeout)'s time has come. Harmless when it has not.
    pub fn handle_timeout(&mut self, now: Time) {
        while let Some((at, call)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            debug_assert!(at <= now);
            let Some(p) = self.calls.get_mut(&call) else {
                self.due.remove(&(at, call));
                continue;
            };
            match p.state {
                State::Ending(why) => self.finish(call, why, Certainty::Unknown),
                _ if now >= p.deadline => self.end(now, call, Why::Deadline),
                State::Taken | State::Waiting => self.repeat(call),
                State::Queued | State::Sent => {
                    let deadline = p.deadline;
                    self.set_due(call, deadline);
                }
            }
        }
    }

    /// The clock went back by so much.
    pub(super) fn rewind(&mut self, by: Span) {
        for p in self.calls.values_mut() {
            (p.deadline, p.due) = (p.deadline.minus(by), p.due.minus(by));
        }
        self.due = self.calls.iter().map(|(call, p)| (p.due, *call)).collect();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Calls without an outcome.
    #[must_use]
    pub fn len(&self) -> usize {
        self.calls.len()
    }

    /// Whether no call waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Whether there is nothing to do, and nothing to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.calls.is_empty()
            && self.to_send.is_empty()
            && self.to_withdraw.is_empty()
            && self.to_cancel.is_empty()
            && self.to_watch.is_empty()
            && self.done.is_empty()
    }

    /// Whether requests wait for room.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// The request is sent again: to who has it, as long as that one is not gone.
    fn repeat(&mut self, call: CallId) {
        let Some(p) = self.calls.get_mut(&call) else { return };
        p.may_have_begun |= p.state == State::Taken;
        p.state = State::Queued;
        let deadline = p.deadline;
        self.to_send.push_back(call);
        self.set_due(call, deadline);
    }

    /// A copy of the request came to nothing.
    fn on_not_answered(&mut self, now: Time, call: CallId, why: Why, certainty: Certainty) {
        let Some(p) = self.calls.get_mut(&call) else { return };
        if let State::Ending(why) = p.state {
            return self.finish(call, why, certainty);
        }
        if !p.is_made_again(why, certainty) {
            return self.finish(call, why, certainty);
        }
        p.may_have_begun |= certainty == Certainty::Unknown;
        p.state = State::Waiting;
        let at = p.retry_at(now);
        if let Some(msgid) = p.msgid.take() {
            self.by_msgid.remove(&msgid);
        }
        self.set_due(call, at);
    }

    /// A call is over, but for what is known of it.
    fn end(&mut self, now: Time, call: CallId, why: Why) {
        let Some(p) = self.calls.get_mut(&call) else { return };
        match p.state {
            State::Queued | State::Waiting => self.finish(call, why, Certainty::NotStarted),
            State::Taken | State::Ending(_) => self.finish(call, why, Certainty::Unknown),
            State::Sent => {
                p.state = State::Ending(why);
                self.to_withdraw.extend(p.msgid);
                self.set_due(call, now + Span::from_millis(limits::CALL_GRACE_MS));
            }
        }
    }

    /// `certainty`: of the present copy of the request.
    fn finish(&mut self, call: CallId, why: Why, certainty: Certainty) {
        let Some(p) = self.remove(call) else { return };
        self.done.push_back(Done { call, xid: p.xid, result: Err(p.failure(why, certainty)) });
    }

    fn remove(&mut self, call: CallId) -> Option<Pending> {
        let p = self.calls.remove(&call)?;
        self.due.remove(&(p.due, call));
        self.by_xid.remove(&p.xid);
        if let Some(msgid) = p.msgid {
            self.by_msgid.remove(&msgid);
        }
        self.bytes -= p.message.len() - header::REQUEST_HEAD;
        Some(p)
    }

    fn set_due(&mut self, call: CallId, at: Time) {
        let Some(p) = self.calls.get_mut(&call) else { return };
        self.due.remove(&(p.due, call));
        p.due = at;
        self.due.insert((at, call));
    }
}
