//! The client: its state, and the calls that do not wait.

use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::{
        Condvar,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use msg_proto::{
    control::LocalNack,
    ids::{ClientId, Incarnation, MsgId},
    local::DrainCause,
    session::{self, Event, Failure, Gone, Message, PresenceEvent, SessionCounters, State, UserBuf},
    units::{Span, Time},
};
use rustix::io::Errno;

use crate::{
    Builder, ConnectError, SendError, SendFlags,
    burst::Burst,
    call::CallState,
    callback::{Callbacks, OnDrain, OnFailure, OnMessage, OnPresence},
    clock, connect,
    ffi::fork::ForkMark,
    link::Link,
    lock::{Guard, Lock},
    poller::Poller,
    thread::Thread,
};

/// A process's connection to its node's daemon.
///
/// It may be used from several threads at once: calls that do not wait hold a lock for as long as a system call
/// takes, and callbacks run without it. Callbacks never run at the same time; a callback may call everything that
/// does not run callbacks itself, [`send`](Self::send) and [`try_recv`](Self::try_recv) above all.
///
/// Dropping it says goodbye to the daemon. Messages that have no outcome by then still go their way, but nobody is
/// told: [`flush`](Self::flush) first where that matters. It waits only where the daemon has not read what was written, 1 s at
/// most: else the daemon would hold the process for dead, and what it took for unknown.
///
/// After a `fork` the child's calls are refused; the parent's go on.
#[derive(Debug)]
pub struct Client {
    pub(crate) inner: Lock<Inner>,
    /// Something has changed that a waiting thread may have waited for.
    pub(crate) changed: Condvar,
    pub(crate) poller: Poller,
    pub(crate) spin: Span,
    /// Whether anybody looks at [`AsFd`]: only then it is kept up to date.
    fd_used: AtomicBool,
    fork: ForkMark,
}

/// What the lock guards.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) link: Link,
    pub(crate) callbacks: Callbacks,
    pub(crate) calls: CallState,
    /// The thread that runs callbacks...
    pub(crate) running: Option<Thread>,
    /// ... and of messages or calls, so many.
    pub(crate) handing_over: usize,
    /// Somebody takes messages with [`Client::recv`].
    pub(crate) has_receiver: bool,
    /// A thread sleeps in the poller, since there was so much news...
    pub(crate) sleeping: bool,
    pub(crate) slept_at: u64,
    /// ... has been woken, and so many wait for it to come back.
    pub(crate) woken: bool,
    pub(crate) waiting: usize,
    ready: bool,
    /// Sends that follow each other.
    pub(crate) burst: Burst,
    /// The threads whose dispatch has returned since nothing more is taken.
    drain_told: Vec<Thread>,
    /// A dispatch is to return, whatever it waits for.
    pub(crate) wake_asked: bool,
    /// Messages wait for a callback, and for nothing else: without one they are nothing to do.
    pub(crate) by_callback_only: bool,
}

impl Client {
    /// The options of a client with this number.
    pub const fn builder(client: ClientId) -> Builder {
        Builder::new(client)
    }

    pub(crate) fn open(link: Link, spin: Span, timeout: Duration) -> Result<Self, ConnectError> {
        let system = |errno| ConnectError::System { path: link.path().clone(), errno };
        let random = || {
            let mut key = [0; 16];
            getrandom::fill(&mut key).map(|()| key).map_err(|_| system(Errno::IO))
        };
        let keys = (random()?, random()?);
        let client = Self {
            poller: Poller::new().map_err(system)?,
            inner: Lock::new(Inner {
                link,
                callbacks: Callbacks::default(),
                calls: CallState::new(keys.0, keys.1),
                running: None,
                handing_over: 0,
                has_receiver: false,
                sleeping: false,
                slept_at: 0,
                drain_told: Vec::new(),
                woken: false,
                waiting: 0,
                ready: false,
                burst: Burst::default(),
                wake_asked: false,
                by_callback_only: false,
            }),
            changed: Condvar::new(),
            spin,
            fd_used: AtomicBool::new(false),
            fork: ForkMark::new(),
        };
        client.wait_until_registered(timeout)?;
        Ok(client)
    }

    /// Sends a message, in order. See [`send_with`](Self::send_with).
    ///
    /// # Errors
    ///
    /// See [`send_with`](Self::send_with).
    pub fn send(&self, dst: ClientId, payload: &[u8], user: UserBuf) -> Result<MsgId, SendError> {
        self.send_with(dst, payload, user, SendFlags::NONE)
    }

    /// Sends a message: it is numbered and copied, and ends in exactly one outcome. It is written before this returns,
    /// unless the socket is full, or with [`SendFlags::MORE`], or in a callback, whose sends are written together.
    ///
    /// It never waits, unless [`SendFlags::WAIT`] asks for it.
    ///
    /// # Errors
    ///
    /// Nothing was sent then, and no callback will come. [`SendError::WouldBlock`] when as many messages as
    /// granted have no outcome yet, or bytes of them; then, until the daemon has read all that waits for it, also while 512 KiB or more do.
    pub fn send_with(
        &self,
        dst: ClientId,
        payload: &[u8],
        user: UserBuf,
        flags: SendFlags,
    ) -> Result<MsgId, SendError> {
        self.send_user(dst, payload, user.as_bytes(), flags)
    }

    /// [`send_with`](Self::send_with), with user data of a length that was checked: copied once, to where they stay.
    pub(crate) fn send_user(
        &self,
        dst: ClientId,
        payload: &[u8],
        user: &[u8],
        flags: SendFlags,
    ) -> Result<MsgId, SendError> {
        if self.is_forked() {
            return Err(SendError::Forked);
        }
        let more = flags.contains(SendFlags::MORE);
        let mut inner = self.lock();
        let is_behind = inner.link.is_connected() && inner.link.session.unresolved() > 0;
        if !inner.link.is_connected() {
            inner.link.handle_time(&self.poller, clock::now());
        }
        // What follows a send in a callback is the dispatch that runs it, which may wait for long before the next.
        let known = inner.link.session.time();
        let is_shared = inner.burst.is_open();
        let mut now = if inner.in_callback() { clock::now() } else { inner.burst.time(known, clock::now) };
        let sent = match inner.try_send(now, dst, payload, user, flags) {
            Ok(msgid) if more && is_behind && !inner.link.has_a_chunk() => {
                // It stands behind others in all that is watched, and nobody waits for it.
                return Ok(msgid);
            }
            Err(SendError::WouldBlock) => {
                now = inner.take_in(&self.poller);
                if !inner.in_callback() {
                    inner.write(now);
                }
                inner.try_send(now, dst, payload, user, flags)
            }
            sent => sent,
        };
        inner.burst.end();
        if !inner.in_callback() {
            let is_full = sent == Err(SendError::WouldBlock);
            if !is_full && (!more || sent.is_err()) || inner.link.has_a_chunk() {
                // A daemon that is found gone is gone now.
                inner.write(if is_shared { clock::now() } else { now });
            }
            if is_full && flags.contains(SendFlags::WAIT) {
                return self.send_when_room(inner, dst, payload, user, flags);
            }
        }
        self.settle(&mut inner);
        sent
    }

    /// Has this called for each message that fails, with its user data (R5): in [`dispatch`](Self::dispatch),
    /// [`flush`](Self::flush), [`recv`](Self::recv) and sends that wait. Without it failures are only
    /// [counted](Self::counters).
    pub fn on_failure(&self, callback: impl FnMut(&Self, &Failure) + Send + 'static) {
        self.set_on_failure(Some(Box::new(callback)));
    }

    /// Has this called for each message that comes, in [`dispatch`](Self::dispatch) and [`flush`](Self::flush).
    /// Without it messages wait for [`recv`](Self::recv).
    pub fn on_message(&self, callback: impl FnMut(&Self, &Message<'_>) + Send + 'static) {
        self.set_on_message(Some(Box::new(callback)));
    }

    /// Has the presence callback told of the instances of a clientid: of those that are there, and of each change.
    ///
    /// # Errors
    ///
    /// More than 1,024 clientids ([`SendError::TooManyFlows`]); the daemon has refused this client.
    pub fn subscribe(&self, client: ClientId) -> Result<(), SendError> {
        if self.is_forked() {
            return Err(SendError::Forked);
        }
        let mut inner = self.lock();
        inner.link.session.subscribe(clock::now(), client)?;
        if !inner.in_callback() {
            inner.write(clock::now());
        }
        self.settle(&mut inner);
        Ok(())
    }

    /// Has this called for each change among the instances of clientids that were [subscribed](Self::subscribe) to, in its
    /// place among the messages: an instance is up before its first message.
    pub fn on_presence(&self, callback: impl FnMut(&Self, &PresenceEvent) + Send + 'static) {
        self.set_on_presence(Some(Box::new(callback)));
    }

    /// Has this called when the daemon asks that nothing more be taken: another process took the clientid over, or an
    /// operator drains it. No message comes from then on; what was sent goes on. Then [`drain`](Self::drain), which
    /// finishes what was begun, and end.
    pub fn on_drain(&self, callback: impl FnMut(&Self, DrainCause) + Send + 'static) {
        self.set_on_drain(Some(Box::new(callback)));
    }

    /// Whether nothing more is taken: [`drain`](Self::drain) was called, or the daemon asked for it.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.lock().link.session.is_draining()
    }

    pub(crate) fn set_on_presence(&self, callback: Option<OnPresence>) {
        let old = self.lock().callbacks.set_on_presence(callback);
        drop(old);
    }

    pub(crate) fn set_on_drain(&self, callback: Option<OnDrain>) {
        let old = self.lock().callbacks.set_on_drain(callback);
        drop(old);
    }

    pub(crate) fn set_on_failure(&self, callback: Option<OnFailure>) {
        let old = self.lock().callbacks.set_on_failure(callback);
        drop(old);
    }

    pub(crate) fn set_on_message(&self, callback: Option<OnMessage>) {
        let mut inner = self.lock();
        let old = inner.callbacks.set_on_message(callback);
        self.settle(&mut inner);
        drop(inner);
        drop(old);
    }

    /// Has one [`dispatch`](Self::dispatch) return: one that waits in another thread, or else the next one. This is how a
    /// thread that waits without a limit is told to end.
    pub fn wake(&self) {
        if self.is_forked() {
            return;
        }
        let mut inner = self.lock();
        inner.wake_asked = true;
        inner.link.record_news();
        self.settle(&mut inner);
    }

    /// Messages are handed to callbacks alone from now on, so [`AsFd`] says nothing of those that wait for one.
    pub(crate) fn take_by_callback_only(&self) {
        self.lock().by_callback_only = true;
    }

    /// What the daemon said when it refused this client for good, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<LocalNack> {
        self.lock().link.session.refusal().cloned()
    }

    /// Messages without an outcome.
    #[must_use]
    pub fn unresolved(&self) -> usize {
        self.lock().link.session.unresolved()
    }

    /// The incarnation that the daemon gave this client.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.lock().link.session.incarnation()
    }

    /// What happened, in numbers that only grow.
    #[must_use]
    pub fn counters(&self) -> SessionCounters {
        self.lock().link.session.counters()
    }

    pub(crate) fn lock(&self) -> Guard<'_, Inner> {
        self.inner.lock()
    }

    /// Whether this thread is the one that the lock favours. Once it is, it is for ever.
    pub(crate) fn is_favoured(&self) -> bool {
        self.inner.is_favoured()
    }

    pub(crate) fn is_forked(&self) -> bool {
        self.fork.is_forked()
    }

    /// Whether this thread is in a callback of this client.
    pub(crate) fn in_callback(&self) -> bool {
        self.lock().in_callback()
    }

    /// Before the lock is given back: has everybody woken, and everything watched, that has to be.
    pub(crate) fn settle(&self, inner: &mut Inner) {
        let call_due = inner.call_due();
        inner.link.watch(&self.poller, call_due);
        if inner.sleeping && !inner.woken && inner.link.news() != inner.slept_at {
            inner.woken = true;
            self.poller.set_wake();
        }
        if inner.waiting > 0 {
            self.changed.notify_all();
        }
        if self.fd_used.load(Ordering::Relaxed) {
            let takes = !inner.by_callback_only || inner.callbacks.takes_messages();
            let session = &inner.link.session;
            let calls = &inner.calls;
            let has_messages = session.has_messages() || calls.has_stash();
            let ready = inner.wake_asked
                || session.has_outcomes()
                || session.has_presence()
                || session.has_gone()
                || session.has_drain_notice()
                || calls.has_work()
                || (takes && has_messages)
                || (calls.is_used() && session.has_call_next());
            if ready != inner.ready {
                inner.ready = ready;
                if ready { self.poller.set_ready() } else { self.poller.clear_ready() }
            }
        }
    }

    fn wait_until_registered(&self, timeout: Duration) -> Result<(), ConnectError> {
        let deadline = clock::now() + Span::from(timeout);
        let mut inner = self.lock();
        let path = inner.link.path().clone();
        loop {
            let now = clock::now();
            inner.link.clear_timer(&self.poller, now);
            let mut connected = inner.link.is_connected();
            if !connected {
                match inner.link.connect(&self.poller, now) {
                    // It writes at once: by now that connection may be lost again.
                    Ok(()) => connected = true,
                    // A full backlog cannot be waited for; it is tried again after a moment.
                    Err(errno) if connect::is_transient(errno) => inner.link.retry_after(now, RETRY_CONNECT),
                    Err(errno) => return Err(connect::explain(&path, errno)),
                }
            }
            inner.link.read();
            if let Some(nack) = inner.link.session.refusal() {
                return Err(ConnectError::Refused { path, nack: nack.clone() });
            }
            while let Some(event) = inner.link.session.poll_notice() {
                if let Event::DaemonGone(Gone::Malformed(error)) = event {
                    return Err(ConnectError::NotMsgd { path, what: error.0 });
                }
            }
            match inner.link.session.state() {
                State::Registered => return Ok(()),
                _ if connected && !inner.link.is_connected() => return Err(ConnectError::Lost { path }),
                _ if now >= deadline => return Err(ConnectError::Timeout { path, waited: timeout }),
                _ => {}
            }
            inner.link.wake_by = Some(deadline);
            inner.link.watch(&self.poller, None);
            self.poller.wait();
            inner.link.wake_by = None;
        }
    }
}

impl AsFd for Client {
    /// The same as [`Client::as_fd`].
    fn as_fd(&self) -> BorrowedFd<'_> {
        Self::as_fd(self)
    }
}

impl Client {
    /// For an event loop: readable, level-triggered, while there is something for [`dispatch`](Self::dispatch) to do
    /// or for [`try_recv`](Self::try_recv) to return, and once for nothing, when the time of a wait before is over. Always the
    /// same; only to be polled.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        if !self.fd_used.swap(true, Ordering::Relaxed) {
            let mut inner = self.lock();
            self.settle(&mut inner);
        }
        self.poller.as_fd()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A fork shares the socket with the process that is the client.
        if !self.is_forked() {
            self.lock().link.close(clock::now());
        }
    }
}

/// How often it is looked whether another thread has dropped a [`crate::Responder`], which wakes nobody.
const LOOK: Span = Span::from_millis(100);

/// So many threads are remembered as told of a drain; with more each may be told again.
const MAX_TOLD: usize = 256;

/// How long a daemon's full backlog is given before the next attempt.
const RETRY_CONNECT: Span = Span::from_millis(10);

impl Inner {
    /// Whether this thread is in a callback.
    pub(crate) fn in_callback(&self) -> bool {
        self.running.is_some_and(|thread| thread == Thread::here())
    }

    /// Whether this thread's dispatch has yet to return since nothing more is taken: another one may have read that after this
    /// one asked.
    pub(crate) fn tell_drain(&mut self) -> bool {
        if !self.link.session.is_draining() || self.drain_told.contains(&Thread::here()) {
            return false;
        }
        if self.drain_told.len() >= MAX_TOLD {
            self.drain_told.clear();
        }
        self.drain_told.push(Thread::here());
        true
    }

    /// Writes what waits, as far as the socket takes it.
    pub(crate) fn write(&mut self, now: Time) {
        let stashed =
            if self.has_receiver || self.callbacks.takes_messages() { self.calls.stashed() } else { 0 };
        self.link.session.record_backlog(self.handing_over + self.calls.jobs() + stashed);
        self.link.write(now);
    }

    /// When calls give somebody something to do: also those given up, and, while it drains, those that it is to answer.
    fn call_due(&self) -> Option<Time> {
        let due = self.calls.poll_timeout();
        let (is_draining, has_responders) = (self.link.session.is_draining(), self.calls.has_responders());
        if !is_draining && !has_responders {
            return due;
        }
        let now = clock::now();
        let awaited = self.calls.awaited(now).filter(|_| is_draining);
        let look_at = has_responders.then_some(now + LOOK);
        awaited.chain(due).chain(look_at).min()
    }

    /// Reads what has come and does what is due, without running anything. Returns when that is.
    pub(crate) fn take_in(&mut self, poller: &Poller) -> Time {
        let now = clock::now();
        self.link.handle_time(poller, now);
        let now = self.link.read().unwrap_or(now);
        self.turn_calls(now);
        now
    }

    pub(crate) fn try_send(
        &mut self,
        now: Time,
        dst: ClientId,
        payload: &[u8],
        user: &[u8],
        flags: SendFlags,
    ) -> Result<MsgId, SendError> {
        let flags = session::SendFlags {
            unordered: flags.contains(SendFlags::UNORDERED),
            at_least_once: flags.contains(SendFlags::AT_LEAST_ONCE),
        };
        let sent = self.link.session.send(now, dst, payload, user, flags);
        sent.map_err(SendError::from)
    }
}

#[cfg(test)]
mod tests;
