//! How each message ends: as the daemon says, or by the session itself while no daemon does.

use super::{
    CallOutcome, Failure, Gone, Outcomes, Session, State,
    event::Notice,
    submit::OUTPUT_BYTES,
    unresolved::{Ended, Entry, NOWHERE},
};
use crate::{
    ids::MsgId,
    limits::MSGID_SPAN,
    local::{Failed, Resolved, put},
    outcome::{Certainty, Reason, Verdict},
    units::Time,
};

impl Session {
    /// [`poll_timeout`](Self::poll_timeout)'s time has come: what has waited too long for a daemon fails (I1).
    /// Harmless when it has not.
    pub fn handle_timeout(&mut self, now: Time) {
        let now = self.advance(now);
        while let Some(at) = self.give_up_at() {
            let Some((msgid, entry)) = self.unresolved.oldest().filter(|_| at <= now) else { break };
            let consumed = self.output.consumed();
            if self.state.is_up() && entry.waits_in_output(consumed) {
                // None of it must be written once it has failed (I4).
                self.break_stream(Gone::Silent);
            }
            if let Some(ended) = self.unresolved.remove(msgid, &mut self.output) {
                self.counters.given_up += 1;
                let written = ended.was_written(consumed);
                let verdict = if written {
                    Verdict { reason: Reason::NoAnswer, certainty: Certainty::Unknown }
                } else {
                    Verdict { reason: Reason::NoRoute, certainty: Certainty::NotStarted }
                };
                self.fail(&ended, verdict, u32::from(written));
                (self.given_up, self.is_given_up_told) = (Some(msgid), false);
            }
        }
        self.tell_given_up();
        self.condense();
    }

    /// Tells the daemon what was given up, once in each stream: one that had stood still, or that was left, may go on with it.
    pub(super) fn tell_given_up(&mut self) {
        // What is further back no daemon has any more; and one day its number is ahead of all again.
        let next = self.unresolved.next_msgid();
        let is_near = |upto: &MsgId| next.since(*upto).is_some_and(|n| n <= MSGID_SPAN);
        if let Some(upto) = self.given_up.filter(is_near)
            && self.state.takes_submits()
            && !self.is_given_up_told
            && self.output.len() < OUTPUT_BYTES
        {
            put::given_up(self.output.frames(), upto);
            self.is_given_up_told = true;
        }
    }

    /// A message of the call layer is of no use any more: it is to end now, with what is known of it. Returns whether
    /// its failure is to come; `false` if it was taken, or has failed, or is not of the call layer.
    pub fn withdraw(&mut self, now: Time, msgid: MsgId) -> bool {
        self.advance(now);
        let Some(entry) = self.unresolved.find(msgid).filter(|e| e.is_call) else { return false };
        let may_be_read = self.may_be_read(entry);
        if self.state.takes_submits() && may_be_read {
            self.write_through(msgid);
            put::withdraw(self.output.frames(), msgid);
        } else if !may_be_read && let Some(ended) = self.unresolved.remove(msgid, &mut self.output) {
            let verdict = Verdict { reason: Reason::Cancelled, certainty: Certainty::NotStarted };
            self.fail(&ended, verdict, 0);
        }
        true
    }

    /// Whether a daemon has read some of a message, or may yet: it stands in a stream that is still written.
    fn may_be_read(&self, entry: &Entry) -> bool {
        let stands_in_output = self.state != State::Broken && entry.start_at != NOWHERE;
        stands_in_output || entry.was_written(self.output.consumed())
    }

    pub(super) fn give_up_at(&self) -> Option<Time> {
        if matches!(self.state, State::Closed | State::Refused) {
            return None;
        }
        self.unresolved.oldest().map(|(_, oldest)| self.granted.give_up_at(oldest.sent_at, self.state))
    }

    /// A message of the call layer was taken.
    fn resolve_call(&mut self, msgid: MsgId) {
        let ended = self.unresolved.end(msgid, &mut self.output, |e, _| (e.dst, e.channel, e.to.take()));
        let Some((dst, channel, to)) = ended else { return };
        let taker = to.or_else(|| self.out_flows.taker(dst, channel));
        self.tell_call(msgid, Ok(taker));
    }

    pub(super) fn on_resolved(&mut self, resolved: &Resolved<'_>) {
        for (first, count) in resolved.runs() {
            // A run is walked no further than the unresolved: what it says beyond is about nothing.
            let known = self.unresolved.overlap(first, count);
            self.counters.unmatched_outcomes += u64::from(count) - known.len() as u64;
            for n in known {
                let msgid = first.plus(n);
                let Some(is_call) = self.unresolved.find(msgid).map(|entry| entry.is_call) else {
                    self.counters.unmatched_outcomes += 1;
                    continue;
                };
                self.counters.acked += 1;
                if is_call {
                    self.resolve_call(msgid);
                } else {
                    self.unresolved.end(msgid, &mut self.output, |_, _| ());
                    if self.config.outcomes == Outcomes::All {
                        self.notify(Notice::Acked(msgid));
                    }
                }
            }
        }
    }

    pub(super) fn on_failed(&mut self, failed: &Failed<'_>) {
        let Some(ended) = self.unresolved.remove(failed.msgid, &mut self.output) else {
            self.counters.unmatched_outcomes += 1;
            return;
        };
        let mut verdict = failed.verdict;
        if ended.other_daemon {
            // This daemon speaks for itself only (I3): the one before may have had it taken.
            verdict.certainty = Certainty::Unknown;
        }
        self.fail(&ended, verdict, failed.tries);
    }

    /// The daemon refused us: everything unresolved fails. `was_read`: the daemon may have read what was written to it.
    pub(super) fn fail_refused(&mut self, was_read: bool) {
        let consumed = self.output.consumed();
        self.fail_where(
            |_| true,
            |ended| {
                let begun = if was_read { ended.was_written(consumed) } else { ended.written_before };
                let certainty = if begun { Certainty::Unknown } else { Certainty::NotStarted };
                Verdict { reason: Reason::Refused, certainty }
            },
        );
    }

    /// The stream ended before the daemon said which incarnation we are. What it was given there cannot be
    /// recognised under another incarnation, so it is not sent again.
    pub(super) fn fail_without_incarnation(&mut self) {
        let verdict = Verdict { reason: Reason::NoAnswer, certainty: Certainty::Unknown };
        self.fail_where(|written_before| written_before, |_| verdict);
    }

    fn fail_where(&mut self, choose: impl Fn(bool) -> bool, verdict: impl Fn(&Ended) -> Verdict) {
        let chosen: Vec<MsgId> =
            self.unresolved.iter().filter(|(_, e)| choose(e.written_before)).map(|(id, _)| id).collect();
        for msgid in chosen {
            if let Some(ended) = self.unresolved.remove(msgid, &mut self.output) {
                let verdict = verdict(&ended);
                self.fail(&ended, verdict, u32::from(verdict.certainty == Certainty::Unknown));
            }
        }
    }

    fn fail(&mut self, ended: &Ended, verdict: Verdict, tries: u32) {
        self.counters.failed += 1;
        let Ended { msgid, dst, user, is_call, .. } = *ended;
        if is_call {
            return self.tell_call(msgid, Err(verdict));
        }
        self.notify(Notice::Failed(Failure { msgid, dst, verdict, tries, user }));
    }

    fn tell_call(&mut self, msgid: MsgId, outcome: CallOutcome) {
        self.outcomes_waiting += 1;
        self.call_outcomes.push_back((msgid, outcome));
    }
}
