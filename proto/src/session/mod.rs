//! The client's side: numbering, unresolved messages, replay after a reconnect, what was taken. Sans-I/O.
//!
//! The driver's law: one `handle_*`, then drain [`poll_event`](Session::poll_event), write
//! [`output`](Session::output), close the stream if the [`state`](Session::state) is [`State::Broken`] or
//! [`State::Refused`], and sleep until [`poll_timeout`](Session::poll_timeout).
//!
//! * `config`, `event`: what goes in and what comes out. `user`: the 64 bytes.
//! * `input`, `output`: the two byte queues of the stream.
//! * `unresolved`, `out_flows`: messages without an outcome, and their numbers. `submit`: which of them the stream has.
//! * `taken`, `in_flows`, `deliver`: what was taken, and what is done with a delivery.
//! * `presence`: who is there; `lives`: who is gone.
//! * `stream`: connecting, replay, the daemon's frames. `outcome`: how each message ends.

mod config;
mod deliver;
mod event;
mod in_flows;
mod input;
mod lives;
mod out_flows;
mod outcome;
mod output;
mod presence;
mod stream;
mod submit;
mod taken;
mod unresolved;
mod user;

#[cfg(test)]
mod tests;

pub use config::{AckMode, Outcomes, SendFlags, SessionConfig};
pub use event::{
    CallMessage, Delivery, Event, Failure, Gone, Granted, Message, SendError, SessionCounters, State,
};
pub use lives::Taker;
pub use presence::{PresenceChange, PresenceEvent};
pub use user::{UserBuf, UserTooLong};

use std::{collections::VecDeque, mem};

use crate::{
    control::LocalNack,
    engine::clock::Clock,
    ids::{Channel, ClientId, Incarnation, MsgId, Seq},
    limits,
    local::{self, put},
    outcome::Verdict,
    units::{Span, Time},
};
use deliver::Deliveries;
use event::Notice;
use input::Input;
use lives::Lives;
use out_flows::OutFlows;
use output::Output;
use presence::Subscriptions;
use submit::{Kind, OUTPUT_BYTES};
use unresolved::Unresolved;

/// A client's side of the local socket.
///
/// Every accepted [`send`](Self::send) ends in exactly one outcome, whatever happens to the daemon. Memory is
/// bounded: by the granted `max_stored` and `max_stored_bytes`, an output of some 64 KiB and a message, the
/// input buffer's limit, and by [`limits::MAX_FLOWS_PER_CLIENT`] flows in each direction.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    state: State,
    granted: Granted,
    node: String,
    refusal: Option<LocalNack>,
    input: Input,
    output: Output,
    unresolved: Unresolved,
    /// Those before it stand in the stream.
    next_to_write: MsgId,
    /// A send has found no room, and since then something has waited for the stream whenever another came.
    is_behind: bool,
    /// A send found none for what waited, and nobody was told of any since.
    room_wanted: bool,
    /// The last message that was ended for want of an outcome: so were all before it that had none.
    given_up: Option<MsgId>,
    /// The daemon of this stream is told of it.
    is_given_up_told: bool,
    out_flows: OutFlows,
    deliveries: Deliveries,
    notices: VecDeque<Notice>,
    /// Of messages of the call layer.
    call_outcomes: VecDeque<(MsgId, CallOutcome)>,
    /// Those, and how many of `notices` are outcomes: they count against `max_stored` until they are polled (I7).
    outcomes_waiting: usize,
    counters: SessionCounters,
    subscriptions: Subscriptions,
    lives: Lives,
    /// Nothing more is taken...
    is_draining: bool,
    /// ... the output says so, up to this position...
    drained_at: Option<u64>,
    /// ... and asked for it, which was not polled yet.
    is_drain_untold: bool,
    /// Deliveries that were polled and not begun.
    backlog: usize,
    /// From the first call on.
    clock: Option<Clock>,
}

impl Session {
    /// A session that is not connected. `first_msgid` and `first_seq` are where the numbers start: 1, unless
    /// a predecessor's numbers are gone on with.
    #[must_use]
    pub fn new(config: SessionConfig, first_msgid: MsgId, first_seq: Seq) -> Self {
        Self {
            state: State::Disconnected,
            granted: Granted::before_registration(&config),
            node: String::new(),
            refusal: None,
            input: Input::new(),
            output: Output::new(),
            unresolved: Unresolved::new(first_msgid),
            next_to_write: first_msgid,
            is_behind: false,
            room_wanted: false,
            given_up: None,
            is_given_up_told: false,
            out_flows: OutFlows::new(first_seq),
            deliveries: Deliveries::new(config.ack),
            notices: VecDeque::new(),
            call_outcomes: VecDeque::new(),
            outcomes_waiting: 0,
            counters: SessionCounters::default(),
            subscriptions: Subscriptions::default(),
            lives: Lives::default(),
            is_draining: false,
            drained_at: None,
            is_drain_untold: false,
            backlog: 0,
            clock: None,
            config,
        }
    }

    /// Accepts a message: it is numbered, kept until its outcome, and written with the next
    /// [`output`](Self::output). `user` is handed back if it fails (R1).
    ///
    /// # Errors
    ///
    /// Nothing has changed then. [`SendError::WouldBlock`] passes as outcomes come and output is written.
    #[inline]
    pub fn send(
        &mut self,
        now: Time,
        dst: ClientId,
        payload: &[u8],
        user: &[u8],
        flags: SendFlags,
    ) -> Result<MsgId, SendError> {
        self.submit(now, dst, payload, user, flags, Kind::Plain)
    }

    /// [`send`](Self::send)s a message of the call layer ([`crate::call`]). Its outcome, whichever it is, comes from
    /// [`poll_call_outcome`](Self::poll_call_outcome).
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn send_call(
        &mut self,
        now: Time,
        dst: ClientId,
        payload: &[u8],
        flags: SendFlags,
    ) -> Result<MsgId, SendError> {
        self.submit(now, dst, payload, &[], flags, Kind::Call(None))
    }

    /// [`send_call`](Self::send_call)s to one instance and no other, unordered: also while that leaves. When it is gone the
    /// message fails.
    ///
    /// # Errors
    ///
    /// Those of [`send`](Self::send).
    pub fn send_call_to(&mut self, now: Time, to: &Taker, payload: &[u8]) -> Result<MsgId, SendError> {
        let flags = SendFlags { unordered: true, at_least_once: false };
        self.submit(now, to.instance.client, payload, &[], flags, Kind::Call(Some(to)))
    }

    /// The next thing to tell. Outcomes come before messages. Call until `None`.
    ///
    /// A message that was sent longer than its `interval` before `now` is dropped here (R6). One that is returned
    /// is *taken* from that moment on, before any handler sees it; with [`AckMode::OnHandled`] the daemon is told
    /// so after [`message_handled`](Self::message_handled), until which no further message is returned.
    pub fn poll_event(&mut self, now: Time) -> Option<Event<'_>> {
        self.advance(now);
        if self.notices.is_empty() {
            if let Some(event) = self.poll_presence() {
                return Some(Event::Presence(event));
            }
            // It may come to a change of presence first.
            return match self.next_plain(now) {
                Some((head, len)) => Some(Event::Message(Message { data: self.input.last(len), ..head })),
                None => self.poll_presence().map(Event::Presence),
            };
        }
        self.poll_notice()
    }

    /// The next event that is not a message, for a driver whose user takes messages at another time.
    pub fn poll_notice(&mut self) -> Option<Event<'static>> {
        let notice = self.notices.pop_front()?;
        if matches!(notice, Notice::Acked(_) | Notice::Failed(_)) {
            self.outcomes_waiting -= 1;
        }
        self.is_drain_untold &= !matches!(notice, Notice::Drain(_));
        Some(notice.into())
    }

    /// Whether [`poll_notice`](Self::poll_notice) has something.
    #[must_use]
    pub fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// Takes nothing more, but for what is for this instance only: what was delivered and not taken goes to another instance, or
    /// fails *not started*. What was sent goes on, and outcomes come. Close the session when there is nothing unresolved any more.
    pub fn drain(&mut self, _now: Time) {
        self.is_draining = true;
        self.discard_deliveries();
    }

    /// Whether nothing more is taken: [`drain`](Self::drain) was called, or the daemon asked for it.
    #[must_use]
    pub const fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Of the deliveries that were polled so many wait for a handler, or run in one. While there are any, the daemon is not
    /// told that nothing more is taken: another instance would begin what came behind them before them (I5).
    pub const fn record_backlog(&mut self, deliveries: usize) {
        self.backlog = deliveries;
    }

    /// Whether a daemon that has registered us was written that nothing more is taken, or none will ever be. What was delivered
    /// and not taken is in doubt before that.
    #[must_use]
    pub fn has_said_drained(&self) -> bool {
        match self.state {
            State::Registered => self.drained_at.is_some_and(|at| at <= self.output.consumed()),
            State::Refused | State::Closed => true,
            _ => false,
        }
    }

    /// Whether the daemon waits to be told that nothing more is taken.
    #[must_use]
    pub const fn holds_drained(&self) -> bool {
        self.is_draining && self.drained_at.is_none() && (self.backlog > 0 || self.deliveries.is_handling())
    }

    /// The next outcome of a message of the call layer: taken, and by whom, or failed.
    pub fn poll_call_outcome(&mut self) -> Option<(MsgId, CallOutcome)> {
        let outcome = self.call_outcomes.pop_front()?;
        self.outcomes_waiting -= 1;
        Some(outcome)
    }

    /// Whether [`poll_call_outcome`](Self::poll_call_outcome) or [`poll_gone`](Self::poll_gone) has something.
    #[must_use]
    pub fn has_call_news(&self) -> bool {
        !self.call_outcomes.is_empty() || self.has_gone()
    }

    /// Whether the next delivery is a message of the call layer.
    #[must_use]
    pub fn has_call_next(&self) -> bool {
        self.input.peek_delivery().is_some_and(|frame| local::is_call(&frame))
    }

    /// The handler of the last message has returned ([`AckMode::OnHandled`]; nothing happens otherwise).
    pub fn message_handled(&mut self) {
        self.deliveries.on_handled();
    }

    /// Whether outcomes wait to be polled.
    #[must_use]
    pub const fn has_outcomes(&self) -> bool {
        self.outcomes_waiting > 0
    }

    /// Whether [`Event::Drain`] waits to be polled.
    #[must_use]
    pub const fn has_drain_notice(&self) -> bool {
        self.is_drain_untold
    }

    /// Whether deliveries wait to be polled. Some of them may turn out to be stale or duplicates.
    #[must_use]
    pub const fn has_messages(&self) -> bool {
        self.input.deliveries() > 0
    }

    /// What is to be written to the stream, or its first part. Of messages no more is made ready than some 64 KiB: the rest follows as
    /// this is [consumed](Self::consume_output).
    pub fn output(&mut self) -> &[u8] {
        if self.state.is_up() {
            self.tell_given_up();
            self.deliveries.write_taken(&mut self.output);
            self.write_drained();
        }
        self.output.bytes()
    }

    /// All that [`output`](Self::output) begins, part by part, for drivers that write several at a time.
    pub fn output_parts(&self) -> impl Iterator<Item = &[u8]> {
        self.output.parts()
    }

    /// DRAINED, if it is due: behind TAKEN, as what is not reported by now was not begun, and never will be. `false` while
    /// a handler keeps it.
    fn write_drained(&mut self) -> bool {
        if self.is_draining && self.drained_at.is_none() && self.state.is_up() {
            if self.holds_drained() {
                return false;
            }
            self.deliveries.write_taken(&mut self.output);
            put::drained(self.output.frames());
            self.drained_at = Some(self.output.position());
        }
        true
    }

    /// How much of [`output`](Self::output) waits already; reports of what was taken come on top.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.output.len()
    }

    /// The first `n` bytes of [`output`](Self::output) were written; there may be more of it then. `now` is not needed
    /// for it; drivers pass it as to every other input.
    pub fn consume_output(&mut self, _now: Time, n: usize) {
        self.output.consume(n);
        self.write_submits(OUTPUT_BYTES);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next; `None` when nothing can fall due. While the
    /// daemon has registered us it owns the deadlines, and the session's own are later: when it must be hanging.
    ///
    /// While a message has been unresolved for longer than `interval`, this is at most [`TICK_MS`] away: time that
    /// passes without a call that was asked for is not counted (the machine was suspended, and the daemon with it).
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.next_timer().zip(self.clock.as_ref()).map(|(at, clock)| clock.to_raw(at))
    }

    /// The latest time that its driver has passed. A driver that remembers an earlier one must not pass that: it would be taken for
    /// a clock that went back.
    #[must_use]
    pub fn time(&self) -> Time {
        self.clock.as_ref().map_or(Time(0), Clock::raw)
    }

    /// Where the session stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Messages without an outcome.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        self.unresolved.len()
    }

    /// What they are charged: payload, user data and 64 bytes each.
    #[must_use]
    pub const fn unresolved_bytes(&self) -> usize {
        self.unresolved.bytes()
    }

    /// Which client it is.
    #[must_use]
    pub const fn client(&self) -> ClientId {
        self.config.client
    }

    /// The incarnation that the daemon gave, or that the config asked for.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.granted.incarnation
    }

    /// What the daemon granted; before REGISTERED, what the config asks for.
    #[must_use]
    pub const fn granted(&self) -> &Granted {
        &self.granted
    }

    /// The daemon's node; empty before REGISTERED.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// What the daemon said when it refused us.
    #[must_use]
    pub const fn refusal(&self) -> Option<&LocalNack> {
        self.refusal.as_ref()
    }

    /// What happened, in numbers.
    #[must_use]
    pub const fn counters(&self) -> SessionCounters {
        self.counters
    }

    /// Bytes of heap that the session holds.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.input.memory_bytes()
            + self.output.memory_bytes()
            + self.unresolved.memory_bytes()
            + self.deliveries.memory_bytes()
            + self.out_flows.memory_bytes()
            + self.subscriptions.memory_bytes()
            + self.lives.memory_bytes()
            + self.notices.capacity() * size_of::<Notice>()
            + self.call_outcomes.capacity() * size_of::<(MsgId, CallOutcome)>()
    }

    /// Takes the driver's time; gives the steady one, which runs while the driver calls as it was asked to. The
    /// daemon's own chain counts like that: an outcome that is given here must not come before it (I4).
    fn advance(&mut self, now: Time) -> Time {
        let late = Span::from_millis(LATE_MS);
        // What was asked for matters only to a driver that may be late.
        let is_gap = self.clock.as_ref().is_some_and(|clock| clock.is_gap(now, late));
        let asked = if is_gap { self.next_timer() } else { None };
        let clock = self.clock.get_or_insert_with(|| Clock::new(now));
        clock.advance_by(now, asked, late);
        clock.steady()
    }

    /// By the steady clock.
    fn next_timer(&self) -> Option<Time> {
        let give_up_at = self.give_up_at()?;
        let (_, oldest) = self.unresolved.oldest()?;
        let steady = self.clock.as_ref()?.steady();
        let tick = oldest.sent_at + self.granted.interval;
        Some(Ord::min(give_up_at, Ord::max(tick, steady + Span::from_millis(TICK_MS))))
    }

    fn check_open(&self) -> Result<(), SendError> {
        match &self.refusal {
            Some(nack) => Err(SendError::Refused(nack.rule)),
            None if self.state == State::Closed => Err(SendError::Closed),
            None => Ok(()),
        }
    }

    fn notify(&mut self, notice: Notice) {
        if matches!(notice, Notice::Acked(_) | Notice::Failed(_)) {
            self.outcomes_waiting += 1;
        } else {
            // Of what is said of the daemon only the last counts, so that a driver that does not ask costs nothing.
            self.notices.retain(|old| mem::discriminant(old) != mem::discriminant(&notice));
        }
        self.notices.push_back(notice);
    }
}

/// What became of a message of the call layer: taken, and by whom, if the daemon has said that; or failed.
pub type CallOutcome = Result<Option<Taker>, Verdict>;

/// How often a session that waits for an outcome wants to be called. Less than the daemon's tolerance
/// ([`limits::CLOCK_GAP_MS`]), so that a session never counts more of a standstill than the daemon does.
pub const TICK_MS: u64 = 200;

/// A driver that calls this much later than it was asked to was suspended.
const LATE_MS: u64 = 50;
const _: () = assert!(TICK_MS + LATE_MS <= limits::CLOCK_GAP_MS);

/// A daemon that is late by this and half an `interval` hangs.
const HANG_SLACK_MS: u64 = 500;

impl SendFlags {
    const fn channel(self) -> Channel {
        if self.unordered { Channel::Unordered } else { Channel::Ordered }
    }
}
