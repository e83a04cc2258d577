//! Time. Instants and spans are whole microseconds; this crate never reads a clock.

use std::{ops, time::Duration};

use serde::{Deserialize, Serialize};

/// An instant of one node's `CLOCK_BOOTTIME`, in microseconds. Two nodes' values cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub u64);

/// A length of time, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub u64);

impl Time {
    /// The span since `earlier`; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }

    /// The first of some instants, where there is any. (An iterator's `flatten().min()` says the same, and takes ten times as long;
    /// loops ask for it each time before they sleep.)
    #[inline]
    #[must_use]
    pub fn first_of<const N: usize>(instants: [Option<Self>; N]) -> Option<Self> {
        let first = instants.iter().fold(u64::MAX, |first, at| first.min(at.map_or(u64::MAX, |at| at.0)));
        (first < u64::MAX).then_some(Self(first))
    }

    /// This instant less a span; not before 0.
    #[must_use]
    pub const fn minus(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

impl Span {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// Whole milliseconds.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// In whole milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1000
    }

    /// This span times `n`.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }

    /// The part of this span that is `1 / n` of it.
    #[must_use]
    pub const fn div(self, n: u64) -> Self {
        Self(self.0 / n)
    }

    /// The longer of the two.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Ord::max(self, other)
    }

    /// The shorter of the two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        Ord::min(self, other)
    }
}

impl ops::Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl ops::Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        Self::from_micros(span.0)
    }
}

impl From<Duration> for Span {
    /// Rounds down to whole microseconds; more than a `u64` holds becomes the longest span.
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_some_instants() {
        assert_eq!(Time::first_of([]), None);
        assert_eq!(Time::first_of([None, None]), None);
        assert_eq!(Time::first_of([None, Some(Time(7)), None, Some(Time(3)), Some(Time(3))]), Some(Time(3)));
        assert_eq!(Time::first_of([Some(Time(0)), Some(Time(u64::MAX))]), Some(Time(0)));
        // The end of time is never.
        assert_eq!(Time::first_of([Some(Time(u64::MAX))]), None);
    }
}
