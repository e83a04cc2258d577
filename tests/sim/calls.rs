//! Clients that call each other.

use msg_proto::{
    call::{
        CallId, CallOptions, Calls, LostReply, Procedure, ProcedureOptions, ReplyCacheLimits, RunId,
        Semantics, Xid,
    },
    ids::ClientId,
    units::{Span, Time},
};

use super::{
    check::{CallPlan, LifeId, Violation, reply_to, request_of},
    client::Process,
    options::Fault,
    rng::Rng,
    world::World,
};

/// Which call, and for which user.
type Asked = (u64, u32);

/// How a client calls, and serves.
#[derive(Clone, Copy, Debug)]
pub struct CallScript {
    /// How often what it sends is a call, in a million.
    pub call_ppm: u32,
    /// How often at least once.
    pub at_least_once_ppm: u32,
    /// How long it waits, in microseconds.
    pub timeout: u64,
    /// See [`CallOptions::retries`].
    pub retries: u32,
    /// Replies that it keeps; 0: it has no cache.
    pub cache: usize,
    /// How long a call takes it at most, in microseconds.
    pub running: u64,
    /// How often a handler gives no reply, in a million.
    pub no_reply_ppm: u32,
}

/// A process's calls.
#[derive(Debug)]
pub struct CallSide {
    calls: Calls,
    script: CallScript,
    /// What it waits for.
    made: Vec<(CallId, MadeCall)>,
    /// What its handlers have begun, and when each replies; `None`: it does not.
    begun: Vec<(u64, RunId, Option<Asked>)>,
}

/// A call that a process made.
#[derive(Clone, Copy, Debug)]
pub(super) struct MadeCall {
    uid: u64,
    /// Its own, where a next process may repeat it.
    xid: Option<Xid>,
    plan: CallPlan,
}

/// How it goes out.
#[derive(Clone, Copy)]
struct CallCopy {
    is_unordered: bool,
    is_repeat: bool,
}

impl CallScript {
    /// A script of a seed.
    #[must_use]
    pub fn new(rng: &mut Rng, interval: u32) -> Self {
        Self {
            call_ppm: rng.pick(&[0, 100_000, 500_000, 1_000_000]),
            at_least_once_ppm: rng.pick(&[0, 500_000, 1_000_000]),
            timeout: rng.pick(&[1, 4, 20]) * u64::from(interval) * 1000,
            retries: rng.pick(&[0, 0, 3]),
            cache: rng.pick(&[0, 2, 1000]),
            running: rng.pick(&[0, 1000, 100_000, 3_000_000]),
            no_reply_ppm: rng.pick(&[0, 0, 100_000]),
        }
    }
}

impl CallSide {
    pub(super) fn new(script: CallScript, rng: &mut Rng) -> Self {
        let mut key = || {
            let mut key = [0; 16];
            key[..8].copy_from_slice(&rng.draw().to_le_bytes());
            key
        };
        let mut calls = Calls::new(key(), key());
        let options = ProcedureOptions { is_idempotent: false, lost_reply: LostReply::BySemantics };
        calls.server.serve(PROCEDURE, options);
        if script.cache > 0 {
            let limits =
                ReplyCacheLimits { entries: script.cache, bytes: 1 << 20, age: Span::from_millis(600_000) };
            calls.server.enable_reply_cache(limits);
        }
        Self { calls, script, made: Vec::new(), begun: Vec::new() }
    }

    /// Whether it has begun something that it has not answered.
    pub(super) fn is_busy(&self) -> bool {
        !self.begun.is_empty() || self.calls.server.has_jobs() || self.calls.server.has_unsent()
    }

    /// Whether it waits for a reply.
    pub(super) const fn waits(&self) -> bool {
        !self.made.is_empty()
    }

    /// When it has something to do, by the node's clock, and in true time.
    pub(super) fn due(&self) -> (Option<Time>, Option<u64>) {
        (self.calls.caller.poll_timeout(), self.begun.iter().map(|(at, ..)| *at).min())
    }

    pub(super) const fn calls(&mut self) -> &mut Calls {
        &mut self.calls
    }
}

impl World {
    /// A client makes a call instead of sending a message. `false`: it sends a message.
    pub(super) fn maybe_call(&mut self, c: usize, p: &mut Process, dst: ClientId) -> bool {
        let Some(script) = p.calls.as_ref().map(|side| side.script) else { return false };
        if !self.scripts.chance(script.call_ppm) {
            return false;
        }
        let semantics = if self.scripts.chance(script.at_least_once_ppm) {
            Semantics::AtLeastOnce
        } else {
            Semantics::AtMostOnce
        };
        self.call(c, p, CallPlan { dst, semantics, timeout: script.timeout });
        true
    }

    /// Makes a call. `None`: there is no room for it.
    pub(super) fn call(&mut self, c: usize, p: &mut Process, plan: CallPlan) -> Option<u64> {
        p.calls.as_ref()?;
        let moment = self.moment(self.clients[c].plan.node);
        let is_unordered = self.scripts.chance(500_000);
        let uid = self.check.on_call(moment, p.life, plan);
        let xid = self.scenario.faults.has_repeats.then(|| Xid(self.repeats.draw() | 1));
        let made = MadeCall { uid, xid, plan };
        if self.start_call(c, p, made, CallCopy { is_unordered, is_repeat: false }) {
            self.stats.calls += 1;
            Some(uid)
        } else {
            self.check.on_call_refused(uid);
            None
        }
    }

    fn start_call(&mut self, c: usize, p: &mut Process, made: MadeCall, copy: CallCopy) -> bool {
        let raw = self.nodes[self.clients[c].plan.node].clock.at(self.now);
        let Some(side) = p.calls.as_mut() else { return false };
        let MadeCall { uid, xid, plan } = made;
        let options = CallOptions {
            timeout: Span(plan.timeout),
            semantics: plan.semantics,
            retries: side.script.retries,
            repeat_after: Span(plan.timeout / 5 + 1),
            xid,
            is_repeat: copy.is_repeat,
            is_unordered: copy.is_unordered,
        };
        let started = side.calls.caller.start(raw, (plan.dst, PROCEDURE), &request_of(uid), options);
        side.made.extend(started.iter().map(|call| (*call, made)));
        started.is_ok()
    }

    /// A process ends. What it called, and has no answer to, the next one may repeat.
    pub(super) fn end_life(&mut self, c: usize, p: &Process) {
        if let Some(side) = p.calls.as_ref().filter(|_| self.scenario.faults.has_repeats) {
            self.clients[c].unanswered = side.made.iter().map(|(_, made)| *made).collect();
        }
        self.check.on_death(self.now, p.life);
    }

    /// A process that started repeats some of the calls that the last one had no answer to, and forgets the others.
    pub(super) fn repeat_calls(&mut self, c: usize, p: &mut Process) {
        let moment = self.moment(self.clients[c].plan.node);
        for made in std::mem::take(&mut self.clients[c].unanswered) {
            let (is_wanted, is_unordered) = (self.repeats.chance(700_000), self.repeats.chance(500_000));
            if is_wanted && self.start_call(c, p, made, CallCopy { is_unordered, is_repeat: true }) {
                self.stats.count(Fault::Repeat);
                self.check.on_call_repeated(moment, p.life, made.uid);
            }
        }
    }

    /// What a process does for calls in its turn.
    pub(super) fn turn_calls(&mut self, c: usize, p: &mut Process, raw: Time) -> Result<(), Violation> {
        let moment = self.moment(self.clients[c].plan.node);
        let (now, life) = (self.now, p.life);
        let Some(side) = &mut p.calls else { return Ok(()) };
        let CallSide { calls, script, made, begun } = side;
        calls.turn(&mut p.session, raw);
        while let Some(job) = calls.server.poll_job(raw, &mut calls.counters) {
            self.stats.runs += 1;
            self.check.on_run(now, life, &job)?;
            let longest = if self.is_healed { 0 } else { script.running };
            let at = now + self.scripts.below(longest + 1);
            let uid = u64::from_le_bytes(job.request.as_slice().try_into().unwrap_or_default());
            let replies = !self.scripts.chance(script.no_reply_ppm) || self.is_healed;
            begun.push((at, job.run, replies.then_some((uid, job.from.uid))));
        }
        let mut i = 0;
        while let Some((at, run, answer)) = begun.get(i).copied() {
            if at > now {
                i += 1;
                continue;
            }
            begun.swap_remove(i);
            match answer {
                // A reply to what nobody waits for any more is not taken.
                Some((uid, user)) => {
                    let max = p.session.granted().max_message_bytes;
                    if calls.server.reply(raw, run, &reply_to(uid), max, &mut calls.counters).is_ok() {
                        self.check.on_answered(now, life, (uid, user), script.cache);
                    }
                }
                None => {
                    calls.server.give_up(raw, run, &mut calls.counters);
                    self.check.on_no_reply(life);
                }
            }
        }
        calls.turn(&mut p.session, raw);
        while let Some(done) = calls.poll_done() {
            let Some(index) = made.iter().position(|(call, _)| *call == done.call) else { continue };
            let (_, MadeCall { uid, .. }) = made.swap_remove(index);
            self.stats.replies += u64::from(done.result.is_ok());
            self.check.on_call_done(moment, life, uid, &done.result)?;
        }
        Ok(())
    }

    /// When all is well: every client that calls makes one call to everybody that it knows and that is there.
    pub fn call_finale(&mut self, longest: u64) -> Vec<(LifeId, u64, ClientId)> {
        let mut made = Vec::new();
        for c in 0..self.clients.len() {
            if self.is_kept_out(c) {
                continue;
            }
            let Some(mut process) = self.clients[c].process.take() else { continue };
            for dst in self.clients[c].plan.to.clone() {
                let is_there = self.clients.iter().any(|c| c.plan.id == dst && c.process.is_some())
                    || self.clients[c].plan.id == dst;
                let plan = CallPlan { dst, semantics: Semantics::AtMostOnce, timeout: longest };
                if is_there && let Some(uid) = self.call(c, &mut process, plan) {
                    made.push((process.life, uid, dst));
                }
            }
            self.clients[c].process = Some(process);
            self.wake_client_soon(c);
        }
        made
    }
}

/// The procedure that everybody serves.
const PROCEDURE: Procedure = Procedure(1);
