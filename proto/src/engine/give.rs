//! Out of an inbox, and into its client's stream.

use super::{
    Engine,
    accept::Copy,
    client::{ClientKey, Delivery},
    inbox::{Held, InboxKey, Source},
};
use crate::{
    counters::Counter,
    ids::Channel,
    local::{self, CallOrigin, Deliver},
};

impl Engine {
    /// Gives the client what waits for nothing but room, as far as there is room.
    pub(super) fn give_waiting(&mut self, key: InboxKey) {
        let Some(client) = self.inboxes[key].client else { return };
        while let Some((seq, held)) = self.inboxes[key].deliverable() {
            if held.is_stale(self.clock.raw()) {
                if self.inboxes[key].park(seq) {
                    continue;
                }
                return;
            }
            if !self.may_give(key, client, held.payload.len()) {
                if !std::mem::replace(&mut self.inboxes[key].is_blocked, true) {
                    self.clients[client].queue.blocked.push_back(key);
                }
                return;
            }
            let Some(held) = self.inboxes[key].unhold(seq) else { return };
            self.release(Some(client), held.payload.len(), 1);
            let Held { msgid, send_time, interval, call, .. } = held;
            let copy = Copy { msgid, seq, send_time, interval, call };
            self.give(key, &copy, &held.payload);
            self.pool.put(held.payload);
        }
    }

    /// Whether the client may be given `len` bytes of that inbox.
    pub(super) fn may_give(&self, key: InboxKey, client: ClientKey, len: usize) -> bool {
        let queue = &self.clients[client].queue;
        queue.has_room(len) && !(queue.is_held_back && self.inboxes[key].id.channel == Channel::Ordered)
    }

    /// Gives the inboxes that wait for room their turn.
    pub(super) fn give_blocked(&mut self, client: ClientKey) {
        for _ in 0..self.clients[client].queue.blocked.len() {
            if !self.clients[client].queue.has_room(0) {
                return;
            }
            let Some(key) = self.clients[client].queue.blocked.pop_front() else { return };
            self.inboxes[key].is_blocked = false;
            self.give_waiting(key);
        }
    }

    /// Writes a DELIVER.
    pub(super) fn give(&mut self, key: InboxKey, copy: &Copy, payload: &[u8]) {
        let inbox = &mut self.inboxes[key];
        let Some((client, conn)) = inbox.client.and_then(|c| Some((c, self.clients[c].conn?))) else {
            return;
        };
        let node = match inbox.source {
            Source::Local => &self.config.node,
            Source::Link(link) => &self.links[link].name,
        };
        let is_addressed = copy.is_addressed();
        let call = copy.call.map(|c| CallOrigin { sent_at: c.sent_at, uid: inbox.uid, node, is_addressed });
        let queue = &mut self.clients[client].queue;
        let out = &mut self.conns[conn].out;
        let deliver = Deliver {
            number: queue.next_number(),
            src: inbox.id.src,
            msgid: copy.msgid,
            seq: copy.seq,
            floor: inbox.floor(),
            channel: inbox.id.channel,
            send_time: copy.send_time,
            interval: copy.interval,
            round: inbox.round,
            call,
            payload,
        };
        queue.push(Delivery {
            inbox: key,
            msgid: copy.msgid,
            seq: copy.seq,
            round: inbox.round,
            len: payload.len() + local::put::DELIVER_HEAD,
            starts_at: out.end(),
            is_addressed,
            is_stale: false,
        });
        local::put::deliver(out.tail(), &deliver);
        inbox.record_given(copy.seq);
        self.count(Counter::MessagesDelivered);
        self.wake_conn(conn);
    }
}
