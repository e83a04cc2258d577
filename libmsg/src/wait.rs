//! The calls that wait.

use std::{mem, time::Duration};

use msg_proto::{
    ids::{ClientId, MsgId},
    units::{Span, Time},
};
use rustix::thread::sched_yield;

use crate::{
    Client, Error, Received, SendError, SendFlags, callback::Kinds, client::Inner, clock, lock::Guard,
};

type Locked<'a> = Guard<'a, Inner>;

impl Client {
    /// Waits until something comes or falls due, and runs the callbacks that it calls for, in this thread. Returns how
    /// many ran: it may be none, as when there is room for sends again. In each thread it
    /// returns once when the client is to take no more: who asks [`is_draining`](Self::is_draining) before it is never late.
    ///
    /// `timeout` is `None` for no limit, zero for not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] once the daemon has refused this client and all callbacks have run;
    /// [`Error::InCallback`]; [`Error::Forked`].
    pub fn dispatch(&self, timeout: impl Into<Option<Duration>>) -> Result<usize, Error> {
        let mut seen = None;
        let ran = self.wait_for(self.enter()?, timeout.into(), Kinds::All, |client, inner, now| {
            let (mut inner, count) = client.run_callbacks(inner, Kinds::All, now);
            let woken = mem::take(&mut inner.wake_asked);
            let news = inner.link.news();
            let is_told = inner.tell_drain();
            let enough = count > 0 || woken || is_told || seen.is_some_and(|seen| seen != news);
            seen = Some(news);
            (inner, enough.then_some(count))
        });
        ran.map(|(_, ran)| ran.unwrap_or(0))
    }

    /// Waits for a message. Failure callbacks run meanwhile, in this thread, but not when this is called in a
    /// callback. `Ok(None)` when the time is over.
    ///
    /// `timeout` is `None` for no limit, zero for not at all.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] once the daemon has refused this client and no message is left; [`Error::Draining`];
    /// [`Error::Forked`].
    pub fn recv(&self, timeout: impl Into<Option<Duration>>) -> Result<Option<Received>, Error> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        let mut inner = self.lock();
        inner.has_receiver = true;
        inner.calls.refuse_unserved();
        if inner.running.is_none() {
            // With `AckMode::OnHandled`: whoever asks for the next message is done with the last.
            inner.link.session.message_handled();
        }
        let received = self.wait_for(inner, timeout.into(), Kinds::Messages, |client, inner, now| {
            let mut inner = inner;
            loop {
                (inner, _) = client.run_callbacks(inner, Kinds::Failures, now);
                let message = inner.next_message(*now);
                inner.turn_calls(*now);
                // A change of presence may have come before it.
                let is_done = message.is_some() || !inner.link.session.has_presence();
                if is_done || inner.running.is_some() {
                    break (inner, message);
                }
            }
        });
        let (inner, received) = received?;
        if received.is_none() && inner.link.session.is_draining() {
            Err(Error::Draining)
        } else {
            Ok(received)
        }
    }

    /// A message that has come, if there is one.
    ///
    /// # Errors
    ///
    /// Those of [`recv`](Self::recv).
    pub fn try_recv(&self) -> Result<Option<Received>, Error> {
        self.recv(Duration::ZERO)
    }

    /// Writes out what waits, then waits until every message has its outcome. Callbacks run meanwhile, in this thread,
    /// as in [`dispatch`](Self::dispatch).
    ///
    /// `timeout` is `None` for no limit; each outcome comes within `interval * (times + 1)` and a little anyway.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] says how many messages have none yet; those of [`dispatch`](Self::dispatch).
    pub fn flush(&self, timeout: impl Into<Option<Duration>>) -> Result<(), Error> {
        self.finish(timeout.into(), |inner| (inner.link.session.unresolved(), 0), |_, _| true)
    }

    /// Takes no more messages, finishes what was begun, and waits until every message sent has its outcome: the end of a
    /// process that another one goes on for. What was delivered and not taken goes to another instance, or fails *not
    /// started*; a handler that runs returns first. Calls that were begun and are answered later, by whatever thread, are
    /// waited for as long as their callers wait, and those that this process has made until they end. Callbacks run meanwhile,
    /// in this thread, but not for messages that come from now on. Then drop the client.
    ///
    /// This is true once the daemon knows of it: a daemon that is away is waited for, but no longer than a message of this
    /// client lives, some `interval * (times + 1)`. What was delivered then fails *unknown*.
    ///
    /// # Errors
    ///
    /// [`Error::Timeout`] says how many messages have no outcome yet, and how many calls no answer (none, if only the daemon does
    /// not know yet); those of [`flush`](Self::flush). Nothing is taken from now on in any case.
    pub fn drain(&self, timeout: impl Into<Option<Duration>>) -> Result<(), Error> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        let mut inner = self.lock();
        if !inner.in_callback() {
            // With `AckMode::OnHandled`: whoever drains is done with the last message.
            if inner.running.is_none() {
                inner.link.session.message_handled();
            }
            inner.link.session.drain(clock::now());
            // Nor does it ask for those that it has taken.
            inner.has_receiver = false;
            inner.write(clock::now());
        } else {
            inner.link.session.drain(clock::now());
        }
        self.settle(&mut inner);
        drop(inner);
        let open = |inner: &Inner| (inner.link.session.unresolved(), inner.calls.open(clock::now()));
        self.finish(timeout.into(), open, |inner, (unresolved, unanswered)| {
            inner.write(clock::now());
            inner.link.is_told(clock::now(), unresolved + unanswered)
        })
    }

    /// Runs callbacks until none is left to run, no messages and calls are `open`, and it `may_end` with so many that are.
    fn finish(
        &self,
        timeout: Option<Duration>,
        open: impl Fn(&Inner) -> (usize, usize),
        may_end: impl Fn(&mut Inner, (usize, usize)) -> bool,
    ) -> Result<(), Error> {
        let (inner, done) = self.wait_for(self.enter()?, timeout, Kinds::All, |client, inner, now| {
            let (mut inner, _) = client.run_callbacks(inner, Kinds::All, now);
            let still_open = open(&inner);
            let may_end = may_end(&mut inner, still_open);
            let has_callbacks = inner.link.session.has_outcomes() || inner.calls.has_work();
            let is_idle = !has_callbacks && inner.running.is_none() && still_open == (0, 0);
            (inner, (is_idle && may_end).then_some(()))
        })?;
        done.ok_or_else(|| {
            let (unresolved, unanswered) = open(&inner);
            Error::Timeout { unresolved, unanswered }
        })
    }

    /// [`SendFlags::WAIT`]: sends as soon as there is room.
    pub(crate) fn send_when_room(
        &self,
        inner: Locked<'_>,
        dst: ClientId,
        payload: &[u8],
        user: &[u8],
        flags: SendFlags,
    ) -> Result<MsgId, SendError> {
        let sent = self.wait_for(inner, None, Kinds::Failures, |client, inner, now| {
            let (mut inner, _) = client.run_callbacks(inner, Kinds::Failures, now);
            let sent = inner.try_send(*now, dst, payload, user, flags);
            (inner, (sent != Err(SendError::WouldBlock)).then_some(sent))
        });
        match sent {
            Ok((_, sent)) => sent.unwrap_or(Err(SendError::WouldBlock)),
            Err(Error::Refused(nack)) => Err(SendError::Refused(nack.rule)),
            Err(_) => Err(SendError::WouldBlock),
        }
    }

    /// The lock, for a call that runs callbacks.
    fn enter(&self) -> Result<Locked<'_>, Error> {
        if self.is_forked() {
            return Err(Error::Forked);
        }
        let inner = self.lock();
        if inner.in_callback() { Err(Error::InCallback) } else { Ok(inner) }
    }

    /// Attempts something again and again, whenever anything has happened that may let it succeed, until it does or the
    /// time is over (`None`). An attempt that released the lock takes it again, and then reads the clock anew: it is read once
    /// each time that something may have kept this thread waiting, and not for each thing that is done.
    pub(crate) fn wait_for<'a, T>(
        &'a self,
        mut inner: Locked<'a>,
        timeout: Option<Duration>,
        kinds: Kinds,
        mut attempt: impl FnMut(&'a Self, Locked<'a>, &mut Time) -> (Locked<'a>, Option<T>),
    ) -> Result<(Locked<'a>, Option<T>), Error> {
        inner.burst.end();
        let mut now = clock::now();
        let deadline = timeout.map(|timeout| now + Span::from(timeout));
        let result = loop {
            inner.link.handle_time(&self.poller, now);
            inner.turn_calls(now);
            let done;
            (inner, done) = attempt(self, inner, &mut now);
            let news = inner.link.news();
            if !inner.in_callback() {
                inner.write(now);
            }
            if done.is_some() {
                break Ok(done);
            }
            if inner.link.news() != news {
                // What was written has made room.
                continue;
            }
            if kinds == Kinds::Messages && inner.link.session.is_draining() {
                break Ok(None);
            }
            if let Some(nack) = inner.link.session.refusal()
                && !inner.link.session.has_outcomes()
            {
                break Err(Error::Refused(nack.clone()));
            }
            let left = deadline.map(|deadline| deadline.since(now));
            if inner.link.more() || left == Some(Span::ZERO) {
                let read = inner.link.read();
                if read.is_none() && left == Some(Span::ZERO) {
                    break Ok(None);
                }
                now = read.unwrap_or_else(clock::now);
            } else {
                (inner, now) = self.sleep(inner, now, left, kinds);
            }
        };
        self.settle(&mut inner);
        result.map(|done| (inner, done))
    }

    /// Waits until anything happens, at most `left` from `now` on. What has come is read. Returns when that is.
    fn sleep<'a>(
        &'a self,
        mut inner: Locked<'a>,
        now: Time,
        left: Option<Span>,
        kinds: Kinds,
    ) -> (Locked<'a>, Time) {
        let others_callback = inner.running.is_some() && !inner.in_callback() && kinds == Kinds::All;
        if inner.sleeping || others_callback {
            return (self.sleep_behind(inner, left), clock::now());
        }
        let wake_by = left.map(|left| now + left);
        let read;
        (inner, read) = self.spin(inner, wake_by);
        if read {
            return (inner, clock::now());
        }
        // Other threads see to it meanwhile that the timer is set for this one, too.
        inner.link.wake_by = wake_by;
        self.settle(&mut inner);
        (inner.sleeping, inner.slept_at) = (true, inner.link.news());
        drop(inner);
        let woken = self.poller.wait();
        inner = self.lock();
        inner.sleeping = false;
        inner.link.wake_by = None;
        if inner.woken {
            inner.woken = false;
            self.poller.clear_wake();
        }
        let read = if woken.by_socket { inner.link.read() } else { None };
        let now = read.unwrap_or_else(clock::now);
        if read.is_none() && woken.by_hang_up {
            inner.link.handle_hang_up(now);
        }
        (inner, now)
    }

    /// Another thread sleeps in the poller, or runs callbacks: it tells when it is done.
    fn sleep_behind<'a>(&'a self, mut inner: Locked<'a>, left: Option<Span>) -> Locked<'a> {
        self.settle(&mut inner);
        inner.waiting += 1;
        inner = self.inner.wait(&self.changed, inner, left.map(Duration::from));
        inner.waiting -= 1;
        inner
    }

    /// `$MSGD_SPIN_US`: reads over and over for that long after traffic, until `longest`. Returns whether anything came.
    fn spin<'a>(&'a self, mut inner: Locked<'a>, longest: Option<Time>) -> (Locked<'a>, bool) {
        if self.spin == Span::ZERO {
            return (inner, false);
        }
        loop {
            let now = clock::now();
            if now > inner.link.last_read() + self.spin || longest.is_some_and(|at| at <= now) {
                return (inner, false);
            }
            if inner.link.read().is_some() {
                return (inner, true);
            }
            drop(inner);
            // The daemon may have to run on this CPU.
            sched_yield();
            inner = self.lock();
        }
    }
}
