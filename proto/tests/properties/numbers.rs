//! Serial numbers and version ranges against models that are too simple to be wrong.

use msg_proto::{
    control::VersionRange,
    ids::{MsgId, Seq},
};
use proptest::prelude::*;

use super::config;

const WRAP: i64 = 1 << 32;
const HALF: i64 = 1 << 31;

/// What a position that never wraps is on the wire.
fn wrapped(position: i64) -> u32 {
    u32::try_from(position.rem_euclid(WRAP)).expect("below the wrap")
}

/// Positions around wraps, and how far another one is.
fn positions() -> impl Strategy<Value = (i64, i64)> {
    let base = prop_oneof![-3..=3i64, WRAP - 3..=WRAP + 3, HALF - 3..=HALF + 3, -WRAP..=2 * WRAP];
    let distance = prop_oneof![-3..=3i64, HALF - 3..HALF, -HALF + 1..-HALF + 3, -HALF + 1..HALF];
    (base, distance)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, ..config() })]

    #[test]
    fn serial_numbers_are_positions((base, distance) in positions()) {
        let other = base + distance;
        let after = u32::try_from(distance).ok();
        let (a, b) = (Seq(wrapped(base)), Seq(wrapped(other)));
        prop_assert_eq!(b.since(a), after);
        prop_assert_eq!(b.is_before(a), other < base);
        prop_assert_eq!(a.is_before(b), base < other);
        prop_assert_eq!(a.next(), Seq(wrapped(base + 1)));
        let (a, b) = (MsgId(wrapped(base)), MsgId(wrapped(other)));
        prop_assert_eq!(b.since(a), after);
        prop_assert_eq!(b.is_before(a), other < base);
        prop_assert_eq!(a.is_before(b), base < other);
        prop_assert_eq!(a.next(), MsgId(wrapped(base + 1)));
    }

    #[test]
    fn any_step_is_a_position_on(base in -WRAP..=2 * WRAP, n in any::<u32>()) {
        prop_assert_eq!(Seq(wrapped(base)).plus(n), Seq(wrapped(base + i64::from(n))));
        prop_assert_eq!(MsgId(wrapped(base)).plus(n), MsgId(wrapped(base + i64::from(n))));
    }

    /// Half of the number space away is neither before nor after: each calls the other one earlier (RFC 1982).
    #[test]
    fn half_away_is_undecided(base in any::<u32>()) {
        let (a, b) = (Seq(base), Seq(base.wrapping_add(1 << 31)));
        prop_assert!(a.is_before(b) && b.is_before(a));
        prop_assert_eq!((a.since(b), b.since(a)), (None, None));
    }

    #[test]
    fn versions_agree_on_the_highest_common(a in any::<(u8, u8)>(), b in any::<(u8, u8)>()) {
        let ranges = [a, b].map(|(lowest, highest)| VersionRange { lowest, highest });
        let holds = |r: VersionRange, v: u8| r.lowest <= v && v <= r.highest;
        let common = (0..=u8::MAX).rev().find(|v| ranges.iter().all(|r| holds(*r, *v)));
        prop_assert_eq!(ranges[0].agree(ranges[1]), common);
        prop_assert_eq!(ranges[1].agree(ranges[0]), common);
    }
}
