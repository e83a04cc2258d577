//! What clients send, where it was read to.
//!
//! A message stays there until its outcome is known: from its client's socket to the datagrams that carry it, nothing is copied.
//!
//! ```text
//! segments   | message | message |  gone   | message |        a segment is free when the last of its messages is
//!            | message |  gone   | half a frame |             the current one: what comes next is read behind it
//!                                ^ handled      ^ filled
//! ```
//!
//! A message whose outcome takes long would keep a whole segment. So, where segments hold less than half of what they could, the
//! messages of those that are not half full get memory of their own, a few segments at a time: whenever another one begins, and in
//! a sweep, until together they hold no more than [`SPARE_BYTES`] and twice what their messages are charged.

use std::{collections::HashSet, ops::Range, sync::Arc};

use super::{
    arena::Arena,
    buffers::BufferPool,
    chain::{Entry, EntryKey},
    submit::cost,
};
use crate::{ids::ConnId, local::Submit};

/// A message's bytes: the user data, then the payload.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// In memory of its own.
    Own(Vec<u8>),
    /// Where they were read to.
    Read {
        /// Which segment.
        segment: u32,
        /// From where.
        at: u32,
        /// How many.
        len: u32,
    },
}

/// Where a batch of frames stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    segment: u32,
    /// The address of the segment's first byte.
    base: usize,
}

/// A batch of frames of one connection, to be read while the engine works on what they say.
#[derive(Debug)]
pub(crate) struct Batch {
    segment: Arc<[u8]>,
    range: Range<usize>,
    pub(crate) origin: Origin,
}

/// All segments.
#[derive(Debug)]
pub(crate) struct Reads {
    segments: Vec<Segment>,
    /// Those that hold nothing; the one that was used last is used first.
    free: Vec<u32>,
    /// Those without memory.
    bare: Vec<u32>,
    /// What is read goes there...
    current: u32,
    /// ... behind this.
    filled: usize,
    /// So far its frames were handled.
    handled: usize,
    /// Whose frames, or half a frame, is between the two.
    rest_of: Option<ConnId>,
    /// What the messages in segments are charged.
    charged: usize,
    /// Which is looked at next by who looks for one that holds little.
    next: usize,
}

#[derive(Debug)]
struct Segment {
    /// Shared only while a batch of it is handled.
    bytes: Arc<[u8]>,
    /// Messages that stand in it, and what they are charged.
    messages: usize,
    charged: usize,
    /// Which they may be: who was there is not taken out.
    entries: Vec<EntryKey>,
}

impl Bytes {
    /// None.
    pub(crate) const EMPTY: Self = Self::Own(Vec::new());

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Own(bytes) => bytes.len(),
            Self::Read { len, .. } => *len as usize,
        }
    }
}

impl Batch {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.segment[self.range.clone()]
    }
}

impl Reads {
    pub(crate) fn new() -> Self {
        Self {
            segments: vec![Segment::new()],
            free: Vec::new(),
            bare: Vec::new(),
            current: 0,
            filled: 0,
            handled: 0,
            rest_of: None,
            charged: 0,
            next: 0,
        }
    }

    /// A message's bytes.
    #[inline]
    pub(crate) fn get<'a>(&'a self, bytes: &'a Bytes) -> &'a [u8] {
        match bytes {
            Bytes::Own(bytes) => bytes,
            Bytes::Read { segment, at, len } => {
                let (at, len) = (*at as usize, *len as usize);
                &self.segments[*segment as usize].bytes[at..at + len]
            }
        }
    }

    /// A message's segment, to be read while the engine works.
    pub(crate) fn share(&self, segment: u32) -> Arc<[u8]> {
        Arc::clone(&self.segments[segment as usize].bytes)
    }

    /// Has a message of the batch at `origin` stay where it is; one of no batch is copied.
    #[inline(always)]
    pub(crate) fn keep(
        &mut self,
        entry: EntryKey,
        submit: &Submit<'_>,
        origin: Option<Origin>,
        pool: &mut BufferPool,
    ) -> Bytes {
        let len = submit.user.len() + submit.payload.len();
        let Some(Origin { segment, base }) = origin.filter(|_| len > 0) else {
            let mut bytes = pool.take(len);
            bytes.extend_from_slice(submit.user);
            bytes.extend_from_slice(submit.payload);
            return Bytes::Own(bytes);
        };
        // In a frame the payload stands behind the user data.
        let at = submit.payload.as_ptr().addr() - base - submit.user.len();
        let s = &mut self.segments[segment as usize];
        s.messages += 1;
        s.charged += cost(len, 0);
        s.entries.push(entry);
        self.charged += cost(len, 0);
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let kept = Bytes::Read { segment, at: narrow(at), len: narrow(len) };
        debug_assert!(self.get(&kept).ends_with(submit.payload) && self.get(&kept).starts_with(submit.user));
        kept
    }

    /// A message has its outcome.
    #[inline]
    pub(crate) fn release(&mut self, bytes: Bytes, pool: &mut BufferPool) {
        match bytes {
            Bytes::Own(bytes) => pool.put(bytes),
            Bytes::Read { segment, len, .. } => self.forget(segment, len),
        }
    }

    #[inline]
    fn forget(&mut self, segment: u32, len: u32) {
        let s = &mut self.segments[segment as usize];
        s.messages -= 1;
        s.charged -= cost(len as usize, 0);
        self.charged -= cost(len as usize, 0);
        if s.messages == 0 {
            s.entries.clear();
            if segment != self.current {
                self.give_back(segment);
            }
        }
    }

    fn give_back(&mut self, segment: u32) {
        if self.free.len() < FREE_SEGMENTS {
            self.free.push(segment);
        } else {
            self.segments[segment as usize] = Segment::bare();
            self.bare.push(segment);
        }
    }

    /// Whether the current segment has room for one read.
    pub(crate) fn has_room(&mut self) -> bool {
        let s = &mut self.segments[self.current as usize];
        let Some(bytes) = Arc::get_mut(&mut s.bytes) else { return false };
        if s.messages == 0 && self.handled > 0 {
            // Where it begins the memory is still in the cache.
            bytes.copy_within(self.handled..self.filled, 0);
            (self.filled, self.handled) = (self.filled - self.handled, 0);
        }
        bytes.len() - self.filled >= LEAST_READ
    }

    /// Room for a read.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        let bytes = Arc::get_mut(&mut self.segments[self.current as usize].bytes);
        bytes.and_then(|bytes| bytes.get_mut(self.filled..)).unwrap_or_default()
    }

    /// The current segment is full: another one is, with half a frame of the old one. Returns what is too long for that, and whose
    /// it is.
    pub(crate) fn turn_over(&mut self) -> Option<(ConnId, Batch)> {
        let (old, range) = (self.current, self.handled..self.filled);
        let rest = self.batch(range.clone());
        self.current = self.free.pop().unwrap_or_else(|| self.new_segment());
        (self.filled, self.handled) = (0, 0);
        if self.segments[old as usize].messages == 0 {
            self.give_back(old);
        }
        let whose = self.rest_of?;
        if range.len() <= LONGEST_REST {
            self.space()[..range.len()].copy_from_slice(rest.bytes());
            self.filled = range.len();
            return None;
        }
        self.rest_of = None;
        Some((whose, rest))
    }

    fn batch(&self, range: Range<usize>) -> Batch {
        let segment = self.share(self.current);
        let origin = Origin { segment: self.current, base: segment.as_ptr().addr() };
        Batch { segment, range, origin }
    }

    fn new_segment(&mut self) -> u32 {
        if let Some(bare) = self.bare.pop() {
            self.segments[bare as usize] = Segment::new();
            return bare;
        }
        self.segments.push(Segment::new());
        u32::try_from(self.segments.len() - 1).unwrap_or(u32::MAX)
    }

    /// What was read of another connection than `conn`, and is half a frame: what is read now comes behind it, and is not of it.
    pub(crate) fn take_rest_of_others(&mut self, conn: ConnId) -> Option<(ConnId, &[u8])> {
        let whose = self.rest_of.filter(|whose| *whose != conn)?;
        let rest = self.handled..self.filled;
        (self.rest_of, self.handled) = (None, self.filled);
        Some((whose, &self.segments[self.current as usize].bytes[rest]))
    }

    /// `n` bytes of a connection were read: the frames to handle, with those that were left before.
    pub(crate) fn begin(&mut self, conn: ConnId, n: usize) -> Batch {
        let room = self.segments[self.current as usize].bytes.len() - self.filled;
        debug_assert!(self.rest_of.is_none_or(|whose| whose == conn) && n <= room);
        self.filled += n.min(room);
        self.batch(self.handled..self.filled)
    }

    /// Of the batch that began, so many bytes were handled.
    pub(crate) fn end(&mut self, conn: ConnId, used: usize) {
        self.handled += used;
        self.rest_of = (self.handled < self.filled).then_some(conn);
    }

    /// What is left of a connection's is forgotten. Returns how many bytes.
    pub(crate) fn forget_rest_of(&mut self, conn: ConnId) -> usize {
        if self.rest_of != Some(conn) {
            return 0;
        }
        let left = self.filled - self.handled;
        (self.rest_of, self.filled) = (None, self.handled);
        left
    }

    /// Whether segments hold less than half of what they could: [`condense`](Self::condense) has something to do.
    #[inline]
    pub(crate) fn is_sparse(&self) -> bool {
        let used = self.segments.len() - self.free.len() - self.bare.len();
        used * SEGMENT_BYTES > SPARE_BYTES + 2 * self.charged
    }

    /// Where segments hold too little, has the messages of so many segments at most moved to memory of their own. How long that
    /// takes does not depend on how many there are.
    pub(crate) fn condense(&mut self, entries: &mut Arena<EntryKey, Entry>, most: usize) {
        for _ in 0..most {
            if !self.is_sparse() {
                return;
            }
            let Some(sparse) = self.next_sparse() else { return };
            for key in std::mem::take(&mut self.segments[sparse].entries) {
                let Some(entry) = entries.get_mut(key) else { continue };
                let Bytes::Read { segment, at, len } = entry.bytes else { continue };
                if segment as usize != sparse {
                    continue;
                }
                // Not from the pool, whose buffers are larger than some messages that may stay for long.
                entry.bytes = Bytes::Own(self.segments[sparse].bytes[at as usize..][..len as usize].to_vec());
                self.forget(segment, len);
            }
            debug_assert_eq!(self.segments[sparse].messages, 0, "each was listed");
        }
    }

    /// A segment that is less than half full of messages that have no outcome. It looks at so many at most, and the next time at
    /// the next.
    fn next_sparse(&mut self) -> Option<usize> {
        for _ in 0..self.segments.len().min(LOOKED_AT) {
            self.next = (self.next + 1) % self.segments.len();
            let s = &self.segments[self.next];
            if s.messages > 0 && s.charged < SEGMENT_BYTES / 2 && self.next != self.current as usize {
                return Some(self.next);
            }
        }
        None
    }

    /// Whether each segment knows how many messages it has, of those that `all` are.
    pub(crate) fn agrees<'a>(&self, all: impl Iterator<Item = (EntryKey, &'a Bytes)>) -> bool {
        let mut found = vec![(0, 0); self.segments.len()];
        let listed = self.segments.iter().enumerate();
        let listed: HashSet<_> =
            listed.flat_map(|(segment, s)| s.entries.iter().map(move |key| (segment, *key))).collect();
        let mut are_listed = true;
        for (key, bytes) in all {
            if let Bytes::Read { segment, at, len } = bytes {
                let s = &self.segments[*segment as usize];
                found[*segment as usize].0 += 1;
                found[*segment as usize].1 += cost(*len as usize, 0);
                are_listed &= listed.contains(&(*segment as usize, key));
                are_listed &= (*at + *len) as usize <= s.bytes.len();
            }
        }
        let known = self.segments.iter().map(|s| (s.messages, s.charged));
        are_listed
            && known.eq(found.iter().copied())
            && self.charged == found.iter().map(|(_, charged)| charged).sum::<usize>()
            && self.free.iter().all(|i| *i != self.current && self.segments[*i as usize].messages == 0)
    }

    /// Bytes of all segments.
    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.segments.iter().map(|s| s.bytes.len()).sum()
    }
}

impl Segment {
    fn new() -> Self {
        let bytes = std::iter::repeat_n(0, SEGMENT_BYTES).collect();
        Self { bytes, messages: 0, charged: 0, entries: Vec::new() }
    }

    fn bare() -> Self {
        Self { bytes: Arc::new([]), messages: 0, charged: 0, entries: Vec::new() }
    }
}

/// About what a socket holds: one read takes it all.
const SEGMENT_BYTES: usize = 256 << 10;

/// A read has at least this much room.
const LEAST_READ: usize = 64 << 10;

/// Half a frame that is longer does not move to the next segment: its frame is put together elsewhere.
const LONGEST_REST: usize = 64 << 10;

/// Segments that are kept for what comes.
const FREE_SEGMENTS: usize = 16;

/// Segments that one look for a sparse one takes in.
const LOOKED_AT: usize = 256;

/// So much in segments is not worth looking at what they hold.
const SPARE_BYTES: usize = 1 << 20;

#[cfg(test)]
#[path = "reads_tests.rs"]
mod tests;
