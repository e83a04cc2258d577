//! `msgctl send`: sends, waits for every outcome, and tells them.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::ffi::OsStrExt,
    path::Path,
    time::Duration,
};

use msg::UserBuf;
use msg_proto::{
    limits::MAX_MESSAGE_BYTES,
    units::{Span, Time},
};
use serde::Serialize;

use super::{
    cli::SendArgs,
    error::{CtlError, Exit},
    port::{Failed, Port, Registration},
    signals::{LOOK, Stop},
    status::{self, Format},
    table::{Align::Left, Align::Right, Table, escaped_bytes},
    verdicts::{self, FailedBy},
};
use crate::clock;

/// Failures that are told one by one.
const MAX_TOLD: usize = 10;

/// What became of all messages.
#[derive(Serialize, Debug, Default)]
struct Summary {
    sent: u64,
    acked: u64,
    failed: u64,
    /// Whose outcome is not known: only after an interruption.
    unknown: u64,
    elapsed_ms: u64,
    failed_by: Vec<FailedBy>,
    first_failures: Vec<Told>,
}

#[derive(Serialize, Debug)]
struct Told {
    msgid: u32,
    reason: &'static str,
    certainty: &'static str,
    tries: u32,
    user_buff: String,
}

/// `msgctl send`.
pub(super) fn run(
    dir: &Path,
    args: &SendArgs,
    format: Format,
    out: &mut dyn Write,
) -> Result<Exit, CtlError> {
    let payload = read_payload(&args.text, io::stdin())?;
    let user = args.user_buff.as_ref().map_or("", |user| &user.0);
    let user = UserBuf::try_from(user.as_bytes()).map_err(|e| CtlError::Input(e.to_string()))?;
    let port = Port::open(Registration {
        socket: dir.join("msgd.sock"),
        id: args.from,
        interval: args.interval_ms.map(|ms| Duration::from_millis(ms.into())),
        times: args.times,
        priority: 0,
        arrival: msg::Arrival::Alone,
    })?;

    let stop = Stop::on_signals().map_err(CtlError::Signals)?;
    let begin = clock::now();
    let mut sent = 0;
    let mut failures = Vec::new();
    while !stop.is_raised() {
        if sent < args.count {
            sent += send_due(&port, args, &payload, user, sent, begin)?;
            port.wait(pause(args, sent, begin))?;
        } else if port.flush(LOOK)? {
            break;
        }
        failures.extend(port.failures());
    }
    failures.extend(port.failures());
    let elapsed = clock::now().since(begin);
    let summary = summarize(sent, port.acked(), &failures, elapsed);
    write_summary(&summary, format, out)?;
    match (summary.unknown, failures.is_empty()) {
        (0, true) if sent == args.count => Ok(Exit::Ok),
        (0, false) => Ok(Exit::Failed),
        _ => Err(CtlError::Interrupted),
    }
}

/// Sends what may be sent now, and says how many that were.
fn send_due(
    port: &Port,
    args: &SendArgs,
    payload: &[u8],
    user: UserBuf,
    sent: u64,
    begin: Time,
) -> Result<u64, CtlError> {
    let due = due(args, clock::now().since(begin));
    let mut count = 0;
    while sent + count < due && count < 256 {
        if port.try_send(args.to, payload, user)?.is_none() {
            break;
        }
        count += 1;
    }
    Ok(count)
}

/// How many messages may have been sent after that time: the first one at once.
fn due(args: &SendArgs, elapsed: Span) -> u64 {
    let due = args.rate.map_or(args.count, |rate| 1 + elapsed.0.saturating_mul(rate) / 1_000_000);
    due.min(args.count)
}

/// How long to wait for an outcome or for the next message's turn.
fn pause(args: &SendArgs, sent: u64, begin: Time) -> Duration {
    match args.rate {
        Some(rate) if sent < args.count => {
            let next = begin + Span((sent.saturating_mul(1_000_000)).div_ceil(rate));
            LOOK.min(next.since(clock::now()).into())
        }
        _ => LOOK,
    }
}

/// The message: the text, or for `-` all of the input.
pub(super) fn read_payload(text: &OsStr, input: impl Read) -> Result<Vec<u8>, CtlError> {
    if text != "-" {
        return Ok(text.as_bytes().to_vec());
    }
    let mut payload = Vec::new();
    let limit = MAX_MESSAGE_BYTES as u64 + 1;
    input.take(limit).read_to_end(&mut payload).map_err(|e| CtlError::Input(e.to_string()))?;
    if payload.len() > MAX_MESSAGE_BYTES {
        return Err(CtlError::Input(format!(
            "longer than a message may be: at most {MAX_MESSAGE_BYTES} bytes"
        )));
    }
    Ok(payload)
}

fn summarize(sent: u64, acked: u64, failures: &[Failed], elapsed: Span) -> Summary {
    let failed = failures.len() as u64;
    Summary {
        sent,
        acked,
        failed,
        unknown: sent.saturating_sub(acked + failed),
        elapsed_ms: elapsed.as_millis(),
        failed_by: verdicts::count(failures.iter().map(|f| f.verdict)),
        first_failures: failures.iter().take(MAX_TOLD).map(told).collect(),
    }
}

fn told(failed: &Failed) -> Told {
    Told {
        msgid: failed.msgid.0,
        reason: failed.verdict.reason.name(),
        certainty: failed.verdict.certainty.name(),
        tries: failed.tries,
        user_buff: escaped_bytes(&failed.user),
    }
}

fn write_summary(summary: &Summary, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    if format == Format::Json {
        return status::write_json(out, summary);
    }
    let Summary { sent, acked, failed, unknown, elapsed_ms, .. } = *summary;
    write!(out, "sent {sent}, acked {acked}, failed {failed}")?;
    if unknown > 0 {
        write!(out, ", not known yet {unknown}")?;
    }
    writeln!(out, ", in {}", status::duration(elapsed_ms))?;
    if failed == 0 {
        return Ok(());
    }
    writeln!(out)?;
    verdicts::write(&summary.failed_by, out)?;
    let mut first = Table::new(&[
        ("MSGID", Right),
        ("REASON", Left),
        ("CERTAINTY", Left),
        ("TRIES", Right),
        ("USER DATA", Left),
    ]);
    for t in &summary.first_failures {
        let (reason, certainty) = (t.reason.to_owned(), t.certainty.to_owned());
        first.row([t.msgid.to_string(), reason, certainty, t.tries.to_string(), t.user_buff.clone()]);
    }
    writeln!(out)?;
    Ok(first.write(out, "")?)
}

#[cfg(test)]
mod tests {
    use msg_proto::{
        ids::MsgId,
        outcome::{Certainty, Reason, Verdict},
    };

    use super::*;

    fn args(rate: Option<u64>, count: u64) -> SendArgs {
        let text = "x".into();
        SendArgs { from: 1, to: 2, user_buff: None, count, rate, interval_ms: None, times: None, text }
    }

    #[test]
    fn the_rate_is_kept_from_the_first_message_on() {
        let rated = args(Some(1000), 5);
        let due_after = |us| due(&rated, Span(us));
        assert_eq!([0, 999, 1000, 3_999, 4_000, 60_000_000].map(due_after), [1, 1, 2, 4, 5, 5]);
        assert_eq!(due(&args(None, 5), Span(0)), 5);
    }

    #[test]
    fn standard_input_is_one_bounded_message() {
        let read = |text: &str, input: &[u8]| read_payload(text.as_ref(), input);
        assert_eq!(read("text", b"unread").unwrap(), b"text");
        assert_eq!(read("-", b"a\nb\n\xff").unwrap(), b"a\nb\n\xff");
        assert_eq!(read("-", b"").unwrap(), b"");
        let most = vec![7; MAX_MESSAGE_BYTES];
        assert_eq!(read("-", &most).unwrap(), most);
        let error = read("-", &[most.as_slice(), b"7"].concat()).unwrap_err().to_string();
        assert!(error.contains("at most 1048576 bytes"), "{error}");
    }

    #[test]
    fn the_summary_tells_the_first_failures() {
        let failure = |n: u32| Failed {
            at: Time(0),
            msgid: MsgId(n),
            verdict: Verdict { reason: Reason::NoRoute, certainty: Certainty::NotStarted },
            tries: 0,
            user: format!("id={n}").into_bytes(),
        };
        let failures: Vec<Failed> = (0..12).map(failure).collect();
        let summary = summarize(100, 88, &failures, Span::from_millis(1500));
        assert_eq!((summary.acked, summary.failed, summary.first_failures.len()), (88, 12, MAX_TOLD));
        let mut out = Vec::new();
        write_summary(&summary, Format::Table, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("sent 100, acked 88, failed 12, in 1.5 s\n"), "{text}");
        assert!(text.contains("NoRoute    NotStarted        12\n"), "{text}");
        assert!(text.contains("    0  NoRoute  NotStarted      0  id=0\n"), "{text}");
    }
}
