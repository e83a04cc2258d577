//! What time brings: scans of the chain (R2), hellos, heartbeats, lost datagrams, things that expire.

use super::{
    Engine, Recovery,
    chain::Via,
    due::Due,
    link::{HeartbeatDue, Link, LinkKey, recovery::Fates, sent::Item},
};
use crate::{
    counters::Counter,
    limits,
    units::{Span, Time},
    wire::LinkAck,
};

impl Engine {
    /// [`poll_timeout`](Self::poll_timeout)'s time has come. Harmless when it has not.
    pub fn handle_timeout(&mut self, now: Time) {
        self.advance(now);
        self.scan();
        self.expire_unregistered();
        self.send_hellos();
        let mut from = 0;
        while let Some(key) = self.links.next_key(&mut from) {
            self.on_link_timeout(key);
        }
        let now = self.clock.steady();
        if self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep();
        }
        if self.trim_at.is_some_and(|at| at <= now) {
            self.trim_outputs();
        }
        if self.condense_at.is_some_and(|at| at <= now) {
            self.condense_by_timer();
        }
        if self.expire_at.is_some_and(|at| at <= now) {
            self.expire_departed();
        }
        if self.next_settling().is_some_and(|at| at <= now) {
            self.settle_presence();
            self.settle_lives();
        }
        if self.lost_at.is_some_and(|at| at <= now) {
            self.give_up_lost();
        }
        if self.held_back_until.is_some_and(|at| at <= now) {
            self.give_up_waiting_for_drained();
        }
        if self.next_lost().is_some_and(|at| at <= now) {
            self.give_up_lives();
        }
        self.flush_local();
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next_timer().map(|at| self.clock.to_raw(at))
    }

    pub(super) fn next_timer(&self) -> Option<Time> {
        let chain = self.chain.due.next_at(&self.chain.entries);
        let own = Time::first_of([
            chain,
            self.trim_at,
            self.condense_at,
            self.sweep_at,
            self.expire_at,
            self.next_register_timeout(),
            self.next_settling(),
            self.lost_at,
            self.next_lost(),
            self.held_back_until,
        ]);
        self.links.iter().fold(own, |first, (_, link)| Time::first_of([first, self.next_link_timer(link)]))
    }

    #[inline]
    fn next_link_timer(&self, link: &Link) -> Option<Time> {
        match &link.current {
            None if self.is_shutting_down || link.is_removed => None,
            None => Some(link.hello_at),
            Some(a) => Time::first_of([
                Some(a.heard_at + Span::from_millis(limits::LINK_LOST_MS)),
                Some(a.heartbeat_at),
                a.recovery.timeout(),
                a.recovery.congestion.timeout(),
                a.control_out.resend_at,
                a.received.ack_at,
            ]),
        }
    }

    /// Goes through what is due in the chain (R2): retransmits (R4), fails (R5).
    fn scan(&mut self) {
        let now = self.clock.steady();
        let scans = self.chain.due.begin_scan(now);
        self.counters.add_n(Counter::Scans, scans);
        while let Some(due) = self.chain.due.pop(&mut self.chain.entries, now) {
            self.count(Counter::ScannedEntries);
            match due {
                Due::Retransmit(key) => {
                    let had_copies = self.chain.entries[key].copies > 0;
                    // Dispatching can end the entry, never another one's turn.
                    if self.dispatch(key) && had_copies {
                        self.count(Counter::Retransmits);
                    }
                }
                Due::Fail(key) => {
                    let reason = self.time_out_reason(key);
                    self.fail(key, reason);
                }
            }
        }
    }

    fn on_link_timeout(&mut self, key: LinkKey) {
        let now = self.clock.steady();
        let link = &mut self.links[key];
        let Some(association) = &mut link.current else { return };
        if association.heard_at + Span::from_millis(limits::LINK_LOST_MS) <= now {
            self.lose_link(key);
            self.send_hellos();
            return;
        }
        let mut has_something = association.received.is_ack_due(now, self.config.receive_window);
        if association.heartbeat_at <= now {
            association.heartbeat_at = next_heartbeat(now);
            for path in &mut link.paths {
                path.heartbeat.get_or_insert(HeartbeatDue { wants_reply: false });
            }
            has_something = true;
        }
        if association.control_out.resend_at.is_some_and(|at| at <= now) {
            association.control_out.handle_timeout(now);
            has_something = true;
        }
        has_something |= association.recovery.congestion.handle_timeout(now);
        if association.recovery.timeout().is_some_and(|at| at <= now) {
            association.recovery.handle_timeout(now, &mut self.fates);
            self.settle_fates(key);
            has_something = true;
        }
        if has_something {
            self.wake_link(key);
        }
    }

    /// The peer says which datagrams have come.
    pub(super) fn on_link_ack(&mut self, key: LinkKey, ack: &LinkAck<'_>) {
        if self.config.chain.recovery != Recovery::Adaptive {
            return;
        }
        let now = self.clock.steady();
        let Some(association) = &mut self.links[key].current else { return };
        association.recovery.handle_ack(ack, now, &mut self.fates);
        self.settle_fates(key);
        self.wake_link(key);
    }

    /// What datagrams carried has arrived, or goes out again.
    fn settle_fates(&mut self, key: LinkKey) {
        let mut fates = std::mem::take(&mut self.fates);
        self.counters.add_n(Counter::DatagramsLost, std::mem::take(&mut fates.datagrams_lost));
        self.counters.add_n(Counter::ProbeTimeouts, std::mem::take(&mut fates.probes));
        self.record_sizes(key, &mut fates);
        for item in fates.acked.drain(..) {
            if let Item::MtuProbe { path, size } = item {
                self.on_mtu_probe(key, path, size, true);
            } else if let Item::Units { entry, serial, first, count } = item
                && self.chain.same(entry, serial).is_some()
                && let Some(units) = &mut self.chain.entries[entry].units
            {
                units.record_have(usize::from(first)..usize::from(first) + usize::from(count));
            } else if let Item::LinkAck { told } = item
                && let Some(association) = &mut self.links[key].current
            {
                association.received.forget_told(told);
            }
        }
        // The oldest comes to the front last, and so goes first.
        for item in fates.lost.drain(..).rev() {
            self.resend(key, item);
        }
        self.fates = fates;
    }

    /// What became of datagrams says what their path carries.
    fn record_sizes(&mut self, key: LinkKey, fates: &mut Fates) {
        let now = self.clock.steady();
        let acked = std::mem::take(&mut fates.large_acked);
        let lost = std::mem::take(&mut fates.large_lost);
        let small_acked = std::mem::take(&mut fates.small_acked);
        let link = &mut self.links[key];
        if link.paths[link.active].mtu.record_fates(acked, lost, small_acked, now) {
            self.count(Counter::PathMtuBlackHoles);
        }
    }

    fn on_mtu_probe(&mut self, key: LinkKey, path: u16, size: u32, has_come: bool) {
        let now = self.clock.steady();
        let Some(path) = self.links[key].paths.get_mut(usize::from(path)) else { return };
        if has_come {
            path.mtu.record_probe_acked(size as usize);
        } else {
            path.mtu.record_probe_lost(size as usize);
        }
        if path.mtu.is_searching(now) {
            self.wake_link(key);
        }
    }

    /// What a lost datagram carried goes out again, ahead of the timer and never instead of it.
    fn resend(&mut self, key: LinkKey, item: Item) {
        match item {
            Item::Data { entry, serial } => self.resend_entry(key, entry, serial),
            Item::Ask { entry, serial } => {
                if self.chain.same(entry, serial).is_some()
                    && let Some(units) = &mut self.chain.entries[entry].units
                {
                    units.ask();
                    self.resend_entry(key, entry, serial);
                }
            }
            Item::Units { entry, serial, first, count } => {
                if self.chain.same(entry, serial).is_some()
                    && let Some(units) = &mut self.chain.entries[entry].units
                {
                    units.send(usize::from(first)..usize::from(first) + usize::from(count));
                    // The receiver's node may have them by now, from another copy.
                    if units.next_run(1).is_some() {
                        self.resend_entry(key, entry, serial);
                    }
                }
            }
            Item::Ack { inbox, serial, run } => {
                if let Some(i) = self.inboxes.get_mut(inbox).filter(|i| i.serial == serial) {
                    i.acks.push(run);
                    self.mark_dirty(inbox);
                }
            }
            Item::Nack { inbox, serial, entry } => {
                if let Some(i) = self.inboxes.get_mut(inbox).filter(|i| i.serial == serial) {
                    i.nacks.push(entry);
                    self.mark_dirty(inbox);
                }
            }
            Item::Floor { flow } => self.tell_floor(flow),
            Item::LinkAck { .. } => {}
            Item::MtuProbe { path, size } => self.on_mtu_probe(key, path, size, false),
            Item::Control { seq } => {
                if let Some(association) = &mut self.links[key].current {
                    association.control_out.handle_lost(seq);
                }
            }
        }
    }

    fn resend_entry(&mut self, key: LinkKey, entry_key: super::chain::EntryKey, serial: u32) {
        if self.chain.same(entry_key, serial).is_none() || !self.may_send_copy(entry_key) {
            return;
        }
        let target = self.target_of(entry_key);
        let entry = &mut self.chain.entries[entry_key];
        let is_here = entry.in_doubt && target.is_some_and(|t| t.via == Via::Link(key));
        if is_here && !entry.queued {
            entry.queued = true;
            self.links[key].queue.push_front(entry.client, entry_key, serial);
            self.counters.add(Counter::FastRetransmits);
        }
    }

    /// Something was left behind that expires.
    pub(super) fn schedule_expiry(&mut self) {
        let at = self.clock.steady() + Span::from_millis(limits::EXPIRE_MS);
        self.expire_at.get_or_insert(at);
    }

    /// Forgets departed clients, and flows that nothing can come of any more.
    fn expire_departed(&mut self) {
        let now = self.clock.steady();
        let memory = Span::from_millis(limits::TOMBSTONE_MS);
        while self.departed.front().is_some_and(|(_, at)| now.since(*at) > memory.div(2)) {
            self.forget_departed();
        }
        let mut is_waiting = !self.departed.is_empty();
        for key in self.inboxes.keys() {
            let inbox = &self.inboxes[key];
            let (heard_at, interval) = inbox.heard;
            let is_dead = inbox.departed_at.is_some_and(|at| now.since(at) > memory);
            let is_silent = now.since(heard_at) > interval.times(limits::SOURCE_GONE_INTERVALS);
            if is_dead || (inbox.is_source_gone && is_silent && !self.is_given(key)) {
                self.remove_inbox(key);
            } else {
                is_waiting |= inbox.departed_at.is_some() || inbox.is_source_gone;
            }
        }
        self.expire_at = is_waiting.then_some(now + Span::from_millis(limits::EXPIRE_MS));
    }

    /// Whether a delivery of that inbox is on its way to its client.
    fn is_given(&self, key: super::inbox::InboxKey) -> bool {
        let inbox = &self.inboxes[key];
        inbox.client.is_some_and(|c| self.clients[c].queue.is_giving(key))
    }

    fn remove_inbox(&mut self, key: super::inbox::InboxKey) {
        let inbox = self.inboxes.remove(key);
        self.inbox_of.remove(&inbox.id);
        self.sweeping.retain(|k| *k != key);
        for link in self.links.keys() {
            self.links[link].dirty.retain(|k| *k != key);
        }
        if let Some(client) = inbox.client {
            self.release(Some(client), inbox.held_bytes(), inbox.held_messages());
            let client = &mut self.clients[client];
            client.inboxes.retain(|k| *k != key);
            client.queue.blocked.retain(|k| *k != key);
            client.queue.dropped.retain(|(k, _, _)| *k != key);
            client.unanswered.iter_mut().for_each(|open| open.retain(|(k, _, _)| *k != key));
            client.queue.first_round = client.queue.first_round.max(inbox.round);
        }
    }
}

/// Heartbeats of all links go out at the same moments, so that an idle daemon wakes up once for all.
fn next_heartbeat(now: Time) -> Time {
    let period = limits::HEARTBEAT_MS * 1000;
    Time((now.0 / period + 1) * period)
}
