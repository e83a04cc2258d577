//! The log. Lines are written by a thread of their own: a terminal, pipe or journal that takes nothing must not stop the
//! daemon. Lines for which there is no room are dropped, and counted.
//!
//! * `record`: a line and its fields. `limit`: how often one place is heard. `writer`: the journal, or text.
//! * [`Level`]: what is logged; `MSGD_LOG` says so, else the config.

mod level;
mod limit;
mod record;
mod writer;

use std::{
    env,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{Sender, bounded};
use tracing_subscriber::{Registry, filter::LevelFilter, layer::SubscriberExt as _, reload};

pub use self::level::Level;
use self::record::{Capture, Record};
use crate::{config::ConfigError, limits::MAX_LOG_LINES};

/// The environment variable that says what is logged.
const LEVEL_VARIABLE: &str = "MSGD_LOG";

/// How long the end of the program waits for the last lines.
const FLUSH: Duration = Duration::from_millis(300);

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The process's level, where the config may change it.
static LEVEL: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

/// Writes out the last lines when it is dropped.
#[derive(Debug)]
pub struct LogGuard(Option<Sender<Item>>);

#[derive(Debug)]
enum Item {
    Record(Record),
    /// Everything before it is to be written; then it is answered.
    Flush(Sender<()>),
}

/// Starts the log of the whole process, at the level that `MSGD_LOG` asks for, else at `level`.
///
/// # Errors
///
/// `MSGD_LOG` is not a level.
pub fn start(level: Level) -> Result<LogGuard, ConfigError> {
    let asked = asked()?;
    let (sender, receiver) = bounded(MAX_LOG_LINES);
    let thread = thread::Builder::new().name("log".to_owned()).spawn(move || writer::write_lines(&receiver));
    if thread.is_err() {
        // A daemon without a log is better than none.
        return Ok(LogGuard(None));
    }
    let (filter, handle) = reload::Layer::new(asked.unwrap_or(level).filter());
    let subscriber = tracing_subscriber::registry().with(filter).with(Capture(sender.clone()));
    // The process has a log already: the lines go there.
    let outcome = tracing::subscriber::set_global_default(subscriber);
    if outcome.is_ok() && asked.is_none() && LEVEL.set(handle).is_err() {
        debug_assert!(false, "the global log is set once");
    }
    Ok(LogGuard(outcome.is_ok().then_some(sender)))
}

/// The config's level is another one now. `MSGD_LOG` wins.
pub(crate) fn set_level(level: Level) {
    if let Some(Err(error)) = LEVEL.get().map(|handle| handle.reload(level.filter())) {
        tracing::warn!("the log level cannot be changed: {error}");
    }
}

/// Lines that were dropped because nobody took them.
#[must_use]
pub(crate) fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let Some(sender) = self.0.take() else { return };
        let (done, wait) = bounded(1);
        if sender.send_timeout(Item::Flush(done), FLUSH).is_ok() {
            // Written, or nobody takes anything: the program ends either way.
            if wait.recv_timeout(FLUSH).is_err() {}
        }
    }
}

fn asked() -> Result<Option<Level>, ConfigError> {
    let Some(text) = env::var_os(LEVEL_VARIABLE).filter(|text| !text.is_empty()) else { return Ok(None) };
    match text.to_str().and_then(Level::parse) {
        Some(level) => Ok(Some(level)),
        None => {
            let allowed = Level::NAMES;
            Err(ConfigError::program(LEVEL_VARIABLE, format!("{text:?} is not a level; allowed: {allowed}")))
        }
    }
}
