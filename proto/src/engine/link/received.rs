//! Which datagram numbers of a session have come.

use std::collections::VecDeque;

use crate::{
    limits::{MAX_ACK_RANGES, MAX_MTU, MIN_MTU, REPLAY_WINDOW},
    units::{Span, Time},
};

/// Numbers that have come: refuses a repeated one, and says which to acknowledge.
#[derive(Debug)]
pub(crate) struct Received {
    /// A bit for each of the last [`REPLAY_WINDOW`] numbers, at `number % REPLAY_WINDOW`.
    seen: Box<[u64; WORDS]>,
    highest: Option<u64>,
    highest_at: Time,
    /// The highest first; at most [`MAX_ACK_RANGES`].
    ranges: VecDeque<Range>,
    /// How many were accepted.
    accepted: u64,
    /// Datagrams that want an acknowledgement and have none yet.
    pub(crate) unacknowledged: u32,
    unacknowledged_bytes: usize,
    /// By when one goes out, if nothing else does.
    pub(crate) ack_at: Option<Time>,
    /// A number is missing before one that came: the peer should know at once.
    pub(crate) is_urgent: bool,
}

/// Numbers in a row that have come.
#[derive(Clone, Copy, Debug)]
struct Range {
    low: u64,
    high: u64,
    /// How many had been accepted when the last of it came.
    changed: u64,
}

/// What a LINK_ACK told: how many had been accepted when it left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told(u64);

impl Default for Received {
    fn default() -> Self {
        Self {
            seen: Box::new([0; WORDS]),
            highest: None,
            highest_at: Time(0),
            ranges: VecDeque::new(),
            accepted: 0,
            unacknowledged: 0,
            unacknowledged_bytes: 0,
            ack_at: None,
            is_urgent: false,
        }
    }
}

impl Received {
    /// Whether that number is new; remembers it if so. Numbers too far back count as old, and so does the last of all,
    /// which nobody comes to (and which is no nonce in Noise).
    pub(crate) fn record(&mut self, number: u64, now: Time) -> bool {
        if number == u64::MAX {
            return false;
        }
        let index = usize::try_from(number % REPLAY_WINDOW).unwrap_or(0);
        let (word, bit) = (index / 64, 1_u64 << (index % 64));
        match self.highest {
            Some(highest) if number <= highest => {
                if highest - number >= REPLAY_WINDOW || self.seen[word] & bit != 0 {
                    return false;
                }
            }
            highest => {
                self.forget_between(highest, number);
                self.highest = Some(number);
                self.highest_at = now;
            }
        }
        self.seen[word] |= bit;
        true
    }

    /// What came with that number was taken: it is acknowledged from now on.
    pub(crate) fn accept(&mut self, number: u64) {
        self.accepted += 1;
        self.insert(number);
    }

    /// A datagram that wants an acknowledgement came.
    pub(crate) fn want_ack(&mut self, now: Time, bytes: usize) {
        self.unacknowledged += 1;
        self.unacknowledged_bytes += bytes;
        if self.ack_at.is_none() {
            self.ack_at = Some(now + MAX_ACK_DELAY);
        }
    }

    /// Whether an acknowledgement should go out even alone. `window`: what the socket holds.
    pub(crate) fn is_ack_due(&self, now: Time, window: u32) -> bool {
        let most_bytes = (window as usize / ACK_PARTS).clamp(ACK_EVERY_BYTES, MOST_ACK_BYTES);
        self.unacknowledged > 0
            && (self.is_urgent
                || self.unacknowledged >= ACK_EVERY
                || self.unacknowledged_bytes >= most_bytes
                || self.ack_at.is_some_and(|at| at <= now))
    }

    /// An acknowledgement went out.
    pub(crate) const fn record_acknowledged(&mut self) {
        self.unacknowledged = 0;
        self.unacknowledged_bytes = 0;
        self.ack_at = None;
        self.is_urgent = false;
    }

    /// What to acknowledge, highest first.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|range| (range.low, range.high))
    }

    /// What is told now, where numbers are missing.
    pub(crate) fn told(&self) -> Option<Told> {
        (self.ranges.len() > 1).then_some(Told(self.accepted))
    }

    /// The peer knows what was told: it need not be acknowledged again (RFC 9000, section 13.2.4). What has come since is.
    pub(crate) fn forget_told(&mut self, told: Told) {
        while self.ranges.len() > 1 && self.ranges.back().is_some_and(|range| range.changed <= told.0) {
            self.ranges.pop_back();
        }
    }

    /// How long the highest number has been there.
    pub(crate) fn delay(&self, now: Time) -> Span {
        now.since(self.highest_at)
    }

    fn forget_between(&mut self, highest: Option<u64>, number: u64) {
        let from = highest.map_or(0, |h| h + 1).max(number.saturating_sub(REPLAY_WINDOW - 1));
        if number - from >= REPLAY_WINDOW - 1 {
            self.seen.fill(0);
            return;
        }
        for n in from..=number {
            let index = usize::try_from(n % REPLAY_WINDOW).unwrap_or(0);
            self.seen[index / 64] &= !(1 << (index % 64));
        }
    }

    fn insert(&mut self, number: u64) {
        let (ranges, changed) = (&mut self.ranges, self.accepted);
        // The first range that is not wholly above the number's neighbours.
        let at = ranges.iter().position(|range| range.low <= number + 1).unwrap_or(ranges.len());
        let joins_above = ranges.get(at).is_some_and(|range| range.low == number + 1);
        let below = if joins_above { at + 1 } else { at };
        let joins_below = ranges.get(below).is_some_and(|range| range.high + 1 == number);
        match (joins_above, joins_below) {
            (true, true) => {
                ranges[at] = Range { low: ranges[below].low, high: ranges[at].high, changed };
                ranges.remove(below);
            }
            (true, false) => ranges[at] = Range { low: number, high: ranges[at].high, changed },
            (false, true) => ranges[below] = Range { low: ranges[below].low, high: number, changed },
            (false, false) => {
                self.is_urgent |= at < ranges.len();
                ranges.insert(at, Range { low: number, high: number, changed });
                ranges.truncate(MAX_ACK_RANGES);
            }
        }
    }
}

const WORDS: usize = (REPLAY_WINDOW / 64) as usize;
const ACK_EVERY: u32 = 32;
/// Large datagrams are acknowledged at the latest after this part of what the socket holds, a quarter of what the peer may
/// have out, but not before as many bytes as those of the smallest size, nor after so many.
const ACK_PARTS: usize = 16;
const ACK_EVERY_BYTES: usize = 32 * MIN_MTU;
const MOST_ACK_BYTES: usize = 4 * MAX_MTU;
/// An acknowledgement waits no longer than this for something to ride on.
pub(crate) const MAX_ACK_DELAY: Span = Span::from_millis(1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_number_of_all_is_refused_and_the_one_before_it_works() {
        let mut r = Received::default();
        assert!(!r.record(u64::MAX, Time(1)));
        assert!(r.record(u64::MAX - 1, Time(1)) && r.record(u64::MAX - 3, Time(1)));
        for n in [u64::MAX - 1, u64::MAX - 3] {
            r.accept(n);
        }
        assert!(!r.record(u64::MAX, Time(2)) && !r.record(u64::MAX - 1, Time(2)));
        let ranges = [(u64::MAX - 1, u64::MAX - 1), (u64::MAX - 3, u64::MAX - 3)];
        assert_eq!(r.ranges().collect::<Vec<_>>(), ranges);
    }

    #[test]
    fn a_number_comes_once() {
        let mut r = Received::default();
        assert!(r.record(0, Time(1)) && r.record(5, Time(1)) && r.record(3, Time(1)));
        assert!(!r.record(5, Time(2)) && !r.record(0, Time(2)));
        for n in [0, 5, 3] {
            r.accept(n);
        }
        assert!(r.is_urgent);
        assert!(r.record(5 + REPLAY_WINDOW, Time(2)));
        assert!(!r.record(4, Time(2)), "too far back");
        assert!(r.record(6, Time(2)));
        assert!(r.record(10 * REPLAY_WINDOW, Time(2)));
        assert!(r.record(10 * REPLAY_WINDOW - 1, Time(2)));
    }

    #[test]
    fn large_datagrams_are_acknowledged_by_what_the_socket_holds() {
        let due_after = |bytes: usize, window: u32| {
            let mut r = Received::default();
            (1..99).find(|_| {
                r.want_ack(Time(1), bytes);
                r.is_ack_due(Time(1), window)
            })
        };
        assert_eq!(due_after(MIN_MTU, 4 << 20), Some(32));
        assert_eq!(due_after(65_000, 64 << 10), Some(1), "the peer may have one of them out");
        assert_eq!(due_after(65_000, 2 << 20), Some(3));
        assert_eq!(due_after(65_000, u32::MAX), Some(4));
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(numbers in proptest::collection::vec(0_u64..120, 1..200)) {
            let (mut r, mut model, mut is_cut) = (Received::default(), BTreeSet::new(), false);
            for n in numbers {
                let is_new = r.record(n, Time(1));
                prop_assert_eq!(is_new, model.insert(n));
                if is_new {
                    r.accept(n);
                }
                let listed: BTreeSet<u64> = r.ranges().flat_map(|(low, high)| low..=high).collect();
                let ranges: Vec<_> = r.ranges().collect();
                prop_assert!(ranges.windows(2).all(|w| w[0].0 > w[1].1 + 1), "{:?}", ranges);
                is_cut |= ranges.len() == MAX_ACK_RANGES;
                let agrees = if is_cut { listed.is_subset(&model) } else { listed == model };
                prop_assert!(agrees);
            }
        }
    }

    #[test]
    fn what_the_peer_knows_is_not_told_again() {
        let listed = |r: &Received| r.ranges().collect::<Vec<_>>();
        let mut r = Received::default();
        [1, 2, 5, 6, 9].iter().for_each(|n| r.accept(*n));
        let first = r.told().expect("there are gaps");
        r.accept(12);
        let second = r.told().expect("there are gaps");
        r.forget_told(first);
        assert_eq!(listed(&r), [(12, 12)], "nothing came below that");
        r.accept(4);
        r.forget_told(second);
        assert_eq!(listed(&r), [(12, 12), (4, 4)], "it came later");
        let third = r.told().expect("there are gaps");
        r.accept(3);
        r.forget_told(third);
        assert_eq!(listed(&r), [(12, 12), (3, 4)], "some of it came later");
        let fourth = r.told().expect("there are gaps");
        r.forget_told(fourth);
        assert_eq!(listed(&r), [(12, 12)], "there is always something to say");
        assert!(r.told().is_none());
        r.accept(13);
        assert_eq!(listed(&r), [(12, 13)]);
    }

    proptest! {
        #[test]
        fn what_the_peer_does_not_know_is_told(steps in proptest::collection::vec((0_u64..60, 0..4_u8), 1..80)) {
            let (mut r, mut came, mut known) = (Received::default(), BTreeSet::new(), BTreeSet::new());
            let mut told = Vec::new();
            for (n, what) in steps {
                match what {
                    0 => told.extend(r.told().map(|told| (told, came.clone()))),
                    1 if !told.is_empty() => {
                        // Acknowledgements come in any order, or not at all.
                        let index = usize::try_from(n).unwrap() % told.len();
                        let (told, numbers) = told.swap_remove(index);
                        r.forget_told(told);
                        known.extend(numbers);
                    }
                    _ if came.insert(n) => r.accept(n),
                    _ => {}
                }
                let listed: BTreeSet<u64> = r.ranges().flat_map(|(low, high)| low..=high).collect();
                prop_assert!(listed.is_subset(&came) && came.difference(&listed).all(|n| known.contains(n)));
                prop_assert_eq!(listed.last(), came.last());
            }
        }
    }

    #[test]
    fn an_acknowledgement_waits_no_longer_than_it_may() {
        let due = |r: &Received, at: u64| r.is_ack_due(Time(at), u32::MAX);
        let mut r = Received::default();
        assert!(!due(&r, u64::MAX), "there is nothing to say");
        r.want_ack(Time(100), 10);
        r.want_ack(Time(900), 10);
        assert!(!due(&r, 99 + MAX_ACK_DELAY.0) && due(&r, 100 + MAX_ACK_DELAY.0));
        r.record_acknowledged();
        assert!(!due(&r, u64::MAX));
        for n in 1..=ACK_EVERY {
            assert!(!due(&r, 900));
            r.want_ack(Time(900), 10);
            assert_eq!(r.unacknowledged, n);
        }
        assert!(due(&r, 900));
        r.record_acknowledged();
        r.want_ack(Time(900), MOST_ACK_BYTES - 1);
        assert!(!due(&r, 900));
        r.want_ack(Time(900), 1);
        assert!(due(&r, 900));
    }

    #[test]
    fn the_peer_is_told_at_once_that_something_is_missing() {
        let mut r = Received::default();
        let urgent_after = |r: &mut Received, number| {
            r.record(number, Time(1));
            r.accept(number);
            r.want_ack(Time(1), 10);
            let is_due = r.is_ack_due(Time(1), u32::MAX);
            r.record_acknowledged();
            is_due
        };
        assert_eq!([0, 1, 2].map(|n| urgent_after(&mut r, n)), [false; 3]);
        assert!(urgent_after(&mut r, 4), "3 is missing");
        assert!(!urgent_after(&mut r, 5));
        assert!(!urgent_after(&mut r, 3), "it has come");
        assert_eq!(r.ranges().collect::<Vec<_>>(), [(0, 5)]);
    }

    #[test]
    fn the_delay_is_that_of_the_highest_number() {
        let mut r = Received::default();
        r.record(7, Time(100));
        r.record(6, Time(300));
        assert_eq!(r.delay(Time(1000)), Span(900));
        r.record(8, Time(400));
        assert_eq!(r.delay(Time(1000)), Span(600));
    }

    #[test]
    fn numbers_are_forgotten_as_the_window_goes_on() {
        let mut r = Received::default();
        for n in 0..3 * REPLAY_WINDOW {
            assert!(r.record(n, Time(1)), "{n}");
        }
        let end = 3 * REPLAY_WINDOW;
        assert!(!r.record(end - REPLAY_WINDOW, Time(1)), "the last that is remembered");
        // A step over a part of the window: what was stepped over is new, and what came before it is not.
        let next = end + REPLAY_WINDOW / 2;
        assert!(r.record(next, Time(1)));
        assert!((end..next).all(|n| r.record(n, Time(1))));
        assert!((next - REPLAY_WINDOW..=next).all(|n| !r.record(n, Time(1))));
        // Over all of it but one number, and over all of it.
        assert!(r.record(next + REPLAY_WINDOW - 1, Time(1)));
        assert!(!r.record(next, Time(1)) && r.record(next + 1, Time(1)));
        let far = next + 9 * REPLAY_WINDOW;
        assert!(r.record(far, Time(1)) && r.record(far - REPLAY_WINDOW + 1, Time(1)));
        assert!(!r.record(far - REPLAY_WINDOW, Time(1)));
    }

    #[test]
    fn so_many_ranges_are_told_the_highest() {
        let mut r = Received::default();
        for n in 0..=MAX_ACK_RANGES as u64 {
            r.accept(2 * n);
        }
        let ranges: Vec<_> = r.ranges().collect();
        assert_eq!((ranges.len(), ranges[0], ranges[MAX_ACK_RANGES - 1]), (MAX_ACK_RANGES, (64, 64), (2, 2)));
    }
}
