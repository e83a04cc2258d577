//! Which size of datagrams a path carries (RFC 8899).

use crate::{
    limits::MAX_MTU,
    units::{Span, Time},
};

/// The search for the largest datagram that a path carries.
///
/// It begins at a size that every path carries, and goes up by probes: datagrams that carry nothing. A larger size
/// is used once a probe of it was acknowledged. A path that stops carrying it (a black hole, section 4.3) is noticed by
/// what is lost, and falls back to where it began.
#[derive(Clone, Debug)]
pub(crate) struct PathMtu {
    /// What every path carries.
    base: usize,
    /// The largest to try.
    ceiling: usize,
    /// What is used.
    size: usize,
    /// The smallest that this search found too large.
    too_large: Option<usize>,
    /// Probes of the next size that were lost.
    lost_probes: u8,
    is_probe_out: bool,
    /// When the search goes on.
    search_at: Time,
    /// Datagrams above `base` that were lost since the last that was not.
    lost_in_a_row: u32,
    after_black_hole: Span,
}

impl PathMtu {
    pub(crate) const fn new(base: usize, ceiling: usize) -> Self {
        Self {
            base,
            ceiling: if ceiling > base { ceiling } else { base },
            size: base,
            too_large: None,
            lost_probes: 0,
            is_probe_out: false,
            search_at: Time(0),
            lost_in_a_row: 0,
            after_black_hole: AFTER_BLACK_HOLE,
        }
    }

    /// The largest datagram to send.
    pub(crate) const fn size(&self) -> usize {
        self.size
    }

    /// The size that every path carries.
    pub(crate) const fn base(&self) -> usize {
        self.base
    }

    /// A probe that is due: of which size.
    pub(crate) fn poll_probe(&mut self, now: Time) -> Option<usize> {
        if self.is_probe_out || now < self.search_at {
            return None;
        }
        let Some(size) = self.next_size() else {
            // Once in a while the network changes for the better (PMTU_RAISE_TIMER, section 5.1.1).
            self.too_large = None;
            self.search_at = now + RAISE;
            return None;
        };
        self.is_probe_out = true;
        Some(size)
    }

    /// Whether a probe is due, or will be as soon as the one that is out has come to its end.
    pub(crate) fn is_searching(&self, now: Time) -> bool {
        now >= self.search_at && self.next_size().is_some()
    }

    /// A probe has arrived.
    pub(crate) const fn record_probe_acked(&mut self, size: usize) {
        self.is_probe_out = false;
        self.lost_probes = 0;
        if size > self.size {
            self.size = size;
            self.lost_in_a_row = 0;
        }
    }

    /// A probe was lost.
    pub(crate) const fn record_probe_lost(&mut self, size: usize) {
        self.is_probe_out = false;
        self.lost_probes += 1;
        if self.lost_probes >= MAX_PROBES {
            self.lost_probes = 0;
            self.too_large = Some(size);
        }
    }

    /// What has become of datagrams with messages: how many above the base came, and were lost, and how many of the
    /// rest came. Returns whether the path turned out to be a black hole.
    pub(crate) fn record_fates(
        &mut self,
        large_acked: u32,
        large_lost: u32,
        small_acked: u32,
        now: Time,
    ) -> bool {
        if large_acked > 0 {
            self.lost_in_a_row = 0;
            return false;
        }
        self.lost_in_a_row = self.lost_in_a_row.saturating_add(large_lost);
        // Only where small ones come is it the size, and not the path.
        let is_hole = self.size > self.base && self.lost_in_a_row >= BLACK_HOLE && small_acked > 0;
        if is_hole {
            let (base, ceiling, pause) = (self.base, self.ceiling, self.after_black_hole);
            *self = Self::new(base, ceiling);
            self.search_at = now + pause;
            self.after_black_hole = pause.times(2).min(RAISE);
        }
        is_hole
    }

    /// A new session: what was out will never be heard of.
    pub(crate) const fn forget_probe(&mut self) {
        self.is_probe_out = false;
        self.lost_in_a_row = 0;
    }

    fn next_size(&self) -> Option<usize> {
        let Some(too_large) = self.too_large else {
            let first = ANCHORS.iter().copied().find(|s| *s > self.size && *s < self.ceiling);
            return first.or((self.ceiling > self.size).then_some(self.ceiling));
        };
        let between = |s: &usize| *s > self.size && *s < too_large && *s <= self.ceiling;
        let count = SIZES.iter().copied().filter(between).count();
        SIZES.iter().copied().filter(between).nth(count / 2)
    }
}

/// Sizes that networks come in, less 28 bytes of IPv4 and UDP or 48 of IPv6 and UDP: IPv6's least, tunnels, PPPoE,
/// Ethernet, FDDI, jumbo frames with and without a tunnel, what a hypervisor passes on, loopback.
const SIZES: &[usize] = &[
    1232, 1252, 1332, 1372, 1392, 1412, 1422, 1432, 1444, 1452, 1472, 1972, 4052, 4324, 6972, 8152, 8372,
    8872, 8922, 8952, 8972, 16_356, 32_740, 49_124, MAX_MTU,
];
/// What is tried first, going up.
const ANCHORS: &[usize] = &[1472, 8972];
/// MAX_PROBES, section 5.1.2.
const MAX_PROBES: u8 = 3;
/// PMTU_RAISE_TIMER, section 5.1.1.
const RAISE: Span = Span::from_millis(600_000);
/// The first pause after a black hole; it doubles.
const AFTER_BLACK_HOLE: Span = Span::from_millis(10_000);
/// So many large ones in a row lost while small ones come make a black hole.
const BLACK_HOLE: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches a path that carries up to `carried`, and returns what was found and the probes that it took.
    fn search(mtu: &mut PathMtu, carried: usize) -> (usize, usize) {
        let mut probes = 0;
        while let Some(size) = mtu.poll_probe(Time(5)) {
            assert!(size > mtu.size());
            assert_eq!(mtu.poll_probe(Time(5)), None, "one at a time");
            probes += 1;
            if size <= carried { mtu.record_probe_acked(size) } else { mtu.record_probe_lost(size) }
        }
        assert!(!mtu.is_searching(Time(5)));
        (mtu.size(), probes)
    }

    #[test]
    fn every_usual_path_is_found() {
        for carried in SIZES {
            let mut mtu = PathMtu::new(1200, MAX_MTU);
            let (found, probes) = search(&mut mtu, *carried);
            assert_eq!(found, *carried);
            assert!(probes <= 18, "{carried}: {probes} probes");
        }
        assert_eq!(search(&mut PathMtu::new(1200, MAX_MTU), 1200).0, 1200);
        assert_eq!(search(&mut PathMtu::new(1200, MAX_MTU), 1471).0, 1452);
    }

    #[test]
    fn the_config_says_where_it_begins_and_ends() {
        assert_eq!(search(&mut PathMtu::new(1200, 1200), MAX_MTU), (1200, 0));
        assert_eq!(search(&mut PathMtu::new(9000, 1200), MAX_MTU), (9000, 0));
        assert_eq!(search(&mut PathMtu::new(1200, 9000), MAX_MTU).0, 9000);
        assert_eq!(search(&mut PathMtu::new(2000, 5000), 4500).0, 4324);
    }

    #[test]
    fn a_path_is_searched_again_after_ten_minutes() {
        let mut mtu = PathMtu::new(1200, MAX_MTU);
        assert_eq!(search(&mut mtu, 1472).0, 1472);
        assert_eq!(mtu.poll_probe(Time(5) + RAISE.div(2)), None);
        assert_eq!(mtu.poll_probe(Time(5) + RAISE), Some(8972));
    }

    #[test]
    fn one_lost_probe_decides_nothing() {
        let mut mtu = PathMtu::new(1200, 1472);
        for _ in 0..2 {
            assert_eq!(mtu.poll_probe(Time(0)), Some(1472));
            mtu.record_probe_lost(1472);
        }
        assert_eq!(mtu.poll_probe(Time(0)), Some(1472));
        mtu.record_probe_acked(1472);
        assert_eq!(mtu.size(), 1472);
    }

    #[test]
    fn a_black_hole_sends_it_back_to_the_base() {
        let mut mtu = PathMtu::new(1200, 9000);
        assert_eq!(search(&mut mtu, 9000).0, 9000);
        assert!(!mtu.record_fates(0, 100, 0, Time(9)), "a path that carries nothing is no black hole");
        assert!(!mtu.record_fates(1, 0, 5, Time(9)));
        assert!(!mtu.record_fates(0, BLACK_HOLE - 1, 5, Time(9)));
        assert!(mtu.record_fates(0, 1, 1, Time(9)));
        assert_eq!(mtu.size(), 1200);
        assert_eq!(mtu.poll_probe(Time(10)), None);
        let later = Time(9) + AFTER_BLACK_HOLE;
        assert_eq!(mtu.poll_probe(later), Some(1472));
        mtu.record_probe_acked(1472);
        assert!(mtu.record_fates(0, BLACK_HOLE, 1, later));
        assert_eq!(mtu.poll_probe(later + AFTER_BLACK_HOLE), None, "the pause has doubled");
        assert_eq!(mtu.poll_probe(later + AFTER_BLACK_HOLE.times(2)), Some(1472));
    }

    #[test]
    fn a_search_goes_on_until_there_is_nothing_to_try() {
        let mut mtu = PathMtu::new(1200, 1472);
        assert!(mtu.is_searching(Time(5)));
        assert_eq!(mtu.poll_probe(Time(5)), Some(1472));
        assert!(mtu.is_searching(Time(5)), "while a probe is out");
        mtu.record_probe_acked(1472);
        assert!(!mtu.is_searching(Time(5)));
        let mut pausing = PathMtu { search_at: Time(9), ..PathMtu::new(1200, 1472) };
        assert!(!pausing.is_searching(Time(8)) && pausing.is_searching(Time(9)));
        assert_eq!((pausing.poll_probe(Time(8)), pausing.poll_probe(Time(9))), (None, Some(1472)));
    }

    #[test]
    fn a_new_session_probes_again_and_knows_of_no_losses() {
        let mut mtu = PathMtu::new(1200, 9000);
        assert_eq!(mtu.poll_probe(Time(5)), Some(1472));
        mtu.forget_probe();
        assert_eq!(mtu.poll_probe(Time(5)), Some(1472), "what was out will never be heard of");
        mtu.record_probe_acked(1472);
        assert!(!mtu.record_fates(0, BLACK_HOLE - 1, 1, Time(5)));
        mtu.forget_probe();
        assert!(!mtu.record_fates(0, BLACK_HOLE - 1, 1, Time(5)));
        assert_eq!(mtu.size(), 1472, "what was found stays");
    }

    #[test]
    fn what_comes_ends_a_row_of_losses() {
        let mut mtu = PathMtu::new(1200, 9000);
        mtu.record_probe_acked(1472);
        assert!(!mtu.record_fates(0, BLACK_HOLE - 1, 1, Time(5)));
        mtu.record_probe_acked(8972);
        assert!(!mtu.record_fates(0, BLACK_HOLE - 1, 1, Time(5)), "a larger size was acknowledged");
        mtu.record_probe_acked(8972);
        assert!(mtu.record_fates(0, 1, 1, Time(5)), "the same size says nothing new");
        assert!(!mtu.record_fates(0, BLACK_HOLE, 1, Time(5)), "small ones that are lost are no black hole");
    }

    #[test]
    fn the_pause_after_a_black_hole_is_no_longer_than_between_two_searches() {
        let (mut mtu, mut pause) = (PathMtu::new(1200, 1472), AFTER_BLACK_HOLE);
        for _ in 0..10 {
            mtu.record_probe_acked(1472);
            assert!(mtu.record_fates(0, BLACK_HOLE, 1, Time(7)));
            assert_eq!(mtu.search_at, Time(7) + pause);
            pause = pause.times(2).min(RAISE);
        }
        assert_eq!(pause, RAISE);
    }
}
