//! The taken set against a naive set.

use std::collections::HashSet;

use proptest::prelude::*;

use crate::{
    ids::Seq,
    limits::SEQ_SPAN,
    session::taken::{Seen, TakenSet},
};

#[derive(Clone, Debug)]
enum Step {
    Take(u32),
    Advance(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..300u32).prop_map(Step::Take),
        2 => (0..200u32).prop_map(Step::Advance),
        1 => Just(Step::Take(SEQ_SPAN - 1)),
        1 => Just(Step::Advance(SEQ_SPAN - 1)),
    ]
}

proptest! {
    #[test]
    fn the_set_is_a_set(first in prop_oneof![Just(u32::MAX - 100), any::<u32>()], steps in prop::collection::vec(step(), 1..60)) {
        let mut set = TakenSet::new(Seq(first));
        let (mut floor, mut naive) = (Seq(first), HashSet::new());
        for step in steps {
            match step {
                Step::Take(n) => {
                    prop_assert!(set.spans(floor.plus(n)));
                    set.insert(floor.plus(n));
                    naive.insert(floor.plus(n));
                }
                Step::Advance(n) => {
                    floor = floor.plus(n);
                    set.advance(floor);
                    // Going back says nothing.
                    set.advance(Seq(floor.0.wrapping_sub(1)));
                    naive.retain(|seq| !seq.is_before(floor));
                }
            }
            for n in (0..400).chain(SEQ_SPAN - 70..SEQ_SPAN) {
                let seq = floor.plus(n);
                prop_assert_eq!(set.seen(seq) == Seen::Yes, naive.contains(&seq), "{:?}", seq);
            }
            prop_assert_eq!(set.seen(Seq(floor.0.wrapping_sub(1))), Seen::Yes);
            let mut bitmap = Vec::new();
            set.write_bitmap(None, &mut bitmap);
            prop_assert!(bitmap.len() <= SEQ_SPAN as usize / 8 && bitmap.last() != Some(&0));
            let ones: u32 = bitmap.iter().map(|b| b.count_ones()).sum();
            prop_assert_eq!(ones as usize, naive.len());
            for n in 0..u32::try_from(bitmap.len() * 8).expect("fits") {
                let bit = bitmap[(n / 8) as usize] >> (n % 8) & 1;
                prop_assert_eq!(bit == 1, naive.contains(&floor.plus(n)));
            }
        }
    }
}

#[test]
fn a_number_out_of_span_is_not_held() {
    let mut set = TakenSet::new(Seq(0));
    assert!(!set.spans(Seq(SEQ_SPAN)));
    set.insert(Seq(SEQ_SPAN));
    assert_eq!(set.memory_bytes(), 0);
}
