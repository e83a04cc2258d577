//! The cache against a list that is searched from end to end.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*};

use super::{
    PROCEDURE, requester,
    server::{Mark, World},
};
use crate::{
    call::{
        CallFailure, ReplyCacheLimits, Why, Xid,
        cache::{CallKey, Lookup, ReplyCache},
    },
    ids::ClientId,
    limits::REPLY_CACHE_ENTRY_BYTES,
    units::{Span, Time},
};

/// The cache as anybody would write it who need not be quick.
struct Naive {
    limits: ReplyCacheLimits,
    entries: Vec<(Time, CallKey, u128, usize)>,
}

impl Naive {
    fn expire(&mut self, now: Time) -> u64 {
        let before = self.entries.len();
        let age = self.limits.age;
        self.entries.retain(|(at, ..)| now.since(*at) <= age);
        (before - self.entries.len()) as u64
    }

    fn bytes(&self) -> usize {
        self.entries.iter().map(|(.., len)| len + REPLY_CACHE_ENTRY_BYTES).sum()
    }

    fn store(&mut self, now: Time, key: CallKey, digest: u128, len: usize) -> u64 {
        if len + REPLY_CACHE_ENTRY_BYTES > self.limits.bytes || self.limits.entries == 0 {
            return 1;
        }
        self.entries.push((now, key, digest, len));
        let before = self.entries.len();
        while self.entries.len() > self.limits.entries || self.bytes() > self.limits.bytes {
            self.entries.remove(0);
        }
        (before - self.entries.len()) as u64
    }
}

#[derive(Clone, Debug)]
enum Step {
    Ask { client: u32, uid: u32, xid: u64, digest: u128 },
    Store { client: u32, uid: u32, xid: u64, digest: u128, len: usize },
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let call = (0..3u32, 0..2u32, 0..6u64, 0..3u128);
    prop_oneof![
        call.clone().prop_map(|(client, uid, xid, digest)| Step::Ask { client, uid, xid, digest }),
        (call, 0..900usize).prop_map(|((client, uid, xid, digest), len)| Step::Store {
            client,
            uid,
            xid,
            digest,
            len
        }),
        (0..40u64).prop_map(Step::Pass),
    ]
}

fn key(client: u32, uid: u32, xid: u64) -> CallKey {
    CallKey { client: ClientId(client), uid, node: "n".into(), procedure: PROCEDURE, xid: Xid(xid) }
}

proptest! {
    #[test]
    fn the_cache_is_what_a_naive_one_is(
        entries in 0..6usize,
        bytes in 0..3000usize,
        age in 0..100u64,
        steps in vec(step(), 0..200),
    ) {
        let limits = ReplyCacheLimits { entries, bytes, age: Span(age) };
        let (mut cache, mut naive) = (ReplyCache::new(limits), Naive { limits, entries: Vec::new() });
        let mut now = Time(1000);
        for step in steps {
            prop_assert_eq!(cache.expire(now), naive.expire(now));
            match step {
                Step::Ask { client, uid, xid, digest } => {
                    let key = key(client, uid, xid);
                    let expected = match naive.entries.iter().find(|(_, k, ..)| *k == key) {
                        None => Lookup::Miss,
                        Some((_, _, d, _)) if *d != digest => Lookup::Mismatch,
                        Some((.., len)) => Lookup::Hit(Ok(vec![7; *len].into())),
                    };
                    prop_assert_eq!(cache.look_up(&key, digest), expected);
                }
                Step::Store { client, uid, xid, digest, len } => {
                    let key = key(client, uid, xid);
                    // A server stores only what it has looked up and missed.
                    if cache.look_up(&key, digest) == Lookup::Miss {
                        let reply: Arc<[u8]> = vec![7; len].into();
                        let evicted = cache.store(now, key.clone(), digest, Ok(reply));
                        prop_assert_eq!(evicted, naive.store(now, key, digest, len));
                    }
                }
                Step::Pass(us) => now = now + Span(us),
            }
            prop_assert_eq!(cache.len(), naive.entries.len());
            prop_assert!(cache.len() <= entries && naive.bytes() <= bytes);
        }
    }

    /// Whatever order calls, repeats and replies come in: while its reply is kept no call runs twice, every reply is
    /// its own call's, and a call that runs is answered once for each time that it was asked for and not running.
    #[test]
    fn no_call_runs_twice_while_it_is_known(
        steps in vec((0..4u8, 0..3u32, 0..4u64, 0..2u8), 1..200),
    ) {
        let mut w = World::with_cache(1000);
        let (mut running, mut ran) = (Vec::new(), Vec::new());
        for (what, client, xid, body) in steps {
            match what {
                0 | 1 => {
                    let mark = if what == 0 { Mark::First } else { Mark::AtLeastOnceRepeat };
                    w.request(&requester(client, 1000, "n"), Xid(xid), mark, &[body]);
                }
                2 => running.extend(w.job()),
                _ if running.is_empty() => {}
                _ => {
                    let job = running.remove(usize::from(body) % running.len());
                    let call = (job.from.instance.client.0, job.xid, job.request.clone());
                    prop_assert!(!ran.iter().any(|(c, x, _)| (*c, *x) == (call.0, call.1)), "it ran twice");
                    let reply = format!("{client} {call:?}", client = call.0);
                    w.reply(&job, reply.as_bytes()).expect("it runs");
                    ran.push(call);
                }
            }
            for (to, said) in w.said() {
                let own = ran.iter().find(|call| Ok(format!("{} {call:?}", call.0).into_bytes()) == said);
                match said {
                    Ok(_) => prop_assert_eq!(own.map(|(client, ..)| *client), Some(to)),
                    Err(failure) => prop_assert_eq!(failure, CallFailure::not_started(Why::XidReused)),
                }
            }
        }
    }
}
