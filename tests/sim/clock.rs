//! A node's clock: an origin and a speed of its own, and steps.

use msg_proto::units::Time;

/// A node's clock, as a function of true time (both in microseconds).
#[derive(Clone, Debug)]
pub(super) struct NodeClock {
    /// At this true time ...
    since: u64,
    /// ... it showed this.
    shown: u64,
    ppm: i64,
    stopped: bool,
}

impl NodeClock {
    pub(super) const fn new(now: u64, shown: u64, ppm: i64) -> Self {
        Self { since: now, shown, ppm, stopped: false }
    }

    /// What it shows.
    pub(super) const fn at(&self, now: u64) -> Time {
        if self.stopped {
            return Time(self.shown);
        }
        let passed = now.saturating_sub(self.since) as i64;
        Time(self.shown.saturating_add_signed(passed + passed * self.ppm / 1_000_000))
    }

    /// The first true time, from `now` on, at which it shows at least `at`.
    pub(super) fn when(&self, at: Time, now: u64) -> u64 {
        let wait = at.0.saturating_sub(self.shown).min(1 << 50) as i64;
        let passed = wait * 1_000_000 / (1_000_000 + self.ppm);
        let mut when = (self.since + passed as u64).saturating_sub(1).max(now);
        while self.at(when) < at && !self.stopped {
            when += 1;
        }
        when
    }

    /// How far it runs ahead, in parts per million.
    pub(super) const fn ppm(&self) -> i64 {
        self.ppm
    }

    pub(super) const fn jump(&mut self, now: u64, by: i64) {
        self.shown = self.at(now).0.saturating_add_signed(by);
        self.since = now;
    }

    pub(super) const fn stop(&mut self, now: u64) {
        self.jump(now, 0);
        self.stopped = true;
    }

    pub(super) const fn go_on(&mut self, now: u64) {
        self.since = now;
        self.stopped = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_is_the_inverse_of_at() {
        for ppm in [-500, 0, 500] {
            let mut clock = NodeClock::new(1000, 77_000_000, ppm);
            clock.jump(5_000_000, -3_000_000);
            for at in [74_900_000, 82_000_123, 99_999_999] {
                let when = clock.when(Time(at), 5_000_000);
                assert!(clock.at(when) >= Time(at));
                assert!(when == 5_000_000 || clock.at(when - 1) < Time(at));
            }
        }
    }
}
