//! What one daemon costs: idle, at its start, when it scans, and when one of its clients stands still.

use std::{
    fs,
    os::unix::net::UnixDatagram,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use hdrhistogram::Histogram;
use msg::{Client, ClientId, Message, SendError, SendFlags, UserBuf};
use msg_proto::units::{Span, Time};
use msg_tests::{
    direct::Waiting,
    node::{Node, NodeSpec, join},
    program,
    wait::StopOnDrop,
};
use msgd::clock;
use rustix::time::{ClockId, clock_gettime};

use crate::{
    args::{Options, Work},
    endpoint::Stamp,
    measure::{Figures, histogram, pause, percentiles},
    party::recorded,
    process::{cpu_seconds, resident_bytes, wake_ups},
    report::median,
};

/// Measures one of the works that are a single daemon's.
pub(crate) fn run(work: Work, options: &Options) -> Result<Figures, String> {
    match work {
        Work::Idle => idle(options.seconds),
        Work::Start => start(),
        Work::Scan => Ok(scan(options.entries)),
        _ => slow(options.seconds),
    }
}

/// 10 peers, 100 clients, and nothing to do.
fn idle(seconds: f64) -> Result<Figures, String> {
    let mut spec = NodeSpec::new("idle");
    let mut peers: Vec<NodeSpec> = (0..PEERS).map(|n| NodeSpec::new(&format!("peer-{n}"))).collect();
    peers.iter_mut().for_each(|peer| join(&mut spec, peer));
    let _peers: Vec<Node> = peers.iter().map(Node::start).collect();
    let node = Node::start(&spec);
    node.wait_for_links();
    pause(SETTLE.min(seconds));
    let alone = resident_bytes(node.pid());
    let _clients = (0..CLIENTS).map(|n| open(&node, 1000 + n)).collect::<Result<Vec<_>, _>>()?;
    pause(SETTLE.min(seconds));
    let resident = resident_bytes(node.pid());
    let sent = || node.counter("datagrams_sent") as f64;
    let (begin, datagrams) = (clock::now(), sent());
    let (cpu, woken) = (cpu_seconds(&[node.pid()]), wake_ups(node.pid()));
    pause(seconds);
    let (cpu, woken) = (cpu_seconds(&[node.pid()]) - cpu, wake_ups(node.pid()) - woken);
    let datagrams = sent() - datagrams;
    let span = Duration::from(clock::now().since(begin)).as_secs_f64();
    Ok(Figures::from([
        ("wake_ups_per_second", woken as f64 / span),
        ("datagrams_per_second", datagrams / span),
        ("cpu_percent", 100.0 * cpu / span),
        ("resident_mib", resident as f64 / f64::from(1 << 20)),
        ("kib_per_client", resident.saturating_sub(alone) as f64 / 1024.0 / f64::from(CLIENTS)),
    ]))
}

/// From the start of the process until it says READY=1.
fn start() -> Result<Figures, String> {
    let times = (0..STARTS).map(|_| start_once()).collect::<Result<Vec<f64>, _>>()?;
    let most = times.iter().copied().fold(0.0, f64::max);
    Ok(Figures::from([("p50_ms", median(times).unwrap_or(0.0)), ("max_ms", most)]))
}

fn start_once() -> Result<f64, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = dir.path().join("notify");
    let notify = UnixDatagram::bind(&path).map_err(|error| error.to_string())?;
    notify.set_read_timeout(Some(Duration::from_secs(10))).map_err(|error| error.to_string())?;
    let spec = NodeSpec::new("start");
    let log = fs::File::create(dir.path().join("log")).map_err(|error| error.to_string())?;
    let mut command = Command::new(program::msgd());
    command.args(["--node", "start", "--listen", &spec.address.to_string(), "--runtime-dir"]);
    command.arg(dir.path()).env("NOTIFY_SOCKET", &path).stdout(Stdio::null()).stderr(log);
    let begin = nanoseconds();
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let mut said = [0; 4096];
    let ready = loop {
        match notify.recv(&mut said) {
            Ok(len) if said[..len].starts_with(b"READY=1") => break Ok(nanoseconds() - begin),
            Ok(_) => {}
            Err(error) => break Err(format!("no READY=1: {error}")),
        }
    };
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    ready.map(|ns| ns as f64 / 1e6)
}

/// Nothing is due, with few messages in the chains and with many.
fn scan(entries: u32) -> Figures {
    let time = |messages| {
        let mut waiting = Waiting::new(messages);
        let (depth, scans) = (waiting.messages(), waiting.scanned());
        let times = (0..Waiting::SCANS).map(|_| {
            let begin = nanoseconds();
            waiting.scan();
            (nanoseconds() - begin) as f64
        });
        let median = median(times.collect()).unwrap_or(0.0);
        assert_eq!(waiting.scanned(), (scans.0 + u64::from(Waiting::SCANS), scans.1), "none was due");
        (median, depth as f64)
    };
    let ((few, _), (many, depth)) = (time(Waiting::SCANS), time(entries));
    Figures::from([("few_ns", few), ("many_ns", many), ("entries", depth)])
}

/// 100 clients of one node receive from one of another, first all of them, then all but one that stands still.
fn slow(seconds: f64) -> Result<Figures, String> {
    let (mut a, mut b) = (NodeSpec::new("a"), NodeSpec::new("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    a.wait_for_links();
    let sender = open(&a, 1)?;
    let receivers = (0..CLIENTS).map(|n| open(&b, 1000 + n)).collect::<Result<Vec<_>, _>>()?;
    let latencies = Arc::new(Mutex::new(histogram()));
    for receiver in &receivers {
        let latencies = Arc::clone(&latencies);
        receiver.on_message(move |_, message| record(&latencies, message));
    }
    let (over, stopped) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let _over = StopOnDrop(&over);
        for (index, receiver) in receivers.iter().enumerate() {
            let (over, stopped) = (&over, &stopped);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    if index == 0 && stopped.load(Ordering::Relaxed) {
                        thread::park_timeout(Duration::from_millis(5));
                    } else {
                        receiver.dispatch(Duration::from_millis(20)).ok();
                    }
                }
            });
        }
        let phase = |is_measured| -> Result<Figures, String> {
            send_to_all(&sender, seconds)?;
            let seen = recorded(&latencies.lock().unwrap_or_else(PoisonError::into_inner));
            latencies.lock().unwrap_or_else(PoisonError::into_inner).reset();
            Ok(if is_measured { percentiles(&seen) } else { Figures::new() })
        };
        phase(false)?;
        let mut figures = phase(true)?;
        stopped.store(true, Ordering::Relaxed);
        // Until its queues are full, nothing is different.
        phase(false)?;
        let with = phase(true)?;
        for (name, stopped) in [("p50_us", "stopped_p50_us"), ("p99_us", "stopped_p99_us")] {
            figures.insert(stopped, with.get(name).copied().unwrap_or(f64::NAN));
        }
        Ok(figures)
    })
}

/// 20 messages a second to each, of 256 bytes.
fn send_to_all(sender: &Client, seconds: f64) -> Result<(), String> {
    let mut message = [0x5A; 256];
    let (begin, end) = (clock::now(), Span::from(Duration::from_secs_f64(seconds)));
    for number in 0_u64.. {
        let due = begin + PACE.times(number);
        if due.since(begin) >= end {
            break;
        }
        while clock::now() < due {
            sender.dispatch(Duration::from(due.since(clock::now()))).map_err(|error| error.to_string())?;
        }
        Stamp { number, at: clock::now() }.write(&mut message);
        let dst = ClientId(1000 + u32::try_from(number % u64::from(CLIENTS)).unwrap_or(0));
        match sender.send_with(dst, &message, UserBuf::EMPTY, SendFlags::NONE) {
            // The chain is full of what the stopped one has not taken.
            Ok(_) | Err(SendError::WouldBlock) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(())
}

fn record(latencies: &Mutex<Histogram<u64>>, message: &Message<'_>) {
    let Stamp { at, .. } = Stamp::read(message.data);
    let us = clock::now().since(at).0;
    if at > Time(0) {
        latencies.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
    }
}

fn open(node: &Node, id: u32) -> Result<Client, String> {
    node.client(id).connect().map_err(|error| error.to_string())
}

fn nanoseconds() -> u64 {
    let time = Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap_or_default();
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

const PEERS: u32 = 10;
const CLIENTS: u32 = 100;
const STARTS: usize = 20;

/// Between two messages of `slow`.
const PACE: Span = Span(500);

/// What came with the processes' start is over.
const SETTLE: f64 = 3.0;
