//! The numbers of what is sent: one sequence for each destination and channel.

use std::collections::BTreeMap;

use super::{SendError, Taker, unresolved::Unresolved};
use crate::{
    ids::{Channel, ClientId, MsgId, Seq},
    limits::{MAX_FLOWS_PER_CLIENT, SEQ_SPAN},
    local::{Bound, put},
};

/// The flows that go out, at most [`MAX_FLOWS_PER_CLIENT`]. They stay as long as the session: a receiver
/// knows a flow by its numbers, so these must never begin anew in one incarnation.
#[derive(Debug)]
pub(super) struct OutFlows {
    index: BTreeMap<(ClientId, Channel), usize>,
    flows: Vec<OutFlow>,
    /// The flow of the last send: most sends go where the one before went.
    last: usize,
    first_seq: Seq,
}

#[derive(Debug)]
pub(super) struct OutFlow {
    dst: ClientId,
    channel: Channel,
    next: Seq,
    /// The lowest unresolved number, or an earlier one: brought up to date only when the span seems used up.
    floor: Seq,
    /// Where the message with that number is, or was.
    floor_msgid: MsgId,
    /// The instance that its unresolved messages go to, and its node: no other may have begun any of them (I6).
    bound: Option<Taker>,
    /// While it is told: the last message that was written to an earlier stream.
    upto: Option<Seq>,
}

/// Where a send goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot {
    Existing(usize),
    New,
}

impl OutFlows {
    pub(super) const fn new(first_seq: Seq) -> Self {
        Self { index: BTreeMap::new(), flows: Vec::new(), last: 0, first_seq }
    }

    /// The flow for one more message, if its span and the number of flows leave room.
    pub(super) fn find_room(
        &mut self,
        dst: ClientId,
        channel: Channel,
        unresolved: &Unresolved,
    ) -> Result<Slot, SendError> {
        let Some(at) = self.find(dst, channel) else {
            let room = self.flows.len() < MAX_FLOWS_PER_CLIENT;
            return if room { Ok(Slot::New) } else { Err(SendError::TooManyFlows) };
        };
        self.last = at;
        let flow = &mut self.flows[at];
        if flow.span() >= SEQ_SPAN {
            (flow.floor_msgid, flow.floor) = unresolved
                .first_of(flow.floor_msgid, dst, channel)
                .unwrap_or((unresolved.next_msgid(), flow.next));
        }
        if flow.span() < SEQ_SPAN { Ok(Slot::Existing(at)) } else { Err(SendError::WouldBlock) }
    }

    /// Numbers a message.
    pub(super) fn record_send(&mut self, slot: Slot, dst: ClientId, channel: Channel, msgid: MsgId) -> Seq {
        let at = match slot {
            Slot::Existing(at) => at,
            Slot::New => {
                let first = self.first_seq;
                self.flows.push(OutFlow {
                    dst,
                    channel,
                    next: first,
                    floor: first,
                    floor_msgid: msgid,
                    bound: None,
                    upto: None,
                });
                self.last = self.flows.len() - 1;
                self.index.insert((dst, channel), self.last);
                self.last
            }
        };
        let flow = &mut self.flows[at];
        let seq = flow.next;
        flow.next = seq.next();
        seq
    }

    /// The daemon says where a flow's messages go from now on.
    pub(super) fn on_bound(&mut self, bound: &Bound<'_>) {
        if let Some(at) = self.find(bound.dst.client, bound.channel) {
            self.flows[at].bound = Some(Taker { instance: bound.dst, node: bound.node.into() });
        }
    }

    /// The daemon says that a flow's messages go to nobody, and that nobody may have begun any that is unresolved: the next
    /// daemon may give them to whoever is there.
    pub(super) fn on_unbound(&mut self, dst: ClientId, channel: Channel) {
        if let Some(at) = self.find(dst, channel) {
            self.flows[at].bound = None;
        }
    }

    /// Who was given the messages of a flow whose outcomes come now.
    pub(super) fn taker(&self, dst: ClientId, channel: Channel) -> Option<Taker> {
        self.flows[self.find(dst, channel)?].bound.clone()
    }

    /// FLOW_BOUND for each flow of which an earlier daemon was written something that is unresolved.
    pub(super) fn report(&mut self, unresolved: &Unresolved, out: &mut Vec<u8>) {
        for (_, entry) in unresolved.iter().filter(|(_, e)| e.written_before) {
            if let Some(at) = self.find(entry.dst, entry.channel) {
                self.flows[at].upto = Some(entry.seq);
            }
        }
        for flow in &mut self.flows {
            if let Some(upto) = flow.upto.take()
                && let Some(Taker { instance, node }) = &flow.bound
            {
                put::flow_bound(out, &Bound { dst: *instance, channel: flow.channel, upto, node });
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let key = size_of::<(ClientId, Channel)>() + size_of::<usize>();
        self.flows.capacity() * size_of::<OutFlow>() + self.index.len() * key
    }

    fn find(&self, dst: ClientId, channel: Channel) -> Option<usize> {
        let last = self.flows.get(self.last);
        if last.is_some_and(|f| f.dst == dst && f.channel == channel) {
            return Some(self.last);
        }
        self.index.get(&(dst, channel)).copied()
    }
}

impl OutFlow {
    const fn span(&self) -> u32 {
        self.next.0.wrapping_sub(self.floor.0)
    }
}
