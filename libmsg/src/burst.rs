//! The time of sends that follow each other at once.

use msg_proto::units::Time;

/// [`SendFlags::MORE`](crate::SendFlags::MORE) promises that another call follows at once. If that is a send, it has the time of
/// the one before: reading the clock is among the dearest things that a send does. It is read for each [`SENDS`]th anyhow, and
/// whenever another thread has brought the session a later time meanwhile: the session's never goes back.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    at: Time,
    left: u8,
}

impl Burst {
    /// The time of a send that begins now, to a session whose time is `known`.
    #[inline]
    pub(crate) fn time(&mut self, known: Time, clock: impl FnOnce() -> Time) -> Time {
        if self.left == 0 || self.at < known {
            *self = Self { at: clock(), left: SENDS };
        }
        self.left -= 1;
        self.at
    }

    /// Whether a send shares the time of the one before.
    #[inline]
    pub(crate) const fn is_open(&self) -> bool {
        self.left > 0
    }

    /// Nothing says that what comes next follows at once.
    #[inline]
    pub(crate) const fn end(&mut self) {
        self.left = 0;
    }
}

/// Sends that have one time, at most.
const SENDS: u8 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_share_a_time_until_the_burst_ends_or_has_many() {
        let mut burst = Burst::default();
        let mut clock = 0;
        let mut send = |burst: &mut Burst| {
            clock += 1;
            burst.time(Time(0), || Time(clock)).0
        };
        assert_eq!([send(&mut burst), send(&mut burst), send(&mut burst)], [1, 1, 1]);
        burst.end();
        assert_eq!([send(&mut burst), send(&mut burst)], [4, 4]);
        burst.end();
        let times: Vec<_> = (0..2 * SENDS).map(|_| send(&mut burst)).collect();
        assert_eq!((times[0], times[15], times[16], times[31]), (6, 6, 22, 22));
    }

    #[test]
    fn a_send_is_no_earlier_than_what_another_thread_brought() {
        let mut burst = Burst::default();
        assert_eq!(burst.time(Time(0), || Time(10)), Time(10));
        assert_eq!(burst.time(Time(10), || Time(11)), Time(10));
        assert_eq!(burst.time(Time(12), || Time(13)), Time(13));
        assert!(burst.is_open());
        assert_eq!(burst.time(Time(13), || Time(14)), Time(13));
        // A clock that went back is what it is.
        assert_eq!(burst.time(Time(99), || Time(15)), Time(15));
    }
}
