//! How long messages took.

use hdrhistogram::Histogram;
use serde::Serialize;

/// Latencies from 1 us to 10 min, to three digits.
pub(super) type Latencies = Histogram<u64>;

/// A histogram for latencies in microseconds.
pub(super) fn latencies() -> Latencies {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are in order")
}

/// The usual percentiles, in microseconds.
#[derive(Clone, Copy, Serialize, PartialEq, Eq, Debug)]
pub(super) struct Percentiles {
    min: u64,
    p50: u64,
    p90: u64,
    p99: u64,
    p99_9: u64,
    max: u64,
}

impl Percentiles {
    /// `None`: nothing was recorded.
    pub(super) fn of(latencies: &Latencies) -> Option<Self> {
        let at = |percentile| latencies.value_at_percentile(percentile);
        (!latencies.is_empty()).then(|| Self {
            min: latencies.min(),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            max: latencies.max(),
        })
    }

    /// Their names and values, from the shortest on.
    pub(super) fn named(self) -> [(&'static str, u64); 6] {
        let Self { min, p50, p90, p99, p99_9, max } = self;
        [("MIN", min), ("P50", p50), ("P90", p90), ("P99", p99), ("P99.9", p99_9), ("MAX", max)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_recorded() {
        let mut recorded = latencies();
        assert_eq!(Percentiles::of(&recorded), None);
        (1..=1000).for_each(|us| recorded.saturating_record(us));
        let percentiles = Percentiles::of(&recorded).expect("something was recorded");
        let [min, p50, p90, p99, p99_9, max] = percentiles.named().map(|(_, us)| us);
        assert_eq!([min, p50, p90, p99, max], [1, 500, 900, 990, 1000]);
        assert!((999..=1000).contains(&p99_9), "{p99_9}");
    }
}
