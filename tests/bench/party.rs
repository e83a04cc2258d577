//! A client process of a measurement: it works until it is told to stop, then says what it has seen.
//!
//! ```text
//! told:  warm | measure | stop | count          says:  ready
//!                                                      count SENT RECEIVED MICROSECONDS
//!                                                      done {JSON of a Seen}
//! ```

use std::{
    io::{self, BufRead as _, Write as _},
    num::NonZeroU64,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use clap::{Args, ValueEnum};
use hdrhistogram::Histogram;
use msg_proto::units::{Span, Time};
use msgd::clock;
use rustix::{
    thread::{clock_nanosleep_absolute, set_current_timer_slack},
    time::{ClockId, Timespec},
};
use serde::{Deserialize, Serialize};

use crate::{
    args::Work,
    endpoint::{Bounce, Endpoint, Stamp, lock},
    measure,
    systems::{self, System},
};

#[derive(Args, Clone, Debug)]
pub(crate) struct PartyArgs {
    pub(crate) system: System,
    #[arg(value_enum)]
    pub(crate) side: Side,
    #[arg(value_enum)]
    pub(crate) work: Work,
    /// Bytes of a message.
    pub(crate) size: usize,
    /// Its own side's socket: a path, or an address.
    pub(crate) local: PathBuf,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    A,
    B,
}

/// What a party has seen.
#[derive(Serialize, Deserialize, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Messages that came behind a later one, or again.
    pub(crate) repeated: u64,
    pub(crate) failed: u64,
    /// Microseconds and how often they were measured.
    pub(crate) latencies: Vec<(u64, u64)>,
}

impl Work {
    /// Whether messages follow each other at once.
    pub(crate) const fn is_a_stream(self) -> bool {
        matches!(self, Self::OneWay | Self::Loss)
    }
}

/// Runs a party until it is told to stop.
pub(crate) fn run(args: &PartyArgs) -> ExitCode {
    let endpoint = match systems::open(args) {
        Ok(endpoint) => endpoint,
        Err(why) => {
            say(&format!("error {why}"));
            return ExitCode::FAILURE;
        }
    };
    say("ready");
    let control = &CONTROL;
    let mut party = Party {
        control,
        endpoint,
        message: vec![0; args.size.max(Stamp::BYTES)],
        latencies: measure::histogram(),
        highest: 0,
        repeated: 0,
    };
    thread::scope(|scope| {
        scope.spawn(|| control.obey());
        party.work(args);
        say(&format!("done {}", serde_json::to_string(&party.seen()).expect("numbers")));
        // What it still has to send again may need it: until its standard input ends.
    });
    ExitCode::SUCCESS
}

/// What the two threads share.
struct Control {
    phase: AtomicU8,
    sent: AtomicU64,
    received: AtomicU64,
}

static CONTROL: Control =
    Control { phase: AtomicU8::new(0), sent: AtomicU64::new(0), received: AtomicU64::new(0) };

const WARM: u8 = 1;
const MEASURE: u8 = 2;
const STOP: u8 = 3;

impl Control {
    fn obey(&self) {
        for line in io::stdin().lock().lines() {
            match line.as_deref() {
                Ok("warm") => self.phase.store(WARM, Ordering::Relaxed),
                Ok("measure") => self.phase.store(MEASURE, Ordering::Relaxed),
                Ok("count") => {
                    let [sent, received] =
                        [&self.sent, &self.received].map(|count| count.load(Ordering::Relaxed));
                    say(&format!("count {sent} {received} {}", clock::now().0));
                }
                _ => self.phase.store(STOP, Ordering::Relaxed),
            }
        }
        self.phase.store(STOP, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == STOP
    }

    fn is_measured(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == MEASURE
    }

    /// Only one thread counts.
    fn count(counter: &AtomicU64) {
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

struct Party {
    control: &'static Control,
    endpoint: Box<dyn Endpoint>,
    message: Vec<u8>,
    latencies: Histogram<u64>,
    highest: u64,
    repeated: u64,
}

impl Party {
    fn work(&mut self, args: &PartyArgs) {
        if args.side == Side::A {
            while self.control.phase.load(Ordering::Relaxed) == 0 {
                thread::park_timeout(Duration::from_millis(1));
            }
        }
        match (args.work, args.side) {
            (Work::PingPong, Side::A) => self.ping(),
            (Work::PingPong, Side::B) => {
                let bounce: Bounce = Arc::new(Mutex::new(|_: &mut [u8]| ()));
                while !self.control.is_over() {
                    self.endpoint.echo(&bounce);
                }
            }
            (Work::Paced, Side::A) => self.pace(),
            (_, Side::A) => self.stream(),
            (work, Side::B) => self.take(work == Work::Paced),
        }
    }

    /// What comes back goes out again at once, as the next: where that is done, what has to be said of the last one, and
    /// the next itself, can go in one.
    fn ping(&mut self) {
        if !self.send(Stamp { number: 1, at: clock::now() }) {
            return;
        }
        self.endpoint.flush();
        let rounds = Arc::new(Mutex::new(measure::histogram()));
        let (control, latencies) = (self.control, Arc::clone(&rounds));
        let bounce: Bounce = Arc::new(Mutex::new(move |message: &mut [u8]| {
            let Stamp { number, at: begun } = Stamp::read(message);
            let at = clock::now();
            if control.is_measured() {
                lock(&latencies).saturating_record(at.since(begun).0);
            }
            Stamp { number: number + 1, at }.write(message);
            Control::count(&control.received);
            Control::count(&control.sent);
        }));
        while !self.control.is_over() {
            self.endpoint.echo(&bounce);
        }
        self.latencies = lock(&rounds).clone();
    }

    fn stream(&mut self) {
        let mut number = 0;
        while !self.control.is_over() {
            number += 1;
            if !self.send(Stamp { number, at: Time(0) }) {
                break;
            }
        }
        self.endpoint.flush();
    }

    fn pace(&mut self) {
        // Only this thread sleeps so precisely. Without it the figures hold some 50 us more.
        set_current_timer_slack(NonZeroU64::new(1)).ok();
        let (mut number, mut due) = (0, clock::now());
        while !self.control.is_over() {
            due = due + PACE;
            sleep_until(due);
            number += 1;
            if !self.send(Stamp { number, at: due }) {
                break;
            }
            self.endpoint.flush();
        }
    }

    fn take(&mut self, paced: bool) {
        while !self.control.is_over() {
            let Self { control, endpoint, latencies, highest, repeated, .. } = self;
            let measured = control.is_measured();
            endpoint.receive(&mut |Stamp { number, at }| {
                if number <= *highest {
                    *repeated += 1;
                    return;
                }
                *highest = number;
                Control::count(&control.received);
                if paced && measured {
                    latencies.saturating_record(clock::now().since(at).0);
                }
            });
        }
    }

    /// Sends a message, however long that takes. False: it is over.
    fn send(&mut self, stamp: Stamp) -> bool {
        stamp.write(&mut self.message);
        while !self.endpoint.send(&self.message) {
            if self.control.is_over() {
                return false;
            }
        }
        Control::count(&self.control.sent);
        true
    }

    fn seen(&self) -> Seen {
        Seen {
            sent: self.control.sent.load(Ordering::Relaxed),
            received: self.control.received.load(Ordering::Relaxed),
            repeated: self.repeated,
            failed: self.endpoint.failed(),
            latencies: recorded(&self.latencies),
        }
    }
}

/// The microseconds that were recorded, and how often.
pub(crate) fn recorded(latencies: &Histogram<u64>) -> Vec<(u64, u64)> {
    let values = latencies.iter_recorded();
    values.map(|at| (at.value_iterated_to(), at.count_since_last_iteration())).collect()
}

/// Between two messages of `paced`.
const PACE: Span = Span(500);

fn sleep_until(due: Time) {
    let at = Timespec::try_from(Duration::from_micros(due.0));
    // Interrupted: the message goes a moment early, and its latency counts from when it was due.
    if at.is_ok_and(|at| clock_nanosleep_absolute(ClockId::Boottime, &at).is_err()) {}
}

fn say(line: &str) {
    // Nobody may be reading any more; then nobody cares.
    if writeln!(io::stdout(), "{line}").is_err() {}
}
