//! What is to be written to a connection.

use std::{collections::VecDeque, mem};

use super::buffers::BufferPool;

/// Bytes that wait to be written to a connection.
///
/// A large payload that has memory of its own already stays there, and is spliced in between the frames:
///
/// ```text
/// bytes      | written | frame | head of a frame |                     | frame | head of a frame |
///                      ^ head                    ^ at                                            ^ at
/// spliced                                        | its payload         |                         | its payload
/// ```
#[derive(Debug, Default)]
pub(crate) struct OutBuffer {
    /// Frames, but for the payloads that are spliced in.
    bytes: Vec<u8>,
    /// What of them was written.
    head: usize,
    spliced: VecDeque<Spliced>,
    /// What of the first one was written.
    begun: usize,
    /// What of all of them was not.
    spliced_len: usize,
    consumed: u64,
}

/// A payload in memory of its own; never empty.
#[derive(Debug)]
struct Spliced {
    /// It follows so many of the frames' bytes.
    at: usize,
    payload: Vec<u8>,
}

/// What waits to be written to a connection: parts that follow each other.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a>(Option<&'a OutBuffer>);

impl<'a> Output<'a> {
    /// Nothing.
    pub(crate) const EMPTY: Self = Self(None);

    /// How many bytes they are together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.map_or(0, OutBuffer::len)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, if it is one part or none, as it is most times.
    #[must_use]
    #[inline]
    pub fn whole(&self) -> Option<&'a [u8]> {
        self.0.map_or(Some(&[]), |out| out.spliced.is_empty().then(|| &out.bytes[out.head..]))
    }

    /// The parts, none of which is empty.
    pub fn parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.into_iter().flat_map(OutBuffer::parts).filter(|part| !part.is_empty())
    }

    /// All of it, in one piece.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.parts().fold(Vec::with_capacity(self.len()), |mut all, part| {
            all.extend_from_slice(part);
            all
        })
    }
}

impl OutBuffer {
    /// What waits.
    #[inline]
    pub(crate) const fn pending(&self) -> Output<'_> {
        Output(Some(self))
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let (mut at, mut begun) = (self.head, self.begun);
        let between = self.spliced.iter().flat_map(move |s| {
            let frames = &self.bytes[mem::replace(&mut at, s.at)..s.at];
            [frames, &s.payload[mem::take(&mut begun)..]]
        });
        let last = self.spliced.back().map_or(self.head, |s| s.at);
        between.chain([&self.bytes[last..]])
    }

    /// How many bytes wait.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.head + self.spliced_len
    }

    /// Where frames are appended.
    #[inline]
    pub(crate) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Appends a payload where it stands, which is to be large: each is written apart.
    pub(crate) fn splice(&mut self, payload: Vec<u8>) {
        debug_assert!(!payload.is_empty(), "parts are not empty");
        self.spliced_len += payload.len();
        self.spliced.push_back(Spliced { at: self.bytes.len(), payload });
    }

    /// The stream offset behind what has been appended so far.
    #[inline]
    pub(crate) fn end(&self) -> u64 {
        self.consumed + self.len() as u64
    }

    /// The stream offset of what waits: everything before it has been written.
    pub(crate) const fn written(&self) -> u64 {
        self.consumed
    }

    /// Whether it has more room than an idle connection needs.
    pub(crate) fn is_roomy(&self) -> bool {
        self.bytes.capacity() > KEPT_OUTPUT || self.spliced.capacity() > KEPT_SPLICED
    }

    /// Gives room back, where nothing waits.
    pub(crate) fn trim(&mut self) {
        if self.len() == 0 {
            (self.bytes, self.spliced) = (Vec::new(), VecDeque::new());
        }
    }

    /// The first `n` bytes have been written. Payloads that have been go back to the pool.
    pub(crate) fn consume(&mut self, n: usize, pool: &mut BufferPool) {
        let mut n = n.min(self.len());
        self.consumed += n as u64;
        while let Some(first) = self.spliced.front() {
            let frames = n.min(first.at - self.head);
            (self.head, n) = (self.head + frames, n - frames);
            let written = n.min(first.payload.len() - self.begun);
            (self.begun, self.spliced_len, n) =
                (self.begun + written, self.spliced_len - written, n - written);
            if self.begun < first.payload.len() {
                break;
            }
            self.begun = 0;
            if let Some(Spliced { payload, .. }) = self.spliced.pop_front() {
                pool.put(payload);
            }
        }
        self.head += n;
        self.compact();
    }

    fn compact(&mut self) {
        if self.head == self.bytes.len() && self.spliced.is_empty() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head >= COMPACT_FROM && self.head * 2 >= self.bytes.len() {
            self.bytes.drain(..self.head);
            self.spliced.iter_mut().for_each(|s| s.at -= self.head);
            self.head = 0;
        }
    }
}

const KEPT_OUTPUT: usize = 4 << 10;
const KEPT_SPLICED: usize = 16;
const COMPACT_FROM: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(out: &OutBuffer) -> Vec<&[u8]> {
        out.pending().parts().collect()
    }

    #[test]
    fn what_was_written_is_cut_off_when_it_is_much_and_more_than_what_waits() {
        let mut pool = BufferPool::default();
        let mut out = OutBuffer::default();
        out.tail().resize(3 * COMPACT_FROM, 7);
        out.consume(COMPACT_FROM, &mut pool);
        assert_eq!(
            (out.bytes.len(), out.pending().len()),
            (3 * COMPACT_FROM, 2 * COMPACT_FROM),
            "under half"
        );
        out.consume(COMPACT_FROM / 2, &mut pool);
        assert_eq!((out.bytes.len(), out.head), (3 * COMPACT_FROM / 2, 0));
        out.consume(COMPACT_FROM - 1, &mut pool);
        assert_eq!(out.head, COMPACT_FROM - 1, "not much");
        assert_eq!((out.written(), out.end()), (5 * COMPACT_FROM as u64 / 2 - 1, 3 * COMPACT_FROM as u64));
        out.consume(usize::MAX, &mut pool);
        assert_eq!((out.bytes.len(), out.head, out.written()), (0, 0, 3 * COMPACT_FROM as u64));
    }

    #[test]
    fn room_beyond_what_is_kept_is_given_back_once_nothing_waits() {
        let mut pool = BufferPool::default();
        for (capacity, is_roomy) in [(KEPT_OUTPUT, false), (KEPT_OUTPUT + 1, true), (1 << 20, true)] {
            let mut out = OutBuffer { bytes: Vec::with_capacity(capacity), ..OutBuffer::default() };
            assert_eq!(out.is_roomy(), is_roomy, "{capacity}");
            out.tail().push(7);
            out.trim();
            assert_eq!((out.pending().to_vec(), out.is_roomy()), (vec![7], is_roomy));
            out.consume(1, &mut pool);
            out.trim();
            assert!(!out.is_roomy());
        }
    }

    #[test]
    fn output_keeps_offsets_through_compaction() {
        let mut pool = BufferPool::default();
        let mut out = OutBuffer::default();
        out.tail().extend_from_slice(&vec![1; 200 << 10]);
        assert_eq!(out.end(), 200 << 10);
        out.consume(150 << 10, &mut pool);
        assert_eq!((out.written(), out.end()), (150 << 10, 200 << 10));
        out.tail().extend_from_slice(&[2; 10]);
        assert_eq!(out.pending().len(), (50 << 10) + 10);
        assert_eq!(out.pending().to_vec().last(), Some(&2));
        out.consume(usize::MAX, &mut pool);
        assert!(out.pending().is_empty());
        assert_eq!(out.written(), (200 << 10) + 10);
    }

    #[test]
    fn payloads_stand_between_the_frames() {
        let (mut out, mut pool) = (OutBuffer::default(), BufferPool::default());
        assert_eq!((parts(&out), out.pending().whole()), (vec![], Some(&[][..])));
        out.splice(vec![1, 2, 3]);
        assert_eq!((parts(&out), out.pending().whole()), (vec![&[1, 2, 3][..]], None));
        out.tail().extend([4, 5]);
        out.splice(vec![6]);
        out.splice(vec![7, 8]);
        out.tail().push(9);
        let all = [[1, 2, 3].as_slice(), &[4, 5], &[6], &[7, 8], &[9]];
        assert_eq!(parts(&out), all);
        assert_eq!((out.len(), out.end(), out.pending().len()), (9, 9, 9));
        out.consume(2, &mut pool);
        assert_eq!(parts(&out), [&[3][..], &[4, 5], &[6], &[7, 8], &[9]]);
        out.consume(2, &mut pool);
        assert_eq!(parts(&out), [&[5][..], &[6], &[7, 8], &[9]]);
        out.consume(3, &mut pool);
        assert_eq!(parts(&out), [&[8][..], &[9]]);
        assert_eq!((out.written(), out.len(), out.end()), (7, 2, 9));
        out.tail().push(10);
        assert_eq!(out.pending().to_vec(), [8, 9, 10]);
        out.consume(1, &mut pool);
        assert_eq!(out.pending().whole(), Some(&[9, 10][..]));
        out.consume(2, &mut pool);
        assert!(out.pending().is_empty() && parts(&out).is_empty());
        assert_eq!((out.bytes.len(), out.head, out.written()), (0, 0, 10));
    }

    #[test]
    fn a_payload_that_is_written_goes_back_to_the_pool_and_none_before() {
        let (mut out, mut pool) = (OutBuffer::default(), BufferPool::default());
        let payload = vec![7; 20_000];
        let at = payload.as_ptr();
        out.splice(payload);
        out.consume(19_999, &mut pool);
        let another = pool.take(20_000);
        assert_ne!(another.as_ptr(), at);
        out.consume(1, &mut pool);
        let again = pool.take(20_000);
        assert_eq!(again.as_ptr(), at);
    }

    proptest::proptest! {
        /// Whatever is appended, spliced in and written in whatever steps, the stream is that of one buffer.
        #[test]
        fn the_stream_is_what_was_appended(
            steps in proptest::collection::vec((0..3_u8, 1..50_000_usize), 1..60)
        ) {
            let (mut out, mut pool) = (OutBuffer::default(), BufferPool::default());
            let (mut model, mut next, mut written) = (VecDeque::new(), 0_u8, 0);
            for (kind, len) in steps {
                if kind == 0 {
                    let n = len.min(model.len());
                    out.consume(n, &mut pool);
                    model.drain(..n);
                    written += n;
                } else {
                    next = next.wrapping_add(1);
                    let bytes = vec![next; len];
                    model.extend(&bytes);
                    if kind == 1 { out.tail().extend_from_slice(&bytes) } else { out.splice(bytes) }
                }
                assert_eq!((out.written(), out.len()), (written as u64, model.len()));
                assert!(out.pending().to_vec() == *model.make_contiguous());
                assert!(out.pending().parts().all(|part| !part.is_empty()));
                assert!(out.head < COMPACT_FROM || 2 * out.head <= out.bytes.len().max(1), "{}", out.head);
            }
        }
    }
}
