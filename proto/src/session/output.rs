//! What is to be written to the stream.

use super::unresolved::NewEntry;
use crate::{
    ids::MsgId,
    local::{Addressee, Submit, put},
    units::Time,
};

/// A queue of bytes that knows how many ever went through it, so that a frame's place tells whether any of
/// it was written.
#[derive(Debug)]
pub(super) struct Output {
    bytes: Vec<u8>,
    head: usize,
    consumed: u64,
}

impl Output {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), head: 0, consumed: 0 }
    }

    /// Forgets what was not written; the stream is gone.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP_BYTES);
        self.head = 0;
    }

    /// For appending frames.
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        if self.head >= MOVE_BYTES && self.head >= self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        &mut self.bytes
    }

    /// `send_time`: of the message, by the raw clock.
    #[inline(always)]
    pub(super) fn submit(&mut self, msgid: MsgId, send_time: Time, m: &NewEntry<'_>) {
        let NewEntry { dst, seq, channel, at_least_once, is_call, user, payload, .. } = *m;
        let to = m.to.map(|to| Addressee { incarnation: to.instance.incarnation, node: &to.node });
        put::submit(
            self.frames(),
            &Submit { dst, msgid, seq, channel, at_least_once, is_call, to, send_time, user, payload },
        );
    }

    pub(super) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        let n = n.min(self.len());
        self.head += n;
        self.consumed += n as u64;
        if self.head == self.bytes.len() {
            self.clear();
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    /// Where the next frame will begin, counted over all streams.
    pub(super) const fn position(&self) -> u64 {
        self.consumed + self.len() as u64
    }

    /// Bytes written, over all streams.
    pub(super) const fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

/// Capacity kept when nothing waits.
const KEEP_BYTES: usize = 1 << 20;

/// What was written is cut off the front when it is this much, and more than what waits.
const MOVE_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_cut_off_when_it_is_much_and_more_than_what_waits() {
        let mut out = Output::new();
        out.frames().resize(4 * MOVE_BYTES, 7);
        out.consume(2 * MOVE_BYTES - 1);
        assert_eq!(out.frames().len(), 4 * MOVE_BYTES, "more waits");
        out.consume(1);
        assert_eq!((out.frames().len(), out.len()), (2 * MOVE_BYTES, 2 * MOVE_BYTES));
        out.consume(MOVE_BYTES - 1);
        assert_eq!(out.frames().len(), 2 * MOVE_BYTES, "it is not much");
        assert_eq!((out.consumed(), out.position()), (3 * MOVE_BYTES as u64 - 1, 4 * MOVE_BYTES as u64));
        out.consume(MOVE_BYTES + 1);
        assert_eq!((out.bytes.len(), out.head, out.consumed()), (0, 0, 4 * MOVE_BYTES as u64));
    }

    #[test]
    fn an_output_without_a_backlog_keeps_little_room() {
        let mut out = Output::new();
        out.frames().resize(4 * KEEP_BYTES, 7);
        out.consume(4 * KEEP_BYTES);
        assert_eq!(out.memory_bytes(), KEEP_BYTES);
    }
}
