//! Messages without an outcome.

use std::{collections::VecDeque, hint, mem, ops::Range};

use super::{
    Taker, UserBuf,
    output::{Kept, Output, put_submit},
};
use crate::{
    ids::{Channel, ClientId, MsgId, Seq},
    local::put::{ADDRESSEE_HEAD, SUBMIT_HEAD},
    units::Time,
};

/// The messages without an outcome, as a ring from msgid to entry:
///
/// ```text
/// base                      next_msgid
///  | entry | GONE | GONE | entry |
/// ```
///
/// The first is never gone, so the oldest message is at hand. A msgid costs 4 bytes from the oldest on, which may stay
/// while many thousands come and go behind it; an entry costs some 200 bytes and its data.
///
/// An entry is written and read where it stands, and stays there, with its buffer, for a later message: what is built
/// elsewhere, field by field, and moved in as a whole waits for its own writes.
#[derive(Debug)]
pub(super) struct Unresolved {
    base: MsgId,
    ring: VecDeque<u32>,
    entries: Vec<Entry>,
    /// Those of no message.
    free: Vec<u32>,
    /// The capacity of their buffers, at most [`FREE_BYTES`].
    free_bytes: usize,
    bytes: usize,
    /// Of those, what no stream has: their entries start [`NOWHERE`].
    waiting_bytes: usize,
    last_sent_at: Time,
}

/// A message without an outcome.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) dst: ClientId,
    pub(super) seq: Seq,
    pub(super) channel: Channel,
    pub(super) at_least_once: bool,
    pub(super) is_call: bool,
    /// The only instance that it is for.
    pub(super) to: Option<Taker>,
    /// Some of it was written to an earlier stream.
    pub(super) written_before: bool,
    /// Some of it was written to a daemon that the present one knows nothing of.
    pub(super) other_daemon: bool,
    user_len: u8,
    pub(super) sent_at: Time,
    /// When it was sent, by the clock that the driver reads.
    pub(super) sent_raw: Time,
    /// Where its SUBMIT begins in the output, or [`NOWHERE`].
    pub(super) start_at: u64,
    /// Where its user data and payload stay: in the output, or in its own `data`...
    kept: Kept,
    data: Vec<u8>,
    /// ... behind so many bytes: a large one is a whole SUBMIT there, and is not copied to be written.
    head: u16,
}

/// What a send adds.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewEntry<'a> {
    pub(super) dst: ClientId,
    pub(super) seq: Seq,
    pub(super) channel: Channel,
    pub(super) at_least_once: bool,
    pub(super) is_call: bool,
    pub(super) to: Option<&'a Taker>,
    pub(super) sent_at: Time,
    pub(super) sent_raw: Time,
    pub(super) start_at: u64,
    pub(super) user: &'a [u8],
    pub(super) payload: &'a [u8],
}

/// In the ring: it has its outcome.
const GONE: u32 = u32::MAX;

/// Not in the output of the present stream.
pub(super) const NOWHERE: u64 = u64::MAX;

/// What a message is charged against `max_stored_bytes`.
pub(super) const fn charge(user: usize, payload: usize) -> usize {
    user + payload + 64
}

impl Unresolved {
    pub(super) const fn new(first: MsgId) -> Self {
        Self {
            base: first,
            ring: VecDeque::new(),
            entries: Vec::new(),
            free: Vec::new(),
            free_bytes: 0,
            bytes: 0,
            waiting_bytes: 0,
            last_sent_at: Time(0),
        }
    }

    /// `written`: the output, if the message was just written to it, and is to stay there.
    pub(super) fn push(&mut self, new: &NewEntry<'_>, written: Option<&mut Output>) {
        let (msgid, len) = (self.next_msgid(), new.user.len() + new.payload.len());
        let charged = charge(new.user.len(), new.payload.len());
        self.bytes += charged;
        if new.start_at == NOWHERE {
            self.waiting_bytes += charged;
        }
        // A clock that steps back must not make the oldest entry's deadline later than a younger one's.
        self.last_sent_at = self.last_sent_at.max(new.sent_at);
        let at = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry::BLANK);
            u32::try_from(self.entries.len() - 1).unwrap_or(GONE)
        });
        let entry = &mut self.entries[at as usize];
        self.free_bytes -= entry.data.capacity();
        let own = if written.is_some() { 0 } else { len };
        if entry.data.capacity() > 2 * own + LEAST_DATA {
            // A small message must not have a large one's buffer for as long as it stays.
            entry.data = Vec::new();
        }
        entry.dst = new.dst;
        entry.seq = new.seq;
        entry.channel = new.channel;
        entry.at_least_once = new.at_least_once;
        entry.is_call = new.is_call;
        entry.to = new.to.cloned();
        entry.written_before = false;
        entry.other_daemon = false;
        entry.user_len = u8::try_from(new.user.len()).unwrap_or(u8::MAX);
        entry.sent_at = self.last_sent_at;
        entry.sent_raw = new.sent_raw;
        entry.start_at = new.start_at;
        (entry.kept, entry.head) = (Kept::NOWHERE, 0);
        if let Some(output) = written {
            entry.kept = output.keep_last(at, len);
        } else if own >= FRAMED_FROM {
            put_submit(&mut entry.data, msgid, new.sent_raw, new);
            entry.head = u16::try_from(entry.data.len() - own).unwrap_or(u16::MAX);
        } else {
            entry.data.extend_from_slice(new.user);
            entry.data.extend_from_slice(new.payload);
        }
        self.ring.push_back(at);
        // It is on its way into the cache while the caller does what else it does.
        if let Some(next) = self.free.last() {
            hint::black_box(self.entries[*next as usize].user_len);
        }
    }

    /// Ends a message. `None` if it is not unresolved.
    pub(super) fn remove(&mut self, msgid: MsgId, output: &mut Output) -> Option<Ended> {
        self.end(msgid, output, |entry, output| Ended {
            msgid,
            dst: entry.dst,
            user: entry.user_of(entry.bytes(output)),
            is_call: entry.is_call,
            written_before: entry.written_before,
            other_daemon: entry.other_daemon,
            start_at: entry.start_at,
        })
    }

    /// Ends a message, and tells what is to be known of it. `None` if it is not unresolved.
    #[inline]
    pub(super) fn end<T>(
        &mut self,
        msgid: MsgId,
        output: &mut Output,
        tell: impl FnOnce(&mut Entry, &Output) -> T,
    ) -> Option<T> {
        let at = mem::replace(self.ring.get_mut(msgid.since(self.base)? as usize)?, GONE);
        let entry = self.entries.get_mut(at as usize)?;
        self.bytes -= charge(0, entry.len());
        if entry.start_at == NOWHERE {
            self.waiting_bytes -= charge(0, entry.len());
        }
        let told = tell(entry, output);
        entry.to = None;
        if entry.kept.is_somewhere()
            && let Some(own) = output.release(mem::replace(&mut entry.kept, Kept::NOWHERE))
        {
            entry.data = own;
        }
        if self.free_bytes + entry.data.capacity() <= FREE_BYTES {
            entry.data.clear();
        } else {
            entry.data = Vec::new();
        }
        self.free_bytes += entry.data.capacity();
        self.free.push(at);
        if let Some(next) = self.ring.get(msgid.since(self.base)? as usize + 1).filter(|next| **next != GONE)
        {
            hint::black_box(self.entries[*next as usize].user_len);
        }
        while self.ring.front() == Some(&GONE) {
            self.ring.pop_front();
            self.base = self.base.next();
        }
        Some(told)
    }

    /// Where the output's segments hold too little, has the messages of a few move to memory of their own.
    #[cold]
    pub(super) fn condense(&mut self, output: &mut Output) {
        for _ in 0..CONDENSED {
            if !output.is_sparse() {
                return;
            }
            let Some((segment, entries)) = output.next_sparse() else { return };
            debug_assert!(!entries.is_empty(), "its messages are listed");
            for at in entries {
                let Some(entry) = self.entries.get_mut(at as usize).filter(|e| e.kept.is_in(segment)) else {
                    continue;
                };
                entry.data.extend_from_slice(output.kept(entry.kept));
                let own = output.release(mem::replace(&mut entry.kept, Kept::NOWHERE));
                debug_assert!(own.is_none(), "what has memory of its own is not sparse");
            }
        }
    }

    /// A message, if it is unresolved.
    pub(super) fn find(&self, msgid: MsgId) -> Option<&Entry> {
        let at = self.ring.get(msgid.since(self.base)? as usize)?;
        self.entries.get(*at as usize)
    }

    /// Which of the `count` msgids from `first` on lie between the oldest unresolved and the newest, as offsets.
    pub(super) fn overlap(&self, first: MsgId, count: u32) -> Range<u32> {
        match (first.since(self.base), self.base.since(first)) {
            (Some(ahead), _) => 0..count.min(self.span().saturating_sub(ahead)),
            (None, Some(behind)) => behind.min(count)..count.min(behind.saturating_add(self.span())),
            (None, None) => 0..0,
        }
    }

    /// The unresolved, oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (MsgId, &Entry)> {
        self.iter_from(0)
    }

    /// Changes the unresolved, oldest first.
    pub(super) fn for_each_mut(&mut self, mut change: impl FnMut(MsgId, &mut Entry)) {
        for (at, n) in self.ring.iter().zip(0u32..) {
            if let Some(entry) = self.entries.get_mut(*at as usize) {
                change(self.base.plus(n), entry);
            }
        }
    }

    /// The first at or after `from`, for which the output has `start_at` now.
    pub(super) fn start_next(&mut self, from: MsgId, start_at: u64) -> Option<(MsgId, &mut Entry)> {
        let (n, at) = self.next_from(from)?;
        let entry = self.entries.get_mut(at as usize)?;
        if entry.start_at == NOWHERE {
            self.waiting_bytes -= charge(0, entry.len());
        }
        entry.start_at = start_at;
        Some((self.base.plus(n), entry))
    }

    /// The stream is gone, of which `consumed` bytes were written: none has any.
    pub(super) fn stream_ended(&mut self, consumed: u64) {
        self.for_each_mut(|_, entry| {
            entry.written_before |= entry.start_at < consumed;
            entry.start_at = NOWHERE;
        });
        self.waiting_bytes = self.bytes;
    }

    /// The first at or after `from`; a `from` that is before all of them means the first.
    pub(super) fn next_mut(&mut self, from: MsgId) -> Option<(MsgId, &mut Entry)> {
        let (n, at) = self.next_from(from)?;
        Some((self.base.plus(n), self.entries.get_mut(at as usize)?))
    }

    fn next_from(&self, from: MsgId) -> Option<(u32, u32)> {
        let skip = from.since(self.base).unwrap_or(0).min(self.span());
        (skip..).zip(self.ring.range(skip as usize..).copied()).find(|(_, at)| *at != GONE)
    }

    fn iter_from(&self, skip: u32) -> impl Iterator<Item = (MsgId, &Entry)> {
        let numbered = self.ring.range(skip as usize..).zip(skip..);
        numbered.filter_map(|(at, n)| Some((self.base.plus(n), self.entries.get(*at as usize)?)))
    }

    pub(super) fn oldest(&self) -> Option<(MsgId, &Entry)> {
        let at = self.ring.front()?;
        Some((self.base, self.entries.get(*at as usize)?))
    }

    /// The first of a flow at or after `from`. A `from` that is not in the ring means its beginning.
    pub(super) fn first_of(&self, from: MsgId, dst: ClientId, channel: Channel) -> Option<(MsgId, Seq)> {
        let skip = from.since(self.base).filter(|n| (*n as usize) < self.ring.len()).unwrap_or(0);
        let found = self.iter_from(skip).find(|(_, e)| e.dst == dst && e.channel == channel);
        found.map(|(msgid, e)| (msgid, e.seq))
    }

    /// The msgid that the next send gets.
    pub(super) fn next_msgid(&self) -> MsgId {
        self.base.plus(self.span())
    }

    /// How far the next msgid is from the oldest unresolved one.
    pub(super) fn span(&self) -> u32 {
        u32::try_from(self.ring.len()).unwrap_or(u32::MAX)
    }

    pub(super) const fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// What those are charged that no stream has.
    pub(super) const fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// What is counted is what is there.
    #[cfg(test)]
    pub(super) fn check(&self) {
        let charged = |(_, entry): (MsgId, &Entry)| charge(0, entry.len());
        assert_eq!(self.iter().map(charged).sum::<usize>(), self.bytes);
        let waiting = self.iter().filter(|(_, entry)| entry.start_at == NOWHERE);
        assert_eq!(waiting.map(charged).sum::<usize>(), self.waiting_bytes);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let index = (self.ring.capacity() + self.free.capacity()) * size_of::<u32>();
        let own: usize = self.entries.iter().map(|entry| entry.data.capacity()).sum();
        own + index + self.entries.capacity() * size_of::<Entry>()
    }
}

/// What is left of a message when it ends.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) msgid: MsgId,
    pub(super) dst: ClientId,
    pub(super) user: UserBuf,
    pub(super) is_call: bool,
    pub(super) written_before: bool,
    pub(super) other_daemon: bool,
    pub(super) start_at: u64,
}

impl Ended {
    /// Whether a daemon may have read any of it, when `consumed` bytes of output were written.
    pub(super) const fn was_written(&self, consumed: u64) -> bool {
        self.written_before || self.start_at < consumed
    }
}

impl Entry {
    /// That of no message.
    const BLANK: Self = Self {
        dst: ClientId(0),
        seq: Seq(0),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call: false,
        to: None,
        written_before: false,
        other_daemon: false,
        user_len: 0,
        sent_at: Time(0),
        sent_raw: Time(0),
        start_at: NOWHERE,
        kept: Kept::NOWHERE,
        data: Vec::new(),
        head: 0,
    };

    /// The user data, then the payload.
    fn bytes<'a>(&'a self, output: &'a Output) -> &'a [u8] {
        if self.kept.is_somewhere() { output.kept(self.kept) } else { &self.data[usize::from(self.head)..] }
    }

    /// Whether its own memory is a whole SUBMIT.
    pub(super) const fn is_framed(&self) -> bool {
        self.head > 0
    }

    /// The SUBMIT that its own memory is, and how many bytes of it stand before the user data.
    pub(super) fn take_frame(&mut self) -> Option<(Vec<u8>, usize)> {
        let head = usize::from(mem::take(&mut self.head));
        (head > 0).then(|| (mem::take(&mut self.data), head))
    }

    /// Its user data and payload stay there from now on.
    pub(super) const fn keep(&mut self, kept: Kept) {
        self.kept = kept;
    }

    const fn len(&self) -> usize {
        if self.kept.is_somewhere() { self.kept.len() } else { self.data.len() - self.head as usize }
    }

    /// Where they stay, if that is in the output.
    pub(super) const fn kept(&self) -> Kept {
        self.kept
    }

    /// The message as it was sent.
    pub(super) fn as_sent<'a>(&'a self, output: &'a Output) -> NewEntry<'a> {
        let bytes = self.bytes(output);
        let (user, payload) = bytes.split_at(usize::from(self.user_len).min(bytes.len()));
        NewEntry {
            dst: self.dst,
            seq: self.seq,
            channel: self.channel,
            at_least_once: self.at_least_once,
            is_call: self.is_call,
            to: self.to.as_ref(),
            sent_at: self.sent_at,
            sent_raw: self.sent_raw,
            start_at: self.start_at,
            user,
            payload,
        }
    }

    /// Whether a daemon may have read any of it, when `consumed` bytes of output were written.
    pub(super) const fn was_written(&self, consumed: u64) -> bool {
        self.written_before || self.start_at < consumed
    }

    /// Whether some of its SUBMIT was not written yet, when `consumed` bytes of output were.
    pub(super) fn waits_in_output(&self, consumed: u64) -> bool {
        let len = submit_frame_len(self.to.as_ref(), self.len()) as u64;
        self.start_at != NOWHERE && self.start_at + len > consumed
    }

    fn user_of(&self, data: &[u8]) -> UserBuf {
        let user = data.get(..usize::from(self.user_len)).map(UserBuf::try_from);
        user.and_then(Result::ok).unwrap_or(UserBuf::EMPTY)
    }
}

/// How long the SUBMIT is that carries so many bytes of user data and payload.
#[inline]
pub(super) fn submit_frame_len(to: Option<&Taker>, bytes: usize) -> usize {
    SUBMIT_HEAD + to.map_or(0, |to| ADDRESSEE_HEAD + to.node.len()) + bytes
}

/// Segments that are cleared at once.
const CONDENSED: usize = 8;

/// A message that waits and has so many bytes is framed at once. Shorter ones are copied when they are written: for them that
/// costs less than a part more to write.
const FRAMED_FROM: usize = 4 << 10;

/// A buffer that is not longer is nobody's loss.
const LEAST_DATA: usize = 256;

/// Capacity of buffers that wait for the next messages.
const FREE_BYTES: usize = 1 << 20;
