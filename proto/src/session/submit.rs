//! Sending: which of the unresolved messages stand in the stream.
//!
//! Those that go at once are kept where they were written, in the output. Not more are written than the socket takes at a time: the
//! others are kept by themselves, and one that fails meanwhile is simply not written.

use super::{
    SendError, SendFlags, Session, Taker,
    unresolved::{self, NOWHERE, NewEntry},
};
use crate::{
    ids::{ClientId, MsgId},
    limits,
    units::Time,
};

/// So much is made ready ahead of the socket, and a message...
pub(super) const OUTPUT_BYTES: usize = 64 << 10;

/// ... or so much of large ones for a stream that has room: about what it takes at a time.
const GATHERED_BYTES: usize = 256 << 10;

/// Once a send has found no room, others do only while less than this waits for the stream, until nothing does: what would wait
/// there for long is out of the cache when it is written, and late. This is what `TCP_NOTSENT_LOWAT` does for a socket.
const LOW_WATER_BYTES: usize = 512 << 10;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    Plain,
    /// A message of the call layer, and the only instance that it is for.
    Call(Option<&'a Taker>),
}

impl Session {
    pub(super) fn submit(
        &mut self,
        now: Time,
        dst: ClientId,
        payload: &[u8],
        user: &[u8],
        flags: SendFlags,
        kind: Kind<'_>,
    ) -> Result<MsgId, SendError> {
        let sent_at = self.advance(now);
        self.check_send(payload, user)?;
        let channel = flags.channel();
        let flow = self.out_flows.find_room(dst, channel, &self.unresolved)?;
        let msgid = self.unresolved.next_msgid();
        let seq = self.out_flows.record_send(flow, dst, channel, msgid);
        let at_least_once = flags.at_least_once;
        let (is_call, to) = match kind {
            Kind::Plain => (false, None),
            Kind::Call(to) => (true, to),
        };
        let goes_now =
            self.state.takes_submits() && self.next_to_write == msgid && self.output.len() < OUTPUT_BYTES;
        let start_at = if goes_now { self.output.position() } else { NOWHERE };
        let new = NewEntry {
            dst,
            seq,
            channel,
            at_least_once,
            is_call,
            to,
            sent_at,
            sent_raw: now,
            start_at,
            user,
            payload,
        };
        if goes_now {
            self.output.submit(msgid, now, &new);
            self.unresolved.push(&new, Some(&mut self.output));
            self.next_to_write = msgid.next();
            self.condense();
        } else {
            self.unresolved.push(&new, None);
            self.write_submits(OUTPUT_BYTES);
        }
        Ok(msgid)
    }

    /// What stays in the output for messages that stay must not be much more than they are.
    #[inline]
    pub(super) fn condense(&mut self) {
        if self.output.is_sparse() {
            self.unresolved.condense(&mut self.output);
        }
    }

    /// A stream to the daemon is up: everything unresolved goes there, in order.
    pub(super) fn begin_submits(&mut self) {
        self.is_given_up_told = false;
        self.tell_given_up();
        self.next_to_write =
            self.unresolved.oldest().map_or(self.unresolved.next_msgid(), |(msgid, _)| msgid);
        self.write_submits(OUTPUT_BYTES);
    }

    /// Writes what is unresolved and not in the stream yet, in order, until so much waits in the output.
    pub(super) fn write_submits(&mut self, most: usize) {
        let Some(clock) = self.clock.as_ref().filter(|_| self.state.takes_submits()) else { return };
        let (now, steady) = (clock.raw(), clock.steady());
        while self.output.len() < most {
            let start_at = self.output.position();
            let Some((msgid, entry)) = self.unresolved.start_next(self.next_to_write, start_at) else {
                self.next_to_write = self.unresolved.next_msgid();
                return;
            };
            // Its age by the steady clock, as the daemon counts it; but a call's deadline is a time of the clock, for
            // which nothing is left out.
            let send_time =
                if entry.is_call { entry.sent_raw } else { now.minus(steady.since(entry.sent_at)) };
            self.output.submit_again(msgid, send_time, entry);
            self.next_to_write = msgid.next();
        }
    }

    /// Makes large messages ready beyond what [`output`](Self::output) has, up to 256 KiB: they are not copied for it, and written
    /// at once. What is ready is written, whatever becomes of the message: this is for a stream that has room.
    pub fn gather_output(&mut self) {
        while (OUTPUT_BYTES..GATHERED_BYTES).contains(&self.output.len()) {
            let (before, next) = (self.output.len(), self.unresolved.next_mut(self.next_to_write));
            if next.is_some_and(|(_, entry)| self.output.has_place_of(entry)) {
                self.write_submits(before + 1);
            }
            if self.output.len() == before {
                return;
            }
        }
    }

    /// Has a message, and all before it, stand in the stream.
    pub(super) fn write_through(&mut self, msgid: MsgId) {
        while self.state.takes_submits() && msgid.since(self.next_to_write).is_some() {
            self.write_submits(self.output.len() + 1);
        }
    }

    /// Whether there is room again for sends that found none, as what was sent waited to be written. Said once.
    pub fn poll_room(&mut self) -> bool {
        let is_made = self.room_wanted && !self.holds_back();
        self.room_wanted &= !is_made;
        is_made
    }

    /// Whether so much waits for the stream that more had better wait with its sender. It may until a send finds no room at all,
    /// so that a burst is taken as a whole.
    fn holds_back(&self) -> bool {
        let waits = self.unresolved.waiting_bytes();
        self.is_behind && self.state.takes_submits() && waits >= LOW_WATER_BYTES
    }

    fn check_send(&mut self, payload: &[u8], user: &[u8]) -> Result<(), SendError> {
        self.check_open()?;
        if user.len() > limits::MAX_USER_BYTES {
            return Err(SendError::UserDataTooLong { limit: limits::MAX_USER_BYTES });
        }
        if payload.len() > self.granted.max_message_bytes {
            return Err(SendError::TooLarge { limit: self.granted.max_message_bytes });
        }
        let charge = unresolved::charge(user.len(), payload.len());
        let fits = self.unresolved.len() + self.outcomes_waiting < self.granted.max_stored
            && self.unresolved.span() < limits::MSGID_SPAN - limits::SEQ_SPAN
            && self.unresolved.bytes() + charge <= self.granted.max_stored_bytes;
        self.is_behind = !fits || self.is_behind && self.unresolved.waiting_bytes() > 0;
        self.room_wanted |= self.holds_back();
        if fits && !self.holds_back() { Ok(()) } else { Err(SendError::WouldBlock) }
    }
}
