//! What was sent, how it ended and what was received, of one flow; and the comparison of the three with the promise.

use std::fmt;

use msg_proto::{
    ids::MsgId,
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
};

use super::payload::Flow;
use crate::ctl::port::Failed;

/// Violations that are told one by one; the rest are only counted.
const MAX_TOLD: usize = 20;

/// How much later than promised (I1) a failure may be told here: a busy machine can hold up every process.
const LATE: Span = Span::from_millis(500);

/// A message, as it was received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Received {
    /// An instant before it was handed over.
    pub(super) at: Time,
    /// Which message it is; `None` if its bytes are those of no message of the flow.
    pub(super) index: Option<u64>,
}

/// All that is known of one flow.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) flow: Flow,
    /// When an outcome is due after the send (I1).
    pub(super) due: Span,
    /// The id and the time of message 0, 1, 2, ...
    pub(super) sent: Vec<(MsgId, Time)>,
    /// Acks, as the sender's library counted them.
    pub(super) acked: u64,
    /// Acks and failures, as the sender's daemon counted them.
    pub(super) counted: [u64; 2],
    /// In the order in which the callbacks came.
    pub(super) failed: Vec<Failed>,
    /// In the order in which they were handed over.
    pub(super) received: Vec<Received>,
}

/// The violations of the promise.
#[derive(Debug, Default)]
pub(super) struct Violations {
    /// How many.
    pub(super) count: u64,
    /// The first ones, one line each.
    pub(super) told: Vec<String>,
}

impl Violations {
    pub(super) fn add(&mut self, what: impl fmt::Display) {
        self.count += 1;
        if self.told.len() < MAX_TOLD {
            self.told.push(what.to_string());
        }
    }
}

/// What became of one message.
#[derive(Clone, Copy, Default)]
struct Fate {
    failed: Option<(Time, Verdict)>,
    received: Option<Time>,
}

impl Ledger {
    pub(super) const fn new(flow: Flow, due: Span) -> Self {
        Self {
            flow,
            due,
            sent: Vec::new(),
            acked: 0,
            counted: [0; 2],
            failed: Vec::new(),
            received: Vec::new(),
        }
    }

    /// Compares what was sent with what was received and with the outcomes: I1 to I5, as far as both ends can see.
    pub(super) fn check(&self, violations: &mut Violations) {
        let name = format!("{}>{}", self.flow.from, self.flow.to);
        let mut tell = |what: &str, index: u64| violations.add(format_args!("{name} #{index}: {what}"));
        let mut fates = vec![Fate::default(); self.sent.len()];
        self.enter_received(&mut fates, &mut tell);
        self.enter_failed(&mut fates, &mut tell);
        for (fate, index) in fates.iter().zip(0..) {
            match (fate.failed, fate.received) {
                (None, None) => tell("did not fail, and was never received", index),
                (Some((_, Verdict { certainty: Certainty::NotStarted, .. })), Some(_)) => {
                    tell("failed as not started, and was received", index);
                }
                (Some((failed_at, _)), Some(received_at)) if received_at > failed_at => {
                    tell("was received after it had failed", index);
                }
                _ => {}
            }
        }
        let (sent, failed) = (self.sent.len() as u64, self.failed.len() as u64);
        if self.acked + failed != sent {
            violations.add(format_args!(
                "{name}: {sent} were sent, but {} acked and {failed} failed: not one outcome each",
                self.acked
            ));
        }
        if self.counted != [self.acked, failed] {
            let [acked, failed] = self.counted;
            violations.add(format_args!("{name}: its daemon counted {acked} acked and {failed} failed"));
        }
    }

    /// Of a receiver that was replaced: what it had not taken went to the next one, and nothing failed for it.
    pub(super) fn check_takeovers(&self, violations: &mut Violations) {
        for Failed { msgid, verdict: Verdict { reason, .. }, .. } in &self.failed {
            if matches!(reason, Reason::GoingAway | Reason::ReceiverGone) {
                let Flow { from, to, .. } = self.flow;
                violations.add(format_args!("{from}>{to}: message {msgid} failed in a takeover: {reason:?}"));
            }
        }
    }

    fn enter_received(&self, fates: &mut [Fate], tell: &mut impl FnMut(&str, u64)) {
        let mut next = 0;
        for (place, received) in (0..).zip(&self.received) {
            let Some(index) = received.index else {
                tell("(place in order of receipt) has bytes that were never sent", place);
                continue;
            };
            match fate_of(fates, index) {
                None => tell("was received, and never sent", index),
                Some(Fate { received: Some(_), .. }) => tell("was received more than once", index),
                Some(fate) => {
                    fate.received = Some(received.at);
                    if index < next {
                        tell("was received out of order", index);
                    }
                    next = next.max(index + 1);
                }
            }
        }
    }

    fn enter_failed(&self, fates: &mut [Fate], tell: &mut impl FnMut(&str, u64)) {
        for (place, failed) in (0..).zip(&self.failed) {
            let Some(index) = self.flow.index_of_user_bytes(&failed.user) else {
                tell("(place in order of failure) came back with user bytes that were never given", place);
                continue;
            };
            match fate_of(fates, index) {
                None => tell("failed, and was never sent", index),
                Some(Fate { failed: Some(_), .. }) => tell("failed more than once", index),
                Some(fate) => {
                    fate.failed = Some((failed.at, failed.verdict));
                    let sent = usize::try_from(index).ok().and_then(|i| self.sent.get(i));
                    if sent.is_none_or(|(msgid, _)| *msgid != failed.msgid) {
                        tell("failed under another message's id", index);
                    }
                    if sent.is_some_and(|(_, at)| failed.at.since(*at) > self.due + LATE) {
                        tell("failed long after its outcome was due", index);
                    }
                }
            }
        }
    }
}

fn fate_of(fates: &mut [Fate], index: u64) -> Option<&mut Fate> {
    usize::try_from(index).ok().and_then(|index| fates.get_mut(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: Flow = Flow { from: 1, to: 2, seed: 3 };

    /// Five messages: 0, 1, 3 acked; 2 failed as unknown after it was received; 4 failed as not started.
    fn kept() -> Ledger {
        let mut ledger = Ledger::new(FLOW, Span(40));
        ledger.sent = (0..5).map(|i| (MsgId(100 + i), Time(u64::from(i)))).collect();
        ledger.acked = 3;
        ledger.counted = [3, 2];
        ledger.received = [0, 1, 2, 3].map(|i| received(i, 10 + i)).to_vec();
        ledger.failed = vec![failed(2, Certainty::Unknown), failed(4, Certainty::NotStarted)];
        ledger
    }

    fn received(index: u64, at: u64) -> Received {
        Received { at: Time(at), index: Some(index) }
    }

    fn failed(index: u32, certainty: Certainty) -> Failed {
        let verdict = Verdict { reason: Reason::NoAnswer, certainty };
        let user = FLOW.user_bytes(u64::from(index)).to_vec();
        Failed { at: Time(50), msgid: MsgId(100 + index), verdict, tries: 5, user }
    }

    fn violations(change: impl FnOnce(&mut Ledger)) -> Vec<String> {
        let mut ledger = kept();
        change(&mut ledger);
        let failed = ledger.failed.len() as u64;
        if ledger.counted == [3, 2] {
            // The daemon sees what its client sees.
            ledger.counted = [ledger.acked, failed];
        }
        let mut violations = Violations::default();
        ledger.check(&mut violations);
        assert_eq!(violations.count, violations.told.len() as u64);
        violations.told
    }

    #[test]
    fn a_kept_promise_has_no_violation() {
        assert_eq!(violations(|_| {}), Vec::<String>::new());
    }

    #[test]
    fn each_way_of_breaking_it_is_seen() {
        type Change = fn(&mut Ledger);
        let cases: [(&str, Change); 15] = [
            ("1>2 #1: did not fail, and was never received", |l| l.received.retain(|r| r.index != Some(1))),
            ("1>2 #1: was received more than once", |l| l.received.push(received(1, 20))),
            ("1>2 #0: was received out of order", |l| l.received.swap(0, 1)),
            ("1>2 #9: was received, and never sent", |l| l.received.push(received(9, 20))),
            ("1>2 #4: (place in order of receipt) has bytes that were never sent", |l| {
                l.received.push(Received { at: Time(20), index: None });
            }),
            ("1>2 #4: failed as not started, and was received", |l| l.received.push(received(4, 20))),
            ("1>2 #2: was received after it had failed", |l| l.received[2].at = Time(51)),
            ("1>2 #2: failed more than once", |l| {
                l.failed.push(failed(2, Certainty::Unknown));
                l.acked -= 1;
            }),
            ("1>2 #9: failed, and was never sent", |l| {
                l.failed.push(failed(9, Certainty::Unknown));
                l.acked -= 1;
            }),
            ("1>2 #4: failed under another message's id", |l| l.failed[1].msgid = MsgId(0)),
            ("1>2 #2: (place in order of failure) came back with user bytes that were never given", |l| {
                l.failed.push(Failed { user: vec![0; 64], ..failed(2, Certainty::Unknown) });
                l.acked -= 1;
            }),
            ("1>2: 5 were sent, but 2 acked and 2 failed: not one outcome each", |l| l.acked -= 1),
            ("1>2 #4: failed long after its outcome was due", |l| l.failed[1].at = Time(500_045)),
            ("1>2: its daemon counted 3 acked and 1 failed", |l| l.counted = [3, 1]),
            ("1>2: 5 were sent, but 4 acked and 2 failed: not one outcome each", |l| l.acked += 1),
        ];
        for (expected, change) in cases {
            assert_eq!(violations(change), [expected]);
        }
    }

    #[test]
    fn what_a_takeover_loses_is_seen() {
        let told = |reason| {
            let mut ledger = kept();
            ledger.failed[1].verdict.reason = reason;
            let mut violations = Violations::default();
            ledger.check_takeovers(&mut violations);
            violations.told
        };
        assert_eq!(told(Reason::NoAnswer), Vec::<String>::new());
        assert_eq!(told(Reason::GoingAway), ["1>2: message 104 failed in a takeover: GoingAway"]);
        assert_eq!(told(Reason::ReceiverGone), ["1>2: message 104 failed in a takeover: ReceiverGone"]);
    }

    #[test]
    fn many_violations_are_counted_and_few_are_told() {
        let mut ledger = Ledger::new(FLOW, Span(40));
        ledger.sent = (0..1000).map(|i| (MsgId(i), Time(0))).collect();
        ledger.acked = 1000;
        ledger.counted = [1000, 0];
        let mut violations = Violations::default();
        ledger.check(&mut violations);
        assert_eq!((violations.count, violations.told.len()), (1000, MAX_TOLD));
    }
}
