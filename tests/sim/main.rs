//! The simulator's command line: `README.md` says how to use it.

#![allow(clippy::print_stdout, reason = "it is a command")]

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use msg_tests::sim::{
    check::Log,
    options::{Fault, FaultSet, Options},
    run::{self, Report},
    shrink::shrink,
    stats::Stats,
};

/// Runs worlds of daemons and clients, each decided by a seed, and checks msgd's promise after every step.
#[derive(Parser, Debug)]
struct Args {
    /// How many seeds to run; without --seed, 100.
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; without --seeds, the only one.
    #[arg(long)]
    seed: Option<u64>,
    /// So many nodes in every world.
    #[arg(long)]
    nodes: Option<usize>,
    /// At most so many clients in every world.
    #[arg(long)]
    clients: Option<usize>,
    /// How long faults go on, in simulated minutes.
    #[arg(long, conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// How long faults go on, in simulated seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Faults that do not happen, with commas between.
    #[arg(long, default_value = "", value_parser = FaultSet::parse)]
    without: FaultSet,
    /// Go on after a violation, and count.
    #[arg(long)]
    keep_going: bool,
    /// Do not look for a smaller scenario.
    #[arg(long)]
    no_shrink: bool,
    /// Print everything that happens.
    #[arg(long)]
    trace: bool,
    /// Run every seed twice, and compare.
    #[arg(long)]
    twice: bool,
    /// Worlds at the same time; 0: one for each core.
    #[arg(long, default_value_t = 0)]
    jobs: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let options = Options {
        nodes: args.nodes,
        clients: args.clients,
        seconds: args.minutes.map_or(args.seconds, |m| m * 60),
        without: args.without,
    };
    let first = args.seed.unwrap_or(0);
    let count = args.seeds.unwrap_or(if args.seed.is_some() { 1 } else { 100 });
    run::keep_panics();
    if args.trace {
        let report = run::run_once(first, &options, Log::printing());
        return tell(first, &options, &report, &args);
    }
    let summary = run_all(&args, &options, first, count);
    summary.print();
    if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What all seeds came to.
struct Summary {
    stats: Stats,
    seeds: u64,
    failed: u64,
    elapsed: std::time::Duration,
}

fn run_all(args: &Args, options: &Options, first: u64, count: u64) -> Summary {
    let jobs = match args.jobs {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        n => n,
    };
    let bar = ProgressBar::new(count).with_style(style());
    let started = now();
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let summary =
        Mutex::new(Summary { stats: Stats::default(), seeds: 0, failed: 0, elapsed: started.elapsed() });
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let seed = first + index;
                    let report =
                        if args.twice { run::run_twice(seed, options) } else { run::run(seed, options) };
                    let mut s = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    s.stats.add(&report.stats);
                    s.seeds += 1;
                    bar.inc(1);
                    if count == 1 && report.violation.is_none() {
                        tell(seed, options, &report, args);
                    }
                    if report.violation.is_some() {
                        s.failed += 1;
                        stop.fetch_or(!args.keep_going, Ordering::Relaxed);
                        bar.suspend(|| tell(seed, options, &report, args));
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.elapsed = started.elapsed();
    summary
}

fn tell(seed: u64, options: &Options, report: &Report, args: &Args) -> ExitCode {
    let Some(violation) = &report.violation else {
        println!("seed {seed}: nothing found, trace {:016x}", report.hash);
        return ExitCode::SUCCESS;
    };
    println!("seed {seed}: {violation}");
    if args.keep_going {
        return ExitCode::FAILURE;
    }
    for line in &report.story {
        println!("  {line}");
    }
    println!("again:   {}", options.command_line(seed));
    if !args.no_shrink {
        let smaller = shrink(seed, options, violation.invariant, violation.at);
        println!("smaller: {}", smaller.command_line(seed));
    }
    ExitCode::FAILURE
}

impl Summary {
    fn print(&self) {
        let (s, took) = (&self.stats, self.elapsed.as_secs_f64().max(0.001));
        let simulated = s.simulated as f64 / 1e6;
        println!(
            "{} seeds, {} with a violation, {:.1} s, {:.1} seeds/s",
            self.seeds,
            self.failed,
            took,
            self.seeds as f64 / took
        );
        println!(
            "simulated {:.2} h: {:.0} x real time; {} events",
            simulated / 3600.0,
            simulated / took,
            s.steps
        );
        println!(
            "messages: {} sent, {} taken, {} acked, {} failed; excused: {} by a falsified clock (I4)",
            s.sent, s.taken, s.acked, s.failed, s.excused
        );
        println!("calls: {} made, {} handlers begun, {} replies", s.calls, s.runs, s.replies);
        // That there are calls is none in itself.
        let faults = Fault::ALL.iter().filter(|f| **f != Fault::Calls);
        let faults: Vec<_> = faults.map(|f| format!("{} {}", f.name(), s.faults[*f as usize])).collect();
        println!("{} datagrams; faults: {}", s.datagrams, faults.join(", "));
    }
}

fn style() -> ProgressStyle {
    let template = "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[expect(clippy::disallowed_methods, reason = "how fast it runs is all that it measures")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
}
