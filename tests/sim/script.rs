//! What clients send.

use msg_proto::{
    ids::{ClientId, MsgId},
    session::{SendError, SendFlags, State},
};

use super::{
    check::{Outcome, Violation, payload},
    client::{Client, Process, Stall},
    world::{Event, World},
};

impl World {
    /// A client sends some messages.
    pub(super) fn script(&mut self, c: usize) -> Result<(), Violation> {
        if self.is_healed || self.clients[c].is_retired {
            return Ok(());
        }
        let now = self.now;
        let floods = self.clients[c].process.as_ref().is_some_and(|p| p.floods_until > now);
        let gap = if floods { 1_000 } else { self.scripts.around(self.clients[c].plan.gap) };
        self.schedule(now + gap, Event::Script(c));
        let Some(mut process) = self.clients[c].process.take() else { return Ok(()) };
        let burst = self.scripts.between(1, self.clients[c].plan.burst);
        let count = if floods { FLOOD } else { burst };
        let mut result = Ok(());
        if self.may_send(c, &process) {
            self.repeat_calls(c, &mut process);
            for _ in 0..count {
                match self.send_one(c, &mut process) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(violation) => {
                        result = Err(violation);
                        break;
                    }
                }
            }
            self.wake_client_soon(c);
        }
        self.clients[c].process = Some(process);
        result
    }

    fn may_send(&self, c: usize, p: &Process) -> bool {
        let plan = &self.clients[c].plan;
        let is_paused = self.nodes[plan.node].paused_until.is_some_and(|until| until > self.now);
        let is_early = !plan.sends_early && p.session.state() != State::Registered;
        !is_paused
            && !is_early
            && !p.is_leaving
            && !p.session.is_draining()
            && !p.is_stalled(self.now, &[Stall::Frozen])
    }

    /// `false`: there is no room.
    fn send_one(&mut self, c: usize, p: &mut Process) -> Result<bool, Violation> {
        let rng = &mut self.scripts;
        let plan = &self.clients[c].plan;
        let dst = rng.pick(&plan.to);
        if self.maybe_call(c, p, dst) {
            return Ok(true);
        }
        let (rng, plan) = (&mut self.scripts, &self.clients[c].plan);
        let large = if rng.chance(20_000) { 100_000 } else { 20_000 };
        let len =
            if rng.chance(plan.large_ppm) { rng.between(1_100, large) } else { rng.below(plan.size + 1) };
        let flags = SendFlags {
            unordered: rng.chance(plan.unordered_ppm),
            at_least_once: rng.chance(plan.at_least_once_ppm),
        };
        Ok(self.send_message(c, p, dst, len as usize, flags)?.is_some())
    }

    fn send_message(
        &mut self,
        c: usize,
        p: &mut Process,
        dst: ClientId,
        len: usize,
        flags: SendFlags,
    ) -> Result<Option<MsgId>, Violation> {
        let n = self.clients[c].plan.node;
        let (raw, moment) = (self.nodes[n].clock.at(self.now), self.moment(n));
        let uid = self.check.next_uid(p.life);
        let mut bytes = std::mem::take(&mut self.scratch);
        payload(uid, len, &mut bytes);
        let sent = p.session.send(raw, dst, &bytes, &uid.to_le_bytes(), flags);
        self.scratch = bytes;
        match sent {
            Ok(msgid) => {
                self.stats.sent += 1;
                self.check.on_sent(moment, p.life, msgid, dst, flags, len)?;
                Ok(Some(msgid))
            }
            Err(SendError::TooLarge { .. }) => Ok(None),
            Err(_) => Ok(None),
        }
    }

    /// When all is well: every client sends one message of each kind to everybody that it knows and that is there.
    ///
    /// # Errors
    ///
    /// A number does not follow.
    pub fn send_finale(&mut self) -> Result<Vec<(usize, MsgId, ClientId)>, Violation> {
        let mut sent = Vec::new();
        let is_there =
            |w: &Self, id: ClientId| w.clients.iter().any(|c| c.plan.id == id && c.process.is_some());
        for c in 0..self.clients.len() {
            if self.is_kept_out(c) {
                continue;
            }
            let Some(mut process) = self.clients[c].process.take() else { continue };
            for dst in self.clients[c].plan.to.clone() {
                for flags in [
                    SendFlags { unordered: false, at_least_once: false },
                    SendFlags { unordered: true, at_least_once: true },
                ] {
                    if is_there(self, dst) || self.clients[c].plan.id == dst {
                        let msgid = self.send_message(c, &mut process, dst, 200, flags)?;
                        sent.extend(msgid.map(|id| (process.life, id, dst)));
                    }
                }
            }
            self.clients[c].process = Some(process);
            self.wake_client_soon(c);
        }
        Ok(sent)
    }

    /// Whether a process is not registered, as another one of its clientid is: of two takeovers that crossed, the one that
    /// came to the daemon last has it, and whoever starts next is refused.
    pub(super) fn is_kept_out(&self, c: usize) -> bool {
        let is_in = |c: &Client| c.process.as_ref().is_some_and(|p| p.session.state() == State::Registered);
        let (own, id) = (&self.clients[c], self.clients[c].plan.id);
        let mut others = self.clients.iter().enumerate().filter(|(other, o)| *other != c && o.plan.id == id);
        !is_in(own) && others.any(|(_, other)| is_in(other))
    }

    /// What became of a message.
    #[must_use]
    pub fn outcome(&self, life: usize, msgid: MsgId) -> Option<Outcome> {
        self.check.told(life, msgid)
    }
}

/// Messages in a millisecond.
const FLOOD: u64 = 200;
