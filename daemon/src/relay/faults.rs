//! What the relay does to datagrams, and what it has done.

use std::{fmt, str::FromStr, time::Duration};

/// A share of all datagrams, kept in parts per million so that a seed decides alike on every machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Share(u32);

impl Share {
    /// None of them.
    pub const NONE: Self = Self(0);

    /// All of them.
    pub const ALL: Self = Self(1_000_000);

    /// Whole percents; more than 100 is all.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        if percent >= 100 { Self::ALL } else { Self(percent * 10_000) }
    }

    /// In parts per million.
    #[must_use]
    pub const fn ppm(self) -> u32 {
        self.0
    }
}

/// Percents from 0 to 100 with up to four decimals: `10`, `0.5`.
impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, ShareError> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 4 {
            return Err(ShareError);
        }
        let whole: u32 = whole.parse().map_err(|_| ShareError)?;
        let part: u32 = format!("{part:0<4}").parse().map_err(|_| ShareError)?;
        let ppm = whole.checked_mul(10_000).and_then(|w| w.checked_add(part)).ok_or(ShareError)?;
        if ppm > Self::ALL.0 { Err(ShareError) } else { Ok(Self(ppm)) }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 10_000, self.0 % 10_000);
        if part == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{part:04}").trim_end_matches('0'))
    }
}

/// Not a share in percent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShareError;

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share is a number of percents from 0 to 100 with at most four decimals")
    }
}

impl std::error::Error for ShareError {}

/// Whether anything passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    /// Datagrams pass, with the faults.
    Whole,
    /// Nothing passes; what the relay held back is lost with it.
    Cut,
}

/// What happens to the datagrams of one direction. Each is decided on its own, in the order of the fields:
/// a lost one is not also doubled, and both copies of a doubled one are corrupted alike, each with its own delay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Faults {
    /// Whether anything passes at all.
    pub line: Line,
    /// Dropped.
    pub loss: Share,
    /// Sent twice.
    pub duplication: Share,
    /// One to four bytes changed.
    pub corruption: Share,
    /// Held back by [`hold`](Self::hold) beyond their delay, so that later ones overtake them.
    pub reordering: Share,
    /// How long those are held back.
    pub hold: Duration,
    /// The shortest delay of every datagram.
    pub delay_min: Duration,
    /// The longest. The delay is even between the two; where they differ, datagrams overtake each other.
    pub delay_max: Duration,
}

impl Faults {
    /// None: what comes goes on, at once and in order.
    pub const NONE: Self = Self {
        line: Line::Whole,
        loss: Share::NONE,
        duplication: Share::NONE,
        corruption: Share::NONE,
        reordering: Share::NONE,
        hold: Duration::from_millis(2),
        delay_min: Duration::ZERO,
        delay_max: Duration::ZERO,
    };
}

/// What the relay did in one direction. Every datagram that came is in exactly one of `lost`, `cut`, `overflowed`,
/// `unsent`, or went on (or still waits).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct RelayCounts {
    /// Datagrams that came from the endpoint.
    pub received: u64,
    /// Datagrams sent on, second copies included.
    pub forwarded: u64,
    /// Dropped as [`Faults::loss`] says.
    pub lost: u64,
    /// Doubled.
    pub duplicated: u64,
    /// Changed.
    pub corrupted: u64,
    /// Held back as [`Faults::reordering`] says.
    pub reordered: u64,
    /// Copies dropped because the line was cut.
    pub cut: u64,
    /// Copies dropped because too many were waiting already.
    pub overflowed: u64,
    /// Copies that the kernel did not take.
    pub unsent: u64,
    /// Datagrams that came from elsewhere and were ignored.
    pub strangers: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percents() {
        let ppm = |s: &str| s.parse::<Share>().map(Share::ppm);
        assert_eq!(ppm("10"), Ok(100_000));
        assert_eq!(ppm("0.5"), Ok(5_000));
        assert_eq!(ppm("0.0001"), Ok(1));
        assert_eq!(ppm("100"), Ok(1_000_000));
        for bad in ["", "-1", "100.1", "1e1", ".5", "5.", "0.00001", "99999999999", "+1", "nan"] {
            assert_eq!(ppm(bad), Err(ShareError), "{bad}");
        }
        for same in ["0", "10", "0.5", "12.3456"] {
            assert_eq!(same.parse::<Share>().unwrap().to_string(), same);
        }
    }
}
