//! How many bytes of redundant copies a link may send.

/// A budget of two parts: redundant copies take at most half as many bytes as all else, and a few times as many as the network loses,
/// since some of them are in vain.
#[derive(Debug, Default)]
pub(crate) struct Redundancy {
    /// Allowed for what was sent, and not used yet.
    share: usize,
    /// Allowed for what was lost, and not used yet.
    credit: usize,
}

impl Redundancy {
    /// A datagram left with so many bytes of redundant copies, and so many others.
    #[inline]
    pub(crate) fn record_sent(&mut self, bytes: usize, redundant: usize) {
        self.share = (self.share + bytes / SHARE).saturating_sub(redundant).min(MAX_SHARE);
        self.credit = self.credit.saturating_sub(redundant);
    }

    /// A datagram was lost.
    pub(crate) fn record_lost(&mut self, bytes: usize) {
        self.credit = (self.credit + bytes * CREDIT_FOR_LOST).min(MAX_CREDIT);
    }

    /// How many bytes may be redundant now.
    #[inline]
    pub(crate) fn room(&self) -> usize {
        self.share.min(self.credit)
    }
}

/// One redundant byte for so many others.
const SHARE: usize = 2;
/// Redundant bytes for each that was lost: a message goes up to three times more, and acknowledgements are lost, too.
const CREDIT_FOR_LOST: usize = 4;
/// What was sent long ago counts no more.
const MAX_SHARE: usize = 4096;
/// Nor does what was lost long ago.
const MAX_CREDIT: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_is_redundant_where_nothing_is_lost() {
        let mut r = Redundancy::default();
        r.record_sent(100_000, 0);
        assert_eq!(r.room(), 0);
        r.record_lost(50);
        assert_eq!(r.room(), 200);
        r.record_sent(0, 200);
        assert_eq!(r.room(), 0);
        r.record_lost(1_000_000);
        assert_eq!(r.room(), MAX_SHARE - 200);
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
                prop_assert!(redundant <= first / SHARE && redundant <= CREDIT_FOR_LOST * lost);
            }
        }
    }
}
