//! How messages end.

use msg_proto::{ids::MsgId, local::Failed, outcome::Certainty, session::Failure};

use super::{
    Checker, Invariant, LifeId, Moment, Outcome, Violation,
    ledger::{HANG_SLACK, Sent},
    violation,
};

impl Checker {
    /// A daemon tells a life that a message was taken.
    ///
    /// # Errors
    ///
    /// It was not, or it is late.
    pub fn on_resolved(&mut self, at: Moment, life: LifeId, msgid: MsgId) -> Result<(), Violation> {
        self.decide(at, life, msgid, Outcome::Acked)
    }

    /// A daemon tells a life that a message failed.
    ///
    /// # Errors
    ///
    /// What it says is not true, or it is late.
    pub fn on_failed(&mut self, at: Moment, life: LifeId, failed: &Failed<'_>) -> Result<(), Violation> {
        if let Some(sent) = self.sent(life, failed.msgid)
            && failed.verdict.certainty == Certainty::Unknown
            && sent.copies == 0
            && !self.lives[life].reconnected
        {
            // What left in the same turn may stand in another client's output.
            self.suspects.push((life, failed.msgid));
        }
        self.decide(at, life, failed.msgid, Outcome::Failed(failed.verdict))
    }

    /// A daemon's turn is over: everything that it wrote has been looked at.
    ///
    /// # Errors
    ///
    /// It said Unknown of what never left.
    pub fn on_turn_over(&mut self, now: u64) -> Result<(), Violation> {
        while let Some((life, msgid)) = self.suspects.pop() {
            if self.sent(life, msgid).is_some_and(|s| s.copies == 0) {
                let text = "Unknown, though no copy left".to_owned();
                return Err(violation(Invariant::I3Certainty, now, Some((life, msgid.0)), text));
            }
        }
        Ok(())
    }

    fn decide(&mut self, at: Moment, life: LifeId, msgid: MsgId, outcome: Outcome) -> Result<(), Violation> {
        let about = Some((life, msgid.0));
        self.note(at.now, about, || format!("the daemon says {outcome:?}"));
        if outcome == Outcome::Acked {
            self.check_handled(at.now, life, msgid)?;
        }
        let l = &mut self.lives[life];
        let reconnected = l.reconnected;
        let bound = bound(l.plan.interval, l.plan.times);
        let ppm = l.plan.ppm;
        let Some(sent) = l.find_mut(msgid) else {
            let text = format!("{outcome:?} of what was not sent");
            return Err(violation(Invariant::NothingInvented, at.now, about, text));
        };
        if let Some((_, before)) = sent.decided.replace((at.now, outcome))
            && !reconnected
        {
            let text = format!("{outcome:?}, and before {before:?}");
            return Err(violation(Invariant::OneOutcome, at.now, about, text));
        }
        // A daemon that started anew speaks for itself only; the library knows better, and is asked below.
        if !reconnected || outcome == Outcome::Acked {
            check_true(sent, outcome, at.now, about)?;
        }
        let took = sent.accepted_at.filter(|_| !sent.is_call).map_or(0, |from| spent(from, at, ppm));
        if took > bound && !reconnected {
            let text =
                format!("{outcome:?} came {took} us after the daemon read it; the bound is {bound} us");
            return Err(violation(Invariant::I1Bounded, at.now, about, text));
        }
        Ok(())
    }

    /// Who acks what is handled has handled it.
    fn check_handled(&self, now: u64, life: LifeId, msgid: MsgId) -> Result<(), Violation> {
        let Some(sent) = self.sent(life, msgid) else { return Ok(()) };
        let is_open = |(by, _): &(LifeId, u64)| self.handling.get(by) == Some(&(life, msgid));
        if sent.taken.is_empty() || !sent.taken.iter().all(is_open) {
            return Ok(());
        }
        let text = format!("acked while life {} has it in its handler", sent.taken[0].0);
        Err(violation(Invariant::I2AckedMeansTaken, now, Some((life, msgid.0)), text))
    }

    /// A library tells its process that a message was taken.
    ///
    /// # Errors
    ///
    /// It was not, or it is late, or it had an outcome before.
    pub fn on_told_acked(&mut self, at: Moment, life: LifeId, msgid: MsgId) -> Result<(), Violation> {
        self.tell(at, life, msgid, Outcome::Acked)
    }

    /// A library tells its process that a message failed.
    ///
    /// # Errors
    ///
    /// What it says is not true, or it is late, or it had an outcome before.
    pub fn on_told_failed(&mut self, at: Moment, life: LifeId, failure: &Failure) -> Result<(), Violation> {
        let about = Some((life, failure.msgid.0));
        if let Some(sent) = self.sent(life, failure.msgid)
            && (sent.dst != failure.dst || sent.uid.to_le_bytes() != failure.user.as_bytes())
        {
            let text = format!("the failure hands back {failure:?}");
            return Err(violation(Invariant::NothingInvented, at.now, about, text));
        }
        self.tell(at, life, failure.msgid, Outcome::Failed(failure.verdict))
    }

    fn tell(&mut self, at: Moment, life: LifeId, msgid: MsgId, outcome: Outcome) -> Result<(), Violation> {
        let about = Some((life, msgid.0));
        self.note(at.now, about, || format!("the process is told {outcome:?}"));
        let l = &mut self.lives[life];
        let (stalled_until, hung_until, ppm) = (l.stalled_until, l.hung_until, l.plan.ppm);
        let soon = bound(l.plan.interval, l.plan.times) + STREAM_SLACK;
        // A socket that is full keeps a message from the daemon, and so does one that stands still; the library's
        // patience with it ends, too.
        let late = bound(l.plan.interval, l.plan.times) + l.plan.interval / 2 + HANG_SLACK;
        let has_fast_streams = self.has_fast_streams;
        let Some(sent) = l.find_mut(msgid) else {
            let text = format!("{outcome:?} of what was not sent");
            return Err(violation(Invariant::NothingInvented, at.now, about, text));
        };
        if let Some((_, before)) = sent.told.replace((at.now, outcome)) {
            let text = format!("{outcome:?}, and before {before:?}");
            return Err(violation(Invariant::OneOutcome, at.now, about, text));
        }
        check_true(sent, outcome, at.now, about)?;
        let took = spent(sent.sent_at, at, ppm);
        let bound = if has_fast_streams && hung_until < sent.sent_at.now { soon } else { late };
        if took > bound && stalled_until < sent.sent_at.now {
            let text = format!("{outcome:?} came {took} us after the send; the bound is {bound} us");
            return Err(violation(Invariant::I1Bounded, at.now, about, text));
        }
        Ok(())
    }
}

/// I2 and I3: what is said of a message is what happened.
fn check_true(sent: &Sent, outcome: Outcome, now: u64, about: super::About) -> Result<(), Violation> {
    if sent.is_call {
        return Ok(());
    }
    match outcome {
        Outcome::Acked if sent.taken.is_empty() => {
            let text = "acked, and nobody has taken it".to_owned();
            Err(violation(Invariant::I2AckedMeansTaken, now, about, text))
        }
        Outcome::Failed(verdict) if verdict.certainty == Certainty::NotStarted && !sent.taken.is_empty() => {
            let text = format!("failed with {verdict:?}, and life {} has taken it", sent.taken[0].0);
            Err(violation(Invariant::I3Certainty, now, about, text))
        }
        _ => Ok(()),
    }
}

/// I1, in microseconds.
const fn bound(interval: u64, times: u8) -> u64 {
    interval * (times as u64 + 1) + interval / 2 + 10_000
}

/// The time that I1 counts, on the sender's clock.
const fn spent(from: Moment, to: Moment, ppm: i64) -> u64 {
    let passed = to.judged.saturating_sub(from.judged) as i64;
    (passed + passed * ppm / 1_000_000) as u64
}

/// The local socket's own way, there and back, in the simulator.
const STREAM_SLACK: u64 = 5_000;
