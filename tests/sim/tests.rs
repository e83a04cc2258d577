//! A seed replays exactly, and a fixed set of seeds keeps the promise.

use msg_tests::sim::{
    check::Log,
    options::{FaultSet, Options},
    run,
};

fn options(seconds: u64) -> Options {
    let without = FaultSet::parse("").expect("no faults are left out");
    Options { nodes: None, clients: None, seconds, without, lone_daemons: false }
}

#[test]
fn a_seed_replays_exactly_and_another_differs() {
    let hash = |seed| run::run_once(seed, &options(5), Log::default()).hash;
    let first: Vec<u64> = (0..4).map(hash).collect();
    let again: Vec<u64> = (0..4).map(hash).collect();
    assert_eq!(first, again);
    assert_ne!(first[0], first[1]);
}

#[test]
fn a_fixed_set_of_seeds_keeps_the_promise() {
    for seed in 0..SEEDS {
        let report = run::run(seed, &options(10));
        if let Some(violation) = report.violation {
            panic!("seed {seed}: {violation:?}\n{}", report.story.join("\n"));
        }
    }
}

/// Few enough for every run of the tests; the simulator's command runs more.
const SEEDS: u64 = 200;
