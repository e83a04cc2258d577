//! One measurement of two sides.

use std::{collections::BTreeMap, thread, time::Duration};

use hdrhistogram::Histogram;
use msg_proto::units::{Span, Time};
use msgd::clock;

use crate::{
    args::Work,
    network::Network,
    party::Seen,
    process::{self, Process},
    systems::{Running, System},
};

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Case {
    pub(crate) work: Work,
    /// Percent of the datagrams that are lost each way.
    pub(crate) loss: u32,
    pub(crate) size: u32,
}

/// What came of it: a number for each name.
pub(crate) type Figures = BTreeMap<&'static str, f64>;

/// Measures a system once.
pub(crate) fn run(
    system: System,
    case: Case,
    network: &Network,
    seconds: f64,
    pinned: bool,
) -> Result<Figures, String> {
    network.lose(0)?;
    let mut running = Running::start(system, (case.work, case.size), network, pinned)?;
    let pids = running.pids();
    network.lose(case.loss)?;
    for party in [&mut running.b, &mut running.a] {
        party.tell("warm")?;
    }
    pause(WARM.min(seconds));
    let cpu_before = process::cpu_seconds(&pids);
    let before = Count::of(case.work, &mut running)?;
    for party in [&mut running.a, &mut running.b] {
        party.tell("measure")?;
    }
    pause(seconds);
    let after = Count::of(case.work, &mut running)?;
    let cpu = process::cpu_seconds(&pids) - cpu_before;
    running.a.tell("stop")?;
    let a = seen(&mut running.a)?;
    if case.work != Work::PingPong {
        wait_for_the_rest(&mut running.b, a.sent)?;
    }
    running.b.tell("stop")?;
    let b = seen(&mut running.b)?;
    Ok(figures(case, &a, &b, (before, after), cpu))
}

fn figures(case: Case, a: &Seen, b: &Seen, (before, after): (Count, Count), cpu: f64) -> Figures {
    let messages = (after.received - before.received) as f64;
    let seconds = Duration::from(after.at.since(before.at)).as_secs_f64();
    let mut figures = Figures::from([
        ("per_second", messages / seconds),
        ("mb_per_second", messages * f64::from(case.size) / seconds / 1e6),
        ("cpu_us", cpu * 1e6 / messages.max(1.0)),
    ]);
    let latencies = if case.work == Work::PingPong { &a.latencies } else { &b.latencies };
    figures.extend(percentiles(latencies));
    if case.work != Work::PingPong {
        figures.insert("delivered_percent", 100.0 * b.received as f64 / a.sent.max(1) as f64);
        figures.insert("repeated", b.repeated as f64);
    }
    figures.insert("failed", (a.failed + b.failed) as f64);
    figures
}

/// Of what was recorded: microseconds, and how often.
pub(crate) fn percentiles(latencies: &[(u64, u64)]) -> Figures {
    let mut histogram = histogram();
    latencies.iter().for_each(|(us, count)| histogram.saturating_record_n(*us, *count));
    if histogram.is_empty() {
        return Figures::new();
    }
    let names = [("p50_us", 50.0), ("p90_us", 90.0), ("p99_us", 99.0), ("p99.9_us", 99.9)];
    names.map(|(name, percent)| (name, histogram.value_at_percentile(percent) as f64)).into()
}

/// Of microseconds, up to ten minutes, three digits of each.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are allowed")
}

/// How far the messages are: at side B, or back at side A.
#[derive(Clone, Copy)]
struct Count {
    received: u64,
    at: Time,
}

impl Count {
    fn of(work: Work, running: &mut Running) -> Result<Self, String> {
        Self::by(if work == Work::PingPong { &mut running.a } else { &mut running.b })
    }

    fn by(party: &mut Process) -> Result<Self, String> {
        party.tell("count")?;
        let answer = party.answer("count")?;
        let mut numbers = answer.split(' ').skip(1).map(|word| word.parse::<u64>().unwrap_or(0));
        let received = numbers.next().unwrap_or(0);
        Ok(Self { received, at: Time(numbers.next().unwrap_or(0)) })
    }
}

fn seen(party: &mut Process) -> Result<Seen, String> {
    serde_json::from_str(&party.answer("done")?).map_err(|error| error.to_string())
}

/// What is on its way may take a while, under loss: it is waited for, unless nothing comes any more.
fn wait_for_the_rest(party: &mut Process, sent: u64) -> Result<(), String> {
    let mut last = Count::by(party)?;
    let end = last.at + LONGEST_REST;
    loop {
        let count = Count::by(party)?;
        let standing = count.received == last.received && count.at.since(last.at) > LONGEST_GAP;
        if count.received >= sent || standing || count.at >= end {
            return Ok(());
        }
        if count.received > last.received {
            last = count;
        }
        pause(0.02);
    }
}

pub(crate) fn pause(seconds: f64) {
    let end = clock::now() + Span::from(Duration::from_secs_f64(seconds));
    while clock::now() < end {
        thread::park_timeout(end.since(clock::now()).into());
    }
}

/// Before it is measured, a system works this long.
const WARM: f64 = 0.7;

const LONGEST_GAP: Span = Span::from_millis(1500);
const LONGEST_REST: Span = Span::from_millis(6000);
