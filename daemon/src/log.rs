//! Log lines go to standard error from a thread of their own: a terminal or pipe that takes nothing must not stop the
//! daemon. Lines for which there is no room are dropped, and counted.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tracing_subscriber::{
    filter::LevelFilter,
    fmt::{self, MakeWriter},
};

use crate::{config::ConfigError, limits::MAX_LOG_LINES};

/// The environment variable that says what is logged.
const LEVEL_VARIABLE: &str = "MSGD_LOG";

/// How long the end of the program waits for the last lines.
const FLUSH: Duration = Duration::from_millis(300);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Writes out the last lines when it is dropped.
#[derive(Debug)]
pub struct LogGuard(Option<Sender<Item>>);

#[derive(Debug)]
enum Item {
    Line(Vec<u8>),
    /// Everything before it is to be written; then it is answered.
    Flush(Sender<()>),
}

/// Sends the log of the whole process to standard error, at the level that `MSGD_LOG` asks for.
///
/// # Errors
///
/// `MSGD_LOG` is not a level.
pub fn start() -> Result<LogGuard, ConfigError> {
    let level = level()?;
    let (sender, receiver) = bounded(MAX_LOG_LINES);
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&receiver));
    if thread.is_err() {
        // A daemon without a log is better than none.
        return Ok(LogGuard(None));
    }
    let builder = fmt::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(Sink(sender.clone()));
    // The journal has its own clock.
    let journal = env::var_os("JOURNAL_STREAM").is_some();
    let outcome = if journal {
        tracing::subscriber::set_global_default(builder.without_time().finish())
    } else {
        tracing::subscriber::set_global_default(builder.finish())
    };
    // The process has a log already: the lines go there.
    Ok(LogGuard(outcome.is_ok().then_some(sender)))
}

/// Lines that were dropped because standard error did not take them.
#[must_use]
pub(crate) fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let Some(sender) = self.0.take() else { return };
        let (done, wait) = bounded(1);
        if sender.send_timeout(Item::Flush(done), FLUSH).is_ok() {
            // Written, or standard error takes nothing: the program ends either way.
            if wait.recv_timeout(FLUSH).is_err() {}
        }
    }
}

fn level() -> Result<LevelFilter, ConfigError> {
    let Some(text) = env::var_os(LEVEL_VARIABLE).filter(|text| !text.is_empty()) else {
        return Ok(LevelFilter::INFO);
    };
    match text.to_str() {
        Some("error") => Ok(LevelFilter::ERROR),
        Some("warn") => Ok(LevelFilter::WARN),
        Some("info") => Ok(LevelFilter::INFO),
        Some("debug") => Ok(LevelFilter::DEBUG),
        Some("trace") => Ok(LevelFilter::TRACE),
        _ => Err(ConfigError::program(
            LEVEL_VARIABLE,
            format!("{text:?} is not a level; allowed: error, warn, info, debug, trace"),
        )),
    }
}

fn write_lines(lines: &Receiver<Item>) {
    let mut reported = 0;
    for item in lines {
        let mut stderr = io::stderr().lock();
        let dropped = dropped_lines();
        // There is nobody to tell that standard error is gone.
        let outcome = match item {
            Item::Line(line) => stderr.write_all(&line),
            Item::Flush(done) => stderr.flush().and(done.send(()).map_err(io::Error::other)),
        };
        if outcome.is_ok()
            && dropped > reported
            && writeln!(stderr, "{} log lines dropped", dropped - reported).is_ok()
        {
            reported = dropped;
        }
    }
}

/// Where the subscriber writes its lines.
#[derive(Clone, Debug)]
struct Sink(Sender<Item>);

impl<'a> MakeWriter<'a> for Sink {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl io::Write for &Sink {
    /// One call is one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Err(TrySendError::Full(_)) = self.0.try_send(Item::Line(line.to_vec())) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
