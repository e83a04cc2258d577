//! Whether what clients remember is what DESIGN promises: I1 to I5.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use msg::{Certainty, ClientId};
use msg_proto::units::Span;

use crate::{
    party::{Failed, Party, Sent, Taken},
    pattern, wait,
};

/// Somebody who was given messages, and remembers them.
pub trait Receiver {
    /// Its number.
    fn id(&self) -> ClientId;

    /// What it was given by a client, in the order of the callbacks.
    fn taken_from(&self, src: ClientId) -> Vec<Taken>;
}

impl Receiver for Party {
    fn id(&self) -> ClientId {
        self.id()
    }

    fn taken_from(&self, src: ClientId) -> Vec<Taken> {
        self.log().taken.iter().filter(|taken| taken.src == src).cloned().collect()
    }
}

/// What became of one flow's messages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcomes {
    /// Accepted by the sender's library.
    pub sent: usize,
    /// Handed over.
    pub taken: usize,
    /// Failed: by reason and certainty.
    pub failed: BTreeMap<String, usize>,
}

impl Outcomes {
    /// How many failed, for whatever reason.
    #[must_use]
    pub fn failures(&self) -> usize {
        self.failed.values().sum()
    }
}

impl fmt::Display for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sent {}, taken {}, failed {}", self.sent, self.taken, self.failures())?;
        self.failed.iter().try_for_each(|(kind, count)| write!(f, ", {kind} {count}"))
    }
}

/// Compares everything that `from` sent to `to` with everything that came and with every outcome.
///
/// Waits for the outcomes first, and for what was acked to reach the log.
///
/// # Panics
///
/// The promise was broken, in words that say which part of it, and for which message.
pub fn check(from: &Party, to: &dyn Receiver) -> Outcomes {
    check_all(from, &[to])
}

/// [`check`], where the receiver had several lives or places, all with the same clientid.
///
/// # Panics
///
/// The promise was broken.
pub fn check_all(from: &Party, to: &[&dyn Receiver]) -> Outcomes {
    from.flush();
    let dst = to.first().expect("a receiver").id();
    let sent = from.log().sent.get(&dst).cloned().unwrap_or_default();
    let failed: Vec<_> = from.log().failed.iter().filter(|failed| failed.dst == dst).cloned().collect();
    let failures = check_failures(from, dst, &sent, &failed);
    let came = || -> Vec<Vec<Taken>> { to.iter().map(|receiver| receiver.taken_from(from.id())).collect() };
    // An ack goes out before the callbacks of its batch have run.
    wait::until("what was acked is in the receiver's log", || {
        let failed = |index| failures.contains_key(&index);
        has_all_ended(sent.len(), failed, came().iter().flatten().map(|taken| taken.data.as_slice()))
    });
    let taken = check_taken(from, dst, &sent, &failures, &came());
    for index in 0..sent.len() {
        assert!(
            taken.contains(&index) || failures.contains_key(&index),
            "I2: message {index} has not failed, and has not come"
        );
    }
    let mut outcomes = Outcomes { sent: sent.len(), taken: taken.len(), failed: BTreeMap::new() };
    for failure in failures.values() {
        let kind = format!("{:?}/{:?}", failure.verdict.reason, failure.verdict.certainty);
        *outcomes.failed.entry(kind).or_default() += 1;
    }
    outcomes
}

/// Whether each of `sent` messages has failed or has come. One that failed and came as well, which `Unknown` allows, is one.
fn has_all_ended<'a>(
    sent: usize,
    failed: impl Fn(usize) -> bool,
    came: impl Iterator<Item = &'a [u8]>,
) -> bool {
    let came: BTreeSet<usize> = came.filter_map(pattern::index_of).map(|number| number as usize).collect();
    (0..sent).all(|index| came.contains(&index) || failed(index))
}

/// Each failure is of a message that was sent, once, with its own 64 bytes, in time. Returns them by index.
fn check_failures<'a>(
    from: &Party,
    dst: ClientId,
    sent: &[Sent],
    failed: &'a [Failed],
) -> BTreeMap<usize, &'a Failed> {
    let mut failures = BTreeMap::new();
    for failure in failed {
        let index = pattern::index_of(&failure.user).expect("user data") as usize;
        let message = sent.get(index).unwrap_or_else(|| panic!("message {index} was never sent"));
        let number = u32::try_from(index).expect("few messages");
        let expected = pattern::user(from.seed(), (from.id(), dst), number);
        assert_eq!(failure.user, expected.as_bytes(), "the user data of message {index}");
        assert_eq!(failure.msgid, message.msgid, "the msgid of message {index}");
        assert!(failures.insert(index, failure).is_none(), "I1: message {index} failed twice");
    }
    failures
}

/// What came is what was sent: in order, once, nothing that had failed. Returns the indexes.
fn check_taken(
    from: &Party,
    dst: ClientId,
    sent: &[Sent],
    failures: &BTreeMap<usize, &Failed>,
    came: &[Vec<Taken>],
) -> BTreeSet<usize> {
    let mut taken = BTreeSet::new();
    for messages in came {
        let mut last = None;
        for message in messages {
            let number = pattern::index_of(&message.data).expect("a message of ours");
            let index = number as usize;
            assert!(index < sent.len(), "message {index} was never sent");
            if sent[index].is_ordered {
                assert!(last.is_none_or(|last| last < index), "I5: {index} came after {last:?}");
                last = Some(index);
            }
            assert!(taken.insert(index), "I2: message {index} came twice");
            let expected = pattern::payload(from.seed(), (from.id(), dst), number, from.sizes());
            assert!(message.data == expected, "message {index} came changed");
            let Some(failure) = failures.get(&index) else { continue };
            assert_eq!(
                failure.verdict.certainty,
                Certainty::Unknown,
                "I3: message {index} came, and was said never to have"
            );
            let late = message.at.since(failure.at);
            assert!(late <= SKEW, "I4: message {index} came {late:?} after its failure");
        }
    }
    taken
}

/// Two logs are written by two threads: what one writes can be this much later than what it writes of.
const SKEW: Span = Span::from_millis(100);

/// Milliseconds from each failed message's send to its callback.
#[must_use]
pub fn failure_times(from: &Party) -> Vec<f64> {
    let log = from.log();
    let sent: Vec<&Sent> = log.sent.values().flatten().collect();
    let of = |failed: &Failed| {
        let message = sent.iter().find(|message| message.msgid == failed.msgid)?;
        Some(Duration::from(failed.at.since(message.at)).as_secs_f64() * 1e3)
    };
    log.failed.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::has_all_ended;

    #[test]
    fn who_failed_and_came_does_not_stand_in_for_one_that_is_missing() {
        let numbers = [0_u32, 1].map(u32::to_le_bytes);
        let came = || numbers.iter().map(<[u8; 4]>::as_slice);
        assert!(has_all_ended(3, |index| index == 2, came()));
        assert!(!has_all_ended(3, |index| index == 1, came()), "two came and one failed, and 2 is missing");
    }
}
