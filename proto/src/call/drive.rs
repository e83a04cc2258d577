//! Calls and the session that carries them: what one has for the other.

use super::{Calls, Cancellation, Done, Why};
use crate::{
    outcome::Reason,
    session::{SendError, SendFlags, Session},
    units::{Span, Time},
};

impl Calls {
    /// Does what calls have to do with their session: learns outcomes and who is gone, serves deadlines, sends requests,
    /// replies and cancellations. To be called when bytes have come, when [`poll_timeout`](super::Caller::poll_timeout)'s
    /// time has, after calls were made or answered, and when there may be room again; not between a message that the
    /// session gave and [`handle_message`](Self::handle_message).
    #[inline]
    pub fn turn(&mut self, session: &mut Session, now: Time) {
        if self.is_idle() && !session.has_call_news() {
            self.turned_at = now;
            self.server.record_leaving(session.is_draining());
        } else {
            self.do_turn(session, now);
        }
    }

    fn do_turn(&mut self, session: &mut Session, now: Time) {
        // As long to wait as before, by a clock that went back.
        let back = std::mem::replace(&mut self.turned_at, now).since(now);
        if back > Span::ZERO {
            self.caller.rewind(back);
        }
        while let Some((msgid, outcome)) = session.poll_call_outcome() {
            let Self { caller, server, counters, .. } = self;
            if server.handle_outcome(msgid, outcome.as_ref().map_err(|verdict| *verdict), counters) {
                continue;
            }
            match outcome {
                Ok(taker) => caller.handle_acked(now, msgid, taker),
                Err(verdict) => caller.handle_failed(now, msgid, verdict),
            };
        }
        self.take_gone(session);
        self.server.record_leaving(session.is_draining());
        if self.caller.poll_timeout().is_some_and(|at| at <= now) {
            self.caller.handle_timeout(now);
        }
        while self.send_request(session, now) == Ok(true) {}
        while let Some(msgid) = self.caller.poll_withdraw() {
            if !session.withdraw(now, msgid) {
                self.caller.handle_acked(now, msgid, None);
            }
        }
        while let Some(Cancellation { dst, to, message }) = self.caller.poll_cancel() {
            // It may be lost: it is only a hint.
            match to {
                Some(to) => session.send_call_to(now, &to, &message).ok(),
                None => session.send_call(now, dst, &message, SendFlags::default()).ok(),
            };
        }
        while let Some(whom) = self.poll_watch() {
            session.watch(now, &whom);
        }
        self.send_replies(session, now);
        if session.refusal().is_some() {
            self.caller.abort(Why::Request(Reason::Refused));
        }
    }

    /// The next call that has ended.
    pub fn poll_done(&mut self) -> Option<Done> {
        self.caller.poll_done(&mut self.counters)
    }

    /// Learns who is gone. Replies that came before have been taken.
    pub fn take_gone(&mut self, session: &mut Session) {
        while let Some(instance) = session.poll_gone() {
            self.handle_gone(instance);
        }
    }

    /// Sends the next request. `Ok(false)` where none waits.
    ///
    /// # Errors
    ///
    /// What the session says. Where there is no room now the request stays the next one; otherwise its call has failed.
    pub fn send_request(&mut self, session: &mut Session, now: Time) -> Result<bool, SendError> {
        let Self { caller, counters, .. } = self;
        let Some(request) = caller.poll_send(now) else { return Ok(false) };
        let call = request.call;
        let flags = SendFlags { unordered: request.is_unordered, at_least_once: false };
        let sent = match request.to {
            Some(to) => session.send_call_to(now, to, request.message),
            None => session.send_call(now, request.dst, request.message, flags),
        };
        match sent {
            Ok(msgid) => caller.record_sent(call, msgid, counters),
            Err(SendError::WouldBlock) => caller.record_not_sent(call),
            Err(_) => caller.fail(call, Why::Request(Reason::Refused)),
        }
        sent.map(|_| true)
    }

    fn send_replies(&mut self, session: &mut Session, now: Time) {
        while let Some(reply) = self.server.poll_reply(now, &mut self.counters) {
            match session.send_call_to(now, &reply.to, &reply.message) {
                Ok(msgid) => self.server.record_sent(msgid),
                Err(SendError::WouldBlock) => return self.server.put_back(reply),
                Err(_) => self.counters.lost_replies += 1,
            }
        }
    }
}
