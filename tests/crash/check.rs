//! Whether the ledgers of all lives are what DESIGN promises: I1 to I6.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use msg_proto::units::{Span, Time};

use super::{
    actor::Life,
    ledger::{Entry, Payload},
};

/// What became of the messages of a run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// Accepted by their senders' libraries, as far as these lived to write it down.
    pub sent: usize,
    /// In a ledger of their receivers.
    pub taken: usize,
    /// Failed: by reason and certainty.
    pub failed: BTreeMap<String, usize>,
    /// Acked, by a library whose process died before its ledger had them.
    pub taken_by_the_dead: usize,
    /// Of a sender that died, with no outcome that it wrote down, and in no ledger.
    pub of_the_dead: usize,
    /// From a send to its failure, at the most.
    pub longest: Span,
}

/// One flow: a life's messages to one clientid.
#[derive(Debug, Default)]
struct Flow {
    sent: BTreeMap<u32, Time>,
    failed: BTreeMap<u32, Failure>,
    taken: BTreeMap<u32, Time>,
    /// The last that its receivers were given in order.
    last: Option<u32>,
}

#[derive(Debug)]
struct Failure {
    at: Time,
    unknown: bool,
}

/// Compares every ledger with every other. `lives` are those of one clientid after those of another, each in order;
/// `bound` is how long a message's outcome may take.
///
/// # Panics
///
/// The promise was broken, in words that say which part of it, and for which message.
#[must_use]
pub fn check(lives: &[Life], nothing_fails: bool, bound: Span) -> Tally {
    let mut flows: BTreeMap<(u32, u32), Flow> = BTreeMap::new();
    let mut tally = Tally::default();
    for life in lives {
        for entry in &life.ledger {
            match entry {
                Entry::Sent { to: (dst, index), at } => {
                    let flow = flows.entry((life.number, *dst)).or_default();
                    assert!(flow.sent.insert(*index, *at).is_none(), "the test sends nothing twice");
                }
                Entry::Failed { to: Some((dst, index)), unknown, why, at } => {
                    let flow = flows.entry((life.number, *dst)).or_default();
                    let failure = Failure { at: *at, unknown: *unknown };
                    let again = flow.failed.insert(*index, failure);
                    assert!(again.is_none(), "I1: {} to {dst}, message {index} failed twice", life.name());
                    *tally.failed.entry(why.clone()).or_default() += 1;
                }
                Entry::Broken(what) => panic!("{}: {what}", life.name()),
                _ => {}
            }
        }
    }
    check_taken(lives, &mut flows);
    let by_number: BTreeMap<u32, &Life> = lives.iter().map(|life| (life.number, life)).collect();
    let mortal: BTreeSet<u32> = lives.iter().filter(|life| life.killed).map(|life| life.id).collect();
    for ((src, dst), flow) in &flows {
        let src = by_number[src];
        flow.check_failures((src, *dst), lives, bound, &mut tally);
        let flow_taken = flow.taken.len();
        tally.sent += flow.sent.len().max(flow_taken);
        tally.taken += flow_taken;
        for index in flow.sent.keys().filter(|index| !flow.taken.contains_key(index)) {
            if flow.failed.contains_key(index) {
                continue;
            }
            // A library that acks before the handler runs may die between the two.
            let acked_and_died = dst % 100 == 0 && mortal.contains(dst);
            assert!(
                src.killed || acked_and_died,
                "I2: {} to {dst}, message {index} has not failed, and has not come",
                src.name()
            );
            if src.killed { tally.of_the_dead += 1 } else { tally.taken_by_the_dead += 1 }
        }
    }
    let failures: usize = tally.failed.values().sum();
    assert!(!nothing_fails || failures == 0, "I6: {failures} failed: {:?}", tally.failed);
    tally
}

/// What came: sent, once, in order.
fn check_taken(lives: &[Life], flows: &mut BTreeMap<(u32, u32), Flow>) {
    let killed: BTreeMap<u32, bool> = lives.iter().map(|life| (life.number, life.killed)).collect();
    for life in lives {
        for entry in &life.ledger {
            let Entry::Taken { message: Some(message), at } = entry else { continue };
            let Payload { flow: (src, dst), index, .. } = *message;
            let name = || format!("life {src} to {dst}, message {index}");
            assert_eq!(dst, life.id, "{}", name());
            let flow = flows.entry((src, dst)).or_default();
            let next = flow.sent.len().try_into().unwrap_or(u32::MAX);
            // A sender that died between the call and the line in its ledger.
            let unwritten = killed[&src] && index == next;
            assert!(flow.sent.contains_key(&index) || unwritten, "{} was never sent", name());
            assert!(flow.taken.insert(index, *at).is_none(), "I2: {} came twice", name());
            if Payload::is_ordered(index) {
                assert!(
                    flow.last.is_none_or(|last| last < index),
                    "I5: {} came after {:?}",
                    name(),
                    flow.last
                );
                flow.last = Some(index);
            }
        }
    }
}

impl Flow {
    fn check_failures(&self, (src, dst): (&Life, u32), lives: &[Life], bound: Span, tally: &mut Tally) {
        let name = |index| format!("{} to {dst}, message {index}", src.name());
        for (index, failure) in &self.failed {
            // It may have failed before the line that says that it was sent.
            let Some(sent) = self.sent.get(index) else { continue };
            let took = failure.at.since(*sent);
            tally.longest = tally.longest.max(took);
            let stood_still = src.stood_still(*sent, failure.at);
            assert!(took <= bound + stood_still, "I1: {} failed after {took:?}", name(*index));
            let Some(taken) = self.taken.get(index) else { continue };
            assert!(failure.unknown, "I3: {} came, and was said never to have", name(*index));
            let late = taken.since(failure.at);
            // A process can be stopped when its library has taken a message, and before its handler has written so.
            let mut receivers = lives.iter().filter(|life| life.id == dst);
            let is_excused = receivers.any(|life| life.stood_still(*sent, *taken) >= late);
            assert!(late <= SKEW || is_excused, "I4: {} came {late:?} after its failure", name(*index));
        }
    }
}

impl Life {
    fn name(&self) -> String {
        format!("client {}, life {}", self.id, self.number)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sent, taken, failed, taken_by_the_dead, of_the_dead, longest } = self;
        write!(f, "sent {sent}, taken {taken}, failed {}", failed.values().sum::<usize>())?;
        failed.iter().try_for_each(|(kind, count)| write!(f, ", {kind} {count}"))?;
        write!(f, "; taken by libraries that died with them {taken_by_the_dead}")?;
        write!(f, ", of senders that died {of_the_dead}; longest until a failure {} ms", longest.as_millis())
    }
}

/// Two ledgers are written by two processes: what one writes can be this much later than what it writes of.
const SKEW: Span = Span::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Span = Span::from_millis(1_000);

    /// A sender, number 100, life 1, with five messages to 201; and that one's first life.
    fn lives() -> Vec<Life> {
        let life = |number, id, ledger| Life { number, id, killed: false, ledger, stops: Vec::new() };
        let sent = (0..5).map(|index| Entry::Sent { to: (201, index), at: Time(1_000) }).collect();
        vec![life(1, 100, sent), life(2, 201, (0..5).map(taken).collect())]
    }

    fn taken(index: u32) -> Entry {
        let message = Some(Payload { flow: (1, 201), index, at: Time(1_000) });
        Entry::Taken { message, at: Time(500_000) }
    }

    fn failed(index: u32, unknown: bool, at: u64) -> Entry {
        Entry::Failed { to: Some((201, index)), unknown, why: "NoAnswer".to_owned(), at: Time(at) }
    }

    #[test]
    fn a_run_without_faults_is_right() {
        let tally = check(&lives(), true, BOUND);
        assert_eq!((tally.sent, tally.taken), (5, 5));
    }

    #[test]
    #[should_panic(expected = "I2: client 100, life 1 to 201, message 3 has not failed, and has not come")]
    fn a_lost_message_is_seen() {
        let mut lives = lives();
        lives[1].ledger.remove(3);
        assert!(check(&lives, false, BOUND).sent > 0);
    }

    #[test]
    #[should_panic(expected = "I2: life 1 to 201, message 3 came twice")]
    fn a_message_that_two_lives_were_given_is_seen() {
        let mut lives = lives();
        lives.push(Life { number: 3, id: 201, killed: false, ledger: vec![taken(3)], stops: Vec::new() });
        assert!(check(&lives, false, BOUND).sent > 0);
    }

    #[test]
    #[should_panic(expected = "I5: life 1 to 201, message 2 came after Some(3)")]
    fn disorder_is_seen() {
        let mut lives = lives();
        lives[1].ledger.swap(2, 3);
        assert!(check(&lives, false, BOUND).sent > 0);
    }

    #[test]
    #[should_panic(expected = "I3: client 100, life 1 to 201, message 3 came, and was said never to have")]
    fn a_false_certainty_is_seen() {
        let mut lives = lives();
        lives[0].ledger.push(failed(3, false, 600_000));
        assert!(check(&lives, false, BOUND).sent > 0);
    }

    #[test]
    #[should_panic(expected = "I4: client 100, life 1 to 201, message 3 came")]
    fn a_message_after_its_failure_is_seen_unless_its_receiver_stood_still() {
        let mut lives = lives();
        lives[0].ledger.push(failed(3, true, 100_000));
        lives[1].stops.push((Time(90_000), Time(490_000)));
        assert!(check(&lives, false, BOUND).sent > 0);
        lives[1].stops.clear();
        assert!(check(&lives, false, BOUND).sent > 0);
    }

    #[test]
    #[should_panic(expected = "I1: client 100, life 1 to 201, message 4 failed after")]
    fn a_late_outcome_is_seen() {
        let mut lives = lives();
        lives[1].ledger.pop();
        lives[0].ledger.push(failed(4, true, 1_100_000));
        assert!(check(&lives, false, BOUND).sent > 0);
    }

    #[test]
    #[should_panic(expected = "I6: 1 failed")]
    fn a_failure_where_nothing_may_fail_is_seen() {
        let mut lives = lives();
        lives[1].ledger.pop();
        lives[0].ledger.push(failed(4, true, 600_000));
        assert!(check(&lives, true, BOUND).sent > 0);
    }
}
