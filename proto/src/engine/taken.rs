//! What a client took, and what becomes of it at the sender: acks (R7, R9) and refusals.

use super::{
    Engine,
    chain::{EntryKey, Via},
    client::ClientKey,
    connections::Violation,
    inbox::Source,
    link::LinkKey,
    lives::Home,
};
use crate::{
    control::LocalRule,
    counters::Counter,
    ids::{Channel, FlowId, MsgId, Seq},
    outcome::{Certainty, Reason, Verdict},
    wire::{Ack, AckRun, Nack, NackEntry},
};

impl Engine {
    /// A client's library has taken every delivery up to a number (I2).
    pub(super) fn on_taken(&mut self, client: ClientKey, upto: u64) -> Result<(), Violation> {
        if !self.clients[client].queue.is_known(upto) {
            return Err(Violation::new(LocalRule::BadSequence, "TAKEN: a number that was not delivered"));
        }
        while let Some(delivery) = self.clients[client].queue.pop(upto) {
            if delivery.is_stale {
                continue;
            }
            self.clients[client].totals.taken += 1;
            let inbox = &mut self.inboxes[delivery.inbox];
            if inbox.record_taken(delivery.seq) {
                inbox.push_ack(delivery.msgid, delivery.seq);
                self.mark_dirty(delivery.inbox);
            }
        }
        self.give_blocked(client);
        Ok(())
    }

    /// A client's library dropped a delivery that had gone stale (R6).
    pub(super) fn on_stale(&mut self, client: ClientKey, number: u64) -> Result<(), Violation> {
        if !self.clients[client].queue.is_known(number) {
            return Err(Violation::new(LocalRule::BadSequence, "STALE: a number that was not delivered"));
        }
        let Some(delivery) = self.clients[client].queue.find(number) else { return Ok(()) };
        if std::mem::replace(&mut delivery.is_stale, true) {
            return Ok(());
        }
        let delivery = *delivery;
        let inbox = &mut self.inboxes[delivery.inbox];
        inbox.record_stale(delivery.seq, delivery.round);
        let mut dropped = vec![delivery];
        if inbox.id.channel == Channel::Ordered {
            // The library drops those of the same round that stand behind it, too (I5). They are missing from now on, or
            // what is given anew would go past them.
            for behind in self.clients[client].queue.behind(number) {
                let is_dropped = behind.inbox == delivery.inbox && behind.round == delivery.round;
                if is_dropped && !std::mem::replace(&mut behind.is_stale, true) {
                    inbox.record_stale(behind.seq, behind.round);
                    dropped.push(*behind);
                }
            }
        }
        self.count(Counter::StaleDeliveriesDropped);
        self.clients[client].queue.pop_stale();
        self.remember_dropped(client, &dropped);
        self.give_blocked(client);
        Ok(())
    }

    /// Acks and refusals for clients of this node go straight to their messages. With that a turn ends.
    pub(super) fn flush_local(&mut self) {
        while let Some(key) = self.local_dirty.pop() {
            let Some(inbox) = self.inboxes.get_mut(key) else { continue };
            inbox.is_dirty = false;
            if inbox.source != Source::Local {
                // Its sender is a peer's client now: the link tells it.
                self.mark_dirty(key);
                continue;
            }
            let flow = inbox.id;
            let (mut acks, mut nacks) = (std::mem::take(&mut inbox.acks), std::mem::take(&mut inbox.nacks));
            for run in acks.drain(..) {
                self.on_ack_run(&flow, &run);
            }
            for entry in nacks.drain(..) {
                self.on_nack_entry(&flow, &entry);
            }
            if let Some(inbox) = self.inboxes.get_mut(key)
                && inbox.acks.is_empty()
            {
                inbox.acks = acks;
            }
        }
        self.watch_reads();
    }

    /// A peer's client has taken messages (R7).
    pub(super) fn on_ack(&mut self, ack: &Ack<'_>) {
        if self.check_answer(&ack.flow, ack.send_time) {
            for run in ack.runs() {
                self.on_ack_run(&ack.flow, &run);
            }
        }
    }

    /// A peer's client will not be given messages.
    pub(super) fn on_nack(&mut self, nack: &Nack<'_>) {
        if self.check_answer(&nack.flow, nack.send_time) {
            for entry in nack.entries() {
                self.on_nack_entry(&nack.flow, &entry);
            }
        }
    }

    /// Whether an answer's stamp lets it in (R9), and its flow is one of ours.
    pub(super) fn check_answer(&mut self, flow: &FlowId, send_time: crate::units::Time) -> bool {
        let Some(client) = self.by_instance.get(&flow.src) else {
            self.count(Counter::UnmatchedAcks);
            return false;
        };
        let interval = self.clients[*client].interval;
        self.check_send_time(send_time, interval, Counter::StaleAcksDropped)
    }

    fn on_ack_run(&mut self, flow: &FlowId, run: &AckRun) {
        if let Some(client) = self.by_instance.get(&flow.src) {
            self.resolve_run(*client, flow, run);
        }
    }

    fn on_nack_entry(&mut self, flow: &FlowId, nack: &NackEntry) {
        let Some(key) = self.find_answered(flow, nack.msgid, nack.seq) else {
            self.count(Counter::UnmatchedAcks);
            return;
        };
        let Verdict { reason, certainty } = nack.verdict;
        // It came back after it was taken for gone: it has decided the message, and is given those behind it.
        let is_back = self.routes.active(flow.dst.client).is_some_and(|t| t.instance == flow.dst);
        self.chain.unbind(key);
        let entry = &mut self.chain.entries[key];
        if entry.to.is_some() {
            entry.tainted |= certainty == Certainty::Unknown;
            self.fail(key, reason);
            return;
        }
        entry.refusal = Some(reason);
        if let Some(units) = &mut entry.units {
            units.restart();
        }
        match (certainty, reason) {
            (Certainty::Unknown, _) if !entry.at_least_once || is_back => {
                entry.tainted = true;
                self.fail(key, reason);
                return;
            }
            (Certainty::Unknown, _) => entry.tainted = true,
            (Certainty::NotStarted, Reason::Refused | Reason::TooLarge) => {
                self.fail(key, reason);
                return;
            }
            (Certainty::NotStarted, _) => {}
        }
        // It goes to another instance with those behind it, once none is in doubt; else it waits out its time.
        self.settle(self.chain.entries[key].flow);
    }

    /// Which units of a large message a peer has.
    pub(super) fn on_partial(&mut self, link: LinkKey, partial: &crate::wire::Partial<'_>) {
        if !self.check_answer(&partial.flow, partial.send_time) {
            return;
        }
        let Some(key) = self.find_answered(&partial.flow, partial.msgid, partial.seq) else { return };
        let is_adaptive = self.config.chain.recovery == super::Recovery::Adaptive;
        let may_send = self.may_send_copy(key);
        let entry = &mut self.chain.entries[key];
        let Some(units) = &mut entry.units else { return };
        let lost_some =
            units.set_have(super::fragments::UnitSet::from_bitmap(partial.bitmap), partial.send_time);
        if is_adaptive && lost_some && may_send && !entry.queued {
            entry.queued = true;
            let (client, serial) = (entry.client, entry.serial);
            self.links[link].queue.push_front(client, key, serial);
            self.wake_link(link);
        }
    }

    /// The message that an answer is about: sent by that incarnation, to that instance, with both numbers.
    fn find_answered(&self, flow: &FlowId, msgid: MsgId, seq: Seq) -> Option<EntryKey> {
        let key = self.clients[*self.by_instance.get(&flow.src)?].sent.find(msgid)?;
        self.chain.is_answered(key, flow, seq).then_some(key)
    }

    /// What this node's inbox knows of a message that was handed over here.
    pub(super) fn revoke_local(&mut self, key: EntryKey, reason: Reason) {
        let entry = &self.chain.entries[key];
        let (src, flow) = (self.clients[entry.client].instance, &self.chain.flows[entry.flow]);
        let is_here = match (entry.to, flow.target) {
            (Some((home, _)), _) => home == Home::Here,
            (None, target) => target.is_some_and(|t| matches!(t.via, Via::Local)),
        };
        let Some(instance) = self.chain.given_to(entry).filter(|_| is_here && entry.in_doubt) else { return };
        let id = FlowId { src, dst: instance, channel: flow.channel };
        let seq = entry.seq;
        let Some(inbox) = self.inbox_of.get(&id).copied() else { return };
        let verdict = Verdict { reason, certainty: Certainty::NotStarted };
        match self.inboxes[inbox].revoke(seq, verdict) {
            super::inbox::Revoked::Begun => {}
            super::inbox::Revoked::NotStarted(held) => {
                self.chain.unbind(key);
                if let Some(held) = held {
                    let client = self.inboxes[inbox].client;
                    self.release(client, held.payload.len(), 1);
                    self.pool.put(held.payload);
                }
                self.give_waiting(inbox);
            }
        }
    }
}
