//! What was taken of one flow.

use std::collections::VecDeque;

use crate::{ids::Seq, limits::SEQ_SPAN};

/// The numbers of a flow that were taken: a floor, below which everything is decided, and a bit for each
/// number from there on. Words are aligned to multiples of 64, so that the ring needs no shifting:
///
/// ```text
///  base           floor
///    |   decided    |  1  0  1 | 1 1 0 ...
///    +------- word 0 ----------+--- word 1
/// ```
///
/// At most [`SEQ_SPAN`] numbers and one word: 8 KiB.
#[derive(Debug)]
pub(super) struct TakenSet {
    floor: Seq,
    words: VecDeque<u64>,
}

/// What a set says of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seen {
    /// Not taken.
    No,
    /// Taken, or decided long ago.
    Yes,
}

impl TakenSet {
    pub(super) const fn new(floor: Seq) -> Self {
        Self { floor, words: VecDeque::new() }
    }

    /// Everything below `floor` is decided. An earlier floor than the set's says nothing new.
    pub(super) fn advance(&mut self, floor: Seq) {
        if self.floor.is_before(floor) {
            let words = (floor.0 & !63).wrapping_sub(self.base().0) / 64;
            self.words.drain(..(words as usize).min(self.words.len()));
            self.floor = floor;
        }
    }

    pub(super) fn seen(&self, seq: Seq) -> Seen {
        if seq.is_before(self.floor) {
            return Seen::Yes;
        }
        let (word, bit) = self.place(seq);
        match self.words.get(word) {
            Some(w) if w & bit != 0 => Seen::Yes,
            _ => Seen::No,
        }
    }

    /// Whether the set can hold the number.
    pub(super) fn spans(&self, seq: Seq) -> bool {
        seq.since(self.floor).is_none_or(|n| n < SEQ_SPAN)
    }

    /// Records a number within [`spans`](Self::spans).
    pub(super) fn insert(&mut self, seq: Seq) {
        if seq.is_before(self.floor) || !self.spans(seq) {
            return;
        }
        let (word, bit) = self.place(seq);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    /// Records a number that it can hold and was not taken; `false` for any other.
    #[inline]
    pub(super) fn take(&mut self, seq: Seq) -> bool {
        if seq.since(self.floor).is_none_or(|n| n >= SEQ_SPAN) {
            return false;
        }
        let (word, bit) = self.place(seq);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let before = self.words[word];
        self.words[word] |= bit;
        before & bit == 0
    }

    pub(super) const fn floor(&self) -> Seq {
        self.floor
    }

    /// Writes a bit for each number from the floor on, lowest first, as FLOW_TAKEN has it; without the zero
    /// bytes at its end, and without one of the numbers.
    pub(super) fn write_bitmap(&self, without: Option<Seq>, out: &mut Vec<u8>) {
        out.clear();
        let shift = self.floor.0 & 63;
        for (i, word) in self.words.iter().enumerate() {
            let next = self.words.get(i + 1).copied().unwrap_or(0);
            let joined = (u128::from(next) << 64 | u128::from(*word)) >> shift;
            let [b0, b1, b2, b3, b4, b5, b6, b7, ..] = joined.to_le_bytes();
            out.extend_from_slice(&[b0, b1, b2, b3, b4, b5, b6, b7]);
        }
        if let Some(n) = without.and_then(|seq| seq.since(self.floor))
            && let Some(byte) = out.get_mut((n / 8) as usize)
        {
            *byte &= !(1 << (n % 8));
        }
        let used = out.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        out.truncate(used);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.words.capacity() * 8
    }

    #[inline]
    const fn base(&self) -> Seq {
        Seq(self.floor.0 & !63)
    }

    #[inline]
    fn place(&self, seq: Seq) -> (usize, u64) {
        let n = seq.0.wrapping_sub(self.base().0);
        ((n / 64) as usize, 1 << (n % 64))
    }
}
