//! Redundant copies: while a link loses datagrams, what is small and overdue goes along with the messages that leave anyway (much as
//! RFC 2198 has it for audio), before a round trip more shows that it is lost.

use super::Draft;
use crate::{
    counters::Counter,
    engine::{
        Engine,
        chain::{EntryKey, Via},
        link::{LinkKey, sent::Item},
    },
    limits::MIN_MTU,
    wire::DatagramBuilder,
};

impl Engine {
    /// Adds messages that are overdue behind those that were to be sent: nothing waits for them. They are no reason for a datagram, and
    /// nothing of them is remembered: whether a message is lost is seen by the datagram that carried it before.
    pub(super) fn put_redundant(&mut self, key: LinkKey, draft: &mut Draft<'_>) {
        let link = &self.links[key];
        let Some(association) = &link.current else { return };
        let room = association.recovery.redundancy.room();
        if room == 0 || !draft.has_messages || !link.queue.is_empty() {
            return;
        }
        // No larger than every path carries: what is large may be lost for that.
        let end = (draft.builder.len() + room).min(MIN_MTU);
        if draft.builder.len() >= end {
            return;
        }
        for entry in self.overdue_messages(key).into_iter().flatten() {
            let Some(target) = self.target_of(entry) else { break };
            let e = &self.chain.entries[entry];
            let flow = (e.flow, target.instance);
            let context = if draft.flow == Some(flow) { 0 } else { DatagramBuilder::flow_bytes() };
            let copy = DatagramBuilder::data_bytes(e.payload_len()) + DatagramBuilder::age_bytes(e.is_call);
            let before = draft.builder.len();
            let fits = before + context + DatagramBuilder::skip_bytes() + copy <= end;
            if !fits || self.put_copy(key, draft, entry, flow).is_none() {
                break;
            }
            self.chain.entries[entry].copies += 1;
            draft.redundant += draft.builder.len() - before;
            self.count(Counter::RedundantCopies);
        }
    }

    /// The messages that may go along, the oldest first.
    fn overdue_messages(&self, key: LinkKey) -> [Option<EntryKey>; MAX_COPIES] {
        let mut found = [None; MAX_COPIES];
        let Some(association) = &self.links[key].current else { return found };
        let sent = &association.recovery.sent;
        let is_begun =
            |entry| sent.begun().iter().any(|i| matches!(i, Item::Data { entry: e, .. } if *e == entry));
        let mut count = 0;
        for item in association.recovery.overdue(self.clock.steady()) {
            let Item::Data { entry, serial } = item else { continue };
            let is_meant = self.chain.same(entry, serial).is_some_and(|e| {
                let presence = association.announced.get(&e.client).copied().unwrap_or(0);
                e.in_doubt
                    && e.copies < MOST_COPIES
                    // The peer would take nothing of a datagram with a client that it does not know yet.
                    && association.control_out.is_applied(presence)
                    && e.payload_len() <= MAX_COPY_BYTES
                    && self.may_send_copy(entry)
                    && self.target_of(entry).is_some_and(|target| target.via == Via::Link(key))
            });
            if is_meant && !found.contains(&Some(entry)) && !is_begun(entry) {
                found[count] = Some(entry);
                count += 1;
                if count == MAX_COPIES {
                    break;
                }
            }
        }
        found
    }
}

/// Redundant copies in a datagram, at most.
const MAX_COPIES: usize = 3;
/// Messages up to this size go along.
const MAX_COPY_BYTES: usize = 512;
/// A message of which so many copies have left takes its time.
const MOST_COPIES: u32 = 4;
