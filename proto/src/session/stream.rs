//! The stream to the daemon: connecting, replay, and the daemon's frames.

use std::mem;

use super::{Gone, Granted, Session, State, event::Notice, input::Input};
use crate::{
    control::{Arrival, LocalNack, LocalRule, Registered},
    ids::Incarnation,
    local::{DaemonFrame, Deliver, DrainCause, LocalError, VERSIONS, is_delivery, put},
    units::Time,
};

impl Session {
    /// A stream to the daemon is up. Registration, what was taken, and everything unresolved go out, in that order, as
    /// fast as the stream takes it; the answer is not waited for (I6).
    ///
    /// Drain [`poll_event`](Self::poll_event) first: deliveries of the old stream that still wait are forgotten,
    /// and the daemon gives them again.
    pub fn handle_connected(&mut self, now: Time) {
        self.advance(now);
        if matches!(self.state, State::Refused | State::Closed) {
            return;
        }
        self.input.clear();
        self.output.clear();
        self.state = State::Registering;
        let arrival = if self.is_draining { Arrival::Leaving } else { self.config.arrival };
        self.drained_at = None;
        let register = self.config.register(self.granted.incarnation, arrival);
        put::register(self.output.frames(), &register);
        self.deliveries.handle_connected(self.output.frames());
        self.out_flows.report(&self.unresolved, self.output.frames());
        put::ready(self.output.frames());
        self.subscriptions.handle_connected();
        self.subscriptions.report(self.output.frames());
        self.lives.handle_connected(self.output.frames());
        self.begin_submits();
    }

    /// The stream has ended (end of file or error). Everything is kept: messages for their replay, and whole
    /// deliveries, which can still be polled. Harmless without a stream.
    pub fn handle_disconnected(&mut self, now: Time) {
        self.advance(now);
        self.unresolved.stream_ended(self.output.consumed());
        self.output.clear();
        if matches!(self.state, State::Refused | State::Closed) {
            return;
        }
        self.state = State::Disconnected;
        if self.granted.incarnation == Incarnation::NONE {
            self.fail_without_incarnation();
        }
    }

    /// Room to read into, at least `min` bytes if the buffer's limit leaves it, empty when it is full: then
    /// messages have to be polled first. Follow with [`handle_read`](Self::handle_read).
    pub fn input_space(&mut self, min: usize) -> &mut [u8] {
        self.input.space(min)
    }

    /// `n` bytes were read into [`input_space`](Self::input_space). Frames may begin and end anywhere in them.
    pub fn handle_read(&mut self, now: Time, n: usize) {
        self.advance(now);
        self.input.filled(n);
        let mut input = mem::replace(&mut self.input, Input::new());
        while self.state.is_up() {
            let handled = match input.scan() {
                Ok(Some(frame)) if is_delivery(&frame) => Deliver::parse(frame)
                    .and_then(|d| self.check_delivery(&d))
                    .map(|()| input.record_delivery()),
                Ok(Some(frame)) => DaemonFrame::parse(frame).map(|frame| self.on_frame(&frame)),
                Ok(None) => break,
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                self.on_malformed(error);
            }
        }
        input.finish_scan();
        self.input = input;
        self.condense();
        if self.is_draining {
            self.discard_deliveries();
        }
    }

    /// The same as reading into [`input_space`](Self::input_space), by copying. Returns how many bytes were taken:
    /// fewer than given when the buffer is full and messages have to be polled first.
    #[must_use]
    pub fn handle_bytes(&mut self, now: Time, bytes: &[u8]) -> usize {
        let space = self.input.space(bytes.len());
        let n = bytes.len().min(space.len());
        space[..n].copy_from_slice(&bytes[..n]);
        self.handle_read(now, n);
        n
    }

    /// Says goodbye to the daemon. What has no outcome yet goes on there, and nobody is told; what was not
    /// polled never will be. A goodbye promises that nothing is being handled that was not reported taken, so none
    /// is said while a handler runs ([`super::AckMode::OnHandled`]).
    pub fn close(&mut self, _now: Time) {
        if self.state.is_up() {
            self.write_submits(usize::MAX);
            self.deliveries.write_taken(&mut self.output);
            if !self.deliveries.is_handling() {
                put::client_goodbye(self.output.frames());
            }
        }
        self.input.clear();
        self.state = State::Closed;
    }

    fn check_delivery(&mut self, d: &Deliver<'_>) -> Result<(), LocalError> {
        if self.state == State::Registering {
            return Err(LocalError("DELIVER: not before REGISTERED"));
        }
        self.deliveries.check_scanned(d)
    }

    fn on_frame(&mut self, frame: &DaemonFrame<'_>) {
        match frame {
            DaemonFrame::Resolved(resolved) if self.state != State::Registering => self.on_resolved(resolved),
            DaemonFrame::Failed(failed) if self.state != State::Registering => self.on_failed(failed),
            DaemonFrame::Bound(bound) if self.state != State::Registering => self.out_flows.on_bound(bound),
            DaemonFrame::Unbound { dst, channel } if self.state != State::Registering => {
                self.out_flows.on_unbound(*dst, *channel);
            }
            DaemonFrame::Presence(presence) if self.state != State::Registering => self.on_presence(presence),
            DaemonFrame::Gone(instance) if self.state != State::Registering => self.on_gone(*instance),
            DaemonFrame::Drain(cause) if self.state != State::Registering => self.on_drain(*cause),
            DaemonFrame::Registered(body) if self.state == State::Registering => self.on_registered(body),
            DaemonFrame::Nack(nack) => self.on_nack(nack),
            DaemonFrame::Goodbye => self.on_goodbye(),
            _ => self.on_malformed(LocalError("frame type: out of turn")),
        }
    }

    fn on_registered(&mut self, body: &Registered) {
        if !(VERSIONS.lowest..=VERSIONS.highest).contains(&body.version) {
            return self.on_unknown_version(body.version);
        }
        let asked = self.granted.incarnation;
        if body.incarnation == Incarnation::NONE || (asked != Incarnation::NONE && asked != body.incarnation)
        {
            return self.on_malformed(LocalError("REGISTERED incarnation: the one asked for, or a new one"));
        }
        if body.start != self.granted.daemon_start {
            // A daemon that was started since cannot know what its predecessor did with these.
            self.unresolved.for_each_mut(|_, entry| entry.other_daemon |= entry.written_before);
        }
        self.granted = Granted::from_registered(body);
        self.node.clone_from(&body.node);
        self.state = State::Registered;
        self.notify(Notice::Registered(self.granted));
    }

    /// SPEC, section 7: a version outside our range is never agreed on. Another attempt would end the same way.
    fn on_unknown_version(&mut self, version: u8) {
        let text = format!(
            "the daemon goes on in local protocol version {version}, this library speaks {}..{}; upgrade the older one",
            VERSIONS.lowest, VERSIONS.highest
        );
        self.refuse(&LocalNack { rule: LocalRule::Version, text }, true);
    }

    fn on_nack(&mut self, nack: &LocalNack) {
        // A daemon that refuses a registration reads nothing behind it.
        self.refuse(nack, self.state != State::Registering);
    }

    fn refuse(&mut self, nack: &LocalNack, was_read: bool) {
        self.state = State::Refused;
        self.refusal = Some(nack.clone());
        self.notify(Notice::Refused(nack.clone()));
        self.fail_refused(was_read);
        self.output.clear();
    }

    fn on_drain(&mut self, cause: DrainCause) {
        if !mem::replace(&mut self.is_draining, true) {
            self.is_drain_untold = true;
            self.notify(Notice::Drain(cause));
        }
    }

    fn on_goodbye(&mut self) {
        if self.state != State::GoingAway {
            self.state = State::GoingAway;
            self.notify(Notice::Gone(Gone::Goodbye));
        }
    }

    fn on_malformed(&mut self, error: LocalError) {
        self.break_stream(Gone::Malformed(error));
    }

    /// The stream cannot be used: what was not written to it never will be.
    pub(super) fn break_stream(&mut self, gone: Gone) {
        self.output.clear();
        self.state = State::Broken;
        self.notify(Notice::Gone(gone));
    }
}
