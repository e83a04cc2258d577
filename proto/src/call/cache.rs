//! The duplicate-reply cache: replies that were given, for repeats of their requests.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::{CallFailure, Procedure, Xid};
use crate::{
    ids::ClientId,
    limits,
    units::{Span, Time},
};

/// Who called what: a repeat has the same. Neither times nor message numbers are in it, as they change with each
/// message, and no incarnation, so that a caller that was restarted can repeat its call.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct CallKey {
    pub(super) client: ClientId,
    pub(super) uid: u32,
    pub(super) node: Arc<str>,
    pub(super) procedure: Procedure,
    pub(super) xid: Xid,
}

/// The hash of a request's bytes, by a key that nobody else knows.
pub(super) type Digest = u128;

/// What a server gave.
pub(super) type Stored = Result<Arc<[u8]>, CallFailure>;

/// How much a reply cache holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyCacheLimits {
    /// Replies.
    pub entries: usize,
    /// Bytes of replies, each counted with [`limits::REPLY_CACHE_ENTRY_BYTES`] more.
    pub bytes: usize,
    /// How long a reply is kept.
    pub age: Span,
}

/// Replies, oldest first. At each limit the oldest goes.
#[derive(Debug)]
pub(super) struct ReplyCache {
    limits: ReplyCacheLimits,
    replies: HashMap<CallKey, Entry>,
    /// When each was stored, oldest first.
    order: VecDeque<(Time, CallKey)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    digest: Digest,
    reply: Stored,
}

/// What a cache says of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Lookup {
    /// It was answered with this.
    Hit(Stored),
    /// That XID was another request's.
    Mismatch,
    /// Nothing is known of it.
    Miss,
}

impl From<usize> for ReplyCacheLimits {
    /// That many replies, and otherwise what is usual.
    fn from(entries: usize) -> Self {
        Self {
            entries,
            bytes: limits::DEFAULT_REPLY_CACHE_BYTES,
            age: Span::from_millis(limits::DEFAULT_REPLY_CACHE_AGE_MS),
        }
    }
}

impl ReplyCache {
    pub(super) fn new(limits: ReplyCacheLimits) -> Self {
        Self { limits, replies: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }

    /// Larger limits count, smaller ones do not.
    pub(super) fn enlarge(&mut self, limits: ReplyCacheLimits) {
        let ReplyCacheLimits { entries, bytes, age } = self.limits;
        self.limits = ReplyCacheLimits {
            entries: entries.max(limits.entries),
            bytes: bytes.max(limits.bytes),
            age: Ord::max(age, limits.age),
        };
    }

    pub(super) fn look_up(&self, key: &CallKey, digest: Digest) -> Lookup {
        match self.replies.get(key) {
            Some(entry) if entry.digest == digest => Lookup::Hit(entry.reply.clone()),
            Some(_) => Lookup::Mismatch,
            None => Lookup::Miss,
        }
    }

    /// Keeps a reply whose key is not known. Returns how many were given up for it, itself included where it is larger
    /// than the cache.
    pub(super) fn store(&mut self, now: Time, key: CallKey, digest: Digest, reply: Stored) -> u64 {
        let cost = cost(&reply);
        if cost > self.limits.bytes || self.limits.entries == 0 {
            return 1;
        }
        let mut evicted = 0;
        while self.replies.len() >= self.limits.entries || self.bytes + cost > self.limits.bytes {
            self.drop_oldest();
            evicted += 1;
        }
        self.bytes += cost;
        self.order.push_back((now, key.clone()));
        self.replies.insert(key, Entry { digest, reply });
        evicted
    }

    /// Gives up what is older than it may be. Returns how many.
    pub(super) fn expire(&mut self, now: Time) -> u64 {
        let mut evicted = 0;
        while self.order.front().is_some_and(|(at, _)| now.since(*at) > self.limits.age) {
            self.drop_oldest();
            evicted += 1;
        }
        evicted
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    fn drop_oldest(&mut self) {
        let Some((_, key)) = self.order.pop_front() else { return };
        if let Some(entry) = self.replies.remove(&key) {
            self.bytes -= cost(&entry.reply);
        }
    }
}

fn cost(reply: &Stored) -> usize {
    reply.as_ref().map_or(0, |bytes| bytes.len()) + limits::REPLY_CACHE_ENTRY_BYTES
}
