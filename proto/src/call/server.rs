//! The server's side: calls that came, each of which is begun at most once while its key is known.

mod answer;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    hash::Hasher,
};

use siphasher::sip128::{Hasher128, SipHasher24};

pub use answer::{Reply, ReplyError};

use super::{
    CallCounters, CallFailure, Job, Procedure, Requester, RunId, Why, Xid,
    cache::{CallKey, Digest, Lookup, ReplyCache, ReplyCacheLimits},
    run::{Request, Run},
};
use crate::{
    ids::{Instance, MsgId},
    limits,
    session::Taker,
    units::{Span, Time},
};

/// How a procedure is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProcedureOptions {
    /// Running it twice is as good as once: its replies are not kept, and repeats run it.
    pub is_idempotent: bool,
    /// What is done with a repeat whose reply is gone.
    pub lost_reply: LostReply,
}

/// What is done with a repeat whose reply is gone: evicted, or an earlier life of the server gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LostReply {
    /// As its caller chose: at-least-once runs, marked as a repeat; at-most-once is refused, `Unknown`.
    BySemantics,
    /// It is refused, `Unknown`.
    Refuse,
    /// The handler gets it, marked as a repeat, and sees for itself.
    Run,
}

/// The calls that one client serves.
#[derive(Debug)]
pub struct Server {
    hash_key: [u8; 16],
    procedures: HashMap<Procedure, ProcedureOptions>,
    next: u64,
    runs: BTreeMap<RunId, Run>,
    running: HashMap<CallKey, RunId>,
    cache: Option<ReplyCache>,
    jobs: VecDeque<RunId>,
    /// Calls that were not begun as their callers are gone: the first to go when there is no room.
    aside: VecDeque<RunId>,
    to_watch: VecDeque<Taker>,
    /// Nothing more is begun but what was taken before: its session is draining.
    is_leaving: bool,
    /// Its process has asked for what comes: what is not served by then is refused.
    was_asked: bool,
    /// Replies without an outcome.
    sent: HashSet<MsgId>,
    replies: VecDeque<Reply>,
    /// Of requests not begun, and of replies not sent.
    bytes: usize,
}

impl Server {
    /// It serves nothing yet. `hash_key` is drawn at random.
    #[must_use]
    pub fn new(hash_key: [u8; 16]) -> Self {
        Self {
            hash_key,
            procedures: HashMap::new(),
            next: 0,
            runs: BTreeMap::new(),
            running: HashMap::new(),
            cache: None,
            jobs: VecDeque::new(),
            aside: VecDeque::new(),
            to_watch: VecDeque::new(),
            is_leaving: false,
            was_asked: false,
            sent: HashSet::new(),
            replies: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Serves a procedure from now on. What came for it before the first [`poll_job`](Self::poll_job) has waited for it.
    pub fn serve(&mut self, procedure: Procedure, options: ProcedureOptions) {
        self.procedures.insert(procedure, options);
    }

    /// Keeps replies from now on. It cannot be turned off: who repeats a call relies on it. Again, only larger limits
    /// count.
    pub fn enable_reply_cache(&mut self, limits: ReplyCacheLimits) {
        match &mut self.cache {
            Some(cache) => cache.enlarge(limits),
            None => self.cache = Some(ReplyCache::new(limits)),
        }
    }

    /// Whether this instance is leaving: what comes for it yet is answered, and not begun.
    pub(super) const fn record_leaving(&mut self, is_leaving: bool) {
        self.is_leaving = is_leaving;
    }

    /// Whether anything is served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        !self.procedures.is_empty()
    }

    /// A request came, and counts as taken.
    pub(super) fn handle_request(
        &mut self,
        now: Time,
        from: Requester,
        request: &Request<'_>,
        counters: &mut CallCounters,
    ) {
        counters.requests += 1;
        if self.was_asked && !self.procedures.contains_key(&request.procedure) {
            return self.refuse(&from, request.asked(), NO_PROCEDURE);
        }
        let key = CallKey {
            client: from.instance.client,
            uid: from.uid,
            node: from.node.clone(),
            procedure: request.procedure,
            xid: request.xid,
        };
        let digest = self.digest(request.body);
        if self.is_answered(now, &key, digest, &from, request, counters) {
            return;
        }
        counters.misses += 1;
        if self.is_leaving {
            // A repeat that is for this instance only, of what it does not know any more: the active one may run it.
            return self.refuse(&from, request.asked(), CallFailure::not_started(Why::Busy));
        }
        if now >= request.deadline {
            counters.late += 1;
            return self.refuse(&from, request.asked(), CallFailure::not_started(Why::Deadline));
        }
        if !self.make_room(request.body.len()) {
            counters.busy += 1;
            return self.refuse(&from, request.asked(), CallFailure::not_started(Why::Busy));
        }
        self.next += 1;
        let run = RunId(self.next);
        self.watch(&from);
        self.bytes += request.body.len();
        self.running.insert(key.clone(), run);
        self.jobs.push_back(run);
        let body = Some(request.body.to_vec());
        let (deadline, is_repeat) = (request.deadline, request.is_repeat);
        let run_of = Run {
            key,
            digest,
            from,
            deadline,
            is_repeat,
            at_least_once: request.at_least_once,
            is_cancelled: false,
            is_abandoned: false,
            is_aside: false,
            request: body,
        };
        self.runs.insert(run, run_of);
    }

    /// Its caller does not wait any more: the newest instance that asked. An earlier one's, which is late, cancels nothing.
    pub(super) fn handle_cancel(
        &mut self,
        from: &Requester,
        (procedure, xid): (Procedure, Xid),
        counters: &mut CallCounters,
    ) {
        let (client, uid, node) = (from.instance.client, from.uid, from.node.clone());
        let key = CallKey { client, uid, node, procedure, xid };
        let run = self.running.get(&key).and_then(|run| self.runs.get_mut(run));
        if let Some(run) = run.filter(|run| run.from.instance == from.instance && !run.is_cancelled) {
            run.is_cancelled = true;
            counters.cancelled += 1;
        }
    }

    /// An instance is gone: whoever asks for its calls' answers waits for none. Those that were not begun are not, if they
    /// are at-most-once: each is put aside, for the case that a new life of the caller repeats it.
    pub fn handle_gone(&mut self, instance: Instance, counters: &mut CallCounters) {
        for run in self.runs.values_mut().filter(|run| run.from.instance == instance && !run.is_abandoned) {
            run.is_abandoned = true;
            counters.abandoned += 1;
        }
    }

    /// An instance that calls: [`handle_gone`](Self::handle_gone) is to be called when it is gone.
    pub fn poll_watch(&mut self) -> Option<Taker> {
        self.to_watch.pop_front()
    }

    /// Whether its process has asked for what comes: see [`refuse_unserved`](Self::refuse_unserved).
    #[must_use]
    pub const fn was_asked(&self) -> bool {
        self.was_asked
    }

    /// The process asks for what comes: from now on, and of what has come, what is not served is refused.
    pub fn refuse_unserved(&mut self) {
        if std::mem::replace(&mut self.was_asked, true) {
            return;
        }
        for id in std::mem::take(&mut self.jobs) {
            let is_served = |run: &Run| self.procedures.contains_key(&run.key.procedure);
            if self.runs.get(&id).is_some_and(is_served) {
                self.jobs.push_back(id);
            } else if let Some(run) = self.remove(id) {
                self.refuse(&run.from, run.asked(), NO_PROCEDURE);
            }
        }
    }

    /// The next call to begin. One that is out of time, or was cancelled, or whose procedure is not served, or refuses what may
    /// have run, is not begun, and its caller is told so; one whose caller is gone is put aside.
    pub fn poll_job(&mut self, now: Time, counters: &mut CallCounters) -> Option<Job> {
        self.refuse_unserved();
        self.forget_aside(now);
        loop {
            let id = self.jobs.pop_front()?;
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let Some(request) = run.request.take() else { continue };
            let options = self.procedures.get(&run.key.procedure);
            let failure = match run {
                Run { is_cancelled: true, .. } => CallFailure::not_started(Why::Cancelled),
                Run { deadline, .. } if now >= *deadline => CallFailure::not_started(Why::Deadline),
                Run { is_abandoned: true, at_least_once: false, .. } => {
                    run.is_aside = true;
                    run.request = Some(request);
                    self.aside.push_back(id);
                    continue;
                }
                _ if options.is_some_and(|options| run.is_lost(options, counters)) => {
                    CallFailure::unknown(Why::ReplyLost)
                }
                Run { key: CallKey { procedure, xid, .. }, from, is_repeat, deadline, .. } => {
                    counters.runs += 1;
                    self.bytes -= request.len();
                    let (procedure, xid, from) = (*procedure, *xid, from.clone());
                    let (is_repeat, deadline) = (*is_repeat, *deadline);
                    return Some(Job { run: id, from, procedure, xid, is_repeat, deadline, request });
                }
            };
            counters.late += u64::from(failure.why == Why::Deadline);
            run.request = Some(request);
            if let Some(run) = self.remove(id) {
                self.refuse(&run.from, run.asked(), failure);
            }
        }
    }

    /// Calls that wait to be begun.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Whether calls wait to be begun.
    #[must_use]
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether the caller of a running call still waits, as far as is known here: it has not cancelled, its time is not
    /// over, and its process is not known to be gone.
    #[must_use]
    pub fn caller_waits(&self, now: Time, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|run| run.is_wanted(now))
    }

    /// How long the caller of a running call waits yet.
    #[must_use]
    pub fn time_left(&self, now: Time, run: RunId) -> Span {
        self.runs.get(&run).map_or(Span::ZERO, |run| run.deadline.since(now))
    }

    /// Until when the callers of those calls wait that are not answered, and whose callers still wait.
    pub fn awaited(&self, now: Time) -> impl Iterator<Item = Time> + '_ {
        let awaited = self.runs.iter().filter(move |(id, _)| self.caller_waits(now, **id));
        awaited.map(|(_, run)| run.deadline)
    }

    /// Calls that are to be answered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.len() - self.aside.len()
    }

    /// Whether no call is to be answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is nothing to do, and nothing to wait for.
    pub(super) fn is_idle(&self) -> bool {
        self.runs.is_empty() && self.to_watch.is_empty() && self.replies.is_empty() && self.sent.is_empty()
    }

    /// Whether a request has its answer already, or will get it from the run that is under way.
    fn is_answered(
        &mut self,
        now: Time,
        key: &CallKey,
        digest: Digest,
        from: &Requester,
        request: &Request<'_>,
        counters: &mut CallCounters,
    ) -> bool {
        if let Some(run) = self.running.get(key).and_then(|run| self.runs.get_mut(run)) {
            if run.digest == digest {
                counters.in_progress_hits += 1;
                if from.instance.incarnation < run.from.instance.incarnation {
                    // An earlier life's, come late: the later one repeats its calls, and waits for this run's reply.
                    return true;
                }
                run.from = from.clone();
                run.deadline = run.deadline.max(request.deadline);
                (run.is_cancelled, run.is_abandoned) = (false, false);
                if std::mem::take(&mut run.is_aside) {
                    let id = self.running[key];
                    self.aside.retain(|aside| *aside != id);
                    self.jobs.push_back(id);
                }
                self.watch(from);
            } else {
                counters.mismatches += 1;
                self.refuse(from, request.asked(), CallFailure::not_started(Why::XidReused));
            }
            return true;
        }
        let Some(cache) = &mut self.cache else { return false };
        counters.evictions += cache.expire(now);
        match cache.look_up(key, digest) {
            Lookup::Miss => return false,
            Lookup::Mismatch => {
                counters.mismatches += 1;
                self.refuse(from, request.asked(), CallFailure::not_started(Why::XidReused));
            }
            Lookup::Hit(reply) => {
                counters.hits += 1;
                let len = reply.as_ref().map_or(0, |bytes| bytes.len());
                // Who repeats faster than he reads is not answered: nothing is kept for him without bound.
                if self.bytes + len <= limits::MAX_SERVED_BYTES {
                    self.send(from, request.asked(), &reply);
                }
            }
        }
        true
    }

    /// Whether one more request has a place. Those put aside make room for it.
    fn make_room(&mut self, len: usize) -> bool {
        loop {
            let is_full = self.runs.len() + self.replies.len() >= limits::MAX_SERVED_CALLS
                || self.bytes + len > limits::MAX_SERVED_BYTES;
            if !is_full {
                return true;
            }
            let Some(oldest) = self.aside.pop_front() else { return false };
            self.remove(oldest);
        }
    }

    /// Those put aside whose time is over will not be repeated.
    fn forget_aside(&mut self, now: Time) {
        while let Some(oldest) = self.aside.front().copied() {
            if self.runs.get(&oldest).is_some_and(|run| now < run.deadline) {
                return;
            }
            self.aside.pop_front();
            self.remove(oldest);
        }
    }

    fn watch(&mut self, from: &Requester) {
        self.to_watch.push_back(from.process());
    }

    fn remove(&mut self, id: RunId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        self.running.remove(&run.key);
        self.bytes -= run.request.as_ref().map_or(0, Vec::len);
        Some(run)
    }

    fn digest(&self, body: &[u8]) -> Digest {
        let mut hasher = SipHasher24::new_with_key(&self.hash_key);
        hasher.write(body);
        hasher.finish128().as_u128()
    }
}

const NO_PROCEDURE: CallFailure = CallFailure::not_started(Why::NoProcedure);
