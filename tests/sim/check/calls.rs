//! What calls promise: what ran, how often, and what their callers were told.

use std::collections::BTreeMap;

use msg_proto::{
    call::{CallFailure, Job, Semantics},
    ids::ClientId,
    outcome::Certainty,
};

use super::{Checker, Invariant, LifeId, Moment, Violation, violation};
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
}

#[derive(Debug)]
struct Made {
    plan: CallPlan,
    by: LifeId,
    started: Moment,
    /// Which lives ran it, and when.
    runs: Vec<(LifeId, u64)>,
    is_told: bool,
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
            runs: Vec::new(),
            is_told: false,
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
        self.note(now, None, || format!("life {by} runs {uid:x}, repeat {}", job.is_repeat));
        let invented = |text: String| Err(violation(Invariant::NothingInvented, now, None, text));
        let Some(call) = self.calls.made.get(&uid) else {
            return invented(format!("life {by} runs a call that nobody made"));
        };
        if call.plan.dst != self.lives[by].plan.client {
            return invented(format!("life {by} runs a call ({uid:x}) for {}", call.plan.dst));
        }
        let before = call.runs.iter().find(|(life, _)| {
            call.plan.semantics == Semantics::AtMostOnce || (*life == by && !job.is_repeat)
        });
        if let Some((life, at)) = before {
            let text = format!("life {by} runs {uid:x} again, which life {life} ran at {at} us");
            return Err(violation(Invariant::CallOnce, now, None, text));
        }
        if call.is_not_started {
            let text =
                format!("life {by} runs {uid:x}, of which its caller was told that it had not started");
            return Err(violation(Invariant::I3Certainty, now, None, text));
        }
        let (from, to) = (self.lives[call.by].plan.node, self.lives[by].plan.node);
        let late = now.saturating_sub(call.started.now + call.plan.timeout);
        // It is the caller's clock that says when its time is over.
        let lost = |node| self.lost_time(node, call.started.now);
        let falsified = self.falsified(from, to, call.started.now) + lost(to) + lost(from);
        // Two clocks' drift for as long as its caller waits.
        if late > falsified + falsified / 500 + call.plan.timeout / 500 {
            let text = format!("life {by} begins {uid:x} {late} us after its deadline");
            return Err(violation(Invariant::CallDeadline, now, None, text));
        }
        if let Some(call) = self.calls.made.get_mut(&uid) {
            call.runs.push((by, now));
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
            Err(CallFailure { certainty: Certainty::NotStarted, why }) => {
                call.is_not_started = true;
                match call.runs.first() {
                    None => Ok(()),
                    Some((life, _)) => {
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
