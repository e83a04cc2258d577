//! Entries that wait for a link: in turn between clients, by bytes (deficit round robin, Shreedhar and Varghese
//! 1995), so that one client's backlog is not in another's way.

mod check;

use std::collections::VecDeque;

use crate::engine::{chain::EntryKey, client::ClientKey};

/// Entries that wait for a link.
#[derive(Debug, Default)]
pub(crate) struct TransmitQueue {
    /// By client key; keys are small and used again.
    lanes: Vec<VecDeque<(EntryKey, u32)>>,
    /// Clients with entries, in turn; the first has `credit` left.
    turns: VecDeque<ClientKey>,
    credit: i64,
    len: usize,
}

impl TransmitQueue {
    /// Adds an entry behind its client's others.
    #[inline]
    pub(crate) fn push(&mut self, client: ClientKey, entry: EntryKey, serial: u32) {
        self.lane(client).push_back((entry, serial));
    }

    /// Adds an entry before its client's others: others wait for it.
    pub(crate) fn push_front(&mut self, client: ClientKey, entry: EntryKey, serial: u32) {
        self.lane(client).push_front((entry, serial));
    }

    /// The entry whose turn it is.
    #[inline]
    pub(crate) fn front(&self) -> Option<(EntryKey, u32)> {
        self.lanes.get(usize::from(*self.turns.front()?))?.front().copied()
    }

    /// `bytes` of the front entry have left.
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.credit -= i64::try_from(bytes).unwrap_or(i64::MAX);
    }

    /// The front entry is done with; the turn passes on when its client's credit is used up.
    #[inline]
    pub(crate) fn pop_front(&mut self) {
        let Some(client) = self.turns.front().copied() else { return };
        let Some(lane) = self.lanes.get_mut(usize::from(client)) else { return };
        lane.pop_front();
        self.len -= 1;
        if lane.is_empty() {
            self.end_turn();
        } else if self.credit <= 0 {
            let _is_anothers = self.rotate();
        }
    }

    /// The front client has nothing left.
    fn end_turn(&mut self) {
        if let Some(lane) = self.turns.pop_front().and_then(|c| self.lanes.get_mut(usize::from(c)))
            && lane.capacity() > KEPT_LANE
        {
            *lane = VecDeque::new();
        }
        self.credit = QUANTUM;
    }

    /// The turn passes on if the front client's credit is used up. Returns whether it did, to another client.
    pub(crate) fn rotate(&mut self) -> bool {
        if self.credit > 0 {
            return false;
        }
        self.turns.rotate_left(1);
        self.credit = QUANTUM;
        self.turns.len() > 1
    }

    /// How many wait, those included that were resolved meanwhile.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// Whether none waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All that wait, in no order, those included that were resolved meanwhile.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (EntryKey, u32)> + '_ {
        self.turns.iter().filter_map(|c| self.lanes.get(usize::from(*c))).flatten().copied()
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> Vec<(EntryKey, u32)> {
        self.len = 0;
        self.credit = QUANTUM;
        let turns = std::mem::take(&mut self.turns);
        turns.iter().flat_map(|c| std::mem::take(&mut self.lanes[usize::from(*c)])).collect()
    }

    #[inline]
    fn lane(&mut self, client: ClientKey) -> &mut VecDeque<(EntryKey, u32)> {
        self.len += 1;
        let index = usize::from(client);
        if self.lanes.len() <= index {
            self.lanes.resize_with(index + 1, VecDeque::new);
        }
        let lane = &mut self.lanes[index];
        if lane.is_empty() {
            if self.turns.is_empty() {
                self.credit = QUANTUM;
            }
            self.turns.push_back(client);
        }
        lane
    }
}

/// Bytes that a client may send before the next has its turn.
const QUANTUM: i64 = 16 << 10;
/// An empty lane keeps its room up to here.
const KEPT_LANE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backlog_does_not_starve_another_client() {
        let mut queue = TransmitQueue::default();
        for i in 0..100 {
            queue.push(ClientKey(1), EntryKey(i), 0);
        }
        queue.push(ClientKey(2), EntryKey(1000), 0);
        let mut before = 0;
        while queue.front() != Some((EntryKey(1000), 0)) {
            queue.charge(1000);
            queue.pop_front();
            before += 1;
        }
        assert_eq!(before, 17);
        queue.charge(10);
        queue.pop_front();
        assert_eq!(queue.front(), Some((EntryKey(17), 0)));
        assert_eq!(queue.len(), 83);
        queue.push_front(ClientKey(1), EntryKey(5), 7);
        assert_eq!(queue.front(), Some((EntryKey(5), 7)));
        assert_eq!(queue.drain().len(), 84);
        assert!(queue.front().is_none());
    }

    #[test]
    fn a_turn_passes_on_when_its_bytes_are_used_up_and_a_new_one_has_all_of_them() {
        let mut queue = TransmitQueue::default();
        for client in 1..=2 {
            for i in 0..4 {
                queue.push(ClientKey(client), EntryKey(client * 10 + i), 0);
            }
        }
        let quantum = usize::try_from(QUANTUM).unwrap();
        queue.charge(quantum - 1);
        assert!(!queue.rotate());
        assert_eq!(queue.front(), Some((EntryKey(10), 0)), "a byte is left");
        queue.charge(1);
        assert!(queue.rotate());
        assert_eq!(queue.front(), Some((EntryKey(20), 0)));
        queue.charge(quantum - 1);
        queue.pop_front();
        assert_eq!(queue.front(), Some((EntryKey(21), 0)));
        queue.charge(1);
        queue.pop_front();
        assert_eq!(queue.front(), Some((EntryKey(10), 0)));
        // A lane that runs empty takes its debts with it.
        queue.charge(9 * quantum);
        for _ in 0..9 {
            queue.pop_front();
        }
        assert!(queue.is_empty());
        for client in 1..=2 {
            queue.push(ClientKey(client), EntryKey(client), 0);
        }
        queue.charge(9 * quantum);
        queue.pop_front();
        queue.push(ClientKey(1), EntryKey(3), 0);
        queue.charge(1);
        assert!(!queue.rotate());
        assert_eq!(queue.front(), Some((EntryKey(2), 0)), "the one before used up its own");
        queue.pop_front();
        queue.charge(quantum);
        assert!(!queue.rotate(), "there is no other client");
        assert_eq!(queue.front(), Some((EntryKey(3), 0)));
    }

    #[test]
    fn an_empty_lane_keeps_little_room() {
        let mut queue = TransmitQueue::default();
        let mut room_after = |count: u32| {
            (0..count).for_each(|i| queue.push(ClientKey(0), EntryKey(i), 0));
            (0..count).for_each(|_| queue.pop_front());
            queue.lanes[0].capacity()
        };
        let kept = u32::try_from(KEPT_LANE).unwrap();
        assert!(room_after(kept) >= KEPT_LANE);
        assert_eq!(room_after(2 * kept), 0);
    }
}
