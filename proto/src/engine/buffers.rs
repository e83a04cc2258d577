//! Byte buffers: a pool, so that a message in the steady state allocates nothing, and a connection's output.

/// Hands out buffers and takes them back.
#[derive(Debug, Default)]
pub(crate) struct BufferPool {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl BufferPool {
    /// An empty buffer; it has room for `len` bytes.
    #[inline(always)]
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = self.shelf(len).pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve(len);
        buffer
    }

    /// A buffer of `len` bytes, whatever they are: for who overwrites each.
    pub(crate) fn take_dirty(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = self.shelf(len).pop().unwrap_or_default();
        buffer.resize(len, 0);
        buffer
    }

    /// Takes a buffer back.
    #[inline(always)]
    pub(crate) fn put(&mut self, buffer: Vec<u8>) {
        match buffer.capacity() {
            0 => {}
            1..=SMALL_KEPT if self.small.len() < SMALL_BUFFERS => self.small.push(buffer),
            SMALL_BOUND..=LARGE if self.large.len() < LARGE_BUFFERS => self.large.push(buffer),
            _ => {}
        }
    }

    #[inline(always)]
    fn shelf(&mut self, len: usize) -> &mut Vec<Vec<u8>> {
        if len <= SMALL { &mut self.small } else { &mut self.large }
    }
}

/// Bytes that wait to be written to a connection.
#[derive(Debug, Default)]
pub(crate) struct OutBuffer {
    bytes: Vec<u8>,
    head: usize,
    consumed: u64,
}

impl OutBuffer {
    /// What waits.
    pub(crate) fn pending(&self) -> &[u8] {
        &self.bytes[self.head..]
    }

    /// Where frames are appended.
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The stream offset behind what has been appended so far.
    pub(crate) fn end(&self) -> u64 {
        self.consumed + self.pending().len() as u64
    }

    /// The stream offset of what waits: everything before it has been written.
    pub(crate) const fn written(&self) -> u64 {
        self.consumed
    }

    /// Whether it has more room than an idle connection needs.
    pub(crate) fn is_roomy(&self) -> bool {
        self.bytes.capacity() > KEPT_OUTPUT
    }

    /// Gives room back, where nothing waits.
    pub(crate) fn trim(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
    }

    /// The first `n` bytes have been written.
    pub(crate) fn consume(&mut self, n: usize) {
        let n = n.min(self.bytes.len() - self.head);
        self.head += n;
        self.consumed += n as u64;
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head >= COMPACT_FROM && self.head * 2 >= self.bytes.len() {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }
}

const SMALL: usize = 2048;
const SMALL_KEPT: usize = 4 * SMALL;
const SMALL_BOUND: usize = SMALL_KEPT + 1;
const LARGE: usize = 64 << 10;
const SMALL_BUFFERS: usize = 4096;
const LARGE_BUFFERS: usize = 256;
const KEPT_OUTPUT: usize = 4 << 10;
const COMPACT_FROM: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_empty_or_as_long_as_was_asked_for_whatever_it_was_used_for() {
        let mut pool = BufferPool::default();
        for len in [0, 3, SMALL, SMALL + 1, LARGE] {
            pool.put(vec![7; 100]);
            pool.put(vec![7; SMALL_BOUND]);
            let buffer = pool.take(len);
            assert!(buffer.is_empty() && buffer.capacity() >= len);
            pool.put(vec![7; 100]);
            pool.put(vec![7; SMALL_BOUND]);
            assert_eq!(pool.take_dirty(len).len(), len);
        }
    }

    #[test]
    fn a_pool_keeps_so_many_of_each_size_and_no_more() {
        let mut pool = BufferPool::default();
        for _ in 0..=SMALL_BUFFERS.max(LARGE_BUFFERS) {
            for capacity in [0, SMALL, SMALL_KEPT, SMALL_BOUND, LARGE, LARGE + 1] {
                pool.put(Vec::with_capacity(capacity));
            }
        }
        assert_eq!((pool.small.len(), pool.large.len()), (SMALL_BUFFERS, LARGE_BUFFERS));
        assert!(pool.small.iter().all(|b| (1..=SMALL_KEPT).contains(&b.capacity())));
        assert!(pool.large.iter().all(|b| (SMALL_BOUND..=LARGE).contains(&b.capacity())));
        assert!(pool.take(SMALL).capacity() >= SMALL);
        assert_eq!((pool.small.len(), pool.large.len()), (SMALL_BUFFERS - 1, LARGE_BUFFERS));
        assert!(pool.take(SMALL + 1).capacity() > SMALL);
        assert_eq!((pool.small.len(), pool.large.len()), (SMALL_BUFFERS - 1, LARGE_BUFFERS - 1));
    }

    #[test]
    fn what_was_written_is_cut_off_when_it_is_much_and_more_than_what_waits() {
        let mut out = OutBuffer::default();
        out.tail().resize(3 * COMPACT_FROM, 7);
        out.consume(COMPACT_FROM);
        assert_eq!(
            (out.bytes.len(), out.pending().len()),
            (3 * COMPACT_FROM, 2 * COMPACT_FROM),
            "under half"
        );
        out.consume(COMPACT_FROM / 2);
        assert_eq!((out.bytes.len(), out.head), (3 * COMPACT_FROM / 2, 0));
        out.consume(COMPACT_FROM - 1);
        assert_eq!(out.head, COMPACT_FROM - 1, "not much");
        assert_eq!((out.written(), out.end()), (5 * COMPACT_FROM as u64 / 2 - 1, 3 * COMPACT_FROM as u64));
        out.consume(usize::MAX);
        assert_eq!((out.bytes.len(), out.head, out.written()), (0, 0, 3 * COMPACT_FROM as u64));
    }

    #[test]
    fn room_beyond_what_is_kept_is_given_back_once_nothing_waits() {
        for (capacity, is_roomy) in [(KEPT_OUTPUT, false), (KEPT_OUTPUT + 1, true), (1 << 20, true)] {
            let mut out = OutBuffer { bytes: Vec::with_capacity(capacity), ..OutBuffer::default() };
            assert_eq!(out.is_roomy(), is_roomy, "{capacity}");
            out.tail().push(7);
            out.trim();
            assert_eq!((out.pending(), out.is_roomy()), (&[7][..], is_roomy));
            out.consume(1);
            out.trim();
            assert!(!out.is_roomy());
        }
    }

    #[test]
    fn output_keeps_offsets_through_compaction() {
        let mut out = OutBuffer::default();
        out.tail().extend_from_slice(&vec![1; 200 << 10]);
        assert_eq!(out.end(), 200 << 10);
        out.consume(150 << 10);
        assert_eq!((out.written(), out.end()), (150 << 10, 200 << 10));
        out.tail().extend_from_slice(&[2; 10]);
        assert_eq!(out.pending().len(), (50 << 10) + 10);
        assert_eq!(out.pending().last(), Some(&2));
        out.consume(usize::MAX);
        assert!(out.pending().is_empty());
        assert_eq!(out.written(), (200 << 10) + 10);
    }

    #[test]
    fn the_pool_reuses_and_is_bounded() {
        let mut pool = BufferPool::default();
        let buffer = pool.take(100);
        let (at, capacity) = (buffer.as_ptr(), buffer.capacity());
        assert!(capacity >= 100);
        pool.put(buffer);
        let again = pool.take(50);
        assert_eq!(again.as_ptr(), at);
        for _ in 0..2 * SMALL_BUFFERS {
            pool.put(Vec::with_capacity(10));
        }
        assert_eq!(pool.small.len(), SMALL_BUFFERS);
        pool.put(Vec::with_capacity(1 << 20));
        assert!(pool.large.is_empty());
    }
}
