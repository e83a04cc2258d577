//! To which instance a flow's messages go, and when to another one.
//!
//! ```text
//!            the active instance is another one, nothing in doubt
//!        +-------------------------------------------------------+
//!        v                                                       |
//!    [Telling] -- the library can read it --> [Open] -- another is active --> [Closing]
//!        ^                                      ^                                 |
//!        |                                      +------ it is active again -------+
//!        +---- the last message that it may have begun was acked, refused or failed
//! ```
//!
//! A flow's unresolved messages may have been begun by one instance, its target, and by no other. So a switch
//! keeps the order: what went to the old instance has its outcome before the new one is given what comes behind. And
//! the sender's library, which is told of each switch before any message follows it, can tell a restarted daemon all
//! that it must know to give no message twice (I6).

use super::{
    Engine,
    chain::{EntryKey, FlowKey, Known, Stage, Target, Via},
    client::ClientKey,
    connections::Violation,
    link::LinkKey,
};
use crate::{
    control::LocalRule,
    ids::{ClientId, Incarnation, Instance, Seq},
    limits,
    local::{self, Bound},
    units::{Span, Time},
};

/// What a client that came back said of a flow.
#[derive(Clone, Debug)]
pub(crate) struct Restored {
    incarnation: Incarnation,
    upto: Seq,
    node: String,
}

impl Engine {
    /// The instances of a client are others: who wants to know is told, and the flows to it look for theirs again.
    pub(super) fn retarget_to(&mut self, client: ClientId) {
        self.on_presence(client);
        for flow in self.routes.flows_to(client) {
            self.retarget(flow);
        }
        self.send_addressed(client);
    }

    /// The active instance of a flow's destination may be another one, or be reachable again.
    pub(super) fn retarget(&mut self, key: FlowKey) {
        let Some(flow) = self.chain.flows.get_mut(key) else { return };
        let active = self.routes.active(flow.dst);
        let Some(target) = flow.target else {
            return match active {
                Some(active) => self.switch(key, active),
                None => self.take_back(key),
            };
        };
        let mut is_to_send = false;
        if let Some(via) = self.routes.way(target.instance) {
            is_to_send = flow.lost_until.take().is_some() || via != target.via;
            flow.target = Some(Target { instance: target.instance, via });
        }
        match active {
            Some(active) if active.instance == target.instance => {
                if flow.stage == Stage::Closing {
                    flow.stage = Stage::Open;
                    is_to_send = true;
                }
            }
            _ if flow.is_in_doubt() => {
                flow.stage = Stage::Closing;
                if self.is_given_up(key) {
                    self.give_up_target(key);
                    return;
                }
            }
            Some(active) => {
                self.switch(key, active);
                return;
            }
            None => {
                // One that is awaited, after this daemon's start, will most likely have it again: what the library knows holds.
                (flow.target, flow.stage) = (None, Stage::Open);
                self.take_back(key);
            }
        }
        if is_to_send {
            self.send_unresolved(key);
        }
    }

    /// A flow that closes has nothing in doubt any more: its messages go to the instance that is active now.
    pub(super) fn settle(&mut self, key: FlowKey) {
        if self.chain.flows.get(key).is_some_and(|f| f.stage == Stage::Closing && !f.is_in_doubt()) {
            self.retarget(key);
        }
    }

    /// Where a message may go now: to its flow's target, if that may have begun it or is not to be left.
    #[inline]
    pub(super) fn target_of(&self, key: EntryKey) -> Option<Target> {
        let entry = &self.chain.entries[key];
        if let Some(to) = entry.to {
            return self.target_for(to);
        }
        let flow = &self.chain.flows[entry.flow];
        let may_go = entry.in_doubt
            || match flow.stage {
                Stage::Open => true,
                Stage::Telling(_) => self.has_nobody_to_tell(flow.client),
                Stage::Closing => false,
            };
        flow.target.filter(|_| may_go)
    }

    /// Whether a client is gone for good: it will submit nothing again.
    fn has_nobody_to_tell(&self, client: ClientKey) -> bool {
        let client = &self.clients[client];
        client.conn.is_none() && client.gone_at.is_some_and(|at| at <= self.clock.steady())
    }

    /// A flow's messages go to another instance from now on.
    fn switch(&mut self, key: FlowKey, target: Target) {
        self.chain.renew_serials(key);
        let flow = &mut self.chain.flows[key];
        flow.begin_anew();
        (flow.target, flow.lost_until) = (Some(target), None);
        if flow.known == Known::This(target.instance) {
            flow.stage = Stage::Open;
            self.send_unresolved(key);
        } else {
            self.tell_target(key);
        }
    }

    /// Tells the sender's library of a flow's target. Outcomes of what went to an earlier one are told before.
    fn tell_target(&mut self, key: FlowKey) {
        let flow = &self.chain.flows[key];
        let (client, channel) = (flow.client, flow.channel);
        let Some(Target { instance: dst, via }) = flow.target else { return };
        let Some(conn) = self.clients[client].conn else {
            self.chain.flows[key].stage = Stage::Telling(u64::MAX);
            return;
        };
        self.flush_resolved(conn);
        let node = match via {
            Via::Link(link) => &self.links[link].name,
            Via::Local | Via::Nowhere => &self.config.node,
        };
        let out = &mut self.conns[conn].out;
        local::put::bound(out.tail(), &Bound { dst, channel, upto: Seq(0), node });
        let at = out.end();
        let flow = &mut self.chain.flows[key];
        // Until it has read that, nobody can say which of the two it knows: one that is switched to meanwhile, though it be
        // the one before, is told again.
        (flow.stage, flow.known) = (Stage::Telling(at), Known::Unsure);
        self.clients[client].told_targets.push_back((at, key));
        self.wake_conn(conn);
    }

    /// A flow has no target. If its sender's library knows of one, it is told that nothing is in doubt any more: a daemon that is
    /// started after this one need not ask an instance that it does not know. With nothing unresolved that need not be said.
    pub(super) fn take_back(&mut self, key: FlowKey) {
        let flow = &mut self.chain.flows[key];
        let is_awaited = flow.lost_until.is_some_and(|at| at > self.clock.steady());
        if flow.target.is_some() || is_awaited {
            return;
        }
        flow.lost_until = None;
        if flow.known == Known::Nobody || flow.unresolved().next().is_none() {
            return;
        }
        let Some(conn) = self.clients[flow.client].conn else { return };
        flow.known = Known::Nobody;
        let (dst, channel) = (flow.dst, flow.channel);
        self.flush_resolved(conn);
        local::put::unbound(self.conns[conn].out.tail(), dst, channel);
        self.wake_conn(conn);
    }

    /// A client came back to this daemon: what it was told of its flows' targets may not have reached it.
    pub(super) fn tell_targets_again(&mut self, client: ClientKey) {
        let mut flows: Vec<_> = self.clients[client].flows.values().copied().collect();
        flows.sort_unstable();
        for key in flows {
            let flow = &mut self.chain.flows[key];
            match flow.target {
                None => {
                    flow.known = Known::Unsure;
                    self.take_back(key);
                }
                Some(t) if flow.known != Known::This(t.instance) && flow.stage != Stage::Closing => {
                    self.tell_target(key);
                }
                Some(_) => {}
            }
        }
    }

    /// So much of a client's stream is written: its library can read what it was told of targets.
    pub(super) fn record_told(&mut self, client: ClientKey, written: u64) {
        while let Some((at, key)) =
            self.clients[client].told_targets.front().copied().filter(|(at, _)| *at <= written)
        {
            self.clients[client].told_targets.pop_front();
            let flow = &mut self.chain.flows[key];
            if flow.stage == Stage::Telling(at) {
                flow.stage = Stage::Open;
                flow.known = flow.target.map_or(Known::Unsure, |t| Known::This(t.instance));
                self.send_unresolved(key);
            }
        }
    }

    /// Sends what may go, in order.
    fn send_unresolved(&mut self, key: FlowKey) {
        let unresolved: Vec<_> = self.chain.flows[key].unresolved().collect();
        for entry in unresolved {
            // Handing one over can end others: look again at each.
            if self.chain.entries.get(entry).is_some_and(|e| e.flow == key) && self.may_send_copy(entry) {
                self.dispatch(entry);
            }
        }
    }

    /// Whether the target counts as gone for good, and another instance is active. Of one that was here nobody has to
    /// guess: this node knows.
    fn is_given_up(&self, key: FlowKey) -> bool {
        let flow = &self.chain.flows[key];
        flow.lost_until.is_some_and(|at| at <= self.clock.steady())
            && flow.target.is_some_and(|t| t.via != Via::Local)
            && self.routes.active(flow.dst).is_some()
    }

    /// What the target may have begun ends, as it counts as gone for good. What its sender, which came back, has yet to submit
    /// again (`replay`) follows.
    fn give_up_target(&mut self, key: FlowKey) {
        let in_doubt: Vec<_> = self.chain.flows[key]
            .unresolved()
            .filter(|e| self.chain.entries[*e].in_doubt && self.chain.entries[*e].to.is_none())
            .collect();
        for entry in in_doubt {
            self.give_up(entry);
        }
        self.settle(key);
    }

    /// A message that may have begun there ends, within one interval (I4: a copy that is under way may be handed over for so
    /// long), or goes on where that is allowed.
    fn give_up(&mut self, key: EntryKey) {
        let entry = &self.chain.entries[key];
        if entry.at_least_once {
            self.chain.unbind(key);
            self.chain.entries[key].tainted = true;
        } else {
            let end = self.clock.steady() + self.clients[entry.client].interval;
            self.chain.due.end_by(&mut self.chain.entries, key, end);
        }
    }

    /// A link is lost: its flows' targets count as gone for good if it does not come back in time.
    pub(super) fn record_lost(&mut self, link: LinkKey, until: Time) {
        for key in self.chain.flows.keys() {
            let flow = &mut self.chain.flows[key];
            if flow.is_in_doubt() && flow.target.is_some_and(|t| t.via == Via::Link(link)) {
                flow.lost_until = Some(until);
                self.lost_at = Some(self.lost_at.map_or(until, |at| at.min(until)));
            }
        }
    }

    /// A peer that was lost is back, and has announced all that it has. Of the targets that it did not announce, it will
    /// say what is known: it is asked at once.
    pub(super) fn ask_returned(&mut self, link: LinkKey) {
        for key in self.chain.flows.keys() {
            let flow = &mut self.chain.flows[key];
            let is_there = flow.target.is_some_and(|t| t.via == Via::Link(link));
            if is_there && flow.lost_until.take().is_some() {
                self.send_unresolved(key);
            }
        }
    }

    /// A client came back to this node as one that leaves, and is no active instance: what it may have begun is asked of it.
    pub(super) fn ask_leaving(&mut self, instance: Instance) {
        for key in self.routes.flows_to(instance.client) {
            let flow = &mut self.chain.flows[key];
            let is_it = flow.target.is_some_and(|t| t.instance == instance && t.via == Via::Local);
            if is_it && flow.lost_until.take().is_some() {
                self.send_unresolved(key);
            }
        }
    }

    /// Looks through the flows whose targets are out of reach.
    pub(super) fn give_up_lost(&mut self) {
        let now = self.clock.steady();
        self.lost_at = None;
        for key in self.chain.flows.keys() {
            let Some(until) = self.chain.flows[key].lost_until else { continue };
            if until <= now && self.chain.flows[key].target.is_some_and(|t| t.via == Via::Local) {
                self.chain.flows[key].lost_until = None;
                self.send_unresolved(key);
            } else if until <= now {
                self.retarget(key);
            } else {
                self.lost_at = Some(self.lost_at.map_or(until, |at| at.min(until)));
            }
        }
    }

    /// A client that comes back says which instance may have begun what it will submit again.
    pub(super) fn on_flow_bound(&mut self, client: ClientKey, bound: &Bound<'_>) -> Result<(), Violation> {
        let id = (bound.dst.client, bound.channel);
        let c = &mut self.clients[client];
        if c.restored.len() >= limits::MAX_FLOWS_PER_CLIENT {
            return Err(Violation::new(LocalRule::Quota, "more than 4,096 flows"));
        }
        // A flow that is known here is known better here.
        if !c.flows.contains_key(&id) {
            let (incarnation, upto) = (bound.dst.incarnation, bound.upto);
            c.restored.insert(id, Restored { incarnation, upto, node: bound.node.to_owned() });
        }
        Ok(())
    }

    /// A flow that its client knew before this daemon did goes on with the instance that it went to.
    pub(super) fn restore_target(&mut self, key: FlowKey) {
        let flow = &self.chain.flows[key];
        let id = (flow.dst, flow.channel);
        let Some(restored) = self.clients[flow.client].restored.remove(&id) else { return };
        let instance = Instance { client: id.0, incarnation: restored.incarnation };
        let link = self.links.iter().find(|(_, l)| l.name == restored.node && !l.is_removed);
        let (home, is_there, until) = if restored.node == self.config.node {
            // Who comes back says what it has taken; of who has not when the grace is over, this node knows that it is gone.
            let is_there = self.registered.contains_key(&instance);
            (Some(Via::Local), is_there, self.started_at + self.config.grace)
        } else {
            let is_there = link.is_some_and(|(_, l)| l.current.as_ref().is_some_and(|a| a.is_synced));
            let until = self.started_at + self.config.grace + Span::from_millis(limits::LINK_LOST_MS);
            (link.map(|(link, _)| Via::Link(link)), is_there, until)
        };
        let via = self.routes.way(instance).or(home).unwrap_or(Via::Nowhere);
        let flow = &mut self.chain.flows[key];
        flow.target = Some(Target { instance, via });
        (flow.known, flow.stage, flow.replay) = (Known::This(instance), Stage::Closing, Some(restored.upto));
        if !is_there {
            flow.lost_until = Some(until);
            self.lost_at = Some(self.lost_at.map_or(until, |at| at.min(until)));
        }
    }

    /// A message was submitted; an earlier daemon may have given those up to `upto` to the target.
    pub(super) fn on_replayed(&mut self, key: EntryKey, upto: Seq) {
        let entry = &self.chain.entries[key];
        let (flow, seq) = (entry.flow, entry.seq);
        let beyond = seq.since(upto);
        if beyond.unwrap_or(0) == 0 {
            self.chain.bind(key);
            if self.is_given_up(flow) && self.chain.entries[key].to.is_none() {
                self.give_up(key);
            }
        }
        if beyond.is_some() {
            self.chain.flows[flow].replay = None;
            self.settle(flow);
        }
    }
}
