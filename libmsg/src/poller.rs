//! What the library sleeps on, and what it shows to its user's event loop.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use msg_proto::units::Time;
use rustix::{
    event::{EventfdFlags, Timespec, epoll, eventfd},
    io::{Errno, read, write},
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

use crate::ffi::epoll as sys;

/// The library's file descriptors, but for the socket:
///
/// ```text
/// outer --+-- inner --+-- socket    the daemon said something, or takes what waits
///         |           +-- timer     an outcome, or an attempt to connect, falls due
///         |           +-- wake      another thread has done something for the one that sleeps
///         +-- ready                 something was read already and waits to be handed out
/// ```
///
/// A thread that waits in the library sleeps on `inner`: what is ready, and not for it, must not wake it over and
/// over. Its user's event loop has `outer`.
#[derive(Debug)]
pub(crate) struct Poller {
    inner: OwnedFd,
    outer: OwnedFd,
    timer: OwnedFd,
    wake: OwnedFd,
    ready: OwnedFd,
}

/// What [`Poller::wait`] found.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Woken {
    pub(crate) by_socket: bool,
    pub(crate) by_hang_up: bool,
    pub(crate) by_wake: bool,
}

/// What the socket is watched for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Interest {
    pub(crate) read: bool,
    pub(crate) write: bool,
}

impl Poller {
    pub(crate) fn new() -> Result<Self, Errno> {
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let poller = Self {
            inner: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            outer: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            timer: timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?,
            wake: event()?,
            ready: event()?,
        };
        let watch = |epoll, fd: &OwnedFd, data| {
            epoll::add(epoll, fd, epoll::EventData::new_u64(data), epoll::EventFlags::IN)
        };
        watch(&poller.inner, &poller.timer, TIMER)?;
        watch(&poller.inner, &poller.wake, WAKE)?;
        watch(&poller.outer, &poller.inner, 0)?;
        watch(&poller.outer, &poller.ready, 0)?;
        Ok(poller)
    }

    pub(crate) fn add(&self, socket: &OwnedFd, interest: Interest) -> Result<(), Errno> {
        epoll::add(&self.inner, socket, epoll::EventData::new_u64(SOCKET), interest.flags())
    }

    pub(crate) fn modify(&self, socket: &OwnedFd, interest: Interest) -> Result<(), Errno> {
        epoll::modify(&self.inner, socket, epoll::EventData::new_u64(SOCKET), interest.flags())
    }

    /// Sleeps until something happens: the timer, too.
    pub(crate) fn wait(&self) -> Woken {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 3];
        let mut woken = Woken::default();
        // An interrupted wait found nothing; the caller looks at the clock and comes again.
        for event in sys::wait(self.inner.as_fd(), &mut events) {
            match event.u64 {
                SOCKET => {
                    let flags = epoll::EventFlags::from_bits_retain(event.events);
                    woken.by_socket = true;
                    woken.by_hang_up = flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR);
                }
                WAKE => woken.by_wake = true,
                _ => {}
            }
        }
        woken
    }

    /// Has the timer fire at `at`.
    pub(crate) fn arm(&self, at: Time) {
        // 0 would disarm it.
        let value = Itimerspec { it_interval: timespec(0), it_value: timespec(at.0.max(1)) };
        let armed = timerfd_settime(&self.timer, TimerfdTimerFlags::ABSTIME, &value);
        debug_assert!(armed.is_ok(), "the descriptor and the time are ours: {armed:?}");
    }

    /// The timer has fired: no longer shown.
    pub(crate) fn clear_timer(&self) {
        clear(&self.timer);
    }

    pub(crate) fn set_wake(&self) {
        set(&self.wake);
    }

    pub(crate) fn clear_wake(&self) {
        clear(&self.wake);
    }

    pub(crate) fn set_ready(&self) {
        set(&self.ready);
    }

    pub(crate) fn clear_ready(&self) {
        clear(&self.ready);
    }
}

impl AsFd for Poller {
    /// Readable when there is something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outer.as_fd()
    }
}

impl Interest {
    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags
    }
}

/// Sets an event. It is never set twice without being cleared, so it cannot overflow.
fn set(event: &OwnedFd) {
    let written = write(event, &1u64.to_ne_bytes());
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Clears an event or a timer; `WouldBlock` says that it was clear.
fn clear(fd: &OwnedFd) {
    let mut count = [0; 8];
    let cleared = read(fd, &mut count);
    debug_assert!(matches!(cleared, Ok(8) | Err(Errno::AGAIN)), "{cleared:?}");
}

fn timespec(us: u64) -> Timespec {
    let s = i64::try_from(us / 1_000_000).unwrap_or(i64::MAX);
    Timespec { tv_sec: s, tv_nsec: i64::try_from(us % 1_000_000 * 1000).unwrap_or(0) }
}

const SOCKET: u64 = 0;
const TIMER: u64 = 1;
const WAKE: u64 = 2;
