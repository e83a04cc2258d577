//! `bench`: msgd beside the bare chain, and beside what else could be used. `README.md` says how to use it.
//!
//! * `args`: the command line. `measure`: one measurement. `report`, `svg`: what came of all of them.
//! * `node`: what one daemon costs. `systems`: the processes of each system. `network`: what is between the sides. `process`: one process.
//! * `party`: a client process; `endpoint` what it can do, and `msgd`, `chain`, `nats`, `zeromq` how.

#![allow(clippy::print_stdout, reason = "it is a command")]

mod args;
mod chain;
mod endpoint;
mod measure;
mod msgd;
mod nats;
mod network;
mod node;
mod party;
mod process;
mod report;
mod svg;
mod systems;
#[cfg(feature = "zmq")]
mod zeromq;

use std::{env, fs, path::PathBuf, process::ExitCode, thread};

use args::{CommandLine, DirectArgs, Helper, Options, Work};
use clap::Parser as _;
use measure::Case;
use msg_tests::direct::Pair;
use network::Network;
use report::Results;

fn main() -> ExitCode {
    let CommandLine { helper, options } = CommandLine::parse();
    match helper {
        Some(Helper::Party(args)) => party::run(&args),
        Some(Helper::Forward(args)) => chain::forward(&args),
        Some(Helper::Exec(args)) => process::exec(&args),
        Some(Helper::Direct(args)) => direct(&args),
        None => match measure_all(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                println!("{why}");
                ExitCode::FAILURE
            }
        },
    }
}

fn measure_all(options: &Options) -> Result<(), String> {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let pinned = cpus > 1 && !options.no_pin;
    let place = if pinned { "side A on CPU 0, side B on CPU 1" } else { "CPUs as the kernel likes" };
    println!("{cpus} CPUs, {place}; medians of {} interleaved runs", options.reps);
    let mut results = Results::default();
    for round in 0..options.reps {
        for work in &options.work {
            measure_work(options, *work, (round, pinned), &mut results)?;
        }
    }
    println!("{}", results.text());
    let write = |path: Option<&PathBuf>, what: String| {
        let Some(path) = path else { return Ok(()) };
        fs::write(path, what).map_err(|error| format!("{}: {error}", path.display()))
    };
    write(options.json.as_ref(), format!("{:#}\n", results.json()))?;
    write(options.svg.as_ref(), svg::draw(&results, &command()))
}

/// One round of one work, all systems in turns.
fn measure_work(
    options: &Options,
    work: Work,
    (round, pinned): (u32, bool),
    results: &mut Results,
) -> Result<(), String> {
    if matches!(work, Work::Idle | Work::Start | Work::Scan | Work::Slow) {
        match node::run(work, options) {
            Ok(figures) => results.add(Case { work, loss: 0, size: 0 }, "msgd", figures),
            Err(why) => println!("FAILED: {}: {why}", report::work_name(work)),
        }
        return Ok(());
    }
    let lossy = matches!(work, Work::Loss | Work::Paced);
    let network = if lossy { Network::lossy(options)? } else { Network::Loopback };
    if round == 0 && lossy {
        println!("{}: datagrams are lost on {}", report::work_name(work), network.name());
    }
    for case in cases(options, work) {
        for system in &options.systems {
            if let Err(why) = system.check(work, &network) {
                if round == 0 {
                    println!("SKIPPED: {}: {}: {why}", report::title(case), system.name());
                }
                continue;
            }
            match measure::run(*system, case, &network, options.seconds, pinned) {
                Ok(figures) => results.add(case, &system.name(), figures),
                Err(why) => println!("FAILED: {}: {}: {why}", report::title(case), system.name()),
            }
        }
    }
    Ok(())
}

fn cases(options: &Options, work: Work) -> Vec<Case> {
    match work {
        Work::PingPong | Work::OneWay => {
            options.sizes.iter().map(|size| Case { work, loss: 0, size: *size }).collect()
        }
        Work::Loss | Work::Paced => {
            options.loss.iter().map(|loss| Case { work, loss: *loss, size: LOSSY_SIZE }).collect()
        }
        _ => Vec::new(),
    }
}

/// Sends in memory, for who counts instructions.
fn direct(args: &DirectArgs) -> ExitCode {
    let mut pair = Pair::new(args.size);
    for _ in 0..args.messages / args.burst {
        pair.send(args.burst);
    }
    ExitCode::SUCCESS
}

/// The command that was given, as it is to be given again.
fn command() -> String {
    let words: Vec<String> = env::args().skip(1).collect();
    let features = if cfg!(feature = "zmq") { " --features zmq" } else { "" };
    format!("cargo run --release -p msg-tests{features} --bin bench -- {}", words.join(" "))
}

/// Bytes of a message where datagrams are lost.
const LOSSY_SIZE: u32 = 256;
