//! Byte buffers: a pool, so that a message in the steady state allocates nothing.

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

const SMALL: usize = 2048;
const SMALL_KEPT: usize = 4 * SMALL;
const SMALL_BOUND: usize = SMALL_KEPT + 1;
const LARGE: usize = 64 << 10;
const SMALL_BUFFERS: usize = 4096;
const LARGE_BUFFERS: usize = 256;

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
