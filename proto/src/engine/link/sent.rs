//! Datagrams that are out, and what they carried.

use std::collections::VecDeque;

use super::{congestion::Snapshot, received::Told};
use crate::{
    engine::{
        chain::{EntryKey, FlowKey},
        inbox::InboxKey,
    },
    units::Time,
    wire::{AckRun, NackEntry},
};

/// Something that a datagram carried and that goes out again if the datagram is lost.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Item {
    /// A whole message.
    Data { entry: EntryKey, serial: u32 },
    /// Units of a large message.
    Units { entry: EntryKey, serial: u32, first: u16, count: u16 },
    /// A unit of a large message that the peer has whole: it refreshes what waits there, and asks.
    Ask { entry: EntryKey, serial: u32 },
    /// Messages taken.
    Ack { inbox: InboxKey, serial: u32, run: AckRun },
    /// A message refused.
    Nack { inbox: InboxKey, serial: u32, entry: NackEntry },
    /// A flow's floor.
    Floor { flow: FlowKey },
    /// A step of the control stream.
    Control { seq: u32 },
    /// Which numbers of the peer's had come. If it is lost, the next one says so.
    LinkAck { told: Told },
    /// Nothing: it asks whether its path carries datagrams of that size.
    MtuProbe { path: u16, size: u32 },
}

/// Datagrams that are out.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// The number of the first in `datagrams`.
    base: u64,
    datagrams: VecDeque<Datagram>,
    /// What they carried, in order; the first `retired` of it needs no remembering.
    items: Vec<Item>,
    retired: usize,
    /// How many items went before the first that is not retired.
    items_base: u64,
    in_flight: usize,
}

#[derive(Clone, Copy, Debug)]
struct Datagram {
    at: Time,
    /// 0 once it is acknowledged or lost.
    bytes: u32,
    /// The end of its items, counted from the first ever.
    items_end: u64,
    snapshot: Snapshot,
}

/// A datagram whose fate is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    pub(crate) at: Time,
    pub(crate) bytes: usize,
    pub(crate) snapshot: Snapshot,
}

impl Sent {
    /// Adds something that the next datagram carries.
    #[inline(always)]
    pub(crate) fn push_item(&mut self, item: Item) {
        self.items.push(item);
    }

    /// The next datagram has left; 0 bytes: one that nobody has to acknowledge.
    pub(crate) fn record(&mut self, number: u64, at: Time, bytes: usize, snapshot: Snapshot) {
        if self.datagrams.is_empty() {
            self.base = number;
        }
        debug_assert_eq!(number, self.base + self.datagrams.len() as u64);
        let items_end = self.items_base + (self.items.len() - self.retired) as u64;
        let narrow = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.datagrams.push_back(Datagram { at, bytes: narrow, items_end, snapshot });
        self.in_flight += bytes;
        self.retire();
    }

    /// Bytes that are out, neither acknowledged nor lost.
    pub(crate) const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// The same, counted anew.
    pub(crate) fn open_bytes(&self) -> usize {
        self.datagrams.iter().map(|d| d.bytes as usize).sum()
    }

    /// The numbers that are remembered.
    pub(crate) fn numbers(&self) -> std::ops::Range<u64> {
        self.base..self.base + self.datagrams.len() as u64
    }

    /// The first datagram from `number` on, and below `end`, that is still out: its number, and when it left.
    pub(crate) fn next_open(&self, number: u64, end: u64) -> Option<(u64, Time)> {
        let from = usize::try_from(number.saturating_sub(self.base)).ok()?;
        let to = usize::try_from(end.saturating_sub(self.base)).ok()?.min(self.datagrams.len());
        let found = (from..to).find(|i| self.datagrams[*i].bytes > 0)?;
        Some((self.base + found as u64, self.datagrams[found].at))
    }

    /// A datagram's fate is known; what it carried goes to `each`. `None` if it was known before.
    pub(crate) fn settle(&mut self, number: u64, mut each: impl FnMut(Item)) -> Option<Settled> {
        let index = usize::try_from(number.checked_sub(self.base)?).ok()?;
        let before = index.checked_sub(1).and_then(|i| self.datagrams.get(i));
        let start = before.map_or(self.items_base, |d| d.items_end);
        let datagram = self.datagrams.get_mut(index).filter(|d| d.bytes > 0)?;
        let settled =
            Settled { at: datagram.at, bytes: datagram.bytes as usize, snapshot: datagram.snapshot };
        datagram.bytes = 0;
        let end = datagram.items_end;
        let (from, to) = (self.offset(start), self.offset(end));
        self.in_flight -= settled.bytes;
        let items = self.items[self.retired..].get(from..to).unwrap_or(&[]);
        items.iter().copied().for_each(&mut each);
        Some(settled)
    }

    /// What the next datagram carries so far.
    pub(crate) fn begun(&self) -> &[Item] {
        let items = &self.items[self.retired..];
        let recorded = self.datagrams.back().map_or(self.items_base, |d| d.items_end);
        items.get(self.offset(recorded)..).unwrap_or(&[])
    }

    /// What those datagrams carried that left at `at` or before and are still out, the oldest first; of so many datagrams.
    pub(crate) fn out_since(&self, at: Time, count: usize) -> impl Iterator<Item = Item> + '_ {
        let items = &self.items[self.retired..];
        let starts = [self.items_base].into_iter().chain(self.datagrams.iter().map(|d| d.items_end));
        let of = move |(datagram, start): (&Datagram, u64)| {
            items.get(self.offset(start)..self.offset(datagram.items_end)).unwrap_or(&[])
        };
        let old = self.datagrams.iter().zip(starts).take(count).take_while(move |(d, _)| d.at <= at);
        old.filter(|(d, _)| d.bytes > 0).flat_map(move |datagram| of(datagram).iter().copied())
    }

    /// Where an item stands, counted from the first that is remembered.
    fn offset(&self, item: u64) -> usize {
        usize::try_from(item.saturating_sub(self.items_base)).unwrap_or(usize::MAX)
    }

    /// Forgets what needs no remembering.
    pub(crate) fn retire(&mut self) {
        while self.datagrams.front().is_some_and(|d| d.bytes == 0) {
            let end = self.datagrams.pop_front().map_or(0, |d| d.items_end);
            self.base += 1;
            let known = usize::try_from(end.saturating_sub(self.items_base)).unwrap_or(usize::MAX);
            self.retired = self.retired.saturating_add(known).min(self.items.len());
            self.items_base = self.items_base.max(end);
        }
        if self.retired == self.items.len() {
            self.items.clear();
            self.retired = 0;
        } else if self.retired >= RETIRED_ITEMS && self.retired * 2 >= self.items.len() {
            self.items.drain(..self.retired);
            self.retired = 0;
        }
    }
}

/// What needs no remembering is cut off when it is this much, and more than what does.
const RETIRED_ITEMS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn control(seq: u32) -> Item {
        Item::Control { seq }
    }

    fn seqs(sent: &mut Sent, number: u64) -> Vec<u32> {
        let mut seqs = Vec::new();
        sent.settle(number, |item| {
            if let Item::Control { seq } = item {
                seqs.push(seq);
            }
        });
        seqs
    }

    #[test]
    fn a_datagram_is_settled_once_with_what_it_carried() {
        let mut sent = Sent::default();
        for n in 0..4_u32 {
            for i in 0..n {
                sent.push_item(control(n * 10 + i));
            }
            sent.record(u64::from(n), Time(1), if n == 1 { 0 } else { 100 }, Snapshot::default());
        }
        assert_eq!(sent.in_flight(), 300);
        assert_eq!(seqs(&mut sent, 2), [20, 21]);
        assert_eq!(seqs(&mut sent, 2), [0_u32; 0]);
        assert_eq!(seqs(&mut sent, 9), [0_u32; 0]);
        assert_eq!(sent.next_open(1, 9), Some((3, Time(1))));
        sent.retire();
        assert_eq!(sent.numbers(), 0..4);
        assert!(sent.settle(0, |_| ()).is_some());
        sent.retire();
        assert_eq!(sent.numbers(), 3..4);
        assert_eq!(seqs(&mut sent, 3), [30, 31, 32]);
        sent.retire();
        assert!(sent.numbers().is_empty());
        assert_eq!(sent.in_flight(), 0);
        sent.push_item(control(7));
        sent.record(4, Time(2), 50, Snapshot::default());
        assert_eq!(seqs(&mut sent, 4), [7]);
    }

    #[test]
    fn what_is_retired_is_cut_off_and_the_rest_stays_with_its_datagram() {
        const DATAGRAMS: u32 = 40;
        const EACH: u32 = 100;
        let mut sent = Sent::default();
        for n in 0..DATAGRAMS {
            (0..EACH).for_each(|i| sent.push_item(control(n * EACH + i)));
            sent.record(u64::from(n), Time(1), 100, Snapshot::default());
        }
        for n in 0..DATAGRAMS {
            let expected: Vec<_> = (n * EACH..(n + 1) * EACH).collect();
            assert_eq!(seqs(&mut sent, u64::from(n)), expected);
            sent.retire();
            let open = ((DATAGRAMS - n - 1) * EACH) as usize;
            assert_eq!(sent.items.len() - sent.retired, open);
            assert!(sent.retired < RETIRED_ITEMS.max(open), "{} retired, {open} open", sent.retired);
        }
        assert!(sent.items.is_empty());
    }
}
