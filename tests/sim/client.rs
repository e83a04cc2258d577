//! A client: a process that registers, sends, takes, and comes to an end.

use msg_proto::{
    control::Arrival,
    ids::{ConnId, Incarnation, MsgId, Seq},
    session::{Outcomes, Session, SessionConfig},
};

use super::{
    calls::{CallSide, MadeCall},
    check::LifeId,
    process::FIRST_BACKOFF,
    rng::Rng,
    scenario::ClientPlan,
    stream::Stream,
};

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) plan: ClientPlan,
    /// `None` while no process runs.
    pub(super) process: Option<Process>,
    /// When its next turn is.
    pub(super) turn_at: Option<u64>,
    /// Another has taken its number over: it is not started again.
    pub(super) is_retired: bool,
    /// Calls that the last process had no answer to.
    pub(super) unanswered: Vec<MadeCall>,
    /// How its first process comes.
    arrival: Arrival,
}

/// A running process.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) life: LifeId,
    pub(super) session: Session,
    pub(super) conn: Option<ConnId>,
    /// What is left to read of a stream that the daemon closed.
    pub(super) lost: Option<Box<Stream>>,
    pub(super) connect_at: u64,
    pub(super) backoff: u64,
    /// It was connected before.
    pub(super) was_connected: bool,
    pub(super) stall: Option<(Stall, u64)>,
    /// Its handler returns then.
    pub(super) handling_until: Option<u64>,
    /// Until then other threads have to do with what it took, and it takes nothing.
    pub(super) backlog_until: Option<u64>,
    /// So long it waits for a daemon to tell that it takes no more.
    pub(super) tell_until: Option<u64>,
    /// It said goodbye: it goes when that is written.
    pub(super) is_leaving: bool,
    /// It sends as fast as it can until then.
    pub(super) floods_until: u64,
    pub(super) calls: Option<CallSide>,
}

/// What a process does not do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stall {
    /// It does nothing at all.
    Frozen,
    /// It does not read its socket.
    Reading,
    /// It does not take messages; it does take outcomes.
    Taking,
}

impl Client {
    pub(super) const fn new(plan: ClientPlan) -> Self {
        let unanswered = Vec::new();
        Self { plan, process: None, turn_at: None, is_retired: false, unanswered, arrival: Arrival::Alone }
    }

    /// One that takes over from another.
    pub(super) fn successor(plan: ClientPlan) -> Self {
        Self { arrival: Arrival::Takeover, ..Self::new(plan) }
    }

    /// A new process.
    pub(super) fn start(&mut self, now: u64, life: LifeId, rng: &mut Rng) {
        let config = SessionConfig {
            client: self.plan.id,
            incarnation: Incarnation::NONE,
            interval_ms: self.plan.interval_ms,
            times: self.plan.times,
            max_stored: self.plan.max_stored,
            priority: self.plan.priority,
            arrival: std::mem::replace(&mut self.arrival, Arrival::Alone),
            ack: self.plan.ack,
            outcomes: Outcomes::All,
            name: "sim".to_owned(),
        };
        self.process = Some(Process {
            life,
            session: Session::new(config, MsgId(self.plan.first), Seq(self.plan.first)),
            conn: None,
            lost: None,
            connect_at: now,
            backoff: FIRST_BACKOFF,
            was_connected: false,
            stall: None,
            handling_until: None,
            backlog_until: None,
            tell_until: None,
            is_leaving: false,
            floods_until: 0,
            calls: self.plan.calls.map(|script| CallSide::new(script, rng)),
        });
    }
}

impl Process {
    /// Whether it has to do with something that it took.
    pub(super) const fn is_handling(&self) -> bool {
        self.handling_until.is_some() || self.backlog_until.is_some()
    }

    pub(super) fn is_stalled(&self, now: u64, kinds: &[Stall]) -> bool {
        self.stall.is_some_and(|(kind, until)| now < until && kinds.contains(&kind))
    }
}
