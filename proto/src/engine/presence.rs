//! Clients and links that come and go, and what peers are told of it.

use super::{
    Engine, PeerConfig,
    chain::Via,
    client::{Client, ClientKey},
    clock::Step,
    inbox::Source,
    link::{Association, Attempt, HeartbeatDue, Link, LinkKey, path_mtu::PathMtu},
};
use crate::{
    control::{Control, Departure},
    counters::Counter,
    ids::{ClientId, Instance},
    limits,
    outcome::{Certainty, Reason, Verdict},
    units::Span,
};

impl Engine {
    /// A client is ready: messages may come and go.
    pub(super) fn on_arrival(&mut self, key: ClientKey) {
        let Client { instance, priority, is_leaving, peer, .. } = self.clients[key];
        self.adopt_inboxes(key);
        if !is_leaving {
            self.routes.add(instance, priority, peer.uid, Via::Local);
            for link in self.links.keys() {
                self.announce(link, key);
            }
            self.supersede(key);
            self.hold_back(instance.client);
            self.retarget_to(instance.client);
        } else {
            self.send_addressed(instance.client);
            self.ask_leaving(instance);
        }
        self.flush_local();
    }

    /// A client is gone. What it sent goes on to its end; what was sent to it is refused, with what is known.
    pub(super) fn on_departure(&mut self, key: ClientKey, cause: Departure) {
        let client = &mut self.clients[key];
        let instance = client.instance;
        let written = client.conn.take().map_or(u64::MAX, |conn| self.conns[conn].out.written());
        client.queue.is_held_back = false;
        let is_leaving = client.is_leaving;
        if self.registered.get(&instance) == Some(&key) {
            self.registered.remove(&instance);
        }
        self.end_wait_for_drained(key);
        let client = &mut self.clients[key];
        let stay = if cause == Departure::Left { Span::ZERO } else { self.config.grace };
        client.gone_at = Some(self.clock.steady() + stay);
        client.restored.clear();
        let mut flows: Vec<_> = client.flows.values().copied().collect();
        flows.sort_unstable();
        for flow in flows {
            if self.chain.flows[flow].replay.take().is_some() {
                self.settle(flow);
            }
        }
        self.unsubscribe(key);
        self.unwatch(key);
        self.refuse_deliveries(key, cause, written);
        self.refuse_begun(key);
        self.refuse_waiting(key);
        self.remember_departed(instance);
        self.schedule_expiry();
        if !is_leaving {
            self.remove_route(key, instance, cause);
        }
        self.bury(key);
        self.check_gone(instance);
    }

    /// A client of this node takes no messages any more.
    pub(super) fn remove_route(&mut self, key: ClientKey, instance: Instance, cause: Departure) {
        self.routes.remove(instance, Via::Local);
        for link in self.links.keys() {
            self.withdraw(link, key, instance, cause);
        }
        self.retarget_to(instance.client);
    }

    /// What was given and not taken. A library that says goodbye has taken all that it will; of one that died,
    /// only what was not written to its socket is sure.
    fn refuse_deliveries(&mut self, key: ClientKey, cause: Departure, written: u64) {
        for delivery in self.clients[key].queue.drain() {
            if delivery.is_stale {
                continue;
            }
            let never_begun =
                cause == Departure::Left || (cause == Departure::Died && delivery.starts_at >= written);
            let certainty = if never_begun { Certainty::NotStarted } else { Certainty::Unknown };
            let verdict = Verdict { reason: Reason::ReceiverGone, certainty };
            self.refuse(delivery.inbox, delivery.msgid, delivery.seq, verdict);
        }
    }

    /// What waits for a client will not be given. It has no connection.
    fn refuse_waiting(&mut self, key: ClientKey) {
        self.refuse_held(key, Verdict { reason: Reason::ReceiverGone, certainty: Certainty::NotStarted });
        let client = &mut self.clients[key];
        client.known_at.clear();
        client.told_targets.clear();
        for inbox in std::mem::take(&mut client.inboxes) {
            let i = &mut self.inboxes[inbox];
            i.client = None;
            i.departed_at = Some(self.clock.steady());
        }
    }

    /// What waits for a client, and was not given, will not be.
    fn refuse_held(&mut self, key: ClientKey, verdict: Verdict) {
        let client = &mut self.clients[key];
        client.queue.blocked.clear();
        (client.queue.held, client.queue.held_bytes) = (0, 0);
        for inbox in client.inboxes.clone() {
            for (seq, msgid) in self.inboxes[inbox].held(|_| true) {
                if let Some(held) = self.inboxes[inbox].unhold(seq) {
                    self.pool.put(held.payload);
                }
                self.refuse(inbox, msgid, seq, verdict);
            }
            let i = &mut self.inboxes[inbox];
            for (_, partial) in i.partials.drain(..) {
                self.pool.put(partial.bytes);
            }
            i.is_blocked = false;
        }
    }

    /// A departed client whose messages have all ended is forgotten.
    pub(super) fn bury(&mut self, key: ClientKey) {
        let client = &self.clients[key];
        let may_return =
            !client.missed.is_empty() && self.departed.iter().any(|(i, _)| *i == client.instance);
        if client.conn.is_some() || client.sent.count > 0 || may_return {
            return;
        }
        let client = self.clients.remove(key);
        let mut flows: Vec<_> = client.flows.into_iter().collect();
        flows.sort_unstable();
        for ((dst, _), flow) in flows {
            self.routes.remove_flow(dst, flow);
            if self.chain.flows.remove(flow).floor_untold {
                for link in self.links.keys() {
                    self.links[link].floors.retain(|f| *f != flow);
                }
            }
        }
        self.by_instance.remove(&client.instance);
        for link in self.links.keys() {
            if let Some(association) = &mut self.links[link].current {
                association.announced.remove(&key);
            }
        }
        self.on_source_gone(client.instance);
    }

    /// Forgets the client that departed first. It did not come back for the outcomes that it missed.
    pub(super) fn forget_departed(&mut self) {
        let Some((instance, _)) = self.departed.pop_front() else { return };
        if let Some(client) = self.by_instance.get(&instance).copied() {
            self.bury(client);
        }
    }

    /// The departed incarnation is remembered, so that late copies get a true certainty.
    pub(super) fn remember_departed(&mut self, instance: Instance) {
        if self.departed.len() >= limits::MAX_DEPARTED {
            self.forget_departed();
        }
        self.departed.push_back((instance, self.clock.steady()));
    }

    /// A client incarnation sends no more: its flows are forgotten in time.
    fn on_source_gone(&mut self, src: Instance) {
        for key in self.inboxes.keys() {
            let inbox = &mut self.inboxes[key];
            if inbox.id.src == src {
                inbox.is_source_gone = true;
            }
        }
        self.schedule_expiry();
    }

    fn announce(&mut self, link: LinkKey, client: ClientKey) {
        let c = &self.clients[client];
        let step = Control::Announce {
            client: c.instance.client,
            incarnation: c.instance.incarnation,
            priority: c.priority,
            uid: c.peer.uid,
        };
        if let Some(seq) = self.push_control(link, step)
            && let Some(association) = &mut self.links[link].current
        {
            association.announced.insert(client, seq);
        }
    }

    fn withdraw(&mut self, link: LinkKey, client: ClientKey, instance: Instance, cause: Departure) {
        let Some(association) = &self.links[link].current else { return };
        if association.announced.contains_key(&client) {
            let step =
                Control::Withdraw { client: instance.client, incarnation: instance.incarnation, cause };
            self.push_control(link, step);
        }
    }

    pub(super) fn push_control(&mut self, link: LinkKey, step: Control) -> Option<u32> {
        let association = self.links[link].current.as_mut()?;
        let seq = association.control_out.push(step);
        match seq {
            Some(_) => self.wake_link(link),
            None => self.lose_link(link),
        }
        seq
    }

    /// A step of a peer's control stream, in order.
    pub(super) fn on_control(&mut self, link: LinkKey, step: &Control) {
        match *step {
            Control::Announce { client, incarnation, priority, uid } => {
                self.routes.add(Instance { client, incarnation }, priority, uid, Via::Link(link));
                self.retarget_to(client);
            }
            Control::Withdraw { client, incarnation, .. } => {
                let instance = Instance { client, incarnation };
                self.routes.remove(instance, Via::Link(link));
                self.retarget_to(client);
                self.on_source_gone(instance);
            }
            Control::Synced => self.on_synced(link),
            Control::Watch { client, incarnation } => {
                self.on_peer_watch(link, Instance { client, incarnation });
            }
            Control::Gone { client, incarnation } => {
                self.on_peer_gone(link, Instance { client, incarnation });
            }
        }
    }

    /// The peer has announced all that it has: senders over this link that it did not announce are gone.
    fn on_synced(&mut self, link: LinkKey) {
        if let Some(association) = &mut self.links[link].current {
            association.is_synced = true;
        }
        self.ask_returned(link);
        let here = self.routes.over(link);
        for key in self.inboxes.keys() {
            let inbox = &mut self.inboxes[key];
            if inbox.source == Source::Link(link) && here.binary_search(&inbox.id.src.client).is_err() {
                inbox.is_source_gone = true;
            }
        }
        self.schedule_expiry();
    }

    /// Both sides know both sessions: messages may go.
    pub(super) fn establish(&mut self, key: LinkKey, attempt: Attempt) {
        let Some(remote) = attempt.remote else { return };
        if self.links[key].current.is_some() {
            self.lose_association(key);
        }
        let now = self.clock.steady();
        self.set_attempt(key, None);
        let association = Association::new(attempt.local, remote, self.config.mtu, now);
        self.link_of.insert(association.session(), key);
        let link = &mut self.links[key];
        link.foreign = None;
        link.current = Some(association);
        for path in &mut link.paths {
            path.mtu.forget_probe();
            path.heartbeat = Some(HeartbeatDue { wants_reply: true });
        }
        self.count(Counter::LinksUp);
        for client in self.ready_clients() {
            self.announce(key, client);
        }
        self.push_control(key, Control::Synced);
        self.ask_of_lives(key);
        self.wake_link(key);
    }

    /// The link is down: hellos begin again.
    pub(super) fn lose_link(&mut self, key: LinkKey) {
        self.lose_association(key);
        let local = self.new_session();
        let now = self.clock.steady();
        let link = &mut self.links[key];
        link.attempt.get_or_insert(Attempt::new(local));
        link.hello_at = now;
        link.hello_backoff = Span::from_millis(limits::HELLO_MS);
    }

    pub(super) fn lose_association(&mut self, key: LinkKey) {
        let link = &mut self.links[key];
        let Some(association) = link.current.take() else { return };
        let until = association.heard_at + Span::from_millis(limits::LINK_LOST_MS);
        let queued = link.queue.drain();
        let floors = std::mem::take(&mut link.floors);
        self.link_of.remove(&association.session());
        for (entry, serial) in queued {
            if self.chain.same(entry, serial).is_some() {
                self.chain.entries[entry].queued = false;
            }
        }
        for flow in floors {
            if let Some(flow) = self.chain.flows.get_mut(flow) {
                flow.floor_untold = false;
            }
        }
        self.record_lost(key, until);
        self.record_link_down(key, until);
        self.count(Counter::LinksDown);
        for client in self.routes.remove_link(key) {
            self.retarget_to(client);
        }
    }

    /// This node's clock jumped, or the node stood still.
    pub(super) fn on_clock_step(&mut self, step: Step) {
        self.count(Counter::ClockSteps);
        for key in self.links.keys() {
            match step {
                Step::Backward => {
                    if self.links[key].current.is_some() {
                        self.lose_link(key);
                    }
                }
                // What peers' clocks show now is not known until they say so.
                Step::Forward | Step::None => self.resample_clock(key),
            }
        }
    }

    /// Forgets a peer's clock and asks for it.
    fn resample_clock(&mut self, key: LinkKey) {
        let link = &mut self.links[key];
        let Some(association) = &mut link.current else { return };
        association.clock.clear();
        association.echo = None;
        for path in &mut link.paths {
            path.heartbeat = Some(HeartbeatDue { wants_reply: true });
        }
        self.wake_link(key);
    }

    /// The daemon goes away: goodbyes to clients and peers are produced.
    pub fn handle_shutdown(&mut self, now: crate::units::Time) {
        self.advance(now);
        self.is_shutting_down = true;
        for (_, key) in self.registered_sorted() {
            if let Some(conn) = self.clients[key].conn {
                self.flush_resolved(conn);
                crate::local::put::daemon_goodbye(self.conns[conn].out.tail());
                self.wake_conn(conn);
            }
        }
        for key in self.links.keys() {
            if let Some(association) = &mut self.links[key].current {
                association.goodbye = true;
                self.wake_link(key);
            }
        }
    }

    pub(super) fn registered_sorted(&self) -> Vec<(ClientId, ClientKey)> {
        self.registered.iter().map(|(instance, key)| (instance.client, *key)).collect()
    }

    fn ready_clients(&self) -> Vec<ClientKey> {
        let is_ready = |key: &ClientKey| {
            let conn = self.clients[*key].conn;
            conn.is_some_and(|c| matches!(self.conns[c].state, super::client::ConnState::Ready(_)))
                && !self.clients[*key].is_leaving
        };
        self.registered_sorted().into_iter().map(|(_, key)| key).filter(is_ready).collect()
    }

    /// Makes the links of the config, and their first attempts.
    pub(super) fn open_links(&mut self) {
        for peer in self.config.peers.clone() {
            self.open_link(peer);
        }
    }

    /// Makes a peer's link, and its first attempt.
    pub(super) fn open_link(&mut self, peer: PeerConfig) {
        let (now, local) = (self.clock.steady(), self.new_session());
        let mtu = PathMtu::new(self.config.mtu, self.config.max_mtu);
        let link = Link::new(peer.name, &peer.addresses, self.config.listeners, &mtu, local, now);
        self.links.insert(link);
    }

    /// Changes a link's attempt. Datagrams that open it are known by it.
    pub(super) fn set_attempt(&mut self, key: LinkKey, attempt: Option<Attempt>) {
        let old = std::mem::replace(&mut self.links[key].attempt, attempt);
        if let Some(old) = old.and_then(|old| old.session()) {
            self.link_of.remove(&old);
        }
        if let Some(session) = attempt.and_then(|new| new.session()) {
            self.link_of.insert(session, key);
        }
    }
}
