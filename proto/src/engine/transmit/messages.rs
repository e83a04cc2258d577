//! Messages, whole or in units, and the FLOW before them.

use std::mem;

use super::{Draft, Written};
use crate::{
    engine::{
        Engine,
        chain::{Chain, EntryKey, FlowKey, Stage, Via},
        link::{LinkKey, sent::Item},
    },
    ids::{Channel, Instance},
    limits::FRAGMENT_UNIT,
    wire::{Data, DatagramBuilder, Fragment, Skip},
};

impl Engine {
    pub(super) fn put_messages(&mut self, key: LinkKey, draft: &mut Draft<'_>) {
        let (now, is_adaptive) = (self.clock.steady(), self.is_adaptive());
        if is_adaptive && !self.links[key].queue.is_empty() {
            let association = self.links[key].current.as_mut();
            if !association.is_some_and(|a| a.recovery.has_room(now)) {
                return;
            }
        }
        while let Some((entry_key, serial)) = self.links[key].queue.front() {
            let Some(entry) = self.chain.same(entry_key, serial) else {
                self.links[key].queue.pop_front();
                continue;
            };
            let Some(target) = self
                .target_of(entry_key)
                .filter(|t| t.via == Via::Link(key) && self.may_send_copy(entry_key))
            else {
                self.unqueue(key, entry_key);
                continue;
            };
            let flow = (entry.flow, target.instance);
            let (is_whole, is_flows) = (entry.units.is_none(), entry.to.is_none());
            let written = if is_whole {
                self.put_whole(key, draft, entry_key, flow)
            } else {
                self.put_units(key, draft, entry_key, flow)
            };
            match written {
                Written::Full => return,
                Written::Later => continue,
                Written::More => {}
            }
            let entry = &mut self.chain.entries[entry_key];
            entry.copies += 1;
            self.chain.bind(entry_key);
            self.unqueue(key, entry_key);
            if is_whole && is_flows {
                self.put_more_of(key, draft, flow.0);
            }
        }
    }

    /// Behind a message that was written whole, and to its flow's target: those of its flow that follow it in the queue. One that
    /// is in any way out of the ordinary ends them, and is for [`put_messages`](Self::put_messages); most are not.
    fn put_more_of(&mut self, key: LinkKey, draft: &mut Draft<'_>, flow: FlowKey) {
        let is_adaptive = self.is_adaptive();
        let Self { links, chain: Chain { entries, flows, reads, .. }, clients, clock, splices, .. } = self;
        let (link, f) = (&mut links[key], &mut flows[flow]);
        let Some(association) = &mut link.current else { return };
        let client = &clients[f.client];
        let is_ordered = f.channel == Channel::Ordered;
        // Behind one that is unresolved there is no hole.
        let mut before = None;
        while let Some((entry_key, serial)) = link.queue.front() {
            let Some(entry) = entries.get_mut(entry_key).filter(|e| e.serial == serial) else { return };
            let is_plain =
                entry.flow == flow && !entry.is_call && entry.to.is_none() && entry.units.is_none();
            let may_go = f.stage == Stage::Open || entry.in_doubt;
            let has_hole = is_ordered && before != Some(entry.seq) && f.hole_before(entry.seq).is_some();
            if !is_plain || !may_go || has_hole || !entry.may_leave(clock, client) {
                return;
            }
            let (msgid, seq, at_least_once) = (entry.msgid, entry.seq, entry.at_least_once);
            let payload = entry.payload(reads);
            let bytes = DatagramBuilder::data_bytes(payload.len());
            let data = Data { msgid, seq, at_least_once, call: None, payload };
            if !draft.put_data(splices, entry_key, &data) {
                return;
            }
            before = Some(seq.next());
            entry.copies += 1;
            entry.queued = false;
            if !mem::replace(&mut entry.in_doubt, true) {
                f.in_doubt += 1;
            }
            if is_adaptive {
                association.recovery.sent.push_item(Item::Data { entry: entry_key, serial });
            }
            link.queue.charge(bytes);
            link.queue.pop_front();
        }
    }

    fn unqueue(&mut self, key: LinkKey, entry: EntryKey) {
        self.chain.entries[entry].queued = false;
        self.links[key].queue.pop_front();
    }

    fn put_whole(
        &mut self,
        key: LinkKey,
        draft: &mut Draft<'_>,
        entry_key: EntryKey,
        flow: (FlowKey, Instance),
    ) -> Written {
        let Some(bytes) = self.put_copy(key, draft, entry_key, flow) else { return Written::Full };
        draft.is_eliciting = true;
        self.links[key].queue.charge(bytes);
        let serial = self.chain.entries[entry_key].serial;
        self.push_item(key, Item::Data { entry: entry_key, serial });
        Written::More
    }

    /// A copy of a whole message: how many bytes it takes, the FLOW before it aside. `None` where it does not fit.
    pub(super) fn put_copy(
        &mut self,
        key: LinkKey,
        draft: &mut Draft<'_>,
        entry_key: EntryKey,
        flow: (FlowKey, Instance),
    ) -> Option<usize> {
        let entry = &self.chain.entries[entry_key];
        let age_bytes = DatagramBuilder::age_bytes(entry.is_call);
        let needed = DatagramBuilder::data_bytes(entry.payload_len()) + age_bytes;
        if !self.put_flow_for(key, draft, entry_key, flow, needed) {
            return None;
        }
        let entry = &self.chain.entries[entry_key];
        let (msgid, seq, at_least_once) = (entry.msgid, entry.seq, entry.at_least_once);
        let (call, payload) = (entry.call(self.clock.raw()), entry.payload(&self.chain.reads));
        let data = Data { msgid, seq, at_least_once, call, payload };
        draft.put_data(&mut self.splices, entry_key, &data).then_some(needed)
    }

    fn put_units(
        &mut self,
        key: LinkKey,
        draft: &mut Draft<'_>,
        entry_key: EntryKey,
        flow: (FlowKey, Instance),
    ) -> Written {
        loop {
            let pending = self.chain.entries[entry_key].units.as_mut().and_then(|u| u.next_run(1));
            if pending.is_none() {
                return Written::More;
            }
            let is_call = self.chain.entries[entry_key].is_call;
            let needed = DatagramBuilder::fragment_bytes(FRAGMENT_UNIT) + DatagramBuilder::age_bytes(is_call);
            if !self.put_flow_for(key, draft, entry_key, flow, needed) {
                return Written::Full;
            }
            let max = draft.builder.fragment_room(is_call) / FRAGMENT_UNIT;
            let entry = &mut self.chain.entries[entry_key];
            let Some(run) = entry.units.as_mut().and_then(|u| u.next_run(max)) else { return Written::Full };
            let (serial, payload) = (entry.serial, entry.payload(&self.chain.reads));
            let (from, to) = (run.start * FRAGMENT_UNIT, (run.end * FRAGMENT_UNIT).min(payload.len()));
            let fragment = Fragment {
                msgid: entry.msgid,
                seq: entry.seq,
                at_least_once: entry.at_least_once,
                call: entry.call(self.clock.raw()),
                offset: u32::try_from(from).unwrap_or(0),
                total: u32::try_from(payload.len()).unwrap_or(0),
                bytes: &payload[from..to],
            };
            if !draft.put_fragment(&mut self.splices, entry_key, from, &fragment) {
                return Written::Full;
            }
            draft.is_eliciting = true;
            let narrow = |n: usize| u16::try_from(n).unwrap_or(0);
            let (first, count) = (narrow(run.start), narrow(run.len()));
            let is_ask = entry.units.as_mut().is_some_and(|units| units.record_sent(run));
            let item = match is_ask {
                true => Item::Ask { entry: entry_key, serial },
                false => Item::Units { entry: entry_key, serial, first, count },
            };
            self.chain.bind(entry_key);
            self.push_item(key, item);
            // A large message is in nobody's way: others have their turn between its units.
            let queue = &mut self.links[key].queue;
            queue.charge(to - from);
            if queue.rotate() {
                return Written::Later;
            }
        }
    }

    /// Makes sure that an entry's flow is the datagram's context, with `then` bytes free behind it; tells a hole
    /// before it.
    fn put_flow_for(
        &mut self,
        key: LinkKey,
        draft: &mut Draft<'_>,
        entry: EntryKey,
        flow: (FlowKey, Instance),
        then: usize,
    ) -> bool {
        let f = &self.chain.flows[flow.0];
        let hole = match f.channel {
            Channel::Ordered => f.hole_before(self.chain.entries[entry].seq),
            Channel::Unordered => None,
        };
        let then = then + if hole.is_some() { DatagramBuilder::skip_bytes() } else { 0 };
        if draft.flow == Some(flow) {
            if draft.builder.remaining() < then {
                return false;
            }
        } else {
            let Some(context) = self.context(key, flow.0, flow.1) else { return false };
            if !draft.builder.put_flow(&context, then) {
                return false;
            }
            draft.flow = Some(flow);
        }
        if let Some((seq, count)) = hole {
            draft.builder.put_skip(&Skip { seq, count });
        }
        true
    }
}
