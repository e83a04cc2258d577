//! What calls promise: what ran, how often, and what their callers were told.

use std::collections::BTreeMap;

use msg_proto::{
    call::{CallFailure, Job, Semantics},
    ids::ClientId,
    outcome::Certainty,
};

use super::{Checker, Invariant, LifeId, Moment, Violation, sum_since, violation};
use crate::sim::rng::mix;

/// A call, as its caller's world knows it.
#[derive(Clone, Copy, Debug)]
pub struct CallPlan {
    /// Whom it is for.
    pub dst: ClientId,
    /// What may be concluded when it fails.
    pub semantics: Semantics,
    /// How long its caller waits, in microseconds.
    pub timeout: u64,
}

/// All calls of a world.
#[derive(Debug, Default)]
pub(super) struct Calls {
    made: BTreeMap<u64, Made>,
    /// Calls ever begun.
    count: u64,
    /// Calls that have no end yet.
    open: usize,
    /// By who serves: what it answered, oldest first.
    answered: BTreeMap<LifeId, Vec<Answered>>,
}

/// A call that was answered.
#[derive(Debug)]
struct Answered {
    /// Which call, and for which user, as its cache tells them apart. `None`: without a reply.
    call: Option<(u64, u32)>,
    at: u64,
    /// So many answers later its own is given up, at the earliest.
    kept_for: usize,
}

#[derive(Debug)]
struct Made {
    plan: CallPlan,
    by: LifeId,
    started: Moment,
    /// When it was made first: copies of that request are still about when it is repeated.
    made: Moment,
    /// Which lives ran it, when, and for which user.
    runs: Vec<(LifeId, u64, u32)>,
    is_told: bool,
    /// A later life of its caller made it again.
    is_repeated: bool,
    has_reply: bool,
    /// Its caller was told that it had not started, and never would.
    is_not_started: bool,
}

impl Checker {
    /// A process makes a call. Returns what stands in its request.
    pub fn on_call(&mut self, at: Moment, by: LifeId, plan: CallPlan) -> u64 {
        let uid = mix(0xca11 << 48 | self.calls.count);
        self.calls.count += 1;
        let made = Made {
            plan,
            by,
            started: at,
            made: at,
            runs: Vec::new(),
            is_told: false,
            is_repeated: false,
            has_reply: false,
            is_not_started: false,
        };
        self.calls.made.insert(uid, made);
        self.calls.open += 1;
        self.note(at.now, None, || format!("life {by} calls {} ({uid:x}), {:?}", plan.dst, plan.semantics));
        uid
    }

    /// It was not made after all.
    pub fn on_call_refused(&mut self, uid: u64) {
        if self.calls.made.remove(&uid).is_some() {
            self.calls.open -= 1;
        }
    }

    /// A process makes a call again that an earlier life of its client had no answer to, with its XID.
    pub fn on_call_repeated(&mut self, at: Moment, by: LifeId, uid: u64) {
        self.note(at.now, None, || format!("life {by} repeats {uid:x}"));
        if let Some(call) = self.calls.made.get_mut(&uid) {
            (call.by, call.started) = (by, at);
            (call.is_told, call.is_repeated) = (false, true);
            self.calls.open += 1;
        }
    }

    /// A server has answered a call that it ran for a user, and keeps so many replies.
    pub fn on_answered(&mut self, at: u64, by: LifeId, call: (u64, u32), kept_for: usize) {
        let answered = Answered { call: Some(call), at, kept_for };
        self.calls.answered.entry(by).or_default().push(answered);
    }

    /// A server has answered that there is no reply to a call that it ran: its cache keeps that, too.
    pub fn on_no_reply(&mut self, by: LifeId) {
        self.calls.answered.entry(by).or_default().push(Answered { call: None, at: 0, kept_for: 0 });
    }

    /// Whether a server still has the answer to a call in its cache.
    fn is_kept(&self, by: LifeId, call: (u64, u32)) -> bool {
        let Some(answered) = self.calls.answered.get(&by) else { return false };
        let node = self.lives[by].plan.node;
        answered.iter().rev().enumerate().any(|(later, answer)| {
            // A clock that jumps makes replies old.
            answer.call == Some(call)
                && later < answer.kept_for
                && sum_since(&self.gained_time, node, answer.at) == 0
        })
    }

    /// A process that called is dead: nothing more is told.
    pub(super) fn end_calls(&mut self, by: LifeId) {
        for call in self.calls.made.values_mut().filter(|c| c.by == by && !c.is_told) {
            call.is_told = true;
            self.calls.open -= 1;
        }
    }

    /// A handler begins a call.
    ///
    /// # Errors
    ///
    /// It must not: nobody made it, it ran before, or its caller has given it up.
    pub fn on_run(&mut self, now: u64, by: LifeId, job: &Job) -> Result<(), Violation> {
        let uid = uid_of(&job.request);
        self.note(now, None, || {
            format!("life {by} runs {uid:x} for user {}, repeat {}", job.from.uid, job.is_repeat)
        });
        let invented = |text: String| Err(violation(Invariant::NothingInvented, now, None, text));
        let Some(call) = self.calls.made.get(&uid) else {
            return invented(format!("life {by} runs a call that nobody made"));
        };
        if call.plan.dst != self.lives[by].plan.client {
            return invented(format!("life {by} runs a call ({uid:x}) for {}", call.plan.dst));
        }
        let (from, to) = (self.lives[call.by].plan.node, self.lives[by].plan.node);
        // It is the caller's clock that says when its time is over.
        let lost = |node| self.lost_time(node, call.made.now);
        let falsified = self.falsified(from, to, call.made.now) + lost(to) + lost(from);
        let before = call.runs.iter().find(|(life, _, user)| {
            // Where its user is not known yet, a request counts as another caller's.
            let is_kept = *user == job.from.uid && self.is_kept(by, (uid, *user));
            // A falsified clock lets in, late, a copy that its sender has given up, and repeated.
            let may_be_late = falsified > 0 && call.plan.semantics == Semantics::AtLeastOnce;
            let is_first = !(job.is_repeat || call.is_repeated || may_be_late);
            let is_known = *life == by && (is_kept || is_first);
            call.plan.semantics == Semantics::AtMostOnce || is_known
        });
        if let Some((life, at, _)) = before {
            let text = format!("life {by} runs {uid:x} again, which life {life} ran at {at} us");
            return Err(violation(Invariant::CallOnce, now, None, text));
        }
        if call.is_not_started {
            let text =
                format!("life {by} runs {uid:x}, of which its caller was told that it had not started");
            return Err(violation(Invariant::I3Certainty, now, None, text));
        }
        let late = now.saturating_sub(call.started.now + call.plan.timeout);
        // Two clocks' drift for as long as its caller waits.
        if late > falsified + falsified / 500 + call.plan.timeout / 500 {
            let text = format!("life {by} begins {uid:x} {late} us after its deadline");
            return Err(violation(Invariant::CallDeadline, now, None, text));
        }
        if let Some(call) = self.calls.made.get_mut(&uid) {
            call.runs.push((by, now, job.from.uid));
        }
        Ok(())
    }

    /// A process is told what came of its call.
    ///
    /// # Errors
    ///
    /// It was told before, or what it is told is not true.
    pub fn on_call_done(
        &mut self,
        at: Moment,
        by: LifeId,
        uid: u64,
        result: &Result<Vec<u8>, CallFailure>,
    ) -> Result<(), Violation> {
        let now = at.now;
        self.note(now, None, || format!("life {by} is told of {uid:x}: {result:?}"));
        let Some(call) = self.calls.made.get_mut(&uid) else { return Ok(()) };
        if std::mem::replace(&mut call.is_told, true) {
            return Err(violation(Invariant::OneOutcome, now, None, format!("{uid:x} ends twice")));
        }
        self.calls.open -= 1;
        call.has_reply = result.is_ok();
        match result {
            Ok(reply) if *reply != reply_to(uid) => {
                let text = format!("life {by} is given another call's reply to {uid:x}");
                Err(violation(Invariant::NothingInvented, now, None, text))
            }
            Ok(_) if call.runs.is_empty() => {
                let text = format!("life {by} has a reply to {uid:x}, which nobody ran");
                Err(violation(Invariant::NothingInvented, now, None, text))
            }
            Err(CallFailure { certainty: Certainty::NotStarted, why }) if call.is_repeated => {
                let text = format!("{uid:x}, a repeat, failed ({why:?}), not started");
                Err(violation(Invariant::I3Certainty, now, None, text))
            }
            Err(CallFailure { certainty: Certainty::NotStarted, why }) => {
                call.is_not_started = true;
                match call.runs.first() {
                    None => Ok(()),
                    Some((life, ..)) => {
                        let text = format!("{uid:x} failed ({why:?}), not started, and life {life} ran it");
                        Err(violation(Invariant::I3Certainty, now, None, text))
                    }
                }
            }
            _ => self.check_in_time(at, by, uid),
        }
    }

    /// The bound of a call is its deadline, and then what its request's own outcome takes (I1).
    fn check_in_time(&self, at: Moment, by: LifeId, uid: u64) -> Result<(), Violation> {
        let (Some(call), life) = (self.calls.made.get(&uid), &self.lives[by]) else { return Ok(()) };
        let took = at.judged.saturating_sub(call.started.judged);
        let bound = call.plan.timeout + life.bound();
        if took > bound && life.stalled_until < call.started.now {
            let text = format!("{uid:x} ended {took} us after it was made; the bound is {bound} us");
            return Err(violation(Invariant::CallDeadline, at.now, None, text));
        }
        Ok(())
    }

    /// Whether a call ended with a reply.
    #[must_use]
    pub fn has_reply(&self, uid: u64) -> bool {
        self.calls.made.get(&uid).is_some_and(|call| call.has_reply)
    }

    /// Calls without an end.
    #[must_use]
    pub const fn open_calls(&self) -> usize {
        self.calls.open
    }
}

/// A request.
#[must_use]
pub fn request_of(uid: u64) -> Vec<u8> {
    uid.to_le_bytes().to_vec()
}

fn uid_of(request: &[u8]) -> u64 {
    request.try_into().map_or(0, u64::from_le_bytes)
}

/// What is answered.
#[must_use]
pub fn reply_to(uid: u64) -> Vec<u8> {
    let mut reply = Vec::new();
    super::payload(mix(uid), (uid % 300) as usize, &mut reply);
    reply
}
