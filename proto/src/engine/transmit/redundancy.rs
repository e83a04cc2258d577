//! Redundant copies: while a link loses datagrams, what is small and left lately goes once more with what leaves anyway (as RFC 2198
//! has it for audio), so that a loss costs no round trip.

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
    /// Adds messages that the datagrams before this one carried, the latest first, behind all that is to be sent: nothing waits
    /// for them. They are no reason for a datagram, nor for the peer to acknowledge one, and nothing of them is remembered: whether a
    /// message is lost is seen by the datagram that first carried it.
    pub(super) fn put_redundant(&mut self, key: LinkKey, draft: &mut Draft<'_>) {
        let link = &self.links[key];
        let Some(association) = &link.current else { return };
        let room = association.recovery.redundancy.room();
        if room == 0 || !draft.is_eliciting || !link.queue.is_empty() {
            return;
        }
        // No larger than every path carries: what is large may be lost for that.
        let end = (draft.builder.len() + room).min(MIN_MTU);
        for entry in self.latest_small(key).into_iter().flatten() {
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

    /// The messages that may go once more.
    fn latest_small(&self, key: LinkKey) -> [Option<EntryKey>; MAX_COPIES] {
        let mut found = [None; MAX_COPIES];
        let Some(association) = &self.links[key].current else { return found };
        let sent = &association.recovery.sent;
        let is_begun =
            |entry| sent.begun().iter().any(|i| matches!(i, Item::Data { entry: e, .. } if *e == entry));
        let mut count = 0;
        for item in sent.latest(LATEST) {
            let Item::Data { entry, serial } = item else { continue };
            let is_meant = self.chain.same(entry, serial).is_some_and(|e| {
                e.in_doubt
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
/// Messages up to this size go once more.
const MAX_COPY_BYTES: usize = 512;
/// What left more datagrams ago is found lost by what has come since.
const LATEST: usize = 8;
