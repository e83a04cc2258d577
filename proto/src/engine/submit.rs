//! A message's way in: into its client's chain (R3), and on towards an instance of its destination.

use super::{
    Engine, LimitConfig,
    accept::Copy,
    address::CallCopy,
    buffers::BufferPool,
    chain::{Chain, Entry, EntryKey, FlowKey, OutFlow, Stage, Target, Via},
    client::{Client, ClientKey},
    clock::Clock,
    connections::Violation,
    due::Life,
    fragments::Units,
    inbox::Source,
    lives::Home,
    reads::{Bytes, Origin},
    transmit::MAX_BATCH_BYTES,
};
use crate::{
    control::LocalRule,
    counters::Counter,
    ids::{ClientId, FlowId, Instance, MsgId},
    limits,
    local::{self, Addressee, Failed, Submit, put},
    outcome::{Certainty, Reason, Verdict, lifetime},
    wire::{DatagramBuilder, Flow},
};

impl Engine {
    /// `origin`: where it was read to, if it is to stay there.
    pub(super) fn on_submit(
        &mut self,
        client: ClientKey,
        submit: &Submit<'_>,
        origin: Option<Origin>,
    ) -> Result<(), Violation> {
        let c = &self.clients[client];
        if c.sent.find(submit.msgid).is_some() || (c.has_returned && c.sent.distance(submit.msgid).is_none())
        {
            // It comes from a client that came back: its message is still here, or has ended, and it was told so.
            return Ok(());
        }
        self.check_submit(client, submit)?;
        if let Some(reason) = self.clients[client].quota_reason(submit, &self.config.limits) {
            self.fail_unentered(client, submit, reason);
            return Ok(());
        }
        let flow = self.flow_of(client, submit)?;
        if !self.chain.flows[flow].takes(submit.seq) {
            return Err(Violation::new(
                LocalRule::BadSequence,
                "sequence number: increasing, within 65,536 of the floor",
            ));
        }
        let key = self.enter(client, flow, submit, origin);
        if let Some(upto) = self.chain.flows[flow].replay {
            self.on_replayed(key, upto);
        }
        self.take_back(flow);
        let allowed = self.clients[client].may_send_to.as_ref().is_none_or(|ids| ids.contains(&submit.dst));
        if !allowed {
            self.fail(key, Reason::Refused);
        } else if submit.to.is_some() && self.chain.entries[key].to.is_none() {
            // Its node is none that this one has.
            self.fail(key, Reason::ReceiverGone);
        } else {
            self.dispatch(key);
        }
        Ok(())
    }

    /// Messages of the flow that the client last submitted to, which follow each other in its stream: to whom they go, and whether
    /// they may, is looked at once. One that is in any way out of the ordinary ends them, and is for
    /// [`on_submit`](Self::on_submit); most are not. Returns how many bytes they took.
    pub(super) fn submit_run(&mut self, client: ClientKey, bytes: &[u8], origin: Option<Origin>) -> usize {
        let Self { clients, chain, links, pool, clock, config, .. } = self;
        let c = &mut clients[client];
        let Some((id, flow)) = c.last_flow else { return 0 };
        let f = &chain.flows[flow];
        let Some(Target { via: Via::Link(key), .. }) = f.target else { return 0 };
        let link = &mut links[key];
        let Some(association) = &link.current else { return 0 };
        let is_open = f.stage == Stage::Open && f.replay.is_none();
        let may_send = c.may_send_to.as_ref().is_none_or(|ids| ids.contains(&id.0));
        if !is_open || !may_send {
            return 0;
        }
        let most = association.remote.max_message_bytes.min(DatagramBuilder::max_data(config.mtu));
        let (mut used, mut count) = (0, 0);
        while self.gathered < MAX_BATCH_BYTES {
            let Ok(Some((raw, len))) = local::split(&bytes[used..]) else { break };
            let Some(submit) = local::is_submit(&raw).then(|| Submit::parse(raw).ok()).flatten() else {
                break;
            };
            let is_plain = (submit.dst, submit.channel) == id && submit.to.is_none();
            let has_room = submit.payload.len() <= most
                && c.sent.takes(submit.msgid)
                && chain.flows[flow].takes(submit.seq)
                && c.quota_reason(&submit, &config.limits).is_none();
            if !is_plain || !has_room {
                break;
            }
            let entry = chain.enter((client, c), flow, (&submit, origin), None, clock, pool);
            chain.entries[entry].queued = true;
            link.queue.push(client, entry, chain.entries[entry].serial);
            self.gathered += DatagramBuilder::data_bytes(submit.payload.len());
            used += len;
            count += 1;
        }
        if count > 0 {
            self.counters.add_n(Counter::MessagesSubmitted, count);
            self.wake_link(key);
        }
        used
    }

    /// A message of the call layer is of no use any more. It ends here and now, with what is known; copies that left
    /// may still be handed over, and its deadline keeps them from beginning (SPEC.md, section 4.4). One that has ended
    /// meanwhile has its outcome.
    pub(super) fn on_withdraw(&mut self, client: ClientKey, msgid: MsgId) -> Result<(), Violation> {
        let Some(key) = self.clients[client].sent.find(msgid) else { return Ok(()) };
        if !self.chain.entries[key].is_call {
            return Err(Violation::new(LocalRule::OutOfTurn, "WITHDRAW: a message of the call layer"));
        }
        let reason = match self.time_out_reason(key) {
            Reason::NoRoute if self.chain.entries[key].to.is_none() => Reason::NoRoute,
            _ => Reason::Cancelled,
        };
        self.fail(key, reason);
        Ok(())
    }

    /// A library has given up what it sent up to a message, as this daemon had stood still. By its own clock it may have time left
    /// for it (SPEC.md, section 4.1), and must not send any of it again (I4), nor keep room for it.
    pub(super) fn on_given_up(&mut self, client: ClientKey, upto: MsgId) {
        while let Some(key) = self.clients.get(client).and_then(|c| c.sent.iter().next()) {
            if upto.since(self.chain.entries[key].msgid).is_none() {
                return;
            }
            self.drop_given_up(key);
        }
    }

    fn check_submit(&self, client: ClientKey, submit: &Submit<'_>) -> Result<(), Violation> {
        let c = &self.clients[client];
        let waiting = c.conn.map_or(0, |conn| self.conns[conn].out.len());
        if waiting > self.config.limits.client_queue_bytes {
            return Err(Violation::new(LocalRule::Quota, "it sends, and does not read"));
        }
        if !c.sent.takes(submit.msgid) {
            let text = "msgid: increasing, within 262,144 of the oldest unresolved";
            return Err(Violation::new(LocalRule::BadSequence, text));
        }
        Ok(())
    }

    /// A message that does not even enter the chain fails. (Whether an earlier daemon sent it, its library knows.)
    fn fail_unentered(&mut self, client: ClientKey, submit: &Submit<'_>, reason: Reason) {
        self.count(Counter::MessagesSubmitted);
        self.count(Counter::MessagesFailed);
        self.count(Counter::FailedNotStarted);
        let totals = &mut self.clients[client].totals;
        totals.submitted += 1;
        totals.failed += 1;
        let verdict = Verdict { reason, certainty: Certainty::NotStarted };
        let failed = Failed { msgid: submit.msgid, dst: submit.dst, tries: 0, verdict, user: submit.user };
        if let Some(conn) = self.clients[client].conn {
            self.flush_resolved(conn);
            put::failed(self.conns[conn].out.tail(), &failed);
            self.wake_conn(conn);
        }
    }

    fn flow_of(&mut self, client: ClientKey, submit: &Submit<'_>) -> Result<FlowKey, Violation> {
        let id = (submit.dst, submit.channel);
        let c = &mut self.clients[client];
        if let Some((_, flow)) = c.last_flow.filter(|(last, _)| *last == id) {
            return Ok(flow);
        }
        let flow = match c.flows.get(&id) {
            Some(flow) => *flow,
            None if c.flows.len() >= limits::MAX_FLOWS_PER_CLIENT => {
                return Err(Violation::new(LocalRule::Quota, "more than 4,096 destinations"));
            }
            None => {
                let flow = OutFlow::new(client, submit.dst, submit.channel, submit.seq);
                let flow = self.chain.flows.insert(flow);
                self.routes.add_flow(submit.dst, flow);
                self.clients[client].flows.insert(id, flow);
                self.restore_target(flow);
                self.retarget(flow);
                flow
            }
        };
        self.clients[client].last_flow = Some((id, flow));
        Ok(flow)
    }

    fn enter(
        &mut self,
        client: ClientKey,
        flow: FlowKey,
        submit: &Submit<'_>,
        origin: Option<Origin>,
    ) -> EntryKey {
        let to = submit.to.and_then(|to| Some((self.home_of(to.node)?, instance_of(submit.dst, to))));
        let Self { chain, clients, pool, clock, .. } = self;
        let key = chain.enter((client, &mut clients[client]), flow, (submit, origin), to, clock, pool);
        self.count(Counter::MessagesSubmitted);
        key
    }

    /// Sends an entry towards its instance, if there is a way. `false` if there is none.
    pub(super) fn dispatch(&mut self, key: EntryKey) -> bool {
        let entry = &self.chain.entries[key];
        if entry.queued {
            return true;
        }
        if self.is_for_nobody(key) {
            self.fail(key, Reason::ReceiverGone);
            return true;
        }
        let entry = &self.chain.entries[key];
        let Some(target) = self.target_of(key) else { return false };
        match target.via {
            Via::Nowhere => return false,
            // One that comes in late may have no interval left (I4). Links look for themselves, later.
            Via::Local if !self.may_send_copy(key) => {}
            Via::Local => self.hand_over(key, target),
            Via::Link(link) => {
                let (client, serial, len) = (entry.client, entry.serial, entry.payload_len());
                let Some(association) = &self.links[link].current else { return false };
                if len > association.remote.max_message_bytes {
                    self.fail(key, Reason::TooLarge);
                    return true;
                }
                let entry = &mut self.chain.entries[key];
                if len > DatagramBuilder::max_data(self.config.mtu) {
                    match &mut entry.units {
                        Some(units) => units.send_missing(),
                        None => entry.units = Some(Box::new(Units::new(len))),
                    }
                }
                entry.queued = true;
                self.gathered += DatagramBuilder::data_bytes(len);
                self.links[link].queue.push(client, key, serial);
                self.wake_link(link);
            }
        }
        true
    }

    /// Gives a message to a client of this node, under the same rules as over a link.
    fn hand_over(&mut self, key: EntryKey, target: Target) {
        let entry = &mut self.chain.entries[key];
        let (flow, sender) = (&self.chain.flows[entry.flow], &self.clients[entry.client]);
        let context = Flow {
            id: FlowId { src: sender.instance, dst: target.instance, channel: flow.channel },
            send_time: self.clock.raw(),
            interval: sender.interval,
            floor: flow.told_floor(),
            presence: 0,
        };
        let hole = flow.hole_before(entry.seq);
        entry.copies += 1;
        // By the clock that judges: this node's, so nothing is lost in between.
        let call = entry.call(self.clock.raw()).map(|mark| CallCopy::of(mark, self.clock.raw()));
        let (msgid, seq, user_len) = (entry.msgid, entry.seq, usize::from(entry.user_len));
        let (mut own, mut read) = (Vec::new(), None);
        match &mut entry.bytes {
            Bytes::Own(bytes) => own = std::mem::take(bytes),
            Bytes::Read { segment, at, len } => read = Some((self.chain.reads.share(*segment), *at, *len)),
        }
        let bytes = match &read {
            Some((segment, at, len)) => &segment[*at as usize..][..*len as usize],
            None => &own,
        };
        self.chain.bind(key);
        if let Some(inbox) = self.open_inbox(&context, Source::Local) {
            if let Some((first, count)) = hole {
                self.on_skip(inbox, first, count);
            }
            let (send_time, interval) = (context.send_time, context.interval);
            let copy = Copy { msgid, seq, send_time, interval, call };
            self.accept(inbox, &copy, &bytes[user_len..]);
        }
        if read.is_none() {
            self.chain.entries[key].bytes = Bytes::Own(own);
        }
    }

    /// Whether a copy that leaves now is stale before the outcome is due (I4): as this daemon counts, and as the
    /// library does, which goes on, and gives its messages up in time, while this daemon is stopped alone.
    pub(super) fn may_send_copy(&self, key: EntryKey) -> bool {
        let entry = &self.chain.entries[key];
        entry.may_leave(&self.clock, &self.clients[entry.client])
    }
}

impl Client {
    /// Why there is no room for a message (I7). A library keeps to the limits that it was granted, but it sends before
    /// it was told any, and one that comes back from a daemon with larger ones may hold more.
    #[inline]
    fn quota_reason(&self, submit: &Submit<'_>, limit: &LimitConfig) -> Option<Reason> {
        let bytes = self.sent.bytes + cost(submit.payload.len(), submit.user.len());
        if submit.payload.len() > limit.max_message_bytes {
            Some(Reason::TooLarge)
        } else if self.sent.count >= self.max_stored || bytes > limit.client_queue_bytes {
            Some(Reason::QueueFull)
        } else {
            None
        }
    }
}

impl Chain {
    /// Puts a message into its client's chain (R3).
    #[inline(always)]
    fn enter(
        &mut self,
        (client, c): (ClientKey, &mut Client),
        flow: FlowKey,
        (submit, origin): (&Submit<'_>, Option<Origin>),
        to: Option<(Home, Instance)>,
        clock: &Clock,
        pool: &mut BufferPool,
    ) -> EntryKey {
        let serial = self.serial();
        let key = self.entries.insert_with(Entry::BLANK, |entry| {
            entry.serial = serial;
            entry.client = client;
            entry.flow = flow;
            entry.msgid = submit.msgid;
            entry.seq = submit.seq;
            entry.at_least_once = submit.at_least_once;
            entry.is_call = submit.is_call;
            entry.to = to;
            entry.user_len = u8::try_from(submit.user.len()).unwrap_or(0);
            entry.sent_at = submit.send_time;
            entry.retries_left = c.times;
        });
        self.entries[key].bytes = self.reads.keep(key, submit, origin, pool);
        self.entries.touch_next();
        c.sent.push(submit.msgid, key, cost(submit.payload.len(), submit.user.len()));
        c.sent.addressed += u32::from(to.is_some());
        c.totals.submitted += 1;
        self.flows[flow].push(submit.seq, key);
        let sent_at = clock.steady().minus(clock.raw().since(submit.send_time));
        let life = Life { interval: c.interval, sent_at };
        self.due.add(&mut self.entries, key, life, clock.steady());
        key
    }
}

impl Entry {
    /// [`Engine::may_send_copy`].
    #[inline]
    pub(super) fn may_leave(&self, clock: &Clock, client: &Client) -> bool {
        let Client { interval, times, .. } = *client;
        let is_open = clock.raw().since(self.sent_at) + interval <= lifetime(interval, times);
        is_open && (self.retries_left > 0 || self.place.is_none_or(|p| clock.steady() + interval <= p.at))
    }
}

fn instance_of(client: ClientId, to: Addressee<'_>) -> Instance {
    Instance { client, incarnation: to.incarnation }
}

/// What a message counts for in its client's chain: its bytes, and a share of the entry.
pub(crate) const fn cost(payload: usize, user: usize) -> usize {
    payload + user + limits::MAX_USER_BYTES
}

const _: () =
    assert!(cost(limits::MAX_MESSAGE_BYTES, limits::MAX_USER_BYTES) <= limits::MIN_CLIENT_QUEUE_BYTES);
