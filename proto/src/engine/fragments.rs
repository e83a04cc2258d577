//! Large messages in units of [`FRAGMENT_UNIT`] bytes: what the sender knows of them, and their reassembly.

use std::ops::Range;

use super::{accept::Copy, address::CallCopy};
use crate::{
    ids::MsgId,
    limits::{FRAGMENT_UNIT, MAX_FRAGMENT_UNITS},
    units::{Span, Time},
    wire::Fragment,
};

const WORDS: usize = MAX_FRAGMENT_UNITS / 64;
const _: () = assert!(MAX_FRAGMENT_UNITS.is_multiple_of(64));

/// A set of a message's units.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct UnitSet([u64; WORDS]);

impl UnitSet {
    pub(crate) const fn empty() -> Self {
        Self([0; WORDS])
    }

    pub(crate) const fn insert(&mut self, unit: usize) -> bool {
        let (word, bit) = (unit / 64, 1 << (unit % 64));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    pub(crate) const fn remove(&mut self, unit: usize) {
        self.0[unit / 64] &= !(1 << (unit % 64));
    }

    pub(crate) const fn contains(&self, unit: usize) -> bool {
        self.0[unit / 64] & (1 << (unit % 64)) != 0
    }

    /// The bitmap of the first `units`, lowest bit first.
    pub(crate) fn to_bitmap(&self, units: usize) -> Vec<u8> {
        self.0.iter().flat_map(|w| w.to_le_bytes()).take(units.div_ceil(8)).collect()
    }

    /// Reads a bitmap; what it does not cover is missing.
    pub(crate) fn from_bitmap(bitmap: &[u8]) -> Self {
        let mut set = Self::empty();
        for (i, byte) in bitmap.iter().take(MAX_FRAGMENT_UNITS / 8).enumerate() {
            set.0[i / 8] |= u64::from(*byte) << (i % 8 * 8);
        }
        set
    }
}

/// What a sender knows of a large message's units.
#[derive(Debug)]
pub(crate) struct Units {
    count: usize,
    /// The receiver's node has them.
    have: UnitSet,
    /// They are to be sent.
    pending: UnitSet,
    /// No pending unit is below it.
    cursor: usize,
    /// When the receiver's node last reported.
    reported_at: Time,
}

impl Units {
    /// Of a message of `len` bytes: all to be sent.
    pub(crate) fn new(len: usize) -> Self {
        let count = len.div_ceil(FRAGMENT_UNIT);
        let mut units = Self {
            count,
            have: UnitSet::empty(),
            pending: UnitSet::empty(),
            cursor: count,
            reported_at: Time(0),
        };
        units.send_missing();
        units
    }

    /// Everything that the receiver's node does not have is to be sent; if it has all, one unit, to ask.
    pub(crate) fn send_missing(&mut self) {
        for unit in 0..self.count {
            if !self.have.contains(unit) {
                self.send(unit..unit + 1);
            }
        }
        if self.next_run(1).is_none() {
            self.ask();
        }
    }

    /// One unit is to be sent, whether the receiver's node has it or not.
    pub(crate) fn ask(&mut self) {
        self.pending.insert(0);
        self.cursor = 0;
    }

    /// Those of `range` that the receiver's node does not have are to be sent.
    pub(crate) fn send(&mut self, range: Range<usize>) {
        for unit in range {
            if unit < self.count && !self.have.contains(unit) {
                self.pending.insert(unit);
                self.cursor = self.cursor.min(unit);
            }
        }
    }

    /// The receiver's node has these.
    pub(crate) fn record_have(&mut self, range: Range<usize>) {
        for unit in range {
            if unit < self.count {
                self.have.insert(unit);
                self.pending.remove(unit);
            }
        }
    }

    /// The receiver's node says which ones it has. Of those that it was thought to have and has not (any more),
    /// all are to be sent; `true` if there are any. A report older than the last one says nothing.
    pub(crate) fn set_have(&mut self, have: UnitSet, reported_at: Time) -> bool {
        if reported_at < self.reported_at {
            return false;
        }
        self.reported_at = reported_at;
        let before = std::mem::replace(&mut self.have, have);
        let lost: Vec<_> =
            (0..self.count).filter(|u| before.contains(*u) && !self.have.contains(*u)).collect();
        for unit in &lost {
            self.send(*unit..unit + 1);
        }
        !lost.is_empty()
    }

    /// The receiver's node, or its client, is another one: it has nothing.
    pub(crate) fn restart(&mut self) {
        self.have = UnitSet::empty();
        self.send_missing();
    }

    /// The next units to send: a run of at most `max`. Still pending until [`record_sent`](Self::record_sent).
    pub(crate) fn next_run(&mut self, max: usize) -> Option<Range<usize>> {
        while self.cursor < self.count && !self.pending.contains(self.cursor) {
            self.cursor += 1;
        }
        let start = self.cursor;
        let end = (start..self.count).take(max).take_while(|u| self.pending.contains(*u)).last()? + 1;
        Some(start..end)
    }

    /// These have left. Returns whether that was to ask: the receiver's node had them.
    pub(crate) fn record_sent(&mut self, run: Range<usize>) -> bool {
        let is_ask = self.have.contains(run.start);
        for unit in run {
            self.pending.remove(unit);
        }
        is_ask
    }
}

/// A message that has not come whole yet.
#[derive(Debug)]
pub(crate) struct Reassembly {
    pub(crate) msgid: MsgId,
    pub(crate) bytes: Vec<u8>,
    pub(crate) have: UnitSet,
    missing: usize,
    /// The latest copy's stamp and interval: it goes stale with them (R6).
    pub(crate) send_time: Time,
    pub(crate) interval: Span,
    /// See [`Copy`].
    pub(crate) call: Option<CallCopy>,
    /// Something came since it was last reported.
    pub(crate) unreported: bool,
}

impl Reassembly {
    /// For a message whose fragment came. `bytes` are as many as it has, whatever they are: it is not whole before each of them
    /// has come.
    pub(crate) fn new(bytes: Vec<u8>, copy: &Copy) -> Self {
        let (have, missing) = (UnitSet::empty(), bytes.len().div_ceil(FRAGMENT_UNIT));
        let Copy { msgid, send_time, interval, call, .. } = *copy;
        Self { msgid, bytes, have, missing, send_time, interval, call, unreported: false }
    }

    /// Whether a fragment belongs to the same message.
    pub(crate) fn matches(&self, fragment: &Fragment<'_>) -> bool {
        self.bytes.len() == fragment.total as usize && self.msgid == fragment.msgid
    }

    /// Takes a fragment's bytes; `true` when the message is whole. Parsing has checked its bounds.
    pub(crate) fn add(&mut self, fragment: &Fragment<'_>, send_time: Time) -> bool {
        let start = fragment.offset as usize;
        self.bytes[start..start + fragment.bytes.len()].copy_from_slice(fragment.bytes);
        let first = start / FRAGMENT_UNIT;
        for unit in first..first + fragment.bytes.len().div_ceil(FRAGMENT_UNIT) {
            if self.have.insert(unit) {
                self.missing -= 1;
            }
        }
        self.send_time = Ord::max(self.send_time, send_time);
        self.unreported = true;
        self.missing == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Seq;

    #[test]
    fn only_what_is_missing_is_sent_again() {
        let mut units = Units::new(5 * FRAGMENT_UNIT + 1);
        assert_eq!(units.next_run(4), Some(0..4));
        units.record_sent(0..4);
        assert_eq!(units.next_run(4), Some(4..6));
        units.record_sent(4..6);
        assert_eq!(units.next_run(4), None);
        units.record_have(0..2);
        units.record_have(3..6);
        units.send_missing();
        assert_eq!(units.next_run(9), Some(2..3));
        units.record_sent(2..3);
        units.record_have(2..3);
        units.send_missing();
        assert_eq!(
            units.next_run(9),
            Some(0..1),
            "a message that is there whole is asked about with one unit"
        );
        units.record_sent(0..1);
        assert!(units.set_have(UnitSet::from_bitmap(&[0b10_0001]), Time(5)));
        assert!(!units.set_have(UnitSet::from_bitmap(&[0]), Time(4)), "an older report");
        assert_eq!(units.next_run(9), Some(1..5));
    }

    #[test]
    fn what_was_lost_is_sent_unless_it_has_come() {
        let mut units = Units::new(4 * FRAGMENT_UNIT);
        units.record_sent(0..4);
        units.record_have(1..2);
        units.send(0..9);
        assert_eq!(units.next_run(9), Some(0..1), "1 is there");
        units.record_sent(0..1);
        assert_eq!(units.next_run(9), Some(2..4), "and there are four");
        units.record_sent(2..4);
        assert_eq!(units.next_run(9), None);
    }

    #[test]
    fn reassembles_in_any_order() {
        let message: Vec<u8> = (0..2500_u32).map(|i| i.to_le_bytes()[0]).collect();
        let piece = |range: Range<usize>| Fragment {
            msgid: MsgId(9),
            seq: Seq(1),
            at_least_once: false,
            call: None,
            offset: u32::try_from(range.start).unwrap(),
            total: 2500,
            bytes: &message[range],
        };
        let (msgid, seq) = (MsgId(9), Seq(1));
        let copy = Copy { msgid, seq, send_time: Time(5), interval: Span(10), call: None };
        let mut r = Reassembly::new(vec![7; 2500], &copy);
        assert!(!r.add(&piece(2048..2500), Time(5)));
        assert!(!r.add(&piece(0..1024), Time(9)));
        assert!(!r.add(&piece(0..1024), Time(7)));
        assert_eq!(r.have.to_bitmap(3), [0b101]);
        assert_eq!(UnitSet::from_bitmap(&r.have.to_bitmap(3)), r.have);
        assert!(r.add(&piece(1024..2048), Time(8)));
        assert_eq!((r.bytes, r.send_time), (message, Time(9)));
    }

    #[test]
    fn a_report_counts_unless_a_later_one_came() {
        let mut units = Units::new(3 * FRAGMENT_UNIT);
        units.record_sent(0..3);
        assert!(!units.set_have(UnitSet::from_bitmap(&[0b111]), Time(5)));
        assert!(units.set_have(UnitSet::from_bitmap(&[0b011]), Time(5)), "two of one datagram");
        assert_eq!(units.next_run(9), Some(2..3));
        assert!(!units.set_have(UnitSet::from_bitmap(&[0]), Time(4)));
        assert_eq!(units.next_run(9), Some(2..3));
    }

    #[test]
    fn another_receiver_is_sent_all_of_it() {
        let mut units = Units::new(3 * FRAGMENT_UNIT);
        units.record_sent(0..3);
        units.record_have(0..9);
        assert_eq!(units.next_run(9), None);
        units.ask();
        assert!(units.record_sent(0..1), "the receiver's node had it: that was to ask");
        units.restart();
        assert_eq!(units.next_run(2), Some(0..2));
        assert!(!units.record_sent(0..2));
        assert_eq!(units.next_run(2), Some(2..3));
    }

    #[test]
    fn a_fragment_of_another_message_is_not_mixed_in() {
        let piece = |msgid, total| Fragment {
            msgid: MsgId(msgid),
            seq: Seq(1),
            at_least_once: false,
            call: None,
            offset: 0,
            total,
            bytes: &[0; FRAGMENT_UNIT],
        };
        let (msgid, seq) = (MsgId(9), Seq(1));
        let copy = Copy { msgid, seq, send_time: Time(5), interval: Span(10), call: None };
        let r = Reassembly::new(vec![7; 2500], &copy);
        assert!(r.matches(&piece(9, 2500)));
        assert!(!r.matches(&piece(8, 2500)) && !r.matches(&piece(9, 2501)));
    }
}
