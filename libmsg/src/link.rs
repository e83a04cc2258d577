//! The session and its socket: reading, writing, reconnecting. Nothing here waits.

use std::{io::IoSlice, mem, os::fd::OwnedFd, path::PathBuf};

use msg_proto::{
    session::{Session, State},
    units::{Span, Time},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg},
};

use crate::{
    clock, connect,
    poller::{Interest, Poller},
};

/// A session with its socket, while there is one.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) session: Session,
    path: PathBuf,
    socket: Option<OwnedFd>,
    watched: Interest,
    /// The socket did not take all of the output.
    blocked: bool,
    /// The session did not take what the socket has.
    full: bool,
    /// The last read filled what it was given: there is likely more.
    more: bool,
    last_read: Time,
    /// How often something came or fell due. Who waits remembers it: of several threads each is told.
    news: u64,
    lost_at: Time,
    retry_at: Time,
    /// Since when no daemon has registered us.
    away_since: Option<Time>,
    /// So long a drain waits for a daemon to tell...
    tell_until: Option<Time>,
    /// ... and that time is over.
    gave_up_telling: bool,
    /// By when the thread that sleeps wants to wake.
    pub(crate) wake_by: Option<Time>,
    armed: Option<Time>,
}

impl Link {
    pub(crate) const fn new(session: Session, path: PathBuf) -> Self {
        Self {
            session,
            path,
            socket: None,
            watched: QUIET,
            blocked: false,
            full: false,
            more: false,
            last_read: Time(0),
            news: 0,
            lost_at: Time(0),
            retry_at: Time(0),
            away_since: None,
            tell_until: None,
            gave_up_telling: false,
            wake_by: None,
            armed: None,
        }
    }

    pub(crate) const fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    pub(crate) const fn more(&self) -> bool {
        self.more
    }

    pub(crate) const fn last_read(&self) -> Time {
        self.last_read
    }

    pub(crate) const fn news(&self) -> u64 {
        self.news
    }

    pub(crate) const fn record_news(&mut self) {
        self.news += 1;
    }

    /// Connects, and writes registration and replay.
    pub(crate) fn connect(&mut self, poller: &Poller, now: Time) -> Result<(), Errno> {
        let socket = connect::open(&self.path)?;
        poller.add(&socket, QUIET)?;
        self.watched = QUIET;
        self.socket = Some(socket);
        self.session.handle_connected(now);
        self.write(now);
        Ok(())
    }

    /// What has fallen due: outcomes, and an attempt to connect.
    pub(crate) fn handle_time(&mut self, poller: &Poller, now: Time) {
        self.clear_timer(poller, now);
        if self.session.poll_timeout().is_some_and(|at| at <= now) {
            self.record_news();
            self.session.handle_timeout(now);
            self.close_unusable(now);
        }
        if self.tell_until.is_some_and(|at| at <= now) {
            self.tell_until = None;
            self.gave_up_telling = true;
            self.record_news();
        }
        if self.connect_at().is_some_and(|at| at <= now) && self.connect(poller, now).is_err() {
            self.retry_later(now);
        }
    }

    /// Reads once, what there is. Returns when anything had come, the end included: what was read is judged by a time behind the read
    /// (R6), as this process may have been stopped before it.
    pub(crate) fn read(&mut self) -> Option<Time> {
        self.read_at(clock::now)
    }

    fn read_at(&mut self, clock: impl FnOnce() -> Time) -> Option<Time> {
        self.more = false;
        let socket = self.socket.as_ref()?;
        let space = self.session.input_space(READ_BYTES);
        self.full = space.is_empty();
        if self.full {
            return None;
        }
        let len = space.len();
        let read = recv(socket, space, RecvFlags::DONTWAIT);
        if matches!(read, Err(Errno::AGAIN | Errno::INTR)) {
            return None;
        }
        let now = clock();
        match read {
            Ok((_, n)) if n > 0 => {
                self.more = n == len;
                self.last_read = now;
                self.record_news();
                self.session.handle_read(now, n);
                if self.session.state() == State::Registered {
                    self.away_since = None;
                }
                self.close_unusable(now);
            }
            Ok(_) | Err(_) => self.on_lost(now),
        }
        Some(now)
    }

    /// Whether so much waits, and would go, that the daemon had better begin with it.
    pub(crate) fn has_a_chunk(&self) -> bool {
        !self.blocked && self.session.output_len() >= CHUNK_BYTES
    }

    /// Writes what waits, as far as the socket takes it. Where that makes room for sends, it is news.
    pub(crate) fn write(&mut self, now: Time) {
        self.write_on(now);
        if self.session.poll_room() {
            self.record_news();
        }
    }

    fn write_on(&mut self, now: Time) {
        let mut has_room = !mem::take(&mut self.blocked);
        while let Some(socket) = &self.socket {
            if self.session.output().is_empty() {
                return;
            }
            if has_room {
                self.session.gather_output();
            }
            match write_once(socket, &self.session) {
                Ok((n, offered)) => {
                    self.session.consume_output(now, n);
                    // A socket that took a part of it has no room for more.
                    (has_room, self.blocked) = (true, n < offered);
                    if self.blocked || self.session.output_len() == 0 {
                        return;
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.blocked = true;
                    return;
                }
                // What the daemon has said is read before its end is believed.
                Err(_) => {
                    while self.read_at(|| now).is_some() {}
                    return self.on_lost(now);
                }
            }
        }
    }

    /// The other end of the socket is closed. What is left in it and finds no room will be given again.
    pub(crate) fn handle_hang_up(&mut self, now: Time) {
        if self.full {
            self.on_lost(now);
        }
    }

    /// Says goodbye. A socket that is full, of a daemon that has not come to read it, is waited for a moment: what was taken
    /// stands there, too, and without it the daemon would hold us for dead, and all of that in doubt.
    pub(crate) fn close(&mut self, now: Time) {
        self.session.close(now);
        self.write(now);
        for _ in 0..GOODBYE_TRIES {
            let Some(socket) = self.socket.as_ref().filter(|_| self.blocked) else { break };
            let pause = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
            let _ready = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&pause));
            self.write(now);
        }
        self.socket = None;
    }

    /// Whether a drain need not wait to tell a daemon: one was told, or there was none for as long as a message lives. `open` is
    /// what else it waits for: that a daemon is not told meanwhile is no fault of the daemon.
    pub(crate) fn is_told(&mut self, now: Time, open: usize) -> bool {
        let is_registered = self.session.state() == State::Registered;
        let is_told = self.session.has_said_drained();
        if is_told || (is_registered && open > 0) {
            self.tell_until = None;
            self.gave_up_telling = false;
            return is_told;
        }
        if !self.gave_up_telling {
            self.tell_until.get_or_insert(now + self.session.granted().lifetime());
        }
        self.gave_up_telling
    }

    /// Brings what is watched, and the timer, up to what is needed. `call_due`: when a call falls due.
    pub(crate) fn watch(&mut self, poller: &Poller, call_due: Option<Time>) {
        if let Some(socket) = &self.socket {
            // The user has polled messages since: there is room again.
            self.full = self.full && self.session.has_messages();
            let wanted = Interest { read: !self.full, write: self.blocked };
            if wanted != self.watched && poller.modify(socket, wanted).is_ok() {
                self.watched = wanted;
            }
        }
        let session_due = self.session.poll_timeout();
        let due = Time::first_of([session_due, self.connect_at(), self.tell_until, call_due, self.wake_by]);
        if let Some(at) = due {
            // A timer that fires early does no harm, and is cheaper than one that is set for each message and each wait.
            if self.armed.is_none_or(|armed| at < armed) {
                poller.arm(at);
                self.armed = Some(at);
            }
        }
    }

    /// The timer is shown no longer if it has fired.
    pub(crate) fn clear_timer(&mut self, poller: &Poller, now: Time) {
        if self.armed.is_some_and(|at| at <= now) {
            poller.clear_timer();
            self.armed = None;
        }
    }

    /// When to connect again. While messages of the old stream wait to be taken, not before they are stale.
    fn connect_at(&self) -> Option<Time> {
        if self.socket.is_some() || self.session.state() != State::Disconnected {
            return None;
        }
        let stale_at = self.lost_at + self.session.granted().interval;
        Some(if self.session.has_messages() { self.retry_at.max(stale_at) } else { self.retry_at })
    }

    fn close_unusable(&mut self, now: Time) {
        if matches!(self.session.state(), State::Broken | State::Refused) {
            self.on_lost(now);
        }
    }

    fn on_lost(&mut self, now: Time) {
        if self.socket.take().is_some() {
            self.record_news();
            self.session.handle_disconnected(now);
            (self.blocked, self.full, self.more) = (false, false, false);
            self.lost_at = now;
            self.retry_later(now);
        }
    }

    pub(crate) fn retry_after(&mut self, now: Time, pause: Span) {
        self.retry_at = now + pause;
    }

    /// The longer no daemon was there, the longer until the next look: one that has come waits for us at most a
    /// quarter of the time that it was away, and one that turns us away has rest.
    fn retry_later(&mut self, now: Time) {
        let away = now.since(*self.away_since.get_or_insert(now));
        self.retry_at = now + Span(away.0 / 4).clamp(FIRST_BACK_OFF, LAST_BACK_OFF);
    }
}

/// One write of what the session has ready, or of its first parts. Returns how much was written, and of how much.
fn write_once(socket: &OwnedFd, session: &Session) -> Result<(usize, usize), Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let mut parts = session.output_parts();
    let first = parts.next().unwrap_or_default();
    let Some(second) = parts.next() else { return send(socket, first, flags).map(|n| (n, first.len())) };
    let mut slices = [IoSlice::new(&[]); PARTS];
    let (mut count, mut offered) = (0, 0);
    for (slice, part) in slices.iter_mut().zip([first, second].into_iter().chain(parts)) {
        *slice = IoSlice::new(part);
        count += 1;
        offered += part.len();
    }
    let written = sendmsg(socket, &slices[..count], &mut SendAncillaryBuffer::default(), flags)?;
    Ok((written, offered))
}

const QUIET: Interest = Interest { read: true, write: false };

/// What one read takes at most, unless the session has more room.
const READ_BYTES: usize = 64 << 10;

/// What is gathered is written in pieces of this size: the other processes work on one while the next is gathered.
const CHUNK_BYTES: usize = 48 << 10;

/// Parts that are written at a time.
const PARTS: usize = 16;

/// How often a full socket is tried for a goodbye, 10 ms apart at most.
const GOODBYE_TRIES: usize = 100;

/// DESIGN, section 4: 10 ms to 1 s.
const FIRST_BACK_OFF: Span = Span::from_millis(10);
const LAST_BACK_OFF: Span = Span::from_millis(1000);
