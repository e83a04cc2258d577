//! Wakes the loop within a millisecond: epoll counts in whole ones, rounded up, and the loss of a datagram is known
//! after a fraction of one (RFC 9002, section 6.1.2).

use std::{io, os::fd::AsRawFd, os::fd::OwnedFd};

use mio::{Interest, Registry, Token, unix::SourceFd};
use msg_proto::units::{Span, Time};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A timer of the kernel's, on the daemon's clock.
#[derive(Debug)]
pub(crate) struct Alarm {
    fd: OwnedFd,
    set_to: Option<Time>,
}

impl Alarm {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let fd = timerfd_create(TimerfdClockId::Boottime, flags)?;
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { fd, set_to: None })
    }

    /// Sees to it that the loop wakes up at `at`, if that is sooner than epoll can tell. It is never unset: that would
    /// cost more than a turn for nothing.
    pub(crate) fn set(&mut self, at: Time, now: Time) -> io::Result<()> {
        let ahead = at.since(now);
        if ahead == Span::ZERO || ahead >= COARSE || self.set_to == Some(at) {
            return Ok(());
        }
        let narrow = |n: u64| n.try_into().unwrap_or(0);
        let it_value =
            Timespec { tv_sec: narrow(at.0 / 1_000_000), tv_nsec: narrow(at.0 % 1_000_000 * 1000) };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let _before =
            timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value })?;
        self.set_to = Some(at);
        Ok(())
    }
}

/// What is further off can wait for the next whole millisecond.
const COARSE: Span = Span(500);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;
    use crate::clock;

    #[test]
    fn it_wakes_a_poll_that_would_sleep_on_and_again_when_set_again() {
        let mut poll = Poll::new().expect("epoll");
        let mut alarm = Alarm::new(poll.registry(), Token(7)).expect("a timer");
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            let now = clock::now();
            alarm.set(now + Span(300), now).expect("set");
            poll.poll(&mut events, Some(Duration::from_secs(60))).expect("polled");
            assert_eq!(events.iter().next().map(|event| event.token()), Some(Token(7)));
            assert!(clock::now() >= now + Span(300));
        }
    }

    #[test]
    fn what_epoll_can_tell_is_left_to_it() {
        let poll = Poll::new().expect("epoll");
        let mut alarm = Alarm::new(poll.registry(), Token(7)).expect("a timer");
        let now = clock::now();
        for ahead in [0, 500, 5_000_000] {
            alarm.set(now + Span(ahead), now).expect("nothing done");
            assert_eq!(alarm.set_to, None);
        }
    }
}
