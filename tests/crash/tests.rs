//! The crash runs, shortened: the long ones are commands (`README.md`).

#![allow(clippy::tests_outside_test_module, reason = "an integration test")]

use msg_tests::{
    crash::run::{Options, Report, Victims, run},
    report,
};

fn crash(test: &str, victims: Victims) -> Report {
    let seed = report::seed(test, 20_261_122);
    let options = Options { seed, victims, kills: 30, gap_ms: 300, away_ms: 50, rate: 100, held: false };
    let report = run(&options);
    report.to_string().lines().for_each(|line| report::line(format_args!("{test}: {line}")));
    report
}

#[test]
fn daemons_that_are_killed_cost_nothing() {
    let report = crash("killed daemons", Victims::Daemons);
    assert!(report.tally.sent > 0 && report.tally.sent == report.tally.taken);
    assert!(!report.recovery.first.is_empty());
}

#[test]
fn of_clients_that_are_killed_everything_ends_truly() {
    let report = crash("killed clients", Victims::Clients);
    assert!(report.tally.taken > 0);
}

#[test]
fn with_stops_of_seconds_it_ends_truly_too() {
    let report = crash("killed and stopped", Victims::Both);
    assert!(report.tally.taken > 0);
}
