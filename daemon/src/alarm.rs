//! Wakes the loop when something is due. Not by epoll's own time-out: it counts in whole milliseconds, where the loss of a
//! datagram is known after a fraction of one (RFC 9002, section 6.1.2), and it sets the CPU's timer anew at each sleep,
//! which in a VM costs as much as a system call or two.

use std::{io, os::fd::AsRawFd, os::fd::OwnedFd};

use mio::{Interest, Registry, Token, unix::SourceFd};
use msg_proto::units::Time;
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

    /// Sees to it that the loop wakes up no later than at `at`. What is set for earlier stays, and then wakes it once for
    /// nothing: under traffic, what is due moves on with each turn, and the timer does not have to.
    pub(crate) fn set(&mut self, at: Time) -> io::Result<()> {
        if self.set_to.is_some_and(|set_to| set_to <= at) {
            return Ok(());
        }
        let narrow = |n: u64| n.try_into().unwrap_or(0);
        // 0 would unset it.
        let us = at.0.max(1);
        let it_value = Timespec { tv_sec: narrow(us / 1_000_000), tv_nsec: narrow(us % 1_000_000 * 1000) };
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let _before =
            timerfd_settime(&self.fd, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value })?;
        self.set_to = Some(at);
        Ok(())
    }

    /// It went off.
    pub(crate) const fn on_event(&mut self) {
        self.set_to = None;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll};
    use msg_proto::units::Span;

    use super::*;
    use crate::clock;

    #[test]
    fn it_wakes_a_poll_that_would_sleep_on_and_again_when_set_again() {
        let mut poll = Poll::new().expect("epoll");
        let mut alarm = Alarm::new(poll.registry(), Token(7)).expect("a timer");
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            let now = clock::now();
            alarm.set(now + Span(300)).expect("set");
            poll.poll(&mut events, Some(Duration::from_secs(60))).expect("polled");
            assert_eq!(events.iter().next().map(|event| event.token()), Some(Token(7)));
            assert!(clock::now() >= now + Span(300));
            alarm.on_event();
        }
    }

    #[test]
    fn it_moves_to_what_is_due_earlier_and_stays_for_what_is_due_later() {
        let mut poll = Poll::new().expect("epoll");
        let mut alarm = Alarm::new(poll.registry(), Token(7)).expect("a timer");
        let mut events = Events::with_capacity(4);
        let now = clock::now();
        let (hour, soon) = (Span::from_millis(3_600_000), Span(300));
        alarm.set(now + hour).expect("set");
        for at in [now + soon, now + hour] {
            alarm.set(at).expect("set");
            assert_eq!(alarm.set_to, Some(now + soon));
        }
        poll.poll(&mut events, Some(Duration::from_secs(60))).expect("polled");
        assert!(!events.is_empty());
        // What is past, and even 0, goes off at once.
        for at in [Time(0), now] {
            alarm.on_event();
            alarm.set(at).expect("set");
            poll.poll(&mut events, Some(Duration::from_secs(60))).expect("polled");
            assert!(!events.is_empty());
        }
    }
}
