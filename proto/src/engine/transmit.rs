//! What goes to peers: datagrams, each with whatever is ready.

mod messages;
mod redundancy;
pub(super) mod splice;

use self::splice::{SPLICED_FROM, Splice};
use super::{
    Engine, Recovery, Transmit,
    chain::{EntryKey, FlowKey, Via},
    clock::drift,
    fragments::UnitSet,
    link::{HeartbeatDue, LinkKey, sent::Item},
};
use crate::{
    counters::Counter,
    ids::{Channel, DatagramNumber, FlowId, Instance},
    limits::{FRAGMENT_UNIT, MIN_MTU},
    units::{Span, Time},
    wire::{Data, DatagramBuilder, Flow, Fragment, Header, Heartbeat, Kind, Skip, VERSIONS},
};

/// What has been written into a datagram so far.
struct Draft<'a> {
    builder: DatagramBuilder<'a>,
    /// What it carries is to be acknowledged.
    is_eliciting: bool,
    has_link_ack: bool,
    has_messages: bool,
    /// Bytes of redundant copies.
    redundant: usize,
    /// The flow of the last FLOW frame.
    flow: Option<(FlowKey, Instance)>,
    /// Large payloads stay where they are.
    may_splice: bool,
}

impl<'a> Draft<'a> {
    const fn new(builder: DatagramBuilder<'a>) -> Self {
        Self {
            builder,
            is_eliciting: false,
            has_link_ack: false,
            has_messages: false,
            redundant: 0,
            flow: None,
            may_splice: false,
        }
    }

    /// A message that is `entry`.
    #[inline(always)]
    fn put_data(&mut self, splices: &mut Vec<Splice>, entry: EntryKey, data: &Data<'_>) -> bool {
        if !self.may_splice || data.payload.len() < SPLICED_FROM {
            return self.builder.put_data(data);
        }
        let fits = self.builder.put_data_spliced(data);
        if fits {
            splices.push(Splice { at: self.builder.position(), entry, range: 0..data.payload.len() });
        }
        fits
    }

    /// Bytes of a message that is `entry`, from its byte `from` on.
    fn put_fragment(
        &mut self,
        splices: &mut Vec<Splice>,
        entry: EntryKey,
        from: usize,
        fragment: &Fragment<'_>,
    ) -> bool {
        if !self.may_splice || fragment.bytes.len() < SPLICED_FROM {
            return self.builder.put_fragment(fragment);
        }
        let fits = self.builder.put_fragment_spliced(fragment);
        if fits {
            let range = from..from + fragment.bytes.len();
            splices.push(Splice { at: self.builder.position(), entry, range });
        }
        fits
    }
}

/// How far the writing of queued messages came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    /// It goes on with the next.
    More,
    /// Some of it is written, and it is another client's turn.
    Later,
    /// The datagram is full, or the link is.
    Full,
}

impl Engine {
    /// Appends the next datagrams for one address to `out`, at most `max_datagrams` of one size, the last may be
    /// shorter.
    pub fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>, max_datagrams: usize) -> Option<Transmit> {
        self.advance(now);
        self.splices.clear();
        if let Some(transmit) = self.poll_farewell(out) {
            self.count(Counter::DatagramsSent);
            self.counters.add_n(Counter::BytesSent, transmit.len as u64);
            return Some(transmit);
        }
        while let Some(key) = self.ready_links.pop_front() {
            if let Some(transmit) = self.write_link(key, out, max_datagrams.max(1)) {
                // Another link's turn comes first.
                self.ready_links.push_back(key);
                let datagrams = transmit.len.div_ceil(transmit.segment) as u64;
                self.counters.add_n(Counter::DatagramsSent, datagrams);
                self.counters.add_n(Counter::BytesSent, transmit.len as u64);
                return Some(transmit);
            }
            self.links[key].is_ready = false;
        }
        None
    }

    fn write_link(&mut self, key: LinkKey, out: &mut Vec<u8>, max_datagrams: usize) -> Option<Transmit> {
        if let Some((path, opening)) = self.links[key].hellos.pop() {
            let len = self.write_hello(key, opening, out)?;
            return Some(self.transmit(key, path, len, len));
        }
        self.links[key].current.as_ref()?;
        let active = self.links[key].active;
        let probed = (0..self.links[key].paths.len())
            .find(|p| *p != active && self.links[key].paths[*p].heartbeat.is_some());
        if let Some(path) = probed {
            let due = self.links[key].paths[path].heartbeat.take()?;
            let len = self.write_heartbeat_alone(key, due, out)?;
            return Some(self.transmit(key, path, len, len));
        }
        if let Some(transmit) = self.write_mtu_probe(key, out) {
            return Some(transmit);
        }
        let start = out.len();
        let segment = self.write_datagram(key, out, self.datagram_size(key), None)?;
        let most = if self.splices.is_empty() { max_datagrams.min(MAX_BATCH_BYTES / segment) } else { 1 };
        for _ in 1..most {
            match self.write_datagram(key, out, segment, Some(segment)) {
                Some(len) if len == segment => {}
                _ => break,
            }
        }
        if self.links[key].queue.is_empty()
            && let Some(association) = &mut self.links[key].current
        {
            association.recovery.record_idle();
        }
        let len = if self.splices.is_empty() { out.len() - start } else { segment };
        Some(self.transmit(key, active, len, segment))
    }

    /// How large the next datagram may be.
    fn datagram_size(&self, key: LinkKey) -> usize {
        let link = &self.links[key];
        let mtu = &link.paths[link.active].mtu;
        let is_cautious = link.current.as_ref().is_some_and(|a| a.recovery.is_cautious());
        if is_cautious { mtu.base() } else { mtu.size() }
    }

    /// A datagram that asks whether the path carries more (RFC 8899).
    fn write_mtu_probe(&mut self, key: LinkKey, out: &mut Vec<u8>) -> Option<Transmit> {
        let (now, is_adaptive) = (self.clock.steady(), self.is_adaptive());
        let link = &mut self.links[key];
        let path = link.active;
        if !is_adaptive || !link.current.as_ref().is_some_and(|a| a.is_synced) {
            return None;
        }
        let size = link.paths[path].mtu.poll_probe(now)?;
        self.count(Counter::PathMtuProbes);
        let builder = DatagramBuilder::new(out, self.header(key)?, size);
        let mut draft = Draft { is_eliciting: true, ..Draft::new(builder) };
        draft.builder.put_ping();
        draft.builder.put_padding(size);
        let narrow = |n: usize| u32::try_from(n).unwrap_or(0);
        let item = Item::MtuProbe { path: u16::try_from(path).unwrap_or(0), size: narrow(size) };
        self.push_item(key, item);
        let len = self.finish(key, draft)?;
        Some(self.transmit(key, path, len, len))
    }

    fn transmit(&self, key: LinkKey, path: usize, len: usize, segment: usize) -> Transmit {
        let path = &self.links[key].paths[path];
        Transmit { listener: path.listener, to: path.remote, len, segment }
    }

    pub(super) fn header(&self, key: LinkKey) -> Option<Header> {
        let association = self.links[key].current.as_ref()?;
        Some(Header {
            version: association.remote.version,
            kind: Kind::Frames,
            speaks: VERSIONS,
            session: association.peers_session(),
            number: DatagramNumber(association.next_number),
        })
    }

    fn write_heartbeat_alone(&mut self, key: LinkKey, due: HeartbeatDue, out: &mut Vec<u8>) -> Option<usize> {
        let builder = DatagramBuilder::new(out, self.header(key)?, MIN_MTU);
        let mut draft = Draft::new(builder);
        self.put_heartbeat(key, &mut draft, due);
        self.finish(key, draft)
    }

    /// Writes one datagram of what is ready, up to `size` bytes; padded to `pad_to` where more follows.
    fn write_datagram(
        &mut self,
        key: LinkKey,
        out: &mut Vec<u8>,
        size: usize,
        pad_to: Option<usize>,
    ) -> Option<usize> {
        if !self.has_output(key) {
            return None;
        }
        let builder = DatagramBuilder::new(out, self.header(key)?, size);
        let may_splice = self.may_splice && size > MAX_BATCH_BYTES / 2;
        let mut draft = Draft { may_splice, ..Draft::new(builder) };
        self.put_link_ack(key, &mut draft);
        let optional = draft.builder.len();
        let active = self.links[key].active;
        if let Some(due) = self.links[key].paths[active].heartbeat.take() {
            self.put_heartbeat(key, &mut draft, due);
        }
        self.put_control(key, &mut draft);
        self.put_answers(key, &mut draft);
        self.put_floors(key, &mut draft);
        let before = draft.builder.len();
        self.put_messages(key, &mut draft);
        draft.has_messages = draft.builder.len() > before;
        if pad_to.is_none() {
            self.put_redundant(key, &mut draft);
        }
        self.put_goodbye(key, &mut draft);
        let is_ack_due = self.links[key]
            .current
            .as_ref()
            .is_some_and(|a| a.received.is_ack_due(self.clock.steady(), self.config.receive_window));
        if draft.builder.len() == optional && !(draft.has_link_ack && is_ack_due) {
            draft.builder.abandon();
            return None;
        }
        if let Some(size) = pad_to
            && !self.links[key].queue.is_empty()
        {
            draft.builder.put_padding(size);
        }
        self.finish(key, draft)
    }

    /// Whether there is anything to write a datagram for. For each that goes alone that is asked twice more: whether another of its size
    /// follows it, and whether the link has anything left.
    fn has_output(&self, key: LinkKey) -> bool {
        let link = &self.links[key];
        let Some(association) = &link.current else { return false };
        !link.queue.is_empty()
            || !link.dirty.is_empty()
            || !link.floors.is_empty()
            || link.paths[link.active].heartbeat.is_some()
            || association.goodbye
            || association.control_in.wants_ack
            || association.control_out.next().is_some()
            || association.received.is_ack_due(self.clock.steady(), self.config.receive_window)
    }

    fn finish(&mut self, key: LinkKey, draft: Draft<'_>) -> Option<usize> {
        let now = self.clock.steady();
        let is_adaptive = self.is_adaptive();
        let len = match self.splices.is_empty() {
            true => draft.builder.finish(),
            false => draft.builder.finish_spliced(self.spliced()),
        };
        let association = self.links[key].current.as_mut()?;
        if draft.has_link_ack {
            association.received.record_acknowledged();
            if is_adaptive
                && draft.is_eliciting
                && let Some(told) = association.received.told()
            {
                association.recovery.sent.push_item(Item::LinkAck { told });
            }
        }
        let bytes = if draft.is_eliciting && is_adaptive { len } else { 0 };
        association.recovery.record_sent(association.next_number, now, bytes);
        association.recovery.redundancy.record_sent(bytes.saturating_sub(draft.redundant), draft.redundant);
        if draft.has_messages && is_adaptive {
            association.recovery.record_paced(now, len);
        }
        association.next_number += 1;
        Some(len)
    }

    fn is_adaptive(&self) -> bool {
        self.config.chain.recovery == Recovery::Adaptive
    }

    fn put_link_ack(&mut self, key: LinkKey, draft: &mut Draft<'_>) {
        let (now, window) = (self.clock.steady(), self.config.receive_window);
        let Some(association) = &self.links[key].current else { return };
        let received = &association.received;
        if received.unacknowledged > 0 {
            draft.has_link_ack = draft.builder.put_link_ack(received.delay(now), window, received.ranges());
        }
    }

    fn put_heartbeat(&mut self, key: LinkKey, draft: &mut Draft<'_>, due: HeartbeatDue) {
        let raw = self.clock.raw();
        let Some(association) = &self.links[key].current else { return };
        let (echo, held) =
            association.echo.map_or((Time(0), Span::ZERO), |(clock, came)| (clock, raw.since(came)));
        draft.builder.put_heartbeat(&Heartbeat { wants_reply: due.wants_reply, clock: raw, echo, held });
    }

    fn put_control(&mut self, key: LinkKey, draft: &mut Draft<'_>) {
        let (now, is_adaptive) = (self.clock.steady(), self.is_adaptive());
        let Some(association) = &mut self.links[key].current else { return };
        if association.control_in.wants_ack && draft.builder.put_control_ack(association.control_in.next()) {
            association.control_in.wants_ack = false;
        }
        while let Some((seq, step)) = association.control_out.next() {
            if !draft.builder.put_control(seq, step) {
                break;
            }
            association.control_out.record_sent(now);
            draft.is_eliciting = true;
            if is_adaptive {
                association.recovery.sent.push_item(Item::Control { seq });
            }
        }
    }

    /// Acks (R7), refusals, and which units of large messages are there.
    fn put_answers(&mut self, key: LinkKey, draft: &mut Draft<'_>) {
        let (raw, is_adaptive) = (self.clock.raw(), self.is_adaptive());
        let link = &mut self.links[key];
        let Some(association) = &mut link.current else { return };
        let Some(theirs) = association.clock.theirs(raw) else { return };
        while let Some(inbox_key) = link.dirty.last().copied() {
            let Some(inbox) = self.inboxes.get_mut(inbox_key) else {
                link.dirty.pop();
                continue;
            };
            let send_time = theirs.minus(drift(inbox.heard.1));
            let n = draft.builder.put_ack(&inbox.id, send_time, &inbox.acks);
            for run in inbox.acks.drain(..n) {
                draft.is_eliciting = true;
                if is_adaptive {
                    let item = Item::Ack { inbox: inbox_key, serial: inbox.serial, run };
                    association.recovery.sent.push_item(item);
                }
            }
            let n = draft.builder.put_nack(&inbox.id, send_time, &inbox.nacks);
            for entry in inbox.nacks.drain(..n) {
                draft.is_eliciting = true;
                if is_adaptive {
                    let item = Item::Nack { inbox: inbox_key, serial: inbox.serial, entry };
                    association.recovery.sent.push_item(item);
                }
            }
            let mut is_done = inbox.acks.is_empty() && inbox.nacks.is_empty();
            for (seq, partial) in inbox.partials.iter_mut().filter(|(_, p)| p.unreported) {
                let bitmap = UnitSet::to_bitmap(&partial.have, partial.bytes.len().div_ceil(FRAGMENT_UNIT));
                if draft.builder.put_partial(&inbox.id, send_time, partial.msgid, *seq, &bitmap) {
                    partial.unreported = false;
                } else {
                    is_done = false;
                }
            }
            if !is_done {
                return;
            }
            inbox.is_dirty = false;
            link.dirty.pop();
        }
    }

    /// Floors and holes of flows in which a message was given up.
    fn put_floors(&mut self, key: LinkKey, draft: &mut Draft<'_>) {
        while let Some(flow) = self.links[key].floors.last().copied() {
            let target =
                self.chain.flows.get(flow).and_then(|f| f.target).filter(|t| t.via == Via::Link(key));
            if let Some(target) = target {
                let holes: Vec<_> = match self.chain.flows[flow].channel {
                    Channel::Ordered => self.chain.flows[flow].holes().take(MAX_HOLES).collect(),
                    Channel::Unordered => Vec::new(),
                };
                let Some(context) = self.context(key, flow, target.instance) else { return };
                if !draft.builder.put_flow(&context, holes.len() * DatagramBuilder::skip_bytes()) {
                    return;
                }
                draft.flow = Some((flow, target.instance));
                draft.is_eliciting = true;
                for (seq, count) in holes {
                    draft.builder.put_skip(&Skip { seq, count });
                }
                self.push_item(key, Item::Floor { flow });
            }
            self.links[key].floors.pop();
            if let Some(f) = self.chain.flows.get_mut(flow) {
                f.floor_untold = false;
            }
        }
    }

    /// The FLOW frame of a flow, stamped in the receiver's clock (R1). `None` while that is not known.
    fn context(&self, key: LinkKey, flow: FlowKey, dst: Instance) -> Option<Flow> {
        let association = self.links[key].current.as_ref()?;
        let f = &self.chain.flows[flow];
        let client = &self.clients[f.client];
        let theirs = association.clock.theirs(self.clock.raw())?;
        Some(Flow {
            id: FlowId { src: client.instance, dst, channel: f.channel },
            send_time: theirs.minus(drift(client.interval)),
            interval: client.interval,
            floor: f.told_floor(),
            presence: association.announced.get(&f.client).copied().unwrap_or(0),
        })
    }

    fn put_goodbye(&mut self, key: LinkKey, draft: &mut Draft<'_>) {
        if let Some(association) = &mut self.links[key].current
            && association.goodbye
            && draft.builder.put_goodbye()
        {
            association.goodbye = false;
        }
    }

    #[inline(always)]
    fn push_item(&mut self, key: LinkKey, item: Item) {
        if self.config.chain.recovery == Recovery::Adaptive
            && let Some(association) = &mut self.links[key].current
        {
            association.recovery.sent.push_item(item);
        }
    }
}

/// The most that one generic-segmentation-offload send carries.
pub(super) const MAX_BATCH_BYTES: usize = 65_000;
/// Holes told with a floor; the rest is told with the messages behind them.
const MAX_HOLES: usize = 16;
