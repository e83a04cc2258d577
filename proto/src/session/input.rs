//! What was read from the stream.

use crate::{
    limits::{DELIVERY_WINDOW_BYTES, DELIVERY_WINDOW_MESSAGES, MAX_LOCAL_FRAME_BYTES},
    local::{LocalError, RawFrame, is_delivery, put::MAX_DELIVER_HEAD, split},
};

/// Bytes as read, in one buffer:
///
/// ```text
/// |  polled  |  whole frames, scanned  |  a frame's beginning  |  free  |
/// 0        head                     scanned                  tail     buf.len()
/// ```
///
/// Scanning is what acts on outcomes: they never wait behind messages that nobody takes. Deliveries stay where
/// they are until they are polled.
#[derive(Debug)]
pub(super) struct Input {
    buf: Vec<u8>,
    head: usize,
    scanned: usize,
    tail: usize,
    deliveries: usize,
}

impl Input {
    pub(super) const fn new() -> Self {
        Self { buf: Vec::new(), head: 0, scanned: 0, tail: 0, deliveries: 0 }
    }

    /// Forgets everything; the stream that it came from is gone.
    pub(super) const fn clear(&mut self) {
        (self.head, self.scanned, self.tail, self.deliveries) = (0, 0, 0, 0);
    }

    /// Room for at least `min` bytes if the limit leaves it; less, or none, if not.
    pub(super) fn space(&mut self, min: usize) -> &mut [u8] {
        if self.head == self.tail {
            // Where it begins the memory is still in the cache.
            (self.head, self.scanned, self.tail) = (0, 0, 0);
        }
        if self.buf.len() - self.tail < min {
            self.make_room(min);
        }
        &mut self.buf[self.tail..]
    }

    pub(super) fn filled(&mut self, n: usize) {
        debug_assert!(n <= self.buf.len() - self.tail);
        self.tail = self.buf.len().min(self.tail + n);
    }

    /// The next whole frame that was not scanned yet, and where it is.
    pub(super) fn scan(&mut self) -> Result<Option<RawFrame<'_>>, LocalError> {
        let found = split(&self.buf[self.scanned..self.tail])?;
        Ok(found.map(|(frame, len)| {
            self.scanned += len;
            frame
        }))
    }

    /// The frame just scanned is a delivery: it stays until [`next`](Self::next) comes to it.
    pub(super) const fn record_delivery(&mut self) {
        self.deliveries += 1;
    }

    /// Everything that was scanned has been acted upon: unless deliveries wait, nothing of it is needed.
    pub(super) const fn finish_scan(&mut self) {
        if self.deliveries == 0 {
            self.head = self.scanned;
        }
    }

    /// The next scanned frame. Its bytes stay valid until the buffer is next written to.
    pub(super) fn next(&mut self) -> Option<RawFrame<'_>> {
        let (frame, len) = split(&self.buf[self.head..self.scanned]).ok().flatten()?;
        self.head += len;
        Some(frame)
    }

    /// The next scanned frame, which stays the next, and its length.
    #[inline]
    pub(super) fn peek(&self) -> Option<(RawFrame<'_>, usize)> {
        split(&self.buf[self.head..self.scanned]).ok().flatten()
    }

    /// [`peek`](Self::peek)'s frame is done with.
    #[inline]
    pub(super) const fn skip(&mut self, len: usize) {
        self.head += len;
    }

    /// The next delivery, which stays the next.
    pub(super) fn peek_delivery(&self) -> Option<RawFrame<'_>> {
        if self.deliveries == 0 {
            return None;
        }
        let mut rest = &self.buf[self.head..self.scanned];
        loop {
            let (frame, len) = split(rest).ok().flatten()?;
            if is_delivery(&frame) {
                return Some(frame);
            }
            rest = rest.get(len..)?;
        }
    }

    /// [`next`](Self::next) has come to a delivery.
    pub(super) const fn forget_delivery(&mut self) {
        self.deliveries -= 1;
    }

    /// The last `n` bytes that [`next`](Self::next) returned.
    pub(super) fn last(&self, n: usize) -> &[u8] {
        &self.buf[self.head - n..self.head]
    }

    /// Deliveries that wait.
    pub(super) const fn deliveries(&self) -> usize {
        self.deliveries
    }

    pub(super) const fn memory_bytes(&self) -> usize {
        self.buf.capacity()
    }

    fn make_room(&mut self, min: usize) {
        self.buf.copy_within(self.head..self.tail, 0);
        self.scanned -= self.head;
        self.tail -= self.head;
        self.head = 0;
        let want = self.tail.saturating_add(min);
        if want > self.buf.len() {
            let doubled = want.max(2 * self.buf.len()).max(FIRST_BYTES);
            let len = doubled.min(LIMIT_BYTES);
            self.buf.reserve_exact(len - self.buf.len());
            self.buf.resize(len, 0);
        }
    }
}

/// What is allocated at first: one read.
const FIRST_BYTES: usize = 64 << 10;

/// Everything that a daemon may have on its way to us without being told that we took it, the message that
/// overshoots the window included, and one read: so outcomes always come through.
const LIMIT_BYTES: usize =
    DELIVERY_WINDOW_BYTES + DELIVERY_WINDOW_MESSAGES * MAX_DELIVER_HEAD + MAX_LOCAL_FRAME_BYTES + FIRST_BYTES;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::put;

    #[test]
    fn what_was_polled_makes_room_before_more_is_allocated() {
        let mut input = Input::new();
        assert_eq!(input.space(1).len(), FIRST_BYTES);
        let mut frame = Vec::new();
        put::daemon_goodbye(&mut frame);
        input.space(frame.len())[..frame.len()].copy_from_slice(&frame);
        input.filled(frame.len());
        assert!(matches!(input.scan(), Ok(Some(_))));
        input.finish_scan();
        assert_eq!(input.space(FIRST_BYTES).len(), FIRST_BYTES, "as much as there is");
        input.filled(1);
        assert!(input.space(FIRST_BYTES).len() > FIRST_BYTES);
    }
}
