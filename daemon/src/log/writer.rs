//! The thread that writes lines: to the journal, with fields, if standard error is the journal's; else to standard error,
//! as text. Either may take its time, or be gone: nobody waits for it.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use crossbeam_channel::Receiver;
use tracing::{Dispatch, Level, dispatcher};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{
    fmt::{
        format::Writer as TimeWriter,
        time::{FormatTime as _, SystemTime},
    },
    layer::SubscriberExt as _,
};

use super::{
    Item, dropped_lines,
    limit::{RateLimit, Ruling},
    record::Fields,
};
use crate::clock;

/// Where lines go.
enum Output {
    Journal,
    Text { has_time: bool, has_colour: bool },
}

/// Writes what comes until nobody can say anything any more.
pub(super) fn write_lines(items: &Receiver<Item>) {
    let journal = if is_journal() { journal() } else { None };
    let _default = journal.as_ref().map(dispatcher::set_default);
    let output = match journal {
        Some(_) => Output::Journal,
        // The journal has its own clock.
        None => Output::Text { has_time: !is_journal(), has_colour: io::stderr().is_terminal() },
    };
    let (mut limit, mut reported) = (RateLimit::default(), 0);
    for item in items {
        match item {
            Item::Record(record) => {
                if let Ruling::Write { suppressed } = limit.rule(clock::now(), record.site.clone()) {
                    if suppressed > 0 {
                        output.note(&format!("{suppressed} lines like the next one were suppressed"));
                    }
                    output.write(record.level, &record.text, &record.fields);
                }
            }
            Item::Flush(done) => {
                // Who waits for it may have given up.
                if done.send(()).is_err() {}
            }
        }
        let dropped = dropped_lines();
        if dropped > reported {
            output.note(&format!("{} log lines dropped", dropped - reported));
            reported = dropped;
        }
    }
}

/// Whether standard error goes to the journal, as systemd.exec(5) says how to find out.
fn is_journal() -> bool {
    let Some(stream) = env::var("JOURNAL_STREAM").ok() else { return false };
    rustix::fs::fstat(io::stderr()).is_ok_and(|stat| stream == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// The journal's own socket; `None` if it is not there.
fn journal() -> Option<Dispatch> {
    let priorities = PriorityMappings {
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
        ..PriorityMappings::new()
    };
    let layer = tracing_journald::layer().ok()?;
    let layer = layer
        .with_field_prefix(None)
        .with_syslog_identifier("msgd".to_owned())
        .with_priority_mappings(priorities);
    Some(Dispatch::new(tracing_subscriber::registry().with(layer)))
}

impl Output {
    fn note(&self, text: &str) {
        self.write(Level::WARN, text, &Fields::default());
    }

    fn write(&self, level: Level, text: &str, fields: &Fields) {
        match *self {
            Self::Journal => send(level, text, fields),
            Self::Text { has_time, has_colour } => {
                let line = line(level, text, has_time, has_colour);
                // There is nobody to tell that standard error is gone.
                if io::stderr().lock().write_all(line.as_bytes()).is_err() {}
            }
        }
    }
}

/// Says it again, on this thread, where only the journal listens.
fn send(level: Level, text: &str, fields: &Fields) {
    let Fields { clientid, peer, reason } = fields;
    let (clientid, peer, reason) = (clientid.as_deref(), peer.as_deref(), reason.as_deref());
    macro_rules! say {
        ($level:expr) => {
            tracing::event!($level, clientid, peer, reason, "{text}")
        };
    }
    match level {
        Level::ERROR => say!(Level::ERROR),
        Level::WARN => say!(Level::WARN),
        Level::INFO => say!(Level::INFO),
        Level::DEBUG => say!(Level::DEBUG),
        Level::TRACE => say!(Level::TRACE),
    }
}

fn line(level: Level, text: &str, has_time: bool, has_colour: bool) -> String {
    let mut line = String::new();
    // A clock that cannot be written is no reason to lose the line.
    if has_time && SystemTime.format_time(&mut TimeWriter::new(&mut line)).is_ok() {
        line.push(' ');
    }
    let (colour, end) = match level {
        _ if !has_colour => ("", ""),
        Level::ERROR => ("\x1b[31m", "\x1b[0m"),
        Level::WARN => ("\x1b[33m", "\x1b[0m"),
        Level::INFO => ("\x1b[32m", "\x1b[0m"),
        _ => ("\x1b[2m", "\x1b[0m"),
    };
    // What peers and clients say of themselves stands in lines.
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{line}{colour}{level:>5}{end} {text}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(line(Level::INFO, "a\nb\x1b[31m", false, false), " INFO a b [31m\n");
        assert_eq!(line(Level::WARN, "a", false, true), "\x1b[33m WARN\x1b[0m a\n");
        assert!(line(Level::INFO, "a", true, false).ends_with("Z  INFO a\n"));
    }
}
