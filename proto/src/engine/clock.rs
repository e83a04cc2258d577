//! Time, as the engine keeps it (DESIGN section 3): a node's own clock in two readings, and a peer's clock as
//! seen from here.
//!
//! Where an age is judged, elapsed time must never be under-measured; where an outcome is final, it must never
//! be over-measured. So the *raw* clock judges and stamps, and the *steady* one runs the timers: it does not
//! count the time in which the driver was not called although it had asked to be (a suspended VM, a clock
//! that jumped ahead).

use std::collections::VecDeque;

use crate::{
    limits::{CLOCK_DRIFT_PPM, CLOCK_GAP_MS, CLOCK_WINDOW_MS},
    units::{Span, Time},
};

/// This node's clock.
#[derive(Debug)]
pub(crate) struct Clock {
    raw: Time,
    steady: Time,
}

/// A daemon's driver that calls this much later than it was asked to was suspended.
pub(crate) const GAP: Span = Span::from_millis(CLOCK_GAP_MS);

/// What [`Clock::advance`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Nothing unusual.
    None,
    /// Time passed, or the clock jumped, while nobody called: what peers' clocks are is not known any more.
    Forward,
    /// The clock went back: what peers know of it is wrong.
    Backward,
}

impl Clock {
    pub(crate) const fn new(now: Time) -> Self {
        Self { raw: now, steady: now }
    }

    /// Whether so much has passed that it matters what the driver was asked for, if it may be late by `late`.
    #[inline]
    pub(crate) fn is_gap(&self, now: Time, late: Span) -> bool {
        now.since(self.raw) > late
    }

    /// Takes the driver's `now`; `asked` is the steady time at which it was asked to call at the latest.
    pub(crate) fn advance(&mut self, now: Time, asked: Option<Time>) -> Step {
        self.advance_by(now, asked, GAP)
    }

    /// The same, for a driver that is late by no more than `late`.
    pub(crate) fn advance_by(&mut self, now: Time, asked: Option<Time>, late: Span) -> Step {
        if now < self.raw {
            self.raw = now;
            return Step::Backward;
        }
        let passed = now.since(self.raw);
        self.raw = now;
        let expected = asked.map_or(Span(u64::MAX), |at| at.since(self.steady) + late);
        self.steady = self.steady + passed.min(expected);
        if passed > expected { Step::Forward } else { Step::None }
    }

    /// For stamps and for judging them.
    #[inline]
    pub(crate) const fn raw(&self) -> Time {
        self.raw
    }

    /// For timers.
    #[inline]
    pub(crate) const fn steady(&self) -> Time {
        self.steady
    }

    /// The driver's time at which the steady clock will show `at`.
    pub(crate) fn to_raw(&self, at: Time) -> Time {
        self.raw + at.since(self.steady)
    }
}

/// A peer's clock, as seen from here: the least-delayed of the last samples, trusted less as it ages.
#[derive(Debug, Default)]
pub(crate) struct PeerClock {
    /// In order of age; each one's offset is lower than that of the one before, as of now.
    samples: VecDeque<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Their clock less ours when it came: low by the delay on the way.
    offset: i64,
    at: Time,
}

impl Sample {
    fn offset_at(self, now: Time) -> i64 {
        self.offset.saturating_sub(drift(now.since(self.at)).0.cast_signed())
    }
}

impl PeerClock {
    /// Their clock's value came; `round_trip` bounds its delay where it is known.
    ///
    /// Returns `true` if it shows that their clock stepped back (or stood still): what was remembered is wrong.
    pub(crate) fn record(&mut self, theirs: Time, now: Time, round_trip: Option<Span>) -> bool {
        let sample = Sample { offset: theirs.0.wrapping_sub(now.0).cast_signed(), at: now };
        let window = Span::from_millis(CLOCK_WINDOW_MS);
        while self.samples.front().is_some_and(|s| now.since(s.at) > window) {
            self.samples.pop_front();
        }
        let stepped = round_trip.is_some_and(|rtt| {
            let highest = sample.offset.saturating_add_unsigned(rtt.0).saturating_add(STEP_TOLERANCE_US);
            let before = self.samples.len();
            self.samples.retain(|s| s.offset_at(now) <= highest);
            self.samples.len() < before
        });
        while self.samples.back().is_some_and(|s| s.offset_at(now) <= sample.offset) {
            self.samples.pop_back();
        }
        if self.samples.len() < MAX_SAMPLES {
            self.samples.push_back(sample);
        }
        stepped
    }

    /// Forgets everything: our own clock stepped.
    pub(crate) fn clear(&mut self) {
        self.samples.clear();
    }

    /// What their clock shows now, at the most `delay + drift` less than it does, and never more.
    pub(crate) fn theirs(&self, now: Time) -> Option<Time> {
        let best = self.samples.iter().map(|s| s.offset_at(now)).max()?;
        Some(Time(now.0.wrapping_add_signed(best)))
    }

    /// How much more delayed the worst remembered sample was than the best.
    pub(crate) fn spread(&self, now: Time) -> Span {
        let offsets = || self.samples.iter().map(|s| s.offset_at(now));
        let spread = offsets().max().zip(offsets().min()).map_or(0, |(max, min)| max.saturating_sub(min));
        Span(spread.unsigned_abs())
    }
}

/// How far two clocks may drift apart in a span.
#[inline]
pub(crate) const fn drift(span: Span) -> Span {
    Span(span.0 / (1_000_000 / CLOCK_DRIFT_PPM))
}

const MAX_SAMPLES: usize = 32;
const STEP_TOLERANCE_US: i64 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_is_never_ahead_of_the_truth() {
        let mut clock = PeerClock::default();
        let truth = |mine: u64| mine + 5_000_000;
        for (sent, delay) in [(1000, 700), (50_000, 90), (90_000, 4000), (900_000, 200)] {
            clock.record(Time(truth(sent)), Time(sent + delay), None);
            let now = Time(sent + delay + 10);
            let theirs = clock.theirs(now).unwrap().0;
            assert!(theirs <= truth(now.0), "{theirs} {now:?}");
        }
        let theirs = clock.theirs(Time(900_210)).unwrap().0;
        assert!(truth(900_210) - theirs <= 200 + 901);
    }

    #[test]
    fn a_round_trip_exposes_a_clock_that_stood_still() {
        let mut clock = PeerClock::default();
        assert!(!clock.record(Time(1_000_000), Time(500), Some(Span(300))));
        assert!(!clock.record(Time(1_100_000), Time(100_900), Some(Span(1_000))));
        assert!(clock.record(Time(1_200_000), Time(5_200_500), Some(Span(400))));
        assert!(clock.theirs(Time(5_200_600)).unwrap() <= Time(1_200_500));
    }

    #[test]
    fn the_steady_clock_does_not_count_a_gap() {
        let mut clock = Clock::new(Time(1_000_000));
        assert_eq!(clock.advance(Time(1_010_000), Some(Time(1_010_000))), Step::None);
        assert_eq!(clock.steady(), Time(1_010_000));
        assert_eq!(clock.advance(Time(9_000_000), Some(Time(1_020_000))), Step::Forward);
        assert_eq!(clock.steady(), Time(1_020_000 + CLOCK_GAP_MS * 1000));
        assert_eq!(clock.raw(), Time(9_000_000));
        assert_eq!(clock.advance(Time(8_000_000), None), Step::Backward);
        assert_eq!(clock.to_raw(clock.steady() + Span(5)), Time(8_000_005));
        assert_eq!(clock.advance(Time(99_000_000), None), Step::None);
    }

    #[test]
    fn what_was_remembered_of_a_clock_is_forgotten_when_ours_steps() {
        let mut clock = PeerClock::default();
        clock.record(Time(5_000_000), Time(100), None);
        clock.clear();
        assert_eq!((clock.theirs(Time(200)), clock.spread(Time(200))), (None, Span::ZERO));
        clock.record(Time(1_000), Time(300), None);
        assert_eq!(clock.theirs(Time(300)), Some(Time(1_000)));
    }

    #[test]
    fn a_sample_is_trusted_for_ten_seconds_and_less_as_it_ages() {
        let mut clock = PeerClock::default();
        let start = 1_000_000;
        clock.record(Time(start), Time(start), None);
        let theirs = |clock: &PeerClock, after: u64| clock.theirs(Time(start + after)).unwrap().0;
        assert_eq!(theirs(&clock, 1_000_000), start + 1_000_000 - 1_000, "1,000 ppm");
        // One that was 3 ms longer on its way counts once the first is too old, or trusted less than it.
        let window = CLOCK_WINDOW_MS * 1000;
        clock.record(Time(start + window - 9_000), Time(start + window), None);
        assert_eq!(theirs(&clock, window), start + window - 9_000);
        let mut clock = PeerClock::default();
        clock.record(Time(start), Time(start), None);
        clock.record(Time(start + window / 2 - 6_000), Time(start + window / 2), None);
        assert_eq!(theirs(&clock, window / 2), start + window / 2 - 5_000);
        assert_eq!(clock.spread(Time(start + window / 2)), Span(1_000));
        clock.record(Time(start + window - 50_000), Time(start + window), None);
        assert_eq!(theirs(&clock, window), start + window - 10_000, "the first, for the last time");
        clock.record(Time(start + window + 1 - 50_000), Time(start + window + 1), None);
        assert_eq!(theirs(&clock, window + 1), start + window + 1 - 11_000);
    }

    #[test]
    fn so_many_samples_are_kept() {
        let mut clock = PeerClock::default();
        for n in 0..1000_u64 {
            // Each is a little worse than the one before, as a queue that fills makes it.
            clock.record(Time(1_000_000 + n * 900), Time(n * 1000), None);
        }
        assert_eq!(clock.samples.len(), MAX_SAMPLES);
        assert_eq!(clock.samples.front().map(|s| s.at), Some(Time(0)));
    }

    #[test]
    fn a_driver_is_late_only_beyond_the_gap() {
        let start = Time(1_000_000);
        let gap = Span::from_millis(CLOCK_GAP_MS);
        for (late, step) in [(Span::ZERO, Step::None), (Span(1), Step::Forward)] {
            let mut clock = Clock::new(start);
            assert!(!clock.is_gap(start + gap, gap) && clock.is_gap(start + gap + Span(1), gap));
            assert_eq!(clock.advance(start + Span(500) + gap + late, Some(start + Span(500))), step);
            assert_eq!(clock.steady(), start + Span(500) + gap);
        }
    }
}
