//! A message's way to a client of this node: into an inbox.

use super::{
    Engine,
    address::CallCopy,
    client::{ClientKey, ConnState},
    fragments::Reassembly,
    inbox::{Arrival, Held, Inbox, InboxKey, Source, is_expired},
};
use crate::{
    counters::Counter,
    ids::{Channel, FlowId, Instance, MsgId, Seq},
    limits,
    local::UNKNOWN_UID,
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
    wire::{Flow, Fragment, NackEntry},
};

/// What is known of one copy beside its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) msgid: MsgId,
    pub(super) seq: Seq,
    pub(super) send_time: Time,
    pub(super) interval: Span,
    /// Of a message of the call layer: what is known of it.
    pub(super) call: Option<CallCopy>,
}

impl Copy {
    pub(super) fn is_addressed(&self) -> bool {
        self.call.is_some_and(|call| call.is_addressed)
    }
}

impl Engine {
    /// The inbox of a flow, made if there is none. `None` where nothing can be said of it now: its client is
    /// registering, or has too many flows.
    pub(super) fn open_inbox(&mut self, flow: &Flow, source: Source) -> Option<InboxKey> {
        if let Some(key) = self.inbox_of.get(&flow.id).copied() {
            self.inboxes[key].source = source;
            self.learn_uid(key);
            self.on_floor(key, flow.floor);
            return Some(key);
        }
        let client = self.by_instance.get(&flow.id.dst).copied().filter(|c| self.clients[*c].conn.is_some());
        if let Some(client) = client {
            let c = &self.clients[client];
            let is_ready = c.conn.is_some_and(|conn| matches!(self.conns[conn].state, ConnState::Ready(_)));
            if !is_ready || c.inboxes.len() >= limits::MAX_FLOWS_PER_CLIENT {
                self.count(Counter::QueueFullRefusals);
                return None;
            }
        } else if self.inboxes.len() >= self.max_inboxes() || self.may_return(flow.id.dst) {
            return None;
        }
        let key = self.add_inbox(flow.id, source, client, flow.floor);
        self.learn_uid(key);
        Some(key)
    }

    /// Who a flow's sender runs as: kept with the flow, as its messages may be given when it is gone.
    fn learn_uid(&mut self, key: InboxKey) {
        let inbox = &mut self.inboxes[key];
        if inbox.uid == UNKNOWN_UID {
            inbox.uid = self.routes.uid_of(inbox.id.src).unwrap_or(UNKNOWN_UID);
        }
    }

    /// Whether a client that is not here may still come back from the daemon before this one (I6).
    pub(super) fn may_return(&self, instance: Instance) -> bool {
        self.clock.steady().since(self.started_at) < self.config.grace
            && !self.departed.iter().any(|(i, _)| *i == instance)
    }

    pub(super) fn add_inbox(
        &mut self,
        id: FlowId,
        source: Source,
        client: Option<ClientKey>,
        floor: Seq,
    ) -> InboxKey {
        let serial = self.chain.serial();
        let mut inbox = Inbox::new(id, source, client, floor, serial);
        match client {
            Some(client) => inbox.round = self.clients[client].queue.first_round,
            None => inbox.departed_at = Some(self.clock.steady()),
        }
        let key = self.inboxes.insert(inbox);
        self.inbox_of.insert(id, key);
        match client {
            Some(client) => self.clients[client].inboxes.push(key),
            None => self.schedule_expiry(),
        }
        key
    }

    /// Inboxes of departed clients are kept a while, and so is what is asked of clients that were never here: not more.
    fn max_inboxes(&self) -> usize {
        limits::MAX_FLOWS_PER_CLIENT * (4 + self.registered.len())
    }

    /// The sender's floor came (R8: what is below it is decided).
    pub(super) fn on_floor(&mut self, key: InboxKey, floor: Seq) {
        let inbox = &mut self.inboxes[key];
        if floor == inbox.floor() {
            return;
        }
        let (pool, client) = (&mut self.pool, inbox.client);
        let (mut bytes, mut held) = (0, 0);
        let partial_bytes = |i: &Inbox| i.partials.iter().map(|(_, p)| p.bytes.len()).sum::<usize>();
        let before = partial_bytes(inbox);
        inbox.advance_floor(floor, |h| {
            bytes += h.payload.len();
            held += 1;
            pool.put(h.payload);
        });
        bytes += before - partial_bytes(inbox);
        self.release(client, bytes, held);
        self.give_waiting(key);
    }

    /// The sender has decided these numbers. Returns how many were looked at.
    pub(super) fn on_skip(&mut self, key: InboxKey, first: Seq, count: u32) -> u32 {
        let inbox = &mut self.inboxes[key];
        let (pool, client) = (&mut self.pool, inbox.client);
        let (mut bytes, mut held) = (0, 0);
        let looked_at = inbox.skip(first, count, |h| {
            bytes += h.payload.len();
            held += 1;
            pool.put(h.payload);
        });
        self.release(client, bytes, held);
        self.give_waiting(key);
        looked_at
    }

    /// A whole message has come, fresh.
    pub(super) fn accept(&mut self, key: InboxKey, copy: &Copy, payload: &[u8]) {
        if !self.is_wanted(key, copy) {
            return;
        }
        let Some(client) = self.inboxes[key].client else { return };
        self.accept_whole(key, client, copy, payload);
    }

    /// The first copy of a message is whole.
    fn accept_whole(&mut self, key: InboxKey, client: ClientKey, copy: &Copy, payload: &[u8]) {
        let inbox = &self.inboxes[key];
        if inbox.is_next(copy.seq) && !inbox.is_blocked && self.may_give(key, client, payload.len()) {
            self.give(key, copy, payload);
            self.give_waiting(key);
        } else if self.has_quota(client, payload.len())
            || self.make_room(key, client, copy.seq, payload.len())
        {
            let mut bytes = self.pool.take(payload.len());
            bytes.extend_from_slice(payload);
            self.hold(key, client, copy, bytes);
            // If it is the next, its inbox takes its turn from now on.
            self.give_waiting(key);
        } else {
            self.count(Counter::QueueFullRefusals);
        }
    }

    /// A part of a message has come, fresh.
    pub(super) fn accept_fragment(&mut self, key: InboxKey, copy: &Copy, fragment: &Fragment<'_>) {
        if !self.is_wanted(key, copy) {
            return;
        }
        let inbox = &self.inboxes[key];
        let Some(client) = inbox.client else { return };
        let found = inbox.partials.iter().position(|(seq, p)| *seq == copy.seq && p.matches(fragment));
        let index = match found {
            Some(index) => index,
            None => {
                let total = fragment.total as usize;
                if total > self.config.limits.max_message_bytes
                    || !(self.has_quota(client, total) || self.make_room(key, client, copy.seq, total))
                {
                    self.count(Counter::QueueFullRefusals);
                    return;
                }
                if fragment.bytes.len() == total {
                    // Nothing is to be put together.
                    return self.accept_whole(key, client, copy, fragment.bytes);
                }
                let bytes = self.pool.take_dirty(total);
                self.clients[client].queue.held_bytes += total;
                let reassembly = Reassembly::new(bytes, copy);
                self.inboxes[key].partials.push((copy.seq, reassembly));
                self.watch(key);
                self.inboxes[key].partials.len() - 1
            }
        };
        let is_whole = self.inboxes[key].partials[index].1.add(fragment, copy.send_time);
        if !is_whole {
            self.mark_dirty(key);
            return;
        }
        let (_, whole) = self.inboxes[key].partials.swap_remove(index);
        let copy = Copy { send_time: whole.send_time, call: whole.call, ..*copy };
        self.clients[client].queue.held_bytes -= whole.bytes.len();
        self.hold(key, client, &copy, whole.bytes);
        self.give_waiting(key);
    }

    /// Whether a copy is the first of its message; a repeat is answered.
    fn is_wanted(&mut self, key: InboxKey, copy: &Copy) -> bool {
        let inbox = &mut self.inboxes[key];
        match inbox.arrival(copy.seq) {
            Arrival::New => {
                if self.awaits_drained(key, copy) {
                    return false;
                }
                if let Some(verdict) = self.refusal_of(key, copy) {
                    self.refuse(key, copy.msgid, copy.seq, verdict);
                    return false;
                }
                return true;
            }
            Arrival::Waiting => {
                inbox.refresh(copy.seq, copy.send_time, copy.interval);
                // It may have been stale, and all that kept others waiting.
                self.give_waiting(key);
            }
            Arrival::Taken => {
                inbox.push_ack(copy.msgid, copy.seq);
                self.mark_dirty(key);
            }
            Arrival::Refused(verdict) => self.refuse(key, copy.msgid, copy.seq, verdict),
            Arrival::Given | Arrival::Decided | Arrival::TooFar => {}
        }
        self.count(Counter::Duplicates);
        false
    }

    /// What the inbox of a client that departed, or takes no more, answers to a message that it has not seen.
    fn refusal_of(&self, key: InboxKey, copy: &Copy) -> Option<Verdict> {
        let inbox = &self.inboxes[key];
        if let Some(client) = inbox.client {
            return self.refusal_of_leaving(client).filter(|_| !copy.is_addressed());
        }
        // What was given while the client lived has a slot; without one it never was. Of an incarnation that
        // departed before this daemon remembers, nothing is known.
        let was_here = self.departed.iter().any(|(i, _)| *i == inbox.id.dst);
        let certainty = if was_here { Certainty::NotStarted } else { Certainty::Unknown };
        Some(Verdict { reason: Reason::ReceiverGone, certainty })
    }

    /// A message will not be given: its sender is told.
    pub(super) fn refuse(&mut self, key: InboxKey, msgid: MsgId, seq: Seq, verdict: Verdict) {
        let inbox = &mut self.inboxes[key];
        inbox.record_refused(seq, verdict);
        if inbox.nacks.len() < limits::SEQ_SPAN as usize {
            inbox.nacks.push(NackEntry { msgid, seq, verdict });
        }
        self.mark_dirty(key);
    }

    fn hold(&mut self, key: InboxKey, client: ClientKey, copy: &Copy, payload: Vec<u8>) {
        let queue = &mut self.clients[client].queue;
        queue.held_bytes += payload.len();
        queue.held += 1;
        let Copy { msgid, send_time, interval, call, .. } = *copy;
        let held = Held { msgid, send_time, interval, call, payload, is_parked: false };
        self.inboxes[key].hold(copy.seq, held);
        self.watch(key);
    }

    /// Whether `len` more bytes may wait for a client. An empty queue takes any message.
    fn has_quota(&self, client: ClientKey, len: usize) -> bool {
        let queue = &self.clients[client].queue;
        queue.bytes() == 0 || queue.bytes() + len <= self.config.limits.client_queue_bytes
    }

    /// Has what waits behind a message of an ordered flow make room for it: the last of its own flow, and for the
    /// next in order the last of the longest. Otherwise a queue that is full of messages that wait would refuse, for
    /// ever, those that they wait for.
    fn make_room(&mut self, key: InboxKey, client: ClientKey, seq: Seq, len: usize) -> bool {
        if self.inboxes[key].id.channel == Channel::Unordered {
            return false;
        }
        while !self.has_quota(client, len) {
            let mut dropped = self.inboxes[key].drop_last(seq);
            if dropped.is_none() && self.inboxes[key].is_next(seq) {
                let inboxes = self.clients[client].inboxes.iter().copied();
                let longest = inboxes.max_by_key(|k| self.inboxes[*k].queued_behind());
                dropped = longest.and_then(|k| {
                    let next = self.inboxes[k].next();
                    self.inboxes[k].drop_last(next)
                });
            }
            let Some((bytes, held)) = dropped else { return false };
            self.count(Counter::QueueFullRefusals);
            self.release(Some(client), bytes.len(), held);
            self.pool.put(bytes);
        }
        true
    }

    /// Bytes and messages that waited for a client do not any more.
    pub(super) fn release(&mut self, client: Option<ClientKey>, bytes: usize, held: usize) {
        if let Some(client) = client {
            let queue = &mut self.clients[client].queue;
            queue.held_bytes -= bytes;
            queue.held -= held;
        }
    }

    /// The inbox has something to say to its sender.
    pub(super) fn mark_dirty(&mut self, key: InboxKey) {
        let inbox = &mut self.inboxes[key];
        if std::mem::replace(&mut inbox.is_dirty, true) {
            return;
        }
        match inbox.source {
            Source::Local => self.local_dirty.push(key),
            Source::Link(link) => {
                self.links[link].dirty.push(key);
                self.wake_link(link);
            }
        }
    }

    /// The inbox holds something that can go stale.
    fn watch(&mut self, key: InboxKey) {
        if !self.sweeping.contains(&key) {
            self.sweeping.push(key);
        }
        self.sweep_at.get_or_insert(self.clock.steady() + Span::from_millis(limits::SWEEP_MS));
    }

    /// Drops what went stale while it waited, and was not refreshed (R6).
    pub(super) fn sweep(&mut self) {
        let now = self.clock.raw();
        for key in std::mem::take(&mut self.sweeping) {
            let Some(inbox) = self.inboxes.get_mut(key) else { continue };
            let (pool, client) = (&mut self.pool, inbox.client);
            let (mut bytes, mut held, mut expired) = (0, 0, 0);
            inbox.drop_expired(now, |h| {
                bytes += h.payload.len();
                held += 1;
                pool.put(h.payload);
            });
            inbox.partials.retain_mut(|(_, p)| {
                let is_wanted = !is_expired(now, p.send_time, p.interval);
                if !is_wanted {
                    bytes += p.bytes.len();
                    expired += 1;
                    pool.put(std::mem::take(&mut p.bytes));
                }
                is_wanted
            });
            self.counters.add_n(Counter::StaleMessagesDropped, held as u64);
            self.counters.add_n(Counter::ReassembliesExpired, expired);
            self.release(client, bytes, held);
            if self.inboxes[key].holds_anything() {
                self.sweeping.push(key);
            }
        }
        let again = self.clock.steady() + Span::from_millis(limits::SWEEP_MS);
        self.sweep_at = (!self.sweeping.is_empty()).then_some(again);
    }

    /// Whether a copy's stamp lets it in (R6): not older than its interval, and not from the future.
    pub(super) fn check_send_time(&mut self, send_time: Time, interval: Span, stale: Counter) -> bool {
        let now = self.clock.raw();
        if send_time > now {
            self.count(Counter::FutureStamps);
            return false;
        }
        if now.since(send_time) > interval {
            self.count(stale);
            return false;
        }
        true
    }
}
