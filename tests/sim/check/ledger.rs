//! Every life of a client, and every message that it sent.

use msg_proto::{
    ids::{Channel, ClientId, Incarnation, Instance, MsgId},
    outcome::Verdict,
};

use super::{Checker, Invariant, Moment, Violation, violation};
use crate::sim::rng::mix;

/// A life of a client: one session, from its making to its death.
pub type LifeId = usize;

/// What is known of a life when it begins.
#[derive(Clone, Copy, Debug)]
pub struct LifePlan {
    /// Which client.
    pub client: ClientId,
    /// On which node.
    pub node: usize,
    /// How much faster than true time its clock runs.
    pub ppm: i64,
    /// `interval`, in microseconds.
    pub interval: u64,
    /// Retransmissions.
    pub times: u8,
    /// The number of its first message.
    pub first: MsgId,
    /// It calls.
    pub calls: bool,
}

/// How a message ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was taken.
    Acked,
    /// It was not, as far as is known.
    Failed(Verdict),
}

#[derive(Debug)]
pub(super) struct Life {
    pub(super) plan: LifePlan,
    pub(super) incarnation: Option<Incarnation>,
    pub(super) sent: Vec<Sent>,
    /// Of them, those that are none of the call layer's.
    pub(super) plain: u64,
    /// It lost its daemon: what a daemon says is no longer all that there is.
    pub(super) reconnected: bool,
    /// It lost its daemon, and was not seen since.
    pub(super) is_away: bool,
    /// Until when what it says may stand behind what it sent: it sent as fast as it could.
    pub(super) floods_until: u64,
    /// Until when its outcomes may wait for itself: it did not read.
    pub(super) stalled_until: u64,
    /// Until when its daemon stood still.
    pub(super) hung_until: u64,
    /// Until when a handler of it runs.
    pub(super) handles_until: u64,
    /// It takes no more.
    pub(super) is_drained: bool,
    pub(super) is_dead: bool,
}

/// A message that was sent.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) dst: ClientId,
    pub(super) channel: Channel,
    pub(super) at_least_once: bool,
    pub(super) len: usize,
    pub(super) uid: u64,
    /// Of the call layer: `calls` knows what is to come of it.
    pub(super) is_call: bool,
    pub(super) sent_at: Moment,
    /// When the daemon read it.
    pub(super) accepted_at: Option<Moment>,
    /// Copies that left the node, or were written to a client of it.
    pub(super) copies: u32,
    /// Which instances copies were sent to, to other nodes.
    pub(super) addressed: Vec<Instance>,
    /// Copies that came after it was taken, since it was last acknowledged.
    pub(super) unanswered: u32,
    /// What its daemon decided, and when.
    pub(super) decided: Option<(u64, Outcome)>,
    /// What its process was told, and when.
    pub(super) told: Option<(u64, Outcome)>,
    /// Who took it, and when.
    pub(super) taken: Vec<(LifeId, u64)>,
}

impl Life {
    fn index(&self, msgid: MsgId) -> usize {
        msgid.0.wrapping_sub(self.plan.first.0) as usize
    }

    /// I1, as the library keeps it while a daemon is alive and does not answer, in microseconds.
    pub(super) const fn bound(&self) -> u64 {
        let interval = self.plan.interval;
        interval * (self.plan.times as u64 + 1) + interval / 2 + 10_000 + interval / 2 + HANG_SLACK
    }

    /// Messages of the call layer have been sent, up to that number.
    fn fill(&mut self, until: usize) {
        while self.sent.len() < until {
            self.sent.push(Sent::of_call());
        }
    }

    pub(super) fn find(&self, msgid: MsgId) -> Option<&Sent> {
        self.sent.get(self.index(msgid))
    }

    pub(super) fn find_mut(&mut self, msgid: MsgId) -> Option<&mut Sent> {
        let index = self.index(msgid);
        self.sent.get_mut(index)
    }
}

impl Sent {
    fn of_call() -> Self {
        Self {
            dst: ClientId(0),
            channel: Channel::Unordered,
            at_least_once: false,
            len: 0,
            uid: 0,
            is_call: true,
            sent_at: Moment { now: 0, judged: 0 },
            accepted_at: None,
            copies: 0,
            addressed: Vec::new(),
            unanswered: 0,
            decided: None,
            told: None,
            taken: Vec::new(),
        }
    }
}

impl Checker {
    /// A life begins.
    pub fn on_born(&mut self, now: u64, plan: LifePlan) -> LifeId {
        let life = self.lives.len();
        self.lives.push(Life {
            plan,
            incarnation: None,
            sent: Vec::new(),
            plain: 0,
            reconnected: false,
            is_away: false,
            floods_until: 0,
            stalled_until: 0,
            hung_until: 0,
            handles_until: 0,
            is_drained: false,
            is_dead: false,
        });
        self.note(now, None, || format!("life {life}: client {} on node {}", plan.client, plan.node));
        life
    }

    /// Its daemon says which incarnation it is.
    ///
    /// # Errors
    ///
    /// Two lives have the same.
    pub fn on_incarnation(
        &mut self,
        now: u64,
        life: LifeId,
        incarnation: Incarnation,
    ) -> Result<(), Violation> {
        let client = self.lives[life].plan.client;
        self.lives[life].incarnation = Some(incarnation);
        let instance = Instance { client, incarnation };
        self.note(now, None, || format!("life {life} is {instance}"));
        match self.by_instance.insert(instance, life) {
            Some(other) if other != life => Err(violation(
                Invariant::NothingInvented,
                now,
                None,
                format!("lives {other} and {life} are both {instance}"),
            )),
            _ => Ok(()),
        }
    }

    /// It ends; nothing is told to it any more.
    pub fn on_death(&mut self, now: u64, life: LifeId) {
        self.lives[life].is_dead = true;
        self.end_calls(life);
        self.note(now, None, || format!("life {life} ends"));
    }

    /// It does not read, or not take, until then.
    pub fn on_stall(&mut self, life: LifeId, until: u64) {
        let life = &mut self.lives[life];
        life.stalled_until = life.stalled_until.max(until);
    }

    /// Its daemon stands still until then.
    pub fn on_hang(&mut self, life: LifeId, until: u64) {
        let life = &mut self.lives[life];
        life.hung_until = life.hung_until.max(until);
    }

    /// It takes no more.
    pub fn on_drained(&mut self, now: u64, life: LifeId) {
        self.lives[life].is_drained = true;
        self.note(now, None, || format!("life {life} takes no more"));
    }

    /// It sends as fast as it can until then.
    pub fn on_flood(&mut self, life: LifeId, until: u64) {
        self.lives[life].floods_until = until;
    }

    /// Its daemon has closed its stream, or died.
    pub fn on_away(&mut self, life: LifeId) {
        self.lives[life].is_away = true;
    }

    /// It has a new stream to a daemon after it lost one.
    pub fn on_reconnect(&mut self, life: LifeId) {
        (self.lives[life].reconnected, self.lives[life].is_away) = (true, false);
    }

    /// The next message of a life: its uid, which says what its bytes are.
    #[must_use]
    pub fn next_uid(&self, life: LifeId) -> u64 {
        mix((life as u64) << 32 | self.lives[life].plain)
    }

    /// A library accepted a message of [`next_uid`](Self::next_uid).
    ///
    /// # Errors
    ///
    /// It has a number that does not follow.
    pub fn on_sent(
        &mut self,
        at: Moment,
        life: LifeId,
        msgid: MsgId,
        dst: ClientId,
        flags: msg_proto::session::SendFlags,
        len: usize,
    ) -> Result<(), Violation> {
        let uid = self.next_uid(life);
        let about = Some((life, msgid.0));
        let l = &mut self.lives[life];
        let is_next =
            if l.plan.calls { l.index(msgid) >= l.sent.len() } else { l.index(msgid) == l.sent.len() };
        if !is_next {
            let text = format!("msgid {msgid} does not follow");
            return Err(violation(Invariant::NothingInvented, at.now, about, text));
        }
        l.fill(l.index(msgid));
        l.plain += 1;
        l.sent.push(Sent {
            dst,
            channel: super::channel_of(flags.unordered),
            at_least_once: flags.at_least_once,
            len,
            uid,
            is_call: false,
            sent_at: at,
            ..Sent::of_call()
        });
        self.note(at.now, about, || format!("sent to {dst}, {len} bytes, {flags:?}"));
        Ok(())
    }

    /// Messages of a life without an outcome: how many, and the first.
    #[must_use]
    pub fn open(&self, life: LifeId) -> (usize, Option<u32>) {
        let l = &self.lives[life];
        let mut open = l.sent.iter().enumerate().filter(|(_, s)| s.told.is_none() && !s.is_call);
        let first = open.next().map(|(i, _)| l.plan.first.0.wrapping_add(i as u32));
        (usize::from(first.is_some()) + open.count(), first)
    }

    /// A daemon reads a SUBMIT of the call layer.
    pub(super) fn on_call_submit(&mut self, life: LifeId, msgid: MsgId) {
        let l = &mut self.lives[life];
        let until = l.index(msgid) + 1;
        if until <= l.sent.len() + MAX_CALL_MESSAGES {
            l.fill(until);
        }
    }

    /// What a life was told of a message.
    #[must_use]
    pub fn told(&self, life: LifeId, msgid: MsgId) -> Option<Outcome> {
        self.sent(life, msgid)?.told.map(|(_, outcome)| outcome)
    }
}

/// The bytes of a message.
pub fn payload(uid: u64, len: usize, out: &mut Vec<u8>) {
    out.clear();
    let mut word = uid;
    while out.len() < len {
        word = word.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(uid | 1);
        let bytes = word.to_le_bytes();
        let n = (len - out.len()).min(8);
        out.extend_from_slice(&bytes[..n]);
    }
}

/// What a library leaves a daemon that does not read: this, and half an interval.
pub(super) const HANG_SLACK: u64 = 510_000;
/// Messages of the call layer between two others: fewer than a window of numbers.
const MAX_CALL_MESSAGES: usize = 1 << 18;
