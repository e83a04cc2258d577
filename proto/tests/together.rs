//! The tests of this crate and some worlds of the simulator in one program: `cargo mutants` links once for each
//! mutant instead of nine times, and builds no daemon. `cargo test` runs the parts, and leaves this one out.

#![allow(clippy::tests_outside_test_module, reason = "an integration test")]
#![allow(dead_code, unreachable_pub, reason = "the simulator's command uses the rest")]

mod golden_local;
mod golden_wire;
mod local_refusals;
#[path = "properties/main.rs"]
mod properties;
#[path = "rules/main.rs"]
mod rules;
#[path = "../../tests/sim/mod.rs"]
mod sim;
mod wire_refusals;

use sim::{options::Options, run::run};

/// Worlds that differ in kind, short ones: what no rule notices they may.
fn worlds(seeds: std::ops::Range<u64>) {
    worlds_with(seeds, &Options { seconds: 5, ..Options::default() });
}

fn worlds_with(seeds: std::ops::Range<u64>, options: &Options) {
    for seed in seeds {
        let report = run(seed, options);
        assert!(report.violation.is_none(), "seed {seed}: {:?}", report.violation);
    }
}

#[test]
fn worlds_1() {
    worlds(0..16);
}

#[test]
fn worlds_2() {
    worlds(16..32);
}

#[test]
fn worlds_where_daemons_die_alone() {
    worlds_with(32..48, &Options { seconds: 5, ..Options::default() });
}

/// More of them, for mutants that all the rest has let pass. The simulator's own tests run these seeds, too.
#[test]
#[ignore = "the simulator's own test runs these seeds; tests/mutants/run.sh runs it for what all the rest lets pass"]
fn many_worlds() {
    worlds_with(48..200, &Options { seconds: 10, ..Options::default() });
}
