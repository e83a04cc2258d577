//! How a message ends: in exactly one of two ways (I1, I3).

use std::mem;

use super::{
    Engine,
    buffers::BufferPool,
    chain::{Chain, Entry, EntryKey, FlowKey, Via},
    client::{Client, ClientKey},
    submit::cost,
};
use crate::{
    counters::Counter,
    ids::{FlowId, MsgId},
    limits,
    local::{self, Failed},
    outcome::{Certainty, Reason, Verdict},
    wire::AckRun,
};

impl Engine {
    /// The destination's library has taken these (I2): all of a flow's, one after the other. What it is not in doubt about, or
    /// is another's, is none of them.
    pub(super) fn resolve_run(&mut self, client: ClientKey, flow: &FlowId, run: &AckRun) {
        let Self { clients, chain, pool, counters, .. } = self;
        let c = &mut clients[client];
        // A run is walked no further than the chain: what it says beyond is about nothing.
        let known = c.sent.overlap(run.msgid, run.count);
        let mut unmatched = u64::from(known.len() < run.count as usize);
        let (mut acked, mut at) = (0, None);
        for i in known {
            let (msgid, seq) = (run.msgid.plus(i), run.seq.plus(i));
            let Some(key) = c.sent.find(msgid).filter(|key| chain.is_answered(*key, flow, seq)) else {
                unmatched += 1;
                continue;
            };
            if let Some(next) = c.sent.find(msgid.next()) {
                chain.entries.touch(next);
            }
            at = Some(c.remove(key, chain, pool));
            c.push_resolved(msgid);
            acked += 1;
        }
        c.totals.acked += acked;
        counters.add_n(Counter::MessagesAcked, acked);
        counters.add_n(Counter::UnmatchedAcks, unmatched);
        if let Some(flow) = at {
            if let Some(conn) = c.conn {
                self.wake_conn(conn);
            }
            self.record_removed(client, flow);
        }
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
        let failed = Failed {
            msgid: entry.msgid,
            dst,
            tries: entry.copies,
            verdict,
            user: entry.user(&self.chain.reads),
        };
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
    pub(super) fn tell_floor(&mut self, flow: FlowKey) {
        let Some(f) = self.chain.flows.get_mut(flow) else { return };
        let Some(target) = f.target else { return };
        match target.via {
            Via::Link(link) => {
                if !mem::replace(&mut f.floor_untold, true) {
                    self.links[link].floors.push(flow);
                    self.wake_link(link);
                }
            }
            // revoke_local has told it.
            Via::Local | Via::Nowhere => {}
        }
    }

    fn remove(&mut self, key: EntryKey) {
        let client = self.chain.entries[key].client;
        let flow = self.clients[client].remove(key, &mut self.chain, &mut self.pool);
        self.record_removed(client, flow);
    }

    /// Messages of a flow have left the chain.
    fn record_removed(&mut self, client: ClientKey, flow: FlowKey) {
        let c = &self.clients[client];
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

impl Client {
    /// Takes a message of its own out of the chain. Returns its flow.
    #[inline]
    fn remove(&mut self, key: EntryKey, chain: &mut Chain, pool: &mut BufferPool) -> FlowKey {
        let Chain { entries, flows, due, reads, .. } = chain;
        due.remove(entries, key);
        let Entry { flow, seq, msgid, bytes, to, in_doubt, .. } = entries.remove(key);
        let f = &mut flows[flow];
        f.in_doubt -= u32::from(in_doubt && to.is_none());
        f.resolve(seq);
        if !mem::replace(&mut f.is_moved, true) {
            self.moved_flows.push(flow);
        }
        self.sent.remove(msgid, cost(bytes.len(), 0));
        self.sent.addressed -= u32::from(to.is_some());
        reads.release(bytes, pool);
        flow
    }

    /// A message was taken: its library will be told.
    pub(super) fn push_resolved(&mut self, msgid: MsgId) {
        if self.conn.is_none() {
            return local::put::resolved(&mut self.missed, &[(msgid, 1)]);
        }
        match self.resolved.last_mut() {
            Some((first, n)) if first.plus(*n) == msgid && *n < limits::MSGID_SPAN => *n += 1,
            _ => self.resolved.push((msgid, 1)),
        }
    }
}
