//! How a message ends: in exactly one of two ways (I1, I3).

use super::{
    Engine,
    chain::{EntryKey, Via},
    submit::cost,
};
use crate::{
    counters::Counter,
    local::{self, Failed},
    outcome::{Certainty, Reason, Verdict},
};

impl Engine {
    /// The destination's library has taken it (I2).
    pub(super) fn resolve(&mut self, key: EntryKey) {
        let (client, msgid) = (self.chain.entries[key].client, self.chain.entries[key].msgid);
        self.count(Counter::MessagesAcked);
        self.clients[client].totals.acked += 1;
        self.push_resolved(client, msgid);
        self.remove(key);
    }

    /// It will not be taken any more (I4): its sender is told why, and what is known.
    pub(super) fn fail(&mut self, key: EntryKey, reason: Reason) {
        self.revoke_local(key, reason);
        let entry = &self.chain.entries[key];
        let verdict = Verdict { reason, certainty: entry.certainty() };
        let (client, dst) = (entry.client, self.chain.flows[entry.flow].dst);
        let conn = self.clients[client].conn;
        if let Some(conn) = conn {
            // Outcomes are told in the order in which they came about.
            self.flush_resolved(conn);
            self.wake_conn(conn);
        }
        let entry = &self.chain.entries[key];
        let failed = Failed { msgid: entry.msgid, dst, tries: entry.copies, verdict, user: entry.user() };
        local::put::failed(
            conn.map_or(&mut self.clients[client].missed, |c| self.conns[c].out.tail()),
            &failed,
        );
        self.record_failure(key, verdict.certainty);
    }

    /// Its sender has ended it.
    pub(super) fn drop_given_up(&mut self, key: EntryKey) {
        self.revoke_local(key, self.time_out_reason(key));
        self.record_failure(key, self.chain.entries[key].certainty());
    }

    fn record_failure(&mut self, key: EntryKey, certainty: Certainty) {
        self.counters.add(Counter::MessagesFailed);
        self.counters.add(match certainty {
            Certainty::NotStarted => Counter::FailedNotStarted,
            Certainty::Unknown => Counter::FailedUnknown,
        });
        let entry = &self.chain.entries[key];
        let (client, flow, seq) = (entry.client, entry.flow, entry.seq);
        self.clients[client].totals.failed += 1;
        self.chain.flows[flow].record_failed(seq);
        self.remove(key);
        self.tell_floor(flow);
    }

    /// The reason of a failure for want of an answer (R5).
    pub(super) fn time_out_reason(&self, key: EntryKey) -> Reason {
        let entry = &self.chain.entries[key];
        let is_begun = entry.in_doubt;
        let has_route = entry.to.is_none() && self.chain.flows[entry.flow].target.is_some();
        match entry.refusal {
            _ if is_begun => Reason::NoAnswer,
            Some(Reason::GoingAway) => Reason::GoingAway,
            _ if !has_route => Reason::NoRoute,
            Some(reason) => reason,
            None => Reason::NoAnswer,
        }
    }

    /// The sender gave one up: the receiver is told at once, so that what waits behind it moves.
    pub(super) fn tell_floor(&mut self, flow: crate::engine::chain::FlowKey) {
        let Some(f) = self.chain.flows.get_mut(flow) else { return };
        let Some(target) = f.target else { return };
        match target.via {
            Via::Link(link) => {
                if !std::mem::replace(&mut f.floor_untold, true) {
                    self.links[link].floors.push(flow);
                    self.wake_link(link);
                }
            }
            // revoke_local has told it.
            Via::Local | Via::Nowhere => {}
        }
    }

    fn remove(&mut self, key: EntryKey) {
        self.chain.unbind(key);
        self.chain.due.remove(&mut self.chain.entries, key);
        let entry = &mut self.chain.entries[key];
        let (client, flow, seq, msgid) = (entry.client, entry.flow, entry.seq, entry.msgid);
        let (cost, is_addressed) = (cost(entry.payload().len(), entry.user().len()), entry.to.is_some());
        self.pool.put(std::mem::take(&mut entry.bytes));
        self.chain.entries.remove(key);
        let f = &mut self.chain.flows[flow];
        f.resolve(seq);
        if !std::mem::replace(&mut f.is_moved, true) {
            self.clients[client].moved_flows.push(flow);
        }
        let c = &mut self.clients[client];
        c.sent.remove(msgid, cost);
        c.sent.addressed -= u32::from(is_addressed);
        let (instance, is_departed) = (c.instance, c.conn.is_none());
        if is_departed {
            self.bury(client);
        }
        self.settle(flow);
        if is_departed {
            self.check_gone(instance);
        }
    }
}
