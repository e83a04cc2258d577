//! What must always hold inside an engine: for the simulator and the fuzz targets.

use std::collections::BTreeMap;

use super::{
    Engine,
    chain::EntryKey,
    client::{Client, ClientKey, ConnState},
    inbox::{InboxKey, Source},
    link::LinkKey,
    submit::cost,
};
use crate::limits;

/// What does not agree.
pub(super) type Check = Result<(), String>;

impl Engine {
    /// Compares what the engine knows twice, and what it holds with its limits (I7). Costs as much as it holds.
    ///
    /// # Errors
    ///
    /// What does not agree.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.check_chain()?;
        for (key, client) in self.clients.iter() {
            self.check_client(key, client)?;
        }
        for (key, _) in self.inboxes.iter() {
            self.check_inbox(key)?;
        }
        for (key, _) in self.links.iter() {
            self.check_link(key)?;
        }
        self.check_conns()?;
        self.check_lives()?;
        self.check_timers()
    }

    /// Every entry stands in its client's ring, its flow's ring and the due lists.
    fn check_chain(&self) -> Check {
        let sent: usize = self.clients.iter().map(|(_, c)| c.sent.count as usize).sum();
        same("entries and what clients sent", self.chain.entries.len(), sent)?;
        let unresolved: usize = self.chain.flows.iter().map(|(_, f)| f.unresolved().count()).sum();
        same("entries and what flows have unresolved", self.chain.entries.len(), unresolved)?;
        for (key, entry) in self.chain.entries.iter() {
            let found = self.clients.get(entry.client).and_then(|c| c.sent.find(entry.msgid));
            same("an entry and its msgid's", Some(key), found)?;
            holds("an entry is due some time", entry.place.is_some())?;
            let at_sender = self.chain.flows.get(entry.flow).map(|f| f.client);
            same("an entry's client and its flow's", Some(entry.client), at_sender)?;
        }
        let bytes = self.chain.entries.iter().map(|(key, entry)| (key, &entry.bytes));
        holds("a segment knows its messages", self.chain.reads.agrees(bytes))?;
        self.chain.due.check(&self.chain.entries)?;
        same("flows and flows by destination", self.chain.flows.len(), self.routes.flow_count())?;
        for (key, flow) in self.chain.flows.iter() {
            flow.check()?;
            let is_moved = self.clients.get(flow.client).is_some_and(|c| c.moved_flows.contains(&key));
            same("a flow whose floor moved is listed", flow.is_moved, is_moved)?;
            let is_listed = || self.links.iter().any(|(_, l)| l.floors.contains(&key));
            holds("a floor that is to be told is listed", !flow.floor_untold || is_listed())?;
            holds("a flow is found by its destination", self.routes.flows_to(flow.dst).contains(&key))?;
            let is_its =
                |e: &EntryKey| self.chain.entries[*e].in_doubt && self.chain.entries[*e].to.is_none();
            let in_doubt = flow.unresolved().filter(is_its).count();
            same("what a flow's target may have begun", flow.in_doubt as usize, in_doubt)?;
            holds("what may have begun did so somewhere", in_doubt == 0 || flow.target.is_some())?;
            let waits = flow.is_in_doubt() || flow.stage != super::chain::Stage::Closing;
            holds("a flow that closes waits for an outcome", waits)?;
        }
        Ok(())
    }

    fn check_client(&self, key: ClientKey, c: &Client) -> Check {
        same("a client and its instance's", Some(&key), self.by_instance.get(&c.instance))?;
        c.sent.check()?;
        c.queue.check()?;
        same(
            "a client with a connection is registered",
            c.conn.is_some(),
            self.registered.get(&c.instance) == Some(&key),
        )?;
        let is_missed = !c.missed.is_empty() && self.departed.iter().any(|(i, _)| *i == c.instance);
        holds("a client is known for something", c.conn.is_some() || c.sent.count > 0 || is_missed)?;
        let told = c.conn.is_none_or(|conn| self.conns[conn].is_listed);
        holds("outcomes that are not told are written", c.resolved.is_empty() || told)?;
        for wanted in &c.subscriptions {
            holds("a subscription", self.watchers.get(wanted).is_some_and(|w| w.contains(&key)))?;
        }
        let bytes: usize = c.sent.iter().map(|e| self.entry_cost(e)).sum();
        same("bytes in a client's chain", c.sent.bytes, bytes)?;
        let addressed = c.sent.iter().filter(|e| self.chain.entries[*e].to.is_some()).count();
        same("messages for one instance in a client's chain", c.sent.addressed as usize, addressed)?;
        holds("watches", c.watches.iter().all(|at| self.lives.is_told(*at, key)))?;
        holds("max_stored", c.sent.count <= c.max_stored)?;
        holds("client_queue_bytes of the chain", c.sent.bytes <= self.config.limits.client_queue_bytes)?;
        let inboxes = || c.inboxes.iter().filter_map(|i| self.inboxes.get(*i));
        same("inboxes of a client", c.inboxes.len(), inboxes().count())?;
        holds("flows towards a client", c.inboxes.len() <= limits::MAX_FLOWS_PER_CLIENT)?;
        same("messages that wait for a client", c.queue.held, inboxes().map(|i| i.held_messages()).sum())?;
        same("bytes that wait for a client", c.queue.held_bytes, inboxes().map(|i| i.held_bytes()).sum())?;
        let limit = self.config.limits.client_queue_bytes + limits::MAX_LOCAL_FRAME_BYTES;
        holds("client_queue_bytes of the queue", c.queue.bytes() <= limit)?;
        let mut asked = c.unanswered.iter().flatten().chain(&c.queue.dropped);
        holds("what may go back is of its inboxes", asked.all(|(i, _, _)| c.inboxes.contains(i)))?;
        for blocked in &c.queue.blocked {
            holds("a blocked inbox says so", self.inboxes.get(*blocked).is_some_and(|i| i.is_blocked))?;
        }
        let others = || self.clients.iter().filter(|(_, o)| o.instance.client == c.instance.client);
        let waits = others().any(|(_, o)| o.drained_by.is_some());
        same(
            "what is in order is held back",
            c.queue.is_held_back,
            waits && !c.is_leaving && c.conn.is_some(),
        )?;
        let blocked = inboxes().filter(|i| i.is_blocked).count();
        same("blocked inboxes", c.queue.blocked.len(), blocked)
    }

    fn entry_cost(&self, key: EntryKey) -> usize {
        let entry = &self.chain.entries[key];
        cost(entry.bytes.len(), 0)
    }

    fn check_inbox(&self, key: InboxKey) -> Check {
        let inbox = &self.inboxes[key];
        same("an inbox and its flow's", Some(&key), self.inbox_of.get(&inbox.id))?;
        let owner = inbox.client.map(|c| self.clients.get(c).is_some_and(|c| c.inboxes.contains(&key)));
        holds("an inbox is one of its client's", owner.unwrap_or(true))?;
        inbox.check()?;
        holds("a departed client's inbox holds nothing", owner.is_some() || !inbox.has_any())?;
        let listed = match inbox.source {
            Source::Local => self.local_dirty.contains(&key),
            Source::Link(link) => self.links[link].dirty.contains(&key) || self.local_dirty.contains(&key),
        };
        let elsewhere = || self.links.iter().any(|(_, l)| l.dirty.contains(&key));
        holds("an inbox with something to say is listed", !inbox.is_dirty || listed || elsewhere())?;
        holds(
            "what is to be said is listed",
            inbox.is_dirty || (inbox.acks.is_empty() && inbox.nacks.is_empty()),
        )?;
        holds("what waits is watched", !inbox.has_any() || self.sweeping.contains(&key))
    }

    /// What says that it waits for a link does, once.
    fn check_link(&self, key: LinkKey) -> Check {
        let link = &self.links[key];
        link.queue.check()?;
        let mut times: BTreeMap<_, usize> = BTreeMap::new();
        for (entry, serial) in link.queue.iter() {
            if let Some(e) = self.chain.same(entry, serial) {
                holds("what a link's queue has is queued", e.queued)?;
                *times.entry(entry).or_default() += 1;
            }
        }
        holds("nothing stands twice in a link's queue", times.values().all(|n| *n == 1))?;
        for flow in &link.floors {
            holds("a floor to be told says so", self.chain.flows.get(*flow).is_none_or(|f| f.floor_untold))?;
        }
        holds("a ready link is listed", !link.is_ready || self.ready_links.contains(&key))?;
        let in_flight = link.current.as_ref().map_or(0, |a| a.recovery.sent.in_flight());
        let out = link.current.as_ref().map_or(0, |a| a.recovery.sent.open_bytes());
        same("bytes in flight", in_flight, out)?;
        let timeout = link.current.as_ref().and_then(|a| a.recovery.timeout());
        holds("what is in flight is waited for", in_flight == 0 || timeout.is_some())
    }

    fn check_conns(&self) -> Check {
        let new = self.conns.iter().filter(|(_, c)| c.state == ConnState::New).count();
        same("connections that have not registered", self.unregistered, new)?;
        for (key, conn) in self.conns.iter() {
            same("a connection with output is listed", conn.is_listed, self.writable.contains(&key))?;
            same("a connection with room is listed", conn.is_roomy, self.roomy.contains(&key))?;
            if let Some(client) = conn.state.client() {
                let its = self.clients.get(client).and_then(|c| c.conn);
                same("a connection and its client's", Some(key), its)?;
            }
            let limit = limits::MAX_LOCAL_FRAME_BYTES;
            holds("half a frame is no longer than a frame", conn.partial.len() <= limit)?;
        }
        let listed = self.conns.iter().filter(|(_, c)| c.is_listed).count();
        same("connections with output", self.writable.len(), listed)?;
        let roomy = self.conns.iter().filter(|(_, c)| c.is_roomy).count();
        same("connections with room", self.roomy.len(), roomy)?;
        let queued = self.chain.entries.iter().filter(|(_, e)| e.queued).count();
        let listed: usize = self
            .links
            .iter()
            .map(|(_, l)| l.queue.iter().filter(|(e, s)| self.chain.same(*e, *s).is_some()).count())
            .sum();
        same("entries that say they are queued", queued, listed)
    }

    /// Who watches is told, and who is told watches.
    fn check_lives(&self) -> Check {
        let watches: usize = self.clients.iter().map(|(_, c)| c.watches.len()).sum();
        same("watches", self.lives.watching(), watches)?;
        let subscriptions: usize = self.clients.iter().map(|(_, c)| c.subscriptions.len()).sum();
        let watchers: usize = self.watchers.values().map(Vec::len).sum();
        same("subscriptions", watchers, subscriptions)?;
        let is_down = |link: LinkKey| self.links.get(link).is_some_and(|l| l.current.is_none());
        let waits = self.lives.links().any(is_down);
        holds("what is watched at a lost node ends some time", !waits || self.next_lost().is_some())
    }

    /// What has to be done some time has its time.
    fn check_timers(&self) -> Check {
        holds("what can go stale is looked through", self.sweeping.is_empty() || self.sweep_at.is_some())?;
        holds("room to give back is given back", self.roomy.is_empty() || self.trim_at.is_some())?;
        holds("what holds little is seen to", !self.chain.reads.is_sparse() || self.condense_at.is_some())?;
        let expires = !self.departed.is_empty()
            || self.inboxes.iter().any(|(_, i)| i.departed_at.is_some() || i.is_source_gone);
        holds("what is left behind expires", !expires || self.expire_at.is_some())?;
        let drained = self.clients.iter().filter_map(|(_, c)| c.drained_by).min();
        holds(
            "DRAINED is not waited for for ever",
            drained.is_none_or(|at| self.held_back_until.is_some_and(|h| h <= at)),
        )?;
        let now = self.clock.steady();
        let lost = self.chain.flows.iter().filter_map(|(_, f)| f.lost_until).filter(|at| *at > now).min();
        holds("what is out of reach is given up", lost.is_none_or(|at| self.lost_at.is_some_and(|l| l <= at)))
    }
}

pub(super) fn holds(what: &str, is_so: bool) -> Check {
    if is_so { Ok(()) } else { Err(format!("{what}: not so")) }
}

pub(super) fn same<T: PartialEq + std::fmt::Debug>(what: &str, one: T, other: T) -> Check {
    if one == other { Ok(()) } else { Err(format!("{what}: {one:?} and {other:?}")) }
}
