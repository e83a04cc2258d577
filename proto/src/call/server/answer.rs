//! What a server answers, and what becomes of that.

use super::Server;
use crate::{
    call::{CallCounters, CallFailure, Requester, RunId, Why, cache::Stored, header, run::Asked},
    ids::MsgId,
    limits,
    outcome::Verdict,
    session::Taker,
    units::{Span, Time},
};

/// A reply to be sent, unordered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// To whom, and to nobody else: the process that called.
    pub to: Taker,
    /// The message.
    pub message: Vec<u8>,
    /// Nobody waits for it then.
    until: Time,
}

/// Why a reply was not taken. The call waits for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyError {
    /// The call has its answer, or nobody has been given it.
    NotRunning,
    /// It is larger than a message can be.
    TooLarge,
    /// As many bytes of replies wait to be sent as may.
    WouldBlock,
}

impl Server {
    /// Answers a call. `max`: bytes of the largest message.
    ///
    /// # Errors
    ///
    /// The call waits for another answer then, if it waits at all.
    pub fn reply(
        &mut self,
        now: Time,
        run: RunId,
        reply: &[u8],
        max: usize,
        counters: &mut CallCounters,
    ) -> Result<(), ReplyError> {
        if !self.is_begun(run) {
            return Err(ReplyError::NotRunning);
        }
        if reply.len() + header::REPLY_HEAD > max {
            return Err(ReplyError::TooLarge);
        }
        if self.bytes + reply.len() > limits::MAX_SERVED_BYTES && !self.replies.is_empty() {
            return Err(ReplyError::WouldBlock);
        }
        self.answer(now, run, Ok(reply.into()), counters);
        Ok(())
    }

    /// A call's handler gives no reply: its caller is told that it ran.
    pub fn give_up(&mut self, now: Time, run: RunId, counters: &mut CallCounters) {
        if self.is_begun(run) {
            self.answer(now, run, Err(CallFailure::unknown(Why::NoReply)), counters);
        }
    }

    /// The next reply to send. Answer with [`record_sent`](Self::record_sent); one for which there is no room is
    /// [put back](Self::put_back). Those that waited for room until nobody waits for them are dropped: they would only keep
    /// others waiting.
    pub fn poll_reply(&mut self, now: Time, counters: &mut CallCounters) -> Option<Reply> {
        loop {
            let reply = self.replies.pop_front()?;
            self.bytes -= reply.message.len();
            if now < reply.until {
                return Some(reply);
            }
            counters.lost_replies += 1;
        }
    }

    /// A reply was sent with that number.
    pub fn record_sent(&mut self, msgid: MsgId) {
        self.sent.insert(msgid);
    }

    /// A message was taken, or failed. `false` if it is no reply.
    pub fn handle_outcome<T>(
        &mut self,
        msgid: MsgId,
        outcome: Result<T, Verdict>,
        counters: &mut CallCounters,
    ) -> bool {
        let is_reply = self.sent.remove(&msgid);
        counters.lost_replies += u64::from(is_reply && outcome.is_err());
        is_reply
    }

    /// There was no room for a reply: it stays the next one.
    pub fn put_back(&mut self, reply: Reply) {
        self.bytes += reply.message.len();
        self.replies.push_front(reply);
    }

    /// Whether replies wait for room.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        !self.replies.is_empty()
    }

    /// Only who was given a call can answer it: numbers can be guessed, as the next of a C program's are.
    fn is_begun(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|run| run.request.is_none())
    }

    fn answer(&mut self, now: Time, id: RunId, reply: Stored, counters: &mut CallCounters) {
        let Some(run) = self.remove(id) else { return };
        self.send(&run.from, run.asked(), &reply);
        let is_idempotent = self.procedures.get(&run.key.procedure).is_some_and(|p| p.is_idempotent);
        if let Some(cache) = self.cache.as_mut().filter(|_| !is_idempotent) {
            counters.evictions += cache.expire(now) + cache.store(now, run.key, run.digest, reply);
        }
    }

    pub(super) fn refuse(&mut self, to: &Requester, asked: Asked, failure: CallFailure) {
        // What a caller is told without a run is bounded by its own chain on the way here, and by this on the way back.
        if self.replies.len() < 2 * limits::MAX_SERVED_CALLS {
            self.send(to, asked, &Err(failure));
        }
    }

    pub(super) fn send(&mut self, to: &Requester, asked: Asked, reply: &Stored) {
        let Asked { procedure, xid, deadline } = asked;
        let until = deadline + Span::from_millis(limits::CALL_GRACE_MS);
        let mut message = Vec::new();
        let answer = reply.as_ref().map(|bytes| &**bytes).map_err(|failure| *failure);
        header::put_reply(&mut message, procedure, xid, answer);
        self.bytes += message.len();
        self.replies.push_back(Reply { to: to.process(), message, until });
    }
}
