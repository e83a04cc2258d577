//! The promise as code. The checker is apart from the world: it is told what happens, and knows what is true.
//!
//! * `ledger`: every life of a client, and every message that it sent.
//! * `sent`: what leaves: submissions, datagrams, deliveries (R1, I3).
//! * `taken`: what libraries take (I2, I3, I4, I5, and the bytes).
//! * `calls`: what calls promise.
//! * `outcome`: how messages end (I1, I2, I3). `answer`: what comes again is answered again (R8).
//! * [`log`](Log): what is told of one message when something is wrong with it.

mod answer;
mod calls;
mod ledger;
mod log;
mod outcome;
mod sent;
mod taken;

pub use calls::{CallPlan, reply_to, request_of};
pub use ledger::{LifeId, LifePlan, Outcome, payload};
pub use log::{About, Log};
pub use sent::Leaving;

use std::{collections::BTreeMap, fmt};

use ledger::{Life, Sent};
use msg_proto::ids::{Channel, Instance, MsgId};

/// What was broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Invariant {
    /// The outcome is known in time.
    I1Bounded,
    /// Acked means taken, exactly once.
    I2AckedMeansTaken,
    /// Certainty is never false.
    I3Certainty,
    /// What failed is never handed over.
    I4FailedIsFinal,
    /// Handed over in the order of sending.
    I5InOrder,
    /// Memory is bounded.
    I7BoundedMemory,
    /// What was taken is acknowledged again when it comes again.
    R8Answered,
    /// Nothing is delivered that was not sent, as it was sent, to whom it was sent.
    NothingInvented,
    /// A message has one outcome.
    OneOutcome,
    /// Stamps never lie ahead of the receiver's clock (DESIGN section 3).
    Stamp,
    /// Counters add up.
    Counters,
    /// What the engine knows twice agrees.
    Structure,
    /// A timer never lies in the past, and none runs hot.
    Timer,
    /// After faults have stopped, everything ends.
    Drain,
    /// After faults have stopped, messages arrive.
    Liveness,
    /// An at-most-once call runs once at most, and no call twice while its reply is kept.
    CallOnce,
    /// A call ends in time, and is not begun after.
    CallDeadline,
    /// A daemon never ends the connection of a client that keeps the rules.
    Refused,
    /// Nothing panics.
    Panic,
    /// The same seed gives the same trace.
    Determinism,
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// What was broken.
    pub invariant: Invariant,
    /// When, in microseconds of true time.
    pub at: u64,
    /// Which message, if it is about one.
    pub about: About,
    /// In words.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} at {}: {}", self.invariant, log::Seconds(self.at), self.text)?;
        if let Some((life, msgid)) = self.about {
            write!(f, " (message {msgid} of life {life})")?;
        }
        Ok(())
    }
}

/// When something happened.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// True time.
    pub now: u64,
    /// True time less what the node stood still or its clock was falsified: the time that I1 counts.
    pub judged: u64,
}

/// Knows what is true, and is told what happens.
#[derive(Debug)]
pub struct Checker {
    lives: Vec<Life>,
    by_instance: BTreeMap<Instance, LifeId>,
    /// Ordered flows: the last message handed over, counted by its sender.
    order: BTreeMap<(LifeId, LifeId), usize>,
    /// By node: when its clock lost time (stood still, went back), and how much.
    lost_time: Vec<Vec<(u64, u64)>>,
    /// By node: when its clock jumped ahead, and how much.
    gained_time: Vec<Vec<(u64, u64)>>,
    /// By node: until when it stood still, and how long. What came meanwhile waited in its socket.
    stood: Vec<Vec<(u64, u64)>>,
    /// By node: when its clock was last touched, or it stood still.
    touched: BTreeMap<usize, u64>,
    /// The local sockets' own way takes no time.
    has_fast_streams: bool,
    /// Messages handed over late by no more than a clock was falsified.
    pub excused: u64,
    /// What happened.
    pub log: Log,
    scratch: Vec<u8>,
    /// Said to be Unknown, though no copy has been seen to leave.
    suspects: Vec<(LifeId, MsgId)>,
    calls: calls::Calls,
    /// By who acks what is handled: the message, and whose it is, whose handler runs, or ran when the process died.
    handling: BTreeMap<LifeId, (LifeId, MsgId)>,
}

impl Checker {
    /// For a world whose local sockets are fast, or not.
    #[must_use]
    pub fn new(log: Log, has_fast_streams: bool) -> Self {
        Self {
            lives: Vec::new(),
            by_instance: BTreeMap::new(),
            order: BTreeMap::new(),
            lost_time: Vec::new(),
            gained_time: Vec::new(),
            stood: Vec::new(),
            touched: BTreeMap::new(),
            has_fast_streams,
            excused: 0,
            log,
            scratch: Vec::new(),
            suspects: Vec::new(),
            calls: calls::Calls::default(),
            handling: BTreeMap::new(),
        }
    }

    /// A daemon ends in the middle of its turn: not all that it decided was seen to leave.
    pub fn on_daemon_death(&mut self) {
        self.suspects.clear();
    }

    /// A node goes on after it stood still.
    pub fn on_stood(&mut self, now: u64, node: usize, how_long: u64) {
        push(&mut self.stood, node, (now, how_long));
    }

    /// A node's clock was touched, or it goes on after it stood still.
    pub fn on_touched(&mut self, now: u64, node: usize) {
        self.touched.insert(node, now);
    }

    /// A node's clock loses time, up to then: it stands still, or went back.
    pub fn on_clock_lost(&mut self, now: u64, node: usize, by: u64) {
        push(&mut self.lost_time, node, (now, by));
    }

    /// A node's clock jumped ahead.
    pub fn on_clock_gained(&mut self, now: u64, node: usize, by: u64) {
        push(&mut self.gained_time, node, (now, by));
    }

    /// By how much one node's idea of another's clock can have been wrong, for what was sent since `since`: what
    /// the other's lost, and what its own gained. Estimates remember what was for [`ESTIMATE_MEMORY`], and longer where
    /// what came waited in a socket.
    fn falsified(&self, from: usize, to: usize, since: u64) -> u64 {
        self.falsified_for(from, to, since, ESTIMATE_MEMORY)
    }

    fn falsified_for(&self, from: usize, to: usize, since: u64, memory: u64) -> u64 {
        let since = since.saturating_sub(memory);
        let since = since.saturating_sub(sum_since(&self.stood, from, since));
        sum_since(&self.lost_time, to, since) + sum_since(&self.gained_time, from, since)
    }

    /// By how much a node's clock went back, or stood still, since.
    fn lost_time(&self, node: usize, since: u64) -> u64 {
        sum_since(&self.lost_time, node, since)
    }

    fn sent(&self, life: LifeId, msgid: MsgId) -> Option<&Sent> {
        self.lives.get(life)?.find(msgid)
    }

    fn note(&mut self, now: u64, about: About, text: impl FnOnce() -> String) {
        self.log.note(now, about, text);
    }
}

/// How long an estimate of a clock remembers: 10 s (`CLOCK_WINDOW_MS`), and a heartbeat.
const ESTIMATE_MEMORY: u64 = 11_000_000;

/// How long a node may stamp in a session that a peer, whose clock went back, has left: what is on its way for as long
/// as eight intervals keeps the link up, and then 5 s of silence (`LINK_LOST_MS`). The peer takes none of it.
const LEFT_SESSION_MEMORY: u64 = 14_000_000;

fn sum_since(of: &[Vec<(u64, u64)>], node: usize, since: u64) -> u64 {
    of.get(node).map_or(0, |v| v.iter().filter(|(at, _)| *at >= since).map(|(_, by)| by).sum())
}

fn push(of: &mut Vec<Vec<(u64, u64)>>, node: usize, entry: (u64, u64)) {
    if of.len() <= node {
        of.resize(node + 1, Vec::new());
    }
    of[node].push(entry);
}

fn violation(invariant: Invariant, now: u64, about: About, text: String) -> Violation {
    Violation { invariant, at: now, about, text }
}

fn channel_of(unordered: bool) -> Channel {
    if unordered { Channel::Unordered } else { Channel::Ordered }
}
