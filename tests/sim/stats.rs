//! What happened, in numbers.

use msg_proto::outcome::Reason;

use super::options::Fault;

/// What happened, in numbers.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Virtual time, in microseconds.
    pub simulated: u64,
    /// Events.
    pub steps: u64,
    /// Messages that libraries accepted.
    pub sent: u64,
    /// Messages that libraries took.
    pub taken: u64,
    /// Outcomes told.
    pub acked: u64,
    /// Outcomes told.
    pub failed: u64,
    /// The same, by [`Reason`]'s value.
    pub failed_as: [u64; Reason::ALL.len() + 1],
    /// Calls made.
    pub calls: u64,
    /// Of them, those that ended with a reply.
    pub replies: u64,
    /// Handlers begun.
    pub runs: u64,
    /// Datagrams on the network.
    pub datagrams: u64,
    /// Messages handed over late, by no more than a clock had been falsified: the excuse of I4.
    pub excused: u64,
    /// How often each fault happened.
    pub faults: [u64; Fault::ALL.len()],
}

impl Stats {
    /// A fault happened.
    pub const fn count(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.simulated += other.simulated;
        self.steps += other.steps;
        self.sent += other.sent;
        self.taken += other.taken;
        self.acked += other.acked;
        self.failed += other.failed;
        self.calls += other.calls;
        self.replies += other.replies;
        self.runs += other.runs;
        self.datagrams += other.datagrams;
        self.excused += other.excused;
        for (a, b) in self.failed_as.iter_mut().zip(other.failed_as) {
            *a += b;
        }
        for (a, b) in self.faults.iter_mut().zip(other.faults) {
            *a += b;
        }
    }
}
