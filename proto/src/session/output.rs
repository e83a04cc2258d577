//! What is to be written to the stream, and messages that stay there until their outcome.

use std::{collections::VecDeque, mem};

use super::unresolved::{Entry, NewEntry, charge, submit_frame_len};
use crate::{
    ids::MsgId,
    local::{Addressee, Submit, put},
    units::Time,
};

/// A queue of bytes that knows how many ever went through it, so that a frame's place tells whether any of
/// it was written.
///
/// ```text
/// segments   | frames | frames |            all written: there for the messages that have no outcome
///            | frames | frames | frames |   queued
///                 ^ head
///            | frames |                     the current one: what comes is appended
/// ```
///
/// A message that a segment has no room for begins another one, so a longer one stands alone, and goes with its outcome. One
/// whose outcome takes long would keep a whole segment with others in it: see [`is_sparse`](Self::is_sparse). A large one that
/// waited brings the memory where it did: it is a segment by itself.
#[derive(Debug)]
pub(super) struct Output {
    segments: Vec<Segment>,
    /// Those before the current one that are not wholly written.
    queue: VecDeque<u32>,
    /// What of those is not written.
    queued: usize,
    /// What of the first one, or of the current one where none is queued, was written.
    head: usize,
    current: u32,
    /// Those that hold nothing; the one that was used last is used first.
    free: Vec<u32>,
    /// Those that are a message's own memory...
    alone: usize,
    /// ... and those that were, and have none.
    bare: Vec<u32>,
    /// Which is looked at next by who looks for one that holds little.
    next: usize,
    /// What the messages in segments are charged, but for those that are one by themselves.
    charged: usize,
    consumed: u64,
}

#[derive(Debug, Default)]
struct Segment {
    bytes: Vec<u8>,
    /// Messages that stay in it, and what they are charged.
    messages: usize,
    charged: usize,
    /// Which they may be, by their place among the entries: who was there is not taken out.
    entries: Vec<u32>,
    /// It is one message's frame, and was its own memory.
    is_alone: bool,
}

/// Where a message's user data and payload stay.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    segment: u32,
    at: u32,
    len: u32,
}

impl Kept {
    /// Nowhere: they are the entry's own.
    pub(super) const NOWHERE: Self = Self { segment: u32::MAX, at: 0, len: 0 };

    pub(super) const fn is_somewhere(self) -> bool {
        self.segment != u32::MAX
    }

    pub(super) const fn is_in(self, segment: u32) -> bool {
        self.segment == segment
    }

    pub(super) const fn len(self) -> usize {
        self.len as usize
    }
}

impl Output {
    pub(super) fn new() -> Self {
        Self {
            segments: vec![Segment::default()],
            queue: VecDeque::new(),
            queued: 0,
            head: 0,
            current: 0,
            free: Vec::new(),
            alone: 0,
            bare: Vec::new(),
            next: 0,
            charged: 0,
            consumed: 0,
        }
    }

    /// Forgets what was not written; the stream is gone. Messages stay.
    pub(super) fn clear(&mut self) {
        for segment in mem::take(&mut self.queue) {
            self.recycle_empty(segment);
        }
        (self.queued, self.head) = (0, 0);
        if self.segments[self.current as usize].messages > 0 {
            self.current = self.next_segment();
        }
        self.reset_current();
    }

    /// For appending frames that no message stays in.
    #[inline]
    pub(super) fn frames(&mut self) -> &mut Vec<u8> {
        self.room_for(0)
    }

    /// For appending `len` bytes: in the current segment, or in one that begins with them.
    #[inline]
    fn room_for(&mut self, len: usize) -> &mut Vec<u8> {
        let filled = self.segments[self.current as usize].bytes.len();
        if filled > 0 && filled + len >= SEGMENT_BYTES {
            self.turn_over();
        }
        &mut self.segments[self.current as usize].bytes
    }

    /// `send_time`: of the message, by the raw clock.
    #[inline(always)]
    pub(super) fn submit(&mut self, msgid: MsgId, send_time: Time, m: &NewEntry<'_>) {
        put_submit(self.room_for(submit_len(m)), msgid, send_time, m);
    }

    /// The same of a message that waited. A large one is not copied, and stays there.
    pub(super) fn submit_again(&mut self, msgid: MsgId, send_time: Time, entry: &mut Entry) {
        if let Some((mut frame, head)) = entry.take_frame() {
            put::set_submit_time(&mut frame, send_time);
            entry.keep(self.splice(frame, head));
        } else if self.is_alone(entry.kept()) {
            let segment = entry.kept().segment;
            put::set_submit_time(&mut self.segments[segment as usize].bytes, send_time);
            self.enqueue(segment);
        } else {
            self.copy(msgid, send_time, entry);
        }
    }

    fn copy(&mut self, msgid: MsgId, send_time: Time, entry: &Entry) {
        let mut frames = mem::take(self.room_for(submit_len(&entry.as_sent(self))));
        debug_assert!(
            !entry.kept().is_in(self.current),
            "what stands in this stream is not written to it again"
        );
        put_submit(&mut frames, msgid, send_time, &entry.as_sent(self));
        self.segments[self.current as usize].bytes = frames;
    }

    /// Appends a message's frame where it is. So much of it stands before what stays.
    fn splice(&mut self, frame: Vec<u8>, head: usize) -> Kept {
        let segment = self.bare.pop().unwrap_or_else(|| self.new_segment());
        self.alone += 1;
        let narrow = |n: usize| u32::try_from(n).unwrap_or(0);
        let kept = Kept { segment, at: narrow(head), len: narrow(frame.len() - head) };
        let charged = charge(0, kept.len());
        self.segments[segment as usize] =
            Segment { bytes: frame, messages: 1, charged, entries: Vec::new(), is_alone: true };
        self.enqueue(segment);
        kept
    }

    /// Appends a segment by itself.
    fn enqueue(&mut self, segment: u32) {
        debug_assert!(!self.queue.contains(&segment), "it is written once to a stream");
        if !self.segments[self.current as usize].bytes.is_empty() {
            self.turn_over();
        }
        self.queue.push_back(segment);
        self.queued += self.segments[segment as usize].bytes.len();
    }

    /// Whether a message that waits is written without being copied.
    #[inline]
    pub(super) fn has_place_of(&self, entry: &Entry) -> bool {
        entry.is_framed() || self.is_alone(entry.kept())
    }

    fn is_alone(&self, kept: Kept) -> bool {
        kept.is_somewhere() && self.segments[kept.segment as usize].is_alone
    }

    /// Has the last `len` bytes stay, which are a message's.
    #[inline]
    pub(super) fn keep_last(&mut self, entry: u32, len: usize) -> Kept {
        if len == 0 {
            return Kept::NOWHERE;
        }
        let s = &mut self.segments[self.current as usize];
        s.messages += 1;
        s.charged += charge(0, len);
        s.entries.push(entry);
        self.charged += charge(0, len);
        let narrow = |n: usize| u32::try_from(n).unwrap_or(0);
        Kept { segment: self.current, at: narrow(s.bytes.len() - len), len: narrow(len) }
    }

    /// What stays there.
    #[inline]
    pub(super) fn kept(&self, kept: Kept) -> &[u8] {
        &self.segments[kept.segment as usize].bytes[kept.at as usize..][..kept.len as usize]
    }

    /// It need not stay any longer. Returns memory that was a message's own, unless what it holds is yet to be written.
    #[inline]
    pub(super) fn release(&mut self, kept: Kept) -> Option<Vec<u8>> {
        let s = &mut self.segments[kept.segment as usize];
        s.messages -= 1;
        s.charged -= charge(0, kept.len());
        if s.is_alone {
            return self.release_alone(kept.segment);
        }
        self.charged -= charge(0, kept.len());
        if s.messages == 0 {
            s.entries.clear();
            if kept.segment == self.current {
                self.settle_current();
            } else if !self.queue.contains(&kept.segment) {
                self.recycle_empty(kept.segment);
            }
        }
        None
    }

    fn release_alone(&mut self, segment: u32) -> Option<Vec<u8>> {
        if self.queue.contains(&segment) {
            return None;
        }
        let frame = mem::take(&mut self.segments[segment as usize].bytes);
        self.recycle_empty(segment);
        Some(frame)
    }

    /// Whether segments hold less than half of what they could: then [`next_sparse`](Self::next_sparse) should hold nothing.
    #[inline]
    pub(super) fn is_sparse(&self) -> bool {
        let used = self.segments.len() - self.free.len() - self.bare.len() - self.alone;
        used * SEGMENT_BYTES > SPARE_BYTES + 2 * self.charged
    }

    /// A segment that messages keep which fill less than half of it, and the entries that these may be. It looks at so many at
    /// most, and the next time at the next: what is asked for once a read or a send takes no longer where there are many.
    pub(super) fn next_sparse(&mut self) -> Option<(u32, Vec<u32>)> {
        for _ in 0..self.segments.len().min(LOOKED_AT) {
            self.next = (self.next + 1) % self.segments.len();
            let (at, s) = (u32::try_from(self.next).unwrap_or(u32::MAX), &mut self.segments[self.next]);
            if s.messages > 0
                && !s.is_alone
                && s.charged < SEGMENT_BYTES / 2
                && at != self.current
                && !self.queue.contains(&at)
            {
                return Some((at, mem::take(&mut s.entries)));
            }
        }
        None
    }

    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.len());
        let mut n = n.min(self.len());
        self.consumed += n as u64;
        while let Some(first) = self.queue.front().copied().filter(|_| n > 0) {
            let left = self.segments[first as usize].bytes.len() - self.head;
            let written = n.min(left);
            (self.head, self.queued, n) = (self.head + written, self.queued - written, n - written);
            if written == left {
                self.queue.pop_front();
                self.head = 0;
                self.recycle_empty(first);
            }
        }
        self.head += n;
        self.settle_current();
    }

    /// What waits, or its first part.
    pub(super) fn bytes(&self) -> &[u8] {
        let first = self.queue.front().copied().unwrap_or(self.current);
        &self.segments[first as usize].bytes[self.head..]
    }

    /// What waits, part by part.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut head = self.head;
        let segments = self.queue.iter().chain([&self.current]);
        let parts = segments.map(move |s| &self.segments[*s as usize].bytes[mem::take(&mut head)..]);
        parts.filter(|part| !part.is_empty())
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        let current = self.segments[self.current as usize].bytes.len();
        if self.queue.is_empty() { current - self.head } else { self.queued + current }
    }

    /// Where the next frame will begin, counted over all streams.
    #[inline]
    pub(super) fn position(&self) -> u64 {
        self.consumed + self.len() as u64
    }

    /// Bytes written, over all streams.
    pub(super) const fn consumed(&self) -> u64 {
        self.consumed
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let of = |s: &Segment| s.bytes.capacity() + s.entries.capacity() * size_of::<u32>();
        self.segments.iter().map(of).sum()
    }

    /// The current segment, if all of it is written: it begins anew if no message stays in it, and another one does if it has no room
    /// for as much as is written at a time.
    fn settle_current(&mut self) {
        let s = &self.segments[self.current as usize];
        if !self.queue.is_empty() || self.head < s.bytes.len() {
            return;
        }
        if s.messages == 0 {
            self.reset_current();
            self.head = 0;
        } else if s.bytes.len() + CHUNK_BYTES > SEGMENT_BYTES {
            self.turn_over();
        }
    }

    fn reset_current(&mut self) {
        let s = &mut self.segments[self.current as usize];
        s.bytes.clear();
        s.bytes.shrink_to(2 * SEGMENT_BYTES);
    }

    /// Another segment is the current one.
    #[cold]
    fn turn_over(&mut self) {
        let (old, len) = (self.current, self.segments[self.current as usize].bytes.len());
        self.current = self.next_segment();
        if !self.queue.is_empty() {
            self.queue.push_back(old);
            self.queued += len;
        } else if self.head < len {
            self.queue.push_back(old);
            self.queued = len - self.head;
        } else {
            self.head = 0;
            self.recycle_empty(old);
        }
    }

    fn next_segment(&mut self) -> u32 {
        self.free.pop().unwrap_or_else(|| self.new_segment())
    }

    fn new_segment(&mut self) -> u32 {
        self.segments.push(Segment::default());
        u32::try_from(self.segments.len() - 1).unwrap_or(u32::MAX)
    }

    /// A segment that is written is free if no message stays in it.
    fn recycle_empty(&mut self, segment: u32) {
        let s = &mut self.segments[segment as usize];
        if s.messages > 0 {
            return;
        }
        if s.is_alone {
            *s = Segment::default();
            self.alone -= 1;
            self.bare.push(segment);
            return;
        }
        s.bytes.clear();
        s.bytes.shrink_to(2 * SEGMENT_BYTES);
        if self.free.len() < FREE_SEGMENTS {
            self.free.push(segment);
        } else {
            *s = Segment::default();
            self.free.insert(0, segment);
        }
    }
}

#[inline(always)]
pub(super) fn put_submit(out: &mut Vec<u8>, msgid: MsgId, send_time: Time, m: &NewEntry<'_>) {
    let NewEntry { dst, seq, channel, at_least_once, is_call, user, payload, .. } = *m;
    let to = m.to.map(|to| Addressee { incarnation: to.instance.incarnation, node: &to.node });
    put::submit(
        out,
        &Submit { dst, msgid, seq, channel, at_least_once, is_call, to, send_time, user, payload },
    );
}

#[inline(always)]
fn submit_len(m: &NewEntry<'_>) -> usize {
    submit_frame_len(m.to, m.user.len() + m.payload.len())
}

/// Segments that one look for a sparse one takes in.
const LOOKED_AT: usize = 256;

/// Beyond it another segment begins.
const SEGMENT_BYTES: usize = 64 << 10;

/// What drivers gather before they write.
const CHUNK_BYTES: usize = 48 << 10;

/// Segments that are kept with their memory for what comes.
const FREE_SEGMENTS: usize = 16;

/// So much in segments is not worth looking at what they hold.
const SPARE_BYTES: usize = 1 << 20;

#[cfg(test)]
#[path = "output_tests.rs"]
mod tests;
