//! Datagrams of peers: checked, and taken apart.

use std::net::SocketAddr;

use super::{
    Engine, Recovery,
    accept::Copy,
    address::CallCopy,
    inbox::{InboxKey, Source},
    link::{HeartbeatDue, LinkKey},
};
use crate::{
    counters::Counter,
    limits,
    units::{Span, Time},
    wire::{Data, Flow, Frame, Frames, Header, Heartbeat, Kind, WireError},
};

/// How far a datagram has been read.
struct Reading {
    /// The flow that DATA, FRAGMENT and SKIP belong to.
    context: Option<Context>,
    /// How many numbers its SKIPs may still have looked at: a frame of twelve bytes can name 65,536.
    skips_left: u32,
}

/// The flow that the DATA, FRAGMENT and SKIP of a datagram belong to, once checked.
struct Context {
    inbox: Option<InboxKey>,
    send_time: Time,
    interval: Span,
}

/// What a datagram's frames add up to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handled {
    /// It is to be acknowledged.
    Wanted,
    /// Nothing in it wants an acknowledgement.
    Unwanted,
    /// It could not be taken now: it must not be acknowledged, so that it comes again soon.
    Early,
}

impl Engine {
    /// A datagram has come.
    pub fn handle_datagram(&mut self, now: Time, _listener: usize, from: SocketAddr, datagram: &[u8]) {
        self.advance(now);
        self.count(Counter::DatagramsReceived);
        self.counters.add_n(Counter::BytesReceived, datagram.len() as u64);
        match Header::parse(datagram) {
            Err(WireError::Version(speaks)) => {
                let key = self.links.iter().find(|(_, l)| !l.is_removed && l.path_to(from).is_some());
                self.on_foreign(key.map(|(key, _)| key), speaks);
            }
            Err(error) => self.count(counter_of(error)),
            Ok((header, frames)) => match header.kind {
                Kind::Hello => match Frames::new(header.kind, frames).next() {
                    Some(Ok(Frame::Hello(hello))) => {
                        self.on_hello(&hello, header.speaks, datagram.len(), from)
                    }
                    _ => self.count(Counter::MalformedDatagrams),
                },
                Kind::Frames => self.on_frames(&header, frames, from),
            },
        }
        self.flush_local();
    }

    fn on_frames(&mut self, header: &Header, frames: &[u8], from: SocketAddr) {
        let Some(key) = self.link_of.get(&header.session).copied() else {
            self.count(Counter::UnknownSessions);
            return;
        };
        if let Some(attempt) = self.links[key].attempt.filter(|a| a.session() == Some(header.session)) {
            self.establish(key, attempt);
        }
        let now = self.clock.steady();
        let Some(path) = self.record_number(key, header.number.0, from) else { return };
        let mut handled = Handled::Unwanted;
        let mut reading = Reading { context: None, skips_left: MAX_SKIPS };
        let mut rest = Frames::new(header.kind, frames);
        loop {
            if self.on_plain_data(&reading, &mut rest) {
                handled = Handled::Wanted;
            }
            let Some(frame) = rest.next() else { break };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    self.count(counter_of(error));
                    break;
                }
            };
            let this = self.on_frame(key, path, frame, &mut reading);
            if this == Handled::Early {
                return;
            }
            if this == Handled::Wanted {
                handled = Handled::Wanted;
            }
            if self.links[key].current.is_none() {
                return;
            }
        }
        if let Some(association) = &mut self.links[key].current
            && self.config.chain.recovery == Recovery::Adaptive
        {
            association.received.accept(header.number.0);
            if handled == Handled::Wanted {
                association.received.want_ack(now, frames.len());
                if association.received.is_ack_due(now, self.config.receive_window) {
                    self.wake_link(key);
                }
            }
        }
    }

    /// Messages that no call layer marked, of a flow that was checked: what most frames are. Returns whether there were any.
    fn on_plain_data(&mut self, reading: &Reading, frames: &mut Frames<'_>) -> bool {
        let Some(Context { inbox: Some(inbox), send_time, interval }) = reading.context else { return false };
        let mut were_any = false;
        loop {
            were_any |= self.give_run(inbox, send_time, interval, frames) > 0;
            let Some(Data { msgid, seq, payload, .. }) = frames.next_plain_data() else { return were_any };
            were_any = true;
            self.accept(inbox, &Copy { msgid, seq, send_time, interval, call: None }, payload);
        }
    }

    /// Refuses a number that came before; otherwise notes that the peer was heard. Returns the path it came over.
    fn record_number(&mut self, key: LinkKey, number: u64, from: SocketAddr) -> Option<usize> {
        let now = self.clock.steady();
        let link = &mut self.links[key];
        let association = link.current.as_mut()?;
        if !association.received.record(number, now) {
            self.count(Counter::ReplayedDatagrams);
            return None;
        }
        association.heard_at = now;
        link.heard = Some(now);
        let path = link.path_to(from).unwrap_or(link.active);
        link.paths[path].heard = Some(now);
        link.choose_path(now);
        Some(path)
    }

    fn on_frame(&mut self, key: LinkKey, path: usize, frame: Frame<'_>, reading: &mut Reading) -> Handled {
        match frame {
            Frame::Flow(flow) => match self.on_flow(key, &flow) {
                Some(new) => reading.context = Some(new),
                None => return Handled::Early,
            },
            Frame::Data(data) => {
                if let Some(Context { inbox: Some(inbox), send_time, interval }) = reading.context {
                    let call = data.call.map(|mark| CallCopy::of(mark, send_time));
                    let copy = Copy { msgid: data.msgid, seq: data.seq, send_time, interval, call };
                    self.accept(inbox, &copy, data.payload);
                }
            }
            Frame::Fragment(fragment) => {
                if let Some(Context { inbox: Some(inbox), send_time, interval }) = reading.context {
                    let call = fragment.call.map(|mark| CallCopy::of(mark, send_time));
                    let (msgid, seq) = (fragment.msgid, fragment.seq);
                    let copy = Copy { msgid, seq, send_time, interval, call };
                    self.accept_fragment(inbox, &copy, &fragment);
                }
            }
            Frame::Skip(skip) => {
                if let Some(Context { inbox: Some(inbox), .. }) = reading.context {
                    let looked_at = self.on_skip(inbox, skip.seq, skip.count);
                    match reading.skips_left.checked_sub(looked_at) {
                        Some(left) => reading.skips_left = left,
                        // It comes again, in other company; what has been skipped costs nothing then.
                        None => return Handled::Early,
                    }
                }
            }
            Frame::Ack(ack) => self.on_ack(&ack),
            Frame::Nack(nack) => self.on_nack(&nack),
            Frame::Partial(partial) => {
                self.on_partial(key, &partial);
                return Handled::Unwanted;
            }
            Frame::Control { seq, body } => self.on_control_frame(key, seq, body),
            Frame::ControlAck { next } => {
                if let Some(association) = &mut self.links[key].current {
                    association.control_out.handle_ack(next);
                }
                return Handled::Unwanted;
            }
            Frame::LinkAck(ack) => {
                self.on_link_ack(key, &ack);
                return Handled::Unwanted;
            }
            Frame::Heartbeat(heartbeat) => {
                self.on_heartbeat(key, path, &heartbeat);
                return Handled::Unwanted;
            }
            Frame::Goodbye => {
                self.lose_link(key);
                return Handled::Unwanted;
            }
            // A hello stands in a datagram of its own.
            Frame::Hello(_) => self.count(Counter::MalformedDatagrams),
            Frame::Padding => return Handled::Unwanted,
            Frame::Ping => {}
        }
        Handled::Wanted
    }

    /// The flow of what follows. `None`: its sender's presence has not come yet.
    fn on_flow(&mut self, key: LinkKey, flow: &Flow) -> Option<Context> {
        let association = self.links[key].current.as_ref()?;
        if flow.presence >= association.control_in.next() {
            self.count(Counter::EarlyMessages);
            return None;
        }
        let (send_time, interval) = (flow.send_time, flow.interval);
        let is_fresh = self.check_send_time(send_time, interval, Counter::StaleMessagesDropped);
        let inbox = if is_fresh { self.open_link_inbox(key, flow) } else { None };
        if let Some(inbox) = inbox {
            let i = &mut self.inboxes[inbox];
            i.heard = (self.clock.steady(), interval);
            // What a dead one left in its daemon's chain does not make it live.
            i.is_source_gone &= self.routes.way(i.id.src).is_none();
        }
        Some(Context { inbox, send_time, interval })
    }

    /// The inbox of a flow that comes over a link: most often that of the one before.
    fn open_link_inbox(&mut self, key: LinkKey, flow: &Flow) -> Option<InboxKey> {
        let last = self.links[key].last_inbox;
        if let Some(inbox) = last
            && let Some(i) = self.inboxes.get(inbox)
            && i.id == flow.id
            && i.source == Source::Link(key)
        {
            self.on_floor(inbox, flow.floor);
            return last;
        }
        let inbox = self.open_inbox(flow, Source::Link(key));
        self.links[key].last_inbox = inbox;
        inbox
    }

    fn on_control_frame(&mut self, key: LinkKey, seq: u32, body: crate::control::Control) {
        let Some(association) = &mut self.links[key].current else { return };
        association.control_in.handle(seq, body);
        self.wake_link(key);
        while let Some(step) = self.links[key].current.as_mut().and_then(|a| a.control_in.poll()) {
            self.on_control(key, &step);
        }
    }

    fn on_heartbeat(&mut self, key: LinkKey, path: usize, heartbeat: &Heartbeat) {
        let (raw, now) = (self.clock.raw(), self.clock.steady());
        let link = &mut self.links[key];
        let Some(association) = &mut link.current else { return };
        let has_echo = heartbeat.echo != Time(0) && heartbeat.echo <= raw;
        let round_trip = has_echo.then(|| Span(raw.since(heartbeat.echo).0.saturating_sub(heartbeat.held.0)));
        if let Some(round_trip) = round_trip
            && association.recovery.rtt().is_none()
        {
            association.recovery.record_rtt(round_trip, Span::ZERO);
        }
        if association.clock.record(heartbeat.clock, raw, round_trip) {
            link.clock_step = Some(now);
        }
        association.echo = Some((heartbeat.clock, raw));
        if heartbeat.wants_reply {
            link.paths[path].heartbeat = Some(HeartbeatDue { wants_reply: false });
            self.wake_link(key);
        } else if !link.queue.is_empty() {
            // Entries may have waited for the peer's clock.
            self.wake_link(key);
        }
    }
}

const fn counter_of(error: WireError) -> Counter {
    match error {
        WireError::NotOurs | WireError::Malformed => Counter::MalformedDatagrams,
        WireError::Version(_) => Counter::VersionMismatches,
        WireError::Checksum => Counter::ChecksumErrors,
    }
}

/// Numbers that the SKIPs of one datagram have looked at, at most. What a daemon sends stays far below: it takes many
/// flows, each with tens of thousands of failures behind one message that has no outcome.
const MAX_SKIPS: u32 = 16 * limits::SEQ_SPAN;
