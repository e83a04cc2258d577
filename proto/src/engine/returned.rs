//! Clients that come back: to this daemon, or to one that was started since (I6).
//!
//! What they have taken is acknowledged from then on, and what they have not they never will, but as it is given again. Two
//! things are known to them alone: what a handler has begun whose end is to be acked, and, of those that leave, whether they
//! still have to do with what they took. So the first is said (FLOW_TAKEN with BEGUN), and one that leaves says DRAINED again.

use super::{
    Engine,
    accept::Copy,
    client::{Client, ClientKey},
    connections::{AFTER_READY, Violation},
    inbox::{Arrival, InboxKey, Source},
};
use crate::{
    control::LocalRule,
    ids::{Channel, FlowId, Seq},
    limits,
    local::{FlowTaken, Progress},
    outcome::{Certainty, Reason, Verdict},
};

impl Engine {
    /// A client that comes back says what it has taken of a flow, or begun.
    pub(super) fn restore_inbox(
        &mut self,
        client: ClientKey,
        taken: &FlowTaken<'_>,
    ) -> Result<(), Violation> {
        let id = FlowId { src: taken.src, dst: self.clients[client].instance, channel: taken.channel };
        let known = self.inbox_of.get(&id).copied();
        let its = &mut self.clients[client].inboxes;
        // What was begun is said apart, of a flow that was spoken of.
        let is_its = known.is_some_and(|key| its.contains(&key));
        if !is_its && its.len() >= limits::MAX_FLOWS_PER_CLIENT {
            return Err(Violation::new(LocalRule::Quota, "more than 4,096 flows"));
        }
        let key = match known {
            Some(key) => {
                if !is_its {
                    its.push(key);
                }
                key
            }
            None => self.add_inbox(id, Source::Local, Some(client), taken.floor),
        };
        let inbox = &mut self.inboxes[key];
        (inbox.client, inbox.departed_at) = (Some(client), None);
        for seq in numbers(taken) {
            self.restore_slot(client, key, seq, taken.progress)?;
        }
        if taken.channel == Channel::Ordered {
            self.inboxes[key].refuse_below_taken(PASSED);
        }
        Ok(())
    }

    fn restore_slot(
        &mut self,
        client: ClientKey,
        key: InboxKey,
        seq: Seq,
        progress: Progress,
    ) -> Result<(), Violation> {
        // A copy may have come since the flow was spoken of first.
        if let Some(held) = self.inboxes[key].unhold(seq) {
            self.release(Some(client), held.payload.len(), 1);
            self.pool.put(held.payload);
        }
        self.inboxes[key].record_given(seq);
        match progress {
            Progress::Taken => {
                self.inboxes[key].record_taken(seq);
            }
            Progress::Begun if self.clients[client].begun.replace((key, seq)).is_some() => {
                return Err(Violation::new(LocalRule::Quota, "more than one message in a handler"));
            }
            Progress::Begun => {}
        }
        Ok(())
    }

    /// What a client had begun when it came back is handled: it is acked when its next copy comes.
    pub(super) fn on_handled(&mut self, client: ClientKey, taken: &FlowTaken<'_>) -> Result<(), Violation> {
        let id = FlowId { src: taken.src, dst: self.clients[client].instance, channel: taken.channel };
        let begun = self.clients[client].begun.take();
        let is_it = |(key, seq): &(InboxKey, Seq)| {
            self.inbox_of.get(&id) == Some(key)
                && numbers(taken).eq([*seq])
                && taken.progress == Progress::Taken
        };
        let Some((key, seq)) = begun.filter(is_it) else {
            return Err(Violation::new(LocalRule::OutOfTurn, AFTER_READY));
        };
        self.inboxes[key].record_taken(seq);
        Ok(())
    }

    /// A client departs in a handler: later copies of what it had begun are answered so.
    pub(super) fn refuse_begun(&mut self, client: ClientKey) {
        self.clients[client].unanswered = None;
        let Some((key, seq)) = self.clients[client].begun.take() else { return };
        if let Some(inbox) = self.inboxes.get_mut(key)
            && matches!(inbox.arrival(seq), Arrival::Given)
        {
            inbox.record_refused(seq, BEGUN);
        }
    }

    /// What came for an incarnation while it was away, and of which it had taken nothing, is its own again: what was
    /// refused meanwhile stays refused, and what comes from now on is given.
    pub(super) fn adopt_inboxes(&mut self, client: ClientKey) {
        let Client { instance, has_returned, .. } = self.clients[client];
        if !has_returned {
            return;
        }
        for key in self.inboxes.keys() {
            let inbox = &mut self.inboxes[key];
            if inbox.id.dst == instance && inbox.client.is_none() {
                (inbox.client, inbox.departed_at) = (Some(client), None);
                inbox.round = inbox.round.max(self.clients[client].queue.first_round);
                self.clients[client].inboxes.push(key);
            }
        }
    }

    /// A client that came back as one that leaves is sent a message that it has not taken, nor ever will. The sender is told
    /// so when the client is drained: until then it may have to do with others of that flow, which go first (I5).
    pub(super) fn awaits_drained(&mut self, inbox: InboxKey, copy: &Copy) -> bool {
        let client = self.inboxes[inbox].client.filter(|_| !copy.is_addressed());
        let Some(unanswered) = client.and_then(|c| self.clients[c].unanswered.as_mut()) else { return false };
        let asked = (inbox, copy.msgid, copy.seq);
        // The rest is answered when it comes again.
        if unanswered.len() < limits::DELIVERY_WINDOW_MESSAGES && !unanswered.contains(&asked) {
            unanswered.push(asked);
        }
        true
    }
}

/// The numbers whose bits are set.
fn numbers<'a>(taken: &FlowTaken<'a>) -> impl Iterator<Item = Seq> + use<'a> {
    let (floor, bitmap) = (taken.floor, taken.bitmap);
    let bits =
        (0u32..).zip(bitmap).flat_map(|(i, byte)| (0..8).map(move |bit| (i * 8 + bit, byte & (1 << bit))));
    bits.filter(|(_, bit)| *bit != 0).map(move |(n, _)| floor.plus(n))
}

/// Of what a library has not taken and has passed: it never will (I5).
const PASSED: Verdict = Verdict { reason: Reason::ReceiverGone, certainty: Certainty::NotStarted };

/// Of what it had begun when it died.
const BEGUN: Verdict = Verdict { reason: Reason::ReceiverGone, certainty: Certainty::Unknown };
