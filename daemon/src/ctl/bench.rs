//! `msgctl bench`: how fast messages are between two clients, on one node or on two.
//!
//! One side serves, with `--serve`; the other sends, measures, and tells. A message begins with [`Head`].

use std::{
    collections::VecDeque,
    io::Write,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use msg::{Client, ClientId, SendError, SendFlags, UserBuf, Verdict};
use msg_proto::units::{Span, Time};
use serde::Serialize;

use super::{
    cli::{BenchArgs, BenchWork},
    error::{CtlError, Exit},
    latencies::{Latencies, Percentiles, latencies},
    signals::{LOOK, Stop},
    status::{self, Format},
    table::{Align::Right, Table},
    verdicts::{self, FailedBy},
};
use crate::clock;

/// How long an answer may be away, after its question was acked or failed, before the next question is asked.
const ANSWER_WAIT: Span = Span::from_millis(30_000);

/// The first bytes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    work: BenchWork,
    number: u64,
}

impl Head {
    const MARK: &[u8; 7] = b"msgdbch";

    fn write(self, message: &mut [u8]) {
        message[..7].copy_from_slice(Self::MARK);
        message[7] = self.work as u8;
        message[8..BenchArgs::MIN_SIZE].copy_from_slice(&self.number.to_le_bytes());
    }

    /// `None`: not a message of a bench.
    fn read(message: &[u8]) -> Option<Self> {
        let (head, _) = message.split_first_chunk::<{ BenchArgs::MIN_SIZE }>()?;
        let work = match head.strip_prefix(Self::MARK)?.first()? {
            0 => BenchWork::PingPong,
            1 => BenchWork::OneWay,
            _ => return None,
        };
        let number = head.last_chunk().map(|bytes| u64::from_le_bytes(*bytes))?;
        Some(Self { work, number })
    }
}

/// What was measured.
#[derive(Serialize, Debug)]
struct Report {
    work: &'static str,
    size: usize,
    sent: u64,
    /// Of `ping-pong`: answered. Of `one-way`: acked.
    done: u64,
    failed: u64,
    elapsed_ms: u64,
    per_second: u64,
    /// Of `ping-pong`: there and back. Of `one-way`: until the outcome was known.
    latency_us: Option<Percentiles>,
    failed_by: Vec<FailedBy>,
}

/// What the serving side has seen.
#[derive(Serialize, Debug)]
struct Served {
    taken: u64,
    answered: u64,
    failed: u64,
    /// Messages that were not of a bench.
    others: u64,
}

/// `msgctl bench`.
pub(super) fn run(
    dir: &Path,
    args: &BenchArgs,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, CtlError> {
    let open = |id| Client::builder(ClientId(id)).socket(dir.join("msgd.sock")).connect();
    match (args.id, args.from, args.to) {
        (Some(id), ..) => serve(&open(id)?, format, out),
        (None, Some(from), Some(to)) => measure(&open(from)?, to, args, format, out),
        _ => Err(CtlError::Input("bench needs --serve --as, or --from and --to".to_owned())),
    }
}

/// Takes what comes, and answers what is to be answered, until interrupted.
fn serve(client: &Client, format: Format, out: &mut dyn Write) -> Result<Exit, CtlError> {
    let counts: Arc<[AtomicU64; 4]> = Arc::default();
    client.on_failure({
        let counts = Arc::clone(&counts);
        move |_, _| _ = counts[2].fetch_add(1, Ordering::Relaxed)
    });
    client.on_message({
        let counts = Arc::clone(&counts);
        move |client, message| {
            let at = match Head::read(message.data).map(|head| head.work) {
                None => 3,
                Some(BenchWork::OneWay) => 0,
                Some(BenchWork::PingPong) => {
                    let sent = client.send(message.src.client, message.data, UserBuf::EMPTY);
                    if sent.is_ok() { 1 } else { 2 }
                }
            };
            counts[at].fetch_add(1, Ordering::Relaxed);
        }
    });
    let stop = Stop::on_signals().map_err(CtlError::Signals)?;
    while !stop.is_raised() && !client.is_draining() {
        client.dispatch(LOOK)?;
    }
    let [taken, answered, failed, others] = [0, 1, 2, 3].map(|at: usize| counts[at].load(Ordering::Relaxed));
    let served = Served { taken: taken + answered, answered, failed, others };
    if format == Format::Json {
        status::write_json(out, &served)?;
    } else {
        let Served { taken, answered, failed, others } = served;
        writeln!(out, "taken {taken}, answered {answered}, failed {failed}, not of a bench {others}")?;
    }
    Ok(Exit::Ok)
}

/// Sends, measures, and tells.
fn measure(
    client: &Client,
    to: u32,
    args: &BenchArgs,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, CtlError> {
    let (told, failures) = mpsc::channel();
    client.on_failure(move |_, failure| {
        // Nobody listens any more only at the end.
        told.send(failure.verdict).ok();
    });
    let mut bench = Bench {
        client,
        to: ClientId(to),
        args,
        stop: Stop::on_signals().map_err(CtlError::Signals)?,
        message: vec![0; args.size],
        latencies: latencies(),
        failures,
        failed: Vec::new(),
    };
    let begin = clock::now();
    let (sent, done) = match args.work {
        BenchWork::PingPong => bench.ping_pong()?,
        BenchWork::OneWay => bench.one_way()?,
    };
    let elapsed = clock::now().since(begin);
    bench.note_failures();
    let failed = bench.failed.len() as u64;
    let report = Report {
        work: args.work.name(),
        size: args.size,
        sent,
        done,
        failed,
        elapsed_ms: elapsed.as_millis(),
        per_second: done.saturating_mul(1_000_000) / elapsed.0.max(1),
        latency_us: Percentiles::of(&bench.latencies),
        failed_by: verdicts::count(bench.failed.iter().copied()),
    };
    write_report(&report, format, out)?;
    match failed {
        0 if done == args.count => Ok(Exit::Ok),
        0 if bench.stop.is_raised() => Err(CtlError::Interrupted),
        _ => Ok(Exit::Failed),
    }
}

struct Bench<'a> {
    client: &'a Client,
    to: ClientId,
    args: &'a BenchArgs,
    stop: Stop,
    message: Vec<u8>,
    latencies: Latencies,
    failures: mpsc::Receiver<Verdict>,
    failed: Vec<Verdict>,
}

impl Bench<'_> {
    /// Returns how many messages were sent, and how many answered.
    fn ping_pong(&mut self) -> Result<(u64, u64), CtlError> {
        let (mut sent, mut answered) = (0, 0);
        while sent < self.args.count && !self.stop.is_raised() {
            let begin = clock::now();
            if !self.try_send(sent, SendFlags::NONE)? {
                self.client.dispatch(LOOK)?;
                continue;
            }
            if self.answer(sent, begin)? {
                answered += 1;
                self.latencies.saturating_record(clock::now().since(begin).0);
            }
            sent += 1;
        }
        Ok((sent, answered))
    }

    /// Waits for an answer. False: none will come.
    fn answer(&mut self, number: u64, begin: Time) -> Result<bool, CtlError> {
        let failed_before = self.failed.len();
        while !self.stop.is_raised() {
            if let Some(message) = self.client.recv(LOOK)? {
                if Head::read(&message.data).is_some_and(|head| head.number == number) {
                    return Ok(true);
                }
                continue;
            }
            self.note_failures();
            let is_over = self.client.unresolved() == 0 && clock::now() > begin + ANSWER_WAIT;
            if self.failed.len() > failed_before || is_over {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Returns how many messages were sent, and how many acked.
    fn one_way(&mut self) -> Result<(u64, u64), CtlError> {
        let mut sent = 0;
        // When each message without an outcome was sent. In a flow they are known in order, but for failures.
        let mut sent_at = VecDeque::new();
        while !(self.stop.is_raised() || sent == self.args.count && sent_at.is_empty()) {
            let mut burst = 0;
            while burst < BURST && sent < self.args.count && self.try_send(sent, SendFlags::MORE)? {
                sent_at.push_back(clock::now());
                (sent, burst) = (sent + 1, burst + 1);
            }
            if burst < BURST {
                self.client.dispatch(LOOK)?;
            }
            let now = clock::now();
            while sent_at.len() > self.client.unresolved() {
                let at = sent_at.pop_front().unwrap_or(now);
                self.latencies.saturating_record(now.since(at).0);
            }
        }
        Ok((sent, self.client.counters().acked))
    }

    /// False: there is no room.
    fn try_send(&mut self, number: u64, flags: SendFlags) -> Result<bool, CtlError> {
        Head { work: self.args.work, number }.write(&mut self.message);
        match self.client.send_with(self.to, &self.message, UserBuf::EMPTY, flags) {
            Ok(_) => Ok(true),
            Err(SendError::WouldBlock) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn note_failures(&mut self) {
        self.failed.extend(self.failures.try_iter());
    }
}

fn write_report(report: &Report, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    if format == Format::Json {
        return status::write_json(out, report);
    }
    let Report { work, size, sent, done, failed, elapsed_ms, per_second, .. } = *report;
    let verb = if work == BenchWork::PingPong.name() { "answered" } else { "acked" };
    writeln!(
        out,
        "{work}, {size} bytes: sent {sent}, {verb} {done}, failed {failed}, in {}: {per_second} a second",
        status::duration(elapsed_ms)
    )?;
    if let Some(percentiles) = report.latency_us {
        let named = percentiles.named();
        let mut table = Table::new(&named.map(|(name, _)| (name, Right)));
        table.row(named.map(|(_, us)| format!("{us} us")));
        writeln!(out)?;
        table.write(out, "")?;
    }
    if failed > 0 {
        writeln!(out)?;
        verdicts::write(&report.failed_by, out)?;
    }
    Ok(())
}

/// Messages that are sent before outcomes are looked at.
const BURST: u64 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        for work in [BenchWork::PingPong, BenchWork::OneWay] {
            let mut message = [7; 20];
            let head = Head { work, number: 1 << 40 };
            head.write(&mut message);
            assert_eq!(Head::read(&message), Some(head));
            assert_eq!(Head::read(&message[..15]), None);
            message[7] = 9;
            assert_eq!(Head::read(&message), None);
        }
        assert_eq!(Head::read(b"somebody else's message"), None);
    }

    #[test]
    fn the_report_has_a_column_for_each_percentile() {
        let mut recorded = latencies();
        recorded.saturating_record(80);
        let report = Report {
            work: BenchWork::PingPong.name(),
            size: 256,
            sent: 2,
            done: 1,
            failed: 0,
            elapsed_ms: 1500,
            per_second: 1,
            latency_us: Percentiles::of(&recorded),
            failed_by: Vec::new(),
        };
        let mut text = Vec::new();
        write_report(&report, Format::Table, &mut text).expect("written");
        let text = String::from_utf8(text).expect("text");
        let first = "ping-pong, 256 bytes: sent 2, answered 1, failed 0, in 1.5 s: 1 a second\n";
        assert!(text.starts_with(first), "{text}");
        assert!(text.contains("  P50    P90    P99  P99.9    MAX\n"), "{text}");
    }
}
