//! Out of an inbox, and into its client's stream.

use super::{
    Engine,
    accept::Copy,
    client::{ClientKey, Delivery, ReceiveQueue},
    inbox::{Held, Inbox, InboxKey, Source},
    output::OutBuffer,
};
use crate::{
    counters::Counter,
    ids::{Channel, ConnId},
    local::{self, CallOrigin, Deliver},
    units::{Span, Time},
    wire::Frames,
};

impl Engine {
    /// Whole messages of a flow that follow each other in a datagram, none of which has come before, and which wait for nothing:
    /// each goes to the client's stream at once. One that is in any way out of the ordinary ends them, and is for
    /// [`accept`](Self::accept); most are not. Returns how many they were.
    pub(super) fn give_run(
        &mut self,
        key: InboxKey,
        send_time: Time,
        interval: Span,
        frames: &mut Frames<'_>,
    ) -> u64 {
        let Self { inboxes, clients, conns, .. } = self;
        let inbox = &mut inboxes[key];
        let Some(client) = inbox.client.map(|client| &mut clients[client]) else { return 0 };
        let Some(conn) = client.conn else { return 0 };
        let is_plain = inbox.is_at_end() && !inbox.is_blocked && client.takes_at_once();
        if !is_plain {
            return 0;
        }
        let out = &mut conns[conn].out;
        let mut given = 0;
        while let Some((_, msgid, seq, payload)) = frames.peek_plain() {
            if seq != inbox.next() || !client.queue.has_room(payload.len()) || !inbox.has_room() {
                break;
            }
            frames.skip_plain(payload.len());
            let copy = Copy { msgid, seq, send_time, interval, call: None };
            put_delivery_head(inbox, key, &mut client.queue, out, &copy, None, payload);
            out.tail().extend_from_slice(payload);
            inbox.record_next_given();
            given += 1;
        }
        if given > 0 {
            self.counters.add_n(Counter::MessagesDelivered, given);
            self.wake_conn(conn);
        }
        given
    }

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
            let conn = self.give_head(key, &copy, &held.payload);
            let out = conn.map(|conn| &mut self.conns[conn].out);
            match out {
                Some(out) if held.payload.len() >= SPLICED_FROM => out.splice(held.payload),
                out => {
                    if let Some(out) = out {
                        out.tail().extend_from_slice(&held.payload);
                    }
                    self.pool.put(held.payload);
                }
            }
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
        if let Some(conn) = self.give_head(key, copy, payload) {
            self.conns[conn].out.tail().extend_from_slice(payload);
        }
    }

    /// Writes a DELIVER up to its payload, which is to be written next. Returns where, if its client is connected.
    fn give_head(&mut self, key: InboxKey, copy: &Copy, payload: &[u8]) -> Option<ConnId> {
        let inbox = &mut self.inboxes[key];
        let client = inbox.client?;
        let conn = self.clients[client].conn?;
        let node = match inbox.source {
            Source::Local => &self.config.node,
            Source::Link(link) => &self.links[link].name,
        };
        let is_addressed = copy.is_addressed();
        let call = copy.call.map(|c| CallOrigin { sent_at: c.sent_at, uid: inbox.uid, node, is_addressed });
        let queue = &mut self.clients[client].queue;
        put_delivery_head(inbox, key, queue, &mut self.conns[conn].out, copy, call, payload);
        inbox.record_given(copy.seq);
        self.count(Counter::MessagesDelivered);
        self.wake_conn(conn);
        Some(conn)
    }
}

/// Writes a DELIVER up to its payload, which is to be written next, and notes that it is on its way.
#[inline(always)]
fn put_delivery_head(
    inbox: &Inbox,
    key: InboxKey,
    queue: &mut ReceiveQueue,
    out: &mut OutBuffer,
    copy: &Copy,
    call: Option<CallOrigin<'_>>,
    payload: &[u8],
) {
    let Copy { msgid, seq, send_time, interval, .. } = *copy;
    let deliver = Deliver {
        number: queue.next_number(),
        src: inbox.id.src,
        msgid,
        seq,
        floor: inbox.floor(),
        channel: inbox.id.channel,
        send_time,
        interval,
        round: inbox.round,
        call,
        payload,
    };
    queue.push(Delivery {
        inbox: key,
        msgid,
        seq,
        round: inbox.round,
        len: payload.len() + local::put::DELIVER_HEAD,
        starts_at: out.end(),
        is_addressed: copy.is_addressed(),
        is_stale: false,
    });
    local::put::deliver_head(out.tail(), &deliver);
}

/// A payload of so many bytes that has memory of its own is not copied: below, that costs less than a part more to write.
const SPLICED_FROM: usize = 4 << 10;
