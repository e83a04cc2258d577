//! What becomes of one datagram: drawn from a seed, without any I/O.

use std::time::Duration;

use super::faults::{Faults, Share};

/// SplitMix64 (Steele, Lea, Flood 2014): each seed gives its own sequence, and none is a bad seed.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// What becomes of a datagram that meets a line which is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    /// It is dropped.
    Lost,
    /// It goes on.
    Passed(Passage),
}

/// How a datagram goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Passage {
    /// How long the datagram is held back.
    pub(super) delay: Duration,
    /// How long its second copy is held back, if there is one.
    pub(super) second: Option<Duration>,
    /// What [`corrupt`] draws from, if bytes are to change.
    pub(super) corruption: Option<u64>,
    /// Whether `delay` has the extra hold.
    pub(super) held: bool,
}

/// Decides for one datagram after another.
///
/// Each decision draws the same number of times whatever the faults are, so the `n`-th datagram's fate depends
/// on the seed, `n` and the faults of that moment alone.
#[derive(Debug)]
pub(super) struct Fates {
    rng: Rng,
}

impl Fates {
    pub(super) const fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed) }
    }

    pub(super) fn decide(&mut self, faults: &Faults) -> Fate {
        let [loss, second, corruption, bytes, held, delay, second_delay] =
            std::array::from_fn(|_| self.rng.next());
        if falls_in(loss, faults.loss) {
            return Fate::Lost;
        }
        let held = falls_in(held, faults.reordering);
        let extra = if held { faults.hold } else { Duration::ZERO };
        Fate::Passed(Passage {
            delay: between(delay, faults) + extra,
            second: falls_in(second, faults.duplication).then(|| between(second_delay, faults)),
            corruption: falls_in(corruption, faults.corruption).then_some(bytes),
            held,
        })
    }
}

fn falls_in(drawn: u64, share: Share) -> bool {
    drawn % 1_000_000 < u64::from(share.ppm())
}

fn between(drawn: u64, faults: &Faults) -> Duration {
    let spread = faults.delay_max.saturating_sub(faults.delay_min);
    let spread = u64::try_from(spread.as_micros()).unwrap_or(u64::MAX - 1);
    faults.delay_min.saturating_add(Duration::from_micros(drawn % (spread + 1)))
}

/// Changes one to four bytes, each to another value, at places drawn from `seed`. An empty datagram stays empty.
pub(super) fn corrupt(datagram: &mut [u8], seed: u64) {
    let mut rng = Rng::new(seed);
    let mut changed = [usize::MAX; 4];
    for (i, times) in (0..=rng.next() % 4).enumerate() {
        let Some(place) = usize::try_from(rng.next()).ok().and_then(|p| p.checked_rem(datagram.len())) else {
            return;
        };
        let flip = rng.next().to_le_bytes()[0] | 1 << (times % 8);
        // A place that comes twice could be changed back.
        if !changed.contains(&place) {
            datagram[place] ^= flip;
            changed[i] = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUGH: Faults = Faults {
        loss: Share::percent(10),
        duplication: Share::percent(5),
        corruption: Share::percent(1),
        reordering: Share::percent(3),
        delay_max: Duration::from_millis(4),
        ..Faults::NONE
    };

    #[test]
    fn known_values_of_the_generator() {
        // The published sequence for seed 1234567.
        let mut rng = Rng::new(1_234_567);
        assert_eq!(rng.next(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn one_seed_one_sequence() {
        let run = |seed| {
            let mut fates = Fates::new(seed);
            (0..2000).map(|_| fates.decide(&ROUGH)).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }

    #[test]
    fn a_change_of_faults_shifts_no_later_decision() {
        let (mut steady, mut changed) = (Fates::new(3), Fates::new(3));
        for _ in 0..10 {
            steady.decide(&ROUGH);
            changed.decide(&Faults { loss: Share::ALL, ..Faults::NONE });
        }
        assert_eq!(steady.decide(&ROUGH), changed.decide(&ROUGH));
    }

    #[test]
    fn shares_are_kept() {
        let mut fates = Fates::new(42);
        let (mut lost, mut doubled, mut corrupted, mut held) = (0, 0, 0, 0);
        for _ in 0..100_000 {
            match fates.decide(&ROUGH) {
                Fate::Lost => lost += 1,
                Fate::Passed(p) => {
                    assert!(p.delay <= ROUGH.delay_max + ROUGH.hold);
                    doubled += u32::from(p.second.is_some());
                    corrupted += u32::from(p.corruption.is_some());
                    held += u32::from(p.held);
                }
            }
        }
        assert!((9_500..10_500).contains(&lost), "{lost}");
        assert!((4_200..4_800).contains(&doubled), "{doubled}");
        assert!((800..1_000).contains(&corrupted), "{corrupted}");
        assert!((2_500..2_900).contains(&held), "{held}");
    }

    #[test]
    fn without_faults_nothing_happens() {
        let mut fates = Fates::new(1);
        let untouched = Passage { delay: Duration::ZERO, second: None, corruption: None, held: false };
        for _ in 0..1000 {
            assert_eq!(fates.decide(&Faults::NONE), Fate::Passed(untouched));
        }
    }

    #[test]
    fn corruption_always_changes_something() {
        for seed in 0..2000 {
            let mut datagram = [0x5A; 3];
            corrupt(&mut datagram, seed);
            assert_ne!(datagram, [0x5A; 3], "seed {seed}");
        }
        corrupt(&mut [], 1);
    }
}
