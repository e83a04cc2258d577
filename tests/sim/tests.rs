//! Seeds that found something once, and a fixed set of others.

#![allow(clippy::tests_outside_test_module, reason = "an integration test")]

use std::{
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use msg_proto::{
    engine::{ChainConfig, Engine, EngineConfig, LimitConfig, Recovery},
    limits,
    outcome::Reason,
    units::{Span, Time},
};
use msg_tests::sim::{
    check::{Log, payload},
    options::{Fault, FaultSet, Options},
    run::{Report, run, run_once, run_twice},
};

/// Short: the release build runs longer ones.
fn brief() -> Options {
    Options { seconds: 10, ..Options::default() }
}

fn assert_kept(seed: u64, options: &Options, report: &Report) {
    let story = report.story.join("\n  ");
    if let Some(violation) = &report.violation {
        panic!("seed {seed}: {violation}\n  {story}\nagain: {}", options.command_line(seed));
    }
}

/// A line: the seed, the options it was found with, and behind `#` what it found.
#[test]
fn seeds_that_found_something() {
    let lines = include_str!("seeds.txt").lines().filter(|l| !l.starts_with('#') && !l.is_empty());
    for line in lines {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let seed = words.next().and_then(|w| w.parse().ok()).expect("a seed");
        let mut options = Options::default();
        while let Some(word) = words.next() {
            match word {
                "--seconds" => options.seconds = words.next().and_then(|w| w.parse().ok()).expect("seconds"),
                "--without" => {
                    options.without = FaultSet::parse(words.next().expect("faults")).expect("faults");
                }
                other => panic!("seeds.txt: {other}"),
            }
        }
        assert_kept(seed, &options, &run(seed, &options));
    }
}

#[test]
fn a_fixed_set_of_seeds() {
    let options = brief();
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let seed @ 0..SEEDS = next.fetch_add(1, Ordering::Relaxed) {
                    assert_kept(seed, &options, &run(seed, &options));
                }
            });
        }
    });
}

#[test]
fn nothing_is_lost_where_nothing_goes_wrong() {
    let options =
        Options { without: Fault::ALL.iter().fold(FaultSet::NONE, |set, f| set.with(*f)), ..brief() };
    for seed in 0..20 {
        let report = run(seed, &options);
        assert_kept(seed, &options, &report);
        assert!(report.stats.taken > 0);
    }
}

/// Whoever takes over is given what the one before had not taken.
#[test]
fn a_takeover_fails_nothing() {
    let others = Fault::ALL.iter().filter(|f| **f != Fault::Takeover);
    let options =
        Options { without: others.fold(FaultSet::NONE, |set, f| set.with(*f)), ..Options::default() };
    let mut takeovers = 0;
    for seed in 0..60 {
        let report = run(seed, &options);
        assert_kept(seed, &options, &report);
        takeovers += report.stats.faults[Fault::Takeover as usize];
        for reason in [Reason::ReceiverGone, Reason::GoingAway] {
            let failed = report.stats.failed_as[reason as usize];
            assert_eq!(failed, 0, "{reason:?}: {}", options.command_line(seed));
        }
    }
    assert!(takeovers > 100, "{takeovers} takeovers");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let options = brief();
    let mut last = 0;
    for seed in 100..105 {
        let report = run_twice(seed, &options);
        assert_kept(seed, &options, &report);
        assert_ne!(report.hash, last, "another seed is another world");
        last = report.hash;
    }
    // In another process, where hash tables have other keys.
    let here = run_once(106, &options, Log::default()).hash;
    let output = Command::new(env!("CARGO_BIN_EXE_sim"))
        .args(["--seed", "106", "--seconds", "10"])
        .output()
        .expect("the simulator runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains(&format!("trace {here:016x}")), "here {here:016x}; there: {text}");
}

#[test]
fn a_daemon_without_peers_and_clients_never_wakes_up() {
    let mut engine = Engine::new(
        EngineConfig {
            node: "alone".to_owned(),
            start: 1,
            seed: 1,
            listeners: 1,
            peers: Vec::new(),
            chain: ChainConfig {
                interval: Span::from_millis(1000),
                times: 10,
                max_stored: 1000,
                recovery: Recovery::Adaptive,
            },
            limits: LimitConfig {
                max_message_bytes: limits::MAX_MESSAGE_BYTES,
                max_clients: 16,
                client_queue_bytes: limits::DEFAULT_CLIENT_QUEUE_BYTES,
            },
            mtu: 1200,
            max_mtu: 1200,
            receive_window: 1 << 20,
            grace: Span::from_millis(1000),
            clients: Vec::new(),
        },
        Time(5),
    );
    assert_eq!(engine.poll_timeout(), None);
    engine.handle_timeout(Time(1_000_000));
    assert_eq!(engine.poll_timeout(), None);
    assert_eq!(engine.check_invariants(), Ok(()));
}

#[test]
fn messages_differ() {
    let (mut one, mut other) = (Vec::new(), Vec::new());
    payload(7, 20, &mut one);
    payload(8, 20, &mut other);
    assert_eq!(one.len(), 20);
    assert_ne!(one, other);
}

/// Few enough for every run of the tests; the simulator's command runs more.
const SEEDS: u64 = 500;
