//! What is done with a delivery: taken, recognised as a duplicate (R8), or dropped as stale (R6).

use super::{
    AckMode, CallMessage, Delivery, Message, Session, SessionCounters,
    in_flows::{InFlows, Place},
    input::Input,
    output::Output,
    taken::Seen,
};
use crate::{
    ids::Channel,
    limits::SEQ_SPAN,
    local::{Deliver, LocalError, Progress, is_addressed, is_call, is_delivery, put},
    units::Time,
};

/// What was taken of everything that was delivered, and what the daemon knows of it.
#[derive(Debug)]
pub(super) struct Deliveries {
    ack: AckMode,
    flows: InFlows,
    /// The number of the last delivery of this stream that was scanned.
    scanned: u64,
    /// TAKEN is due up to here, STALE deliveries excepted...
    taken: u64,
    /// ... and was written up to here.
    written: u64,
    /// The message whose handler has not returned ([`AckMode::OnHandled`]), and the number of its delivery; `None`: that was
    /// of an earlier stream.
    handling: Option<(Place, Option<u64>)>,
    /// Of an earlier stream, too, and handled since this one began: the daemon is to be told.
    handled: Option<Place>,
}

/// [`crate::local::CallOrigin`], of a frame that is read no more.
struct Origin {
    sent_at: Time,
    uid: u32,
    node: String,
}

/// What is done with a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judgement {
    Take,
    Duplicate,
    Stale,
}

impl Session {
    /// The next message, as [`poll_event`](Self::poll_event) returns it. One of the call layer is dropped: for a driver
    /// that knows of no calls. Others use [`poll_delivery`](Self::poll_delivery).
    pub fn poll_message(&mut self, now: Time) -> Option<Message<'_>> {
        let (head, len) = self.next_plain(now)?;
        Some(Message { data: self.input.last(len), ..head })
    }

    /// The next message that is not of the call layer, without its bytes, which are the last that were polled.
    pub(super) fn next_plain(&mut self, now: Time) -> Option<(Message<'static>, usize)> {
        loop {
            let (head, call, len) = self.next_taken(now)?;
            if call.is_none() {
                return Some((head, len));
            }
            self.deliveries.on_handled();
            self.counters.calls_dropped += 1;
        }
    }

    /// The next that is taken, whichever kind it is of.
    pub fn poll_delivery(&mut self, now: Time) -> Option<Delivery<'_>> {
        let (head, call, len) = self.next_taken(now)?;
        let data = self.input.last(len);
        Some(match call {
            None => Delivery::Message(Message { data, ..head }),
            Some(Origin { sent_at, uid, node }) => {
                Delivery::Call(CallMessage { src: head.src, sent_at, uid, node, data })
            }
        })
    }

    /// Takes messages as [`poll_message`](Self::poll_message) does, as long as they stand behind each other, are of one flow and
    /// none of the call layer, and `take` wants another. One that is in any way out of the ordinary ends them, and is for
    /// [`poll_delivery`](Self::poll_delivery); most are not, and what holds for all of them is looked at once.
    pub fn take_messages(&mut self, now: Time, mut take: impl FnMut(&Message<'_>) -> bool) {
        let is_plain = !self.is_draining
            && self.subscriptions.is_quiet()
            && self.deliveries.handling.is_none()
            && self.deliveries.ack == AckMode::OnTake;
        let Self { input, deliveries, .. } = self;
        if !is_plain || input.deliveries() == 0 {
            return;
        }
        let Some((mut d, mut len)) = next_plain(input) else { return };
        let flow = deliveries.flows.of_delivery(d.src, d.channel, d.floor);
        loop {
            let is_fresh = now <= d.send_time + d.interval;
            let is_in_turn = d.channel == Channel::Unordered || d.round >= flow.min_round;
            flow.taken.advance(d.floor);
            if !is_fresh || !is_in_turn || !flow.taken.take(d.seq) {
                return;
            }
            deliveries.taken = d.number;
            let age = now.since(d.send_time);
            let wants_more =
                take(&Message { src: d.src, msgid: d.msgid, channel: d.channel, age, data: d.payload });
            input.skip(len);
            input.forget_delivery();
            if !wants_more || input.deliveries() == 0 {
                return;
            }
            let Some(next) = next_plain(input).filter(|(d, _)| flow.is_of(d.src, d.channel)) else { return };
            (d, len) = next;
        }
    }

    /// A message without its bytes, where it comes from, and how many bytes it has.
    fn next_taken(&mut self, now: Time) -> Option<(Message<'static>, Option<Origin>, usize)> {
        loop {
            if self.is_draining {
                // A TAKEN that covers one must not come before DRAINED: it would cover what was discarded.
                if !self.write_drained() {
                    return None;
                }
                self.discard_deliveries();
            }
            // Behind the deliveries there may be a frame that broke the stream.
            let is_held = self.deliveries.handling.is_some() || self.has_presence();
            if is_held || self.input.deliveries() == 0 {
                return None;
            }
            let frame = self.input.next()?;
            if !is_delivery(&frame) {
                continue;
            }
            let d = Deliver::parse(frame).ok()?;
            let (age, len) = (now.since(d.send_time), d.payload.len());
            let head = Message { src: d.src, msgid: d.msgid, channel: d.channel, age, data: &[] };
            let mut call = d.call.map(|c| Origin { sent_at: c.sent_at, uid: c.uid, node: c.node.to_owned() });
            // A stream that is gone takes no answers: FLOW_TAKEN tells the next daemon.
            let output = self.state.is_up().then_some(&mut self.output);
            let judgement = self.deliveries.judge(now, &d, output, &mut self.counters);
            if let Some(origin) = &mut call {
                origin.uid = self.deliveries.flows.learn_uid(d.src, d.channel, origin.uid);
            }
            self.input.forget_delivery();
            if judgement == Judgement::Take {
                return Some((head, call, len));
            }
        }
    }

    /// Forgets what was delivered and not polled, up to the next that is for this instance only: it is not taken.
    pub(super) fn discard_deliveries(&mut self) {
        while self.input.peek_delivery().is_some_and(|frame| !is_addressed(&frame)) {
            while let Some(frame) = self.input.next() {
                if is_delivery(&frame) {
                    self.input.forget_delivery();
                    break;
                }
            }
        }
    }
}

/// The next frame, if it is a delivery that is none of the call layer's, and its length.
#[inline]
fn next_plain(input: &Input) -> Option<(Deliver<'_>, usize)> {
    let (frame, len) = input.peek()?;
    let is_plain = is_delivery(&frame) && !is_call(&frame);
    is_plain.then(|| Deliver::parse(frame).ok()).flatten().map(|d| (d, len))
}

impl Deliveries {
    pub(super) const fn new(ack: AckMode) -> Self {
        let flows = InFlows::new();
        Self { ack, flows, scanned: 0, taken: 0, written: 0, handling: None, handled: None }
    }

    /// A new stream begins: what was taken is reported, and numbers and rounds start again.
    pub(super) fn handle_connected(&mut self, out: &mut Vec<u8>) {
        self.flows.report(out, self.handling.map(|(place, _)| place));
        self.flows.handle_connected();
        (self.scanned, self.taken, self.written, self.handled) = (0, 0, 0, None);
        self.handling = self.handling.map(|(place, _)| (place, None));
    }

    /// Checks what cannot be made good later.
    pub(super) fn check_scanned(&mut self, d: &Deliver<'_>) -> Result<(), LocalError> {
        if d.number != self.scanned + 1 {
            return Err(LocalError("DELIVER number: one more than the last"));
        }
        if d.seq.since(d.floor).is_some_and(|n| n >= SEQ_SPAN) {
            return Err(LocalError("DELIVER seq: less than 65,536 beyond its floor"));
        }
        self.scanned = d.number;
        Ok(())
    }

    /// Deliveries of this stream that have come.
    pub(super) const fn scanned(&self) -> u64 {
        self.scanned
    }

    pub(super) fn on_handled(&mut self) {
        match self.handling.take() {
            Some((_, Some(number))) => self.taken = number,
            Some((place, None)) => self.handled = Some(place),
            None => {}
        }
    }

    /// Whether a handler runs whose message was not reported yet.
    pub(super) const fn is_handling(&self) -> bool {
        self.handling.is_some()
    }

    /// TAKEN, if the daemon does not know all of it yet.
    pub(super) fn write_taken(&mut self, output: &mut Output) {
        if let Some(place) = self.handled.take() {
            place.report(output.frames(), Progress::Taken);
        }
        if self.taken > self.written {
            put::taken(output.frames(), self.taken);
            self.written = self.taken;
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.flows.memory_bytes()
    }

    fn judge(
        &mut self,
        now: Time,
        d: &Deliver<'_>,
        output: Option<&mut Output>,
        counters: &mut SessionCounters,
    ) -> Judgement {
        let judgement = self.judge_in_flow(now, d);
        match judgement {
            Judgement::Take if self.ack == AckMode::OnHandled => {
                let place = Place { src: d.src, channel: d.channel, seq: d.seq };
                self.handling = Some((place, Some(d.number)));
            }
            Judgement::Take => self.taken = d.number,
            Judgement::Duplicate => {
                self.taken = d.number;
                counters.duplicates += 1;
            }
            Judgement::Stale => {
                counters.stale_dropped += 1;
                if let Some(output) = output {
                    put::stale(output.frames(), d.number);
                }
                // TAKEN excepts what STALE named; without it the daemon would have it stand in our window for ever.
                self.taken = d.number;
            }
        }
        judgement
    }

    fn judge_in_flow(&mut self, now: Time, d: &Deliver<'_>) -> Judgement {
        let flow = self.flows.of_delivery(d.src, d.channel, d.floor);
        flow.taken.advance(d.floor);
        if !flow.taken.spans(d.seq) {
            // The flow has gone on without us for longer than its numbers can tell: begin where it is now.
            flow.taken = super::taken::TakenSet::new(d.floor);
        }
        // R8 before R6: what was taken stays taken, however old the copy is that asks.
        if flow.taken.seen(d.seq) == Seen::Yes {
            return Judgement::Duplicate;
        }
        let ordered = d.channel == Channel::Ordered;
        if ordered && d.round < flow.min_round {
            return Judgement::Stale;
        }
        // R6, once more: it may have stood in the socket while this process was stopped.
        if now > d.send_time + d.interval {
            if ordered {
                // What was delivered behind it must not overtake it (I5): the daemon gives both again.
                flow.min_round = d.round.saturating_add(1);
            }
            return Judgement::Stale;
        }
        flow.taken.insert(d.seq);
        Judgement::Take
    }
}
