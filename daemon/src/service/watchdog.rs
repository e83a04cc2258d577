//! The watchdog: a daemon whose loop has stopped turning is killed and started again.

use std::time::Duration;

use msg_proto::units::{Span, Time};
use sd_notify::NotifyState;

use super::notify;

/// Says that the loop turns, twice in the time that the service manager allows. Fed by nothing but turns: a thread of
/// its own would say so for a loop that stands still.
#[derive(Debug)]
pub(crate) struct Watchdog {
    /// `None`: nobody watches, and nobody is to be woken for it.
    gap: Option<Span>,
    due: Time,
}

impl Watchdog {
    /// The watchdog that the environment asks for.
    pub(crate) fn from_env(now: Time) -> Self {
        Self::new(sd_notify::watchdog_enabled(), now)
    }

    fn new(limit: Option<Duration>, now: Time) -> Self {
        let gap = limit.map(|limit| Span::from(limit / 2)).filter(|gap| *gap > Span::ZERO);
        Self { gap, due: now }
    }

    /// When to be fed next.
    pub(crate) fn due(&self) -> Option<Time> {
        self.gap.map(|_| self.due)
    }

    /// A turn has come round.
    pub(crate) fn feed(&mut self, now: Time) {
        if self.is_hungry(now) {
            notify(&[NotifyState::Watchdog]);
        }
    }

    fn is_hungry(&mut self, now: Time) -> bool {
        let Some(gap) = self.gap.filter(|_| now >= self.due) else { return false };
        self.due = now + gap;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fed_at_half_the_time() {
        let mut watchdog = Watchdog::new(Some(Duration::from_secs(10)), Time(7));
        assert_eq!(watchdog.due(), Some(Time(7)));
        assert!(watchdog.is_hungry(Time(9)));
        assert!(!watchdog.is_hungry(Time(10)), "a busy loop is not slowed down by it");
        assert_eq!(watchdog.due(), Some(Time(5_000_009)));
        assert!(watchdog.is_hungry(Time(5_000_009)));
    }

    #[test]
    fn without_one_nobody_is_woken() {
        let mut watchdog = Watchdog::new(None, Time(7));
        assert_eq!(watchdog.due(), None);
        assert!(!watchdog.is_hungry(Time(u64::MAX)));
    }
}
