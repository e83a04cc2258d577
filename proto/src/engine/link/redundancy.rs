//! How many bytes of redundant copies a link may send.

/// A budget of two parts: redundant copies take no more bytes than what is sent for the first time, and not many times what the
/// network loses, since most of them are in vain.
#[derive(Debug, Default)]
pub(crate) struct Redundancy {
    /// Sent for the first time, and not matched yet.
    unmatched: usize,
    /// Allowed for what was lost, and not used yet.
    allowed: usize,
}

impl Redundancy {
    /// A datagram left with so many bytes that are there for the first time, and so many that are redundant.
    #[inline]
    pub(crate) fn record_sent(&mut self, bytes: usize, redundant: usize) {
        self.unmatched = (self.unmatched + bytes).saturating_sub(redundant).min(MAX_UNMATCHED);
        self.allowed = self.allowed.saturating_sub(redundant);
    }

    /// A datagram was lost.
    pub(crate) fn record_lost(&mut self, bytes: usize) {
        self.allowed = (self.allowed + bytes * ALLOWED_FOR_LOST).min(MAX_ALLOWED);
    }

    /// How many bytes may be redundant now.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.unmatched.min(self.allowed)
    }
}

/// Redundant bytes for each that was lost: where one in twenty is lost, every message may go twice.
const ALLOWED_FOR_LOST: usize = 20;
/// What was sent long ago is not made up for.
const MAX_UNMATCHED: usize = 4096;
/// Nor is what was lost long ago.
const MAX_ALLOWED: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_redundant_where_nothing_is_lost() {
        let mut r = Redundancy::default();
        r.record_sent(100_000, 0);
        assert_eq!(r.room(), 0);
        r.record_lost(10);
        assert_eq!(r.room(), 200);
        r.record_sent(0, 200);
        assert_eq!(r.room(), 0);
        r.record_lost(1_000_000);
        assert_eq!(r.room(), MAX_UNMATCHED - 200);
    }

    proptest! {
        #[test]
        fn the_share_is_bounded(steps in proptest::collection::vec((0..2000_usize, 0..3000_usize, 0..9_u8), 1..200)) {
            let mut r = Redundancy::default();
            let (mut first, mut redundant, mut lost) = (0, 0, 0);
            for (bytes, wanted, fate) in steps {
                let taken = wanted.min(r.room());
                r.record_sent(bytes, taken);
                first += bytes;
                redundant += taken;
                if fate == 0 {
                    r.record_lost(bytes);
                    lost += bytes;
                }
                prop_assert!(redundant <= first && redundant <= ALLOWED_FOR_LOST * lost);
            }
        }
    }
}
