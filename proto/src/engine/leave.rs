//! Clients that take no more and go on with what they have: superseded by a newer process, or drained.
//!
//! ```text
//!    active --- takeover, drain: DRAIN ---> leaving --- DRAINED ---> drained --- GOODBYE ---> gone
//! ```
//!
//! What was not given to it goes back at once, *not started*. What was given goes back when its library has said
//! DRAINED: behind that everything that it has taken is reported taken, so what is not was not begun, and never will be.
//! One that comes back as one that leaves says DRAINED again, and what comes for it before is answered then (`returned`).
//! What it sent goes on to its end, and it is told the outcomes. What is for it only, as the replies to its calls are, it takes
//! until it has left.

use super::{
    Credentials, Engine,
    address::CallCopy,
    client::{ClientKey, Delivery},
    connections::Violation,
    inbox::{self, Inbox},
};
use crate::{
    control::{Arrival, Departure, LocalRule, Register},
    ids::{ClientId, Incarnation, Instance},
    limits,
    local::{self, DrainCause},
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
};

impl Engine {
    /// Has the clients of this node take no more: all with that number, or simply all. Returns how many are asked.
    /// What registers later is not concerned.
    pub fn handle_drain(&mut self, now: Time, client: Option<ClientId>) -> usize {
        self.advance(now);
        let all = self.registered_sorted().into_iter();
        let asked: Vec<_> = all
            .filter(|(id, key)| client.is_none_or(|c| c == *id) && !self.clients[*key].is_leaving)
            .map(|(_, key)| key)
            .collect();
        for key in &asked {
            self.begin_leaving(*key, Some(DrainCause::Asked));
        }
        self.flush_local();
        asked.len()
    }

    /// A client is to take no more. `None`: that is what it says itself.
    pub(super) fn begin_leaving(&mut self, key: ClientKey, asked: Option<DrainCause>) {
        let client = &mut self.clients[key];
        if std::mem::replace(&mut client.is_leaving, true) {
            return;
        }
        client.queue.is_held_back = false;
        let (instance, conn) = (client.instance, client.conn);
        if let (Some(cause), Some(conn)) = (asked, conn) {
            local::put::drain(self.conns[conn].out.tail(), cause);
            self.wake_conn(conn);
            self.await_drained(key);
        }
        self.refuse_unaddressed(key);
        self.refuse_dropped(key);
        self.remove_route(key, instance, Departure::GoingAway);
    }

    /// A client's library dropped deliveries as stale: they are to come again, or, if it leaves before that, to go back.
    pub(super) fn remember_dropped(&mut self, key: ClientKey, stale: &[Delivery]) {
        let dropped = &mut self.clients[key].queue.dropped;
        dropped.extend(stale.iter().filter(|d| !d.is_addressed).map(|d| (d.inbox, d.msgid, d.seq)));
        let too_many = dropped.len().saturating_sub(limits::DELIVERY_WINDOW_MESSAGES);
        dropped.drain(..too_many);
        if self.clients[key].is_leaving {
            self.refuse_dropped(key);
        }
    }

    /// What the library of a client that takes no more had dropped as stale, and has not come again, was not begun. Without that
    /// it would be in doubt until its sender's timer asks, and for ever where this daemon ends before.
    fn refuse_dropped(&mut self, key: ClientKey) {
        for (inbox, msgid, seq) in std::mem::take(&mut self.clients[key].queue.dropped) {
            let is_missing =
                |i: &Inbox| i.client == Some(key) && matches!(i.arrival(seq), inbox::Arrival::New);
            if self.inboxes.get(inbox).is_some_and(is_missing) {
                self.refuse(inbox, msgid, seq, GOING_AWAY);
            }
        }
    }

    /// A client has said that it takes no more: what it was given and has not reported taken was not begun.
    pub(super) fn on_drained(&mut self, key: ClientKey) {
        self.begin_leaving(key, None);
        let given = self.clients[key].queue.given().filter(|d| !d.is_stale && !d.is_addressed);
        let mut refused: Vec<_> = given
            .map(|delivery| {
                delivery.is_stale = true;
                (delivery.inbox, delivery.msgid, delivery.seq)
            })
            .collect();
        self.clients[key].queue.pop_stale();
        refused.extend(self.clients[key].unanswered.take().into_iter().flatten());
        for (inbox, msgid, seq) in refused {
            let is_open = |i: &Inbox| matches!(i.arrival(seq), inbox::Arrival::New | inbox::Arrival::Given);
            if self.inboxes.get(inbox).is_some_and(is_open) {
                self.refuse(inbox, msgid, seq, GOING_AWAY);
            }
        }
        self.end_wait_for_drained(key);
    }

    /// A client that leaves will say DRAINED, when it has begun all that it took. What others of that clientid are given in
    /// order waits for that, and not for ever: this one may hang, and its handlers may take longer than senders wait.
    pub(super) fn await_drained(&mut self, key: ClientKey) {
        let client = &mut self.clients[key];
        let wait = Span::from_millis(limits::SUCCESSOR_WAIT_MS).min(client.interval.div(2));
        let until = self.clock.steady() + wait;
        client.drained_by = Some(until);
        let id = client.instance.client;
        self.held_back_until = Some(self.held_back_until.map_or(until, |at| at.min(until)));
        self.hold_back(id);
    }

    /// It has said DRAINED, or is gone, or was waited for long enough.
    pub(super) fn end_wait_for_drained(&mut self, key: ClientKey) {
        let client = &mut self.clients[key];
        if client.drained_by.take().is_some() {
            let id = client.instance.client;
            self.hold_back(id);
        }
    }

    /// Holds back what is in order from the clients with that number which take messages, or does so no more.
    pub(super) fn hold_back(&mut self, id: ClientId) {
        let all = self.registered_as(id);
        let is_held_back = all.iter().any(|key| self.clients[*key].drained_by.is_some());
        for key in all {
            let client = &mut self.clients[key];
            let was = std::mem::replace(&mut client.queue.is_held_back, is_held_back && !client.is_leaving);
            if was && !is_held_back {
                self.give_blocked(key);
            }
        }
    }

    /// Looks through the clients whose DRAINED is waited for.
    pub(super) fn give_up_waiting_for_drained(&mut self) {
        let now = self.clock.steady();
        self.held_back_until = None;
        for (_, key) in self.registered_sorted() {
            let Some(until) = self.clients[key].drained_by else { continue };
            if until <= now {
                self.end_wait_for_drained(key);
            } else {
                self.held_back_until = Some(self.held_back_until.map_or(until, |at| at.min(until)));
            }
        }
    }

    /// What waits for a client that takes no more goes back, but for what is for it only.
    fn refuse_unaddressed(&mut self, key: ClientKey) {
        let is_addressed = |call: Option<CallCopy>| call.is_some_and(|call| call.is_addressed);
        for inbox in self.clients[key].inboxes.clone() {
            for (seq, msgid) in self.inboxes[inbox].held(|call| !is_addressed(call)) {
                if let Some(held) = self.inboxes[inbox].unhold(seq) {
                    self.release(Some(key), held.payload.len(), 1);
                    self.pool.put(held.payload);
                }
                self.refuse(inbox, msgid, seq, GOING_AWAY);
            }
            let partials = std::mem::take(&mut self.inboxes[inbox].partials);
            let (kept, dropped): (Vec<_>, Vec<_>) =
                partials.into_iter().partition(|(_, p)| is_addressed(p.call));
            self.inboxes[inbox].partials = kept;
            for (_, partial) in dropped {
                self.release(Some(key), partial.bytes.len(), 0);
                self.pool.put(partial.bytes);
            }
        }
    }

    /// What a message that comes for a client that takes no more is answered.
    pub(super) fn refusal_of_leaving(&self, key: ClientKey) -> Option<Verdict> {
        self.clients[key].is_leaving.then_some(GOING_AWAY)
    }

    /// Whether there is a place for one more instance beside those that this node has. `Ok(false)`: it comes back, and
    /// a newer one took over meanwhile, so it has to leave.
    pub(super) fn check_arrival(&self, register: &Register, peer: Credentials) -> Result<bool, Violation> {
        let others = self.others(register.client, register.incarnation);
        let arrivals = || others.iter().map(|key| (self.clients[*key].arrival, self.clients[*key].instance));
        let is_back = register.incarnation != Incarnation::NONE;
        let is_superseded = is_back
            && arrivals().any(|(a, i)| a == Arrival::Takeover && i.incarnation > register.incarnation);
        let is_taken = match register.arrival {
            Arrival::Leaving => return Ok(true),
            _ if is_superseded => return Ok(false),
            Arrival::Alone if is_back => arrivals().any(|(arrival, _)| arrival != Arrival::Beside),
            Arrival::Alone => !others.is_empty(),
            Arrival::Beside | Arrival::Takeover => false,
        };
        let id = register.client;
        if let Some(owner) = others.first().map(|key| &self.clients[*key]).filter(|_| is_taken) {
            return Err(Violation::new(
                LocalRule::ClientIdTaken,
                format!("clientid {id} is registered by pid {}, uid {}", owner.peer.pid, owner.peer.uid),
            ));
        }
        let has_rule = self.config.clients.iter().any(|rule| rule.id == id);
        let stranger = others.iter().map(|key| self.clients[*key].peer).find(|owner| owner.uid != peer.uid);
        if let Some(owner) = stranger.filter(|_| !has_rule && peer.uid != 0) {
            return Err(Violation::new(
                LocalRule::NotAllowed,
                format!(
                    "clientid {id} is registered by uid {}; this process has uid {}",
                    owner.uid, peer.uid
                ),
            ));
        }
        Ok(true)
    }

    /// A client that takes over is ready: the one that it replaces leaves.
    pub(super) fn supersede(&mut self, key: ClientKey) {
        let client = &self.clients[key];
        if client.arrival != Arrival::Takeover || client.is_leaving {
            return;
        }
        let (instance, priority, is_back) = (client.instance, client.priority, client.has_returned);
        let rank = |k: &ClientKey| (self.clients[*k].priority, self.clients[*k].instance.incarnation);
        let others = self.others(instance.client, instance.incarnation);
        let replaced: Vec<_> = if is_back {
            // It took over before this daemon was started; who comes late beside it is not concerned.
            let is_older = |k: &ClientKey| {
                let other = &self.clients[*k];
                other.arrival != Arrival::Beside && other.instance < instance
            };
            others.into_iter().filter(is_older).collect()
        } else {
            let not_above = others.iter().copied().filter(|k| self.clients[*k].priority <= priority);
            let best = not_above.max_by_key(rank).or(others.iter().copied().min_by_key(rank));
            best.into_iter().collect()
        };
        for old in replaced {
            self.begin_leaving(old, Some(DrainCause::Superseded));
        }
    }

    /// The registered instances of a clientid that take messages, but for one.
    fn others(&self, client: ClientId, but: Incarnation) -> Vec<ClientKey> {
        let is_other = |key: &ClientKey| {
            let c = &self.clients[*key];
            !c.is_leaving && c.instance.incarnation != but
        };
        self.registered_as(client).into_iter().filter(is_other).collect()
    }

    fn registered_as(&self, client: ClientId) -> Vec<ClientKey> {
        let from = Instance { client, incarnation: Incarnation::NONE };
        let to = Instance { client, incarnation: Incarnation(u64::MAX) };
        self.registered.range(from..=to).map(|(_, key)| *key).collect()
    }
}

const GOING_AWAY: Verdict = Verdict { reason: Reason::GoingAway, certainty: Certainty::NotStarted };
