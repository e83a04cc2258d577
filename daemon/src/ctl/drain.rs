//! `msgctl drain`: has clients take no more, and waits until they hold nothing.

use std::{io::Write, path::Path, time::Duration};

use msg_proto::{status::ClientStatus, units::Span};
use serde::Serialize;

use super::{
    cli::DrainArgs,
    error::CtlError,
    signals::Stop,
    status::{self, Format},
};
use crate::clock;

/// What was drained, as `--json` prints it.
#[derive(Serialize)]
struct Summary {
    /// Clients that were asked.
    asked: u64,
    /// Clients that still hold messages.
    busy: usize,
}

/// `msgctl drain`.
pub(super) fn run(dir: &Path, args: &DrainArgs, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    let stop = Stop::on_signals().map_err(CtlError::Signals)?;
    let whom = args.client.map_or("node".to_owned(), |id| format!("client={id}"));
    let asked = status::post_for(dir, &format!("/v1/drain?{whom}"), "asked")?;
    if let Some(id) = args.client.filter(|_| asked == 0) {
        // One that was asked before may still be there.
        let is_here = status::fetch(dir)?.clients.iter().any(|c| c.id == id);
        if !is_here {
            return Err(CtlError::NoClient { id });
        }
    }
    let deadline = clock::now() + Span::from_millis(u64::from(args.timeout_ms));
    let mut busy = count_busy(dir, args)?;
    while busy > 0 && clock::now() < deadline && !stop.is_raised() {
        stop.sleep(LOOK);
        busy = count_busy(dir, args)?;
    }
    let summary = Summary { asked, busy };
    match format {
        Format::Json => status::write_json(out, &summary)?,
        Format::Table => {
            writeln!(out, "{asked} asked to take no more; {busy} still hold messages")?;
        }
    }
    if busy > 0 && args.timeout_ms > 0 { Err(CtlError::NotDrained { busy }) } else { Ok(()) }
}

/// How many of those that are asked take messages, have some that they have not taken, or wait for outcomes.
fn count_busy(dir: &Path, args: &DrainArgs) -> Result<usize, CtlError> {
    let is_meant = |c: &&ClientStatus| args.client.is_none_or(|id| id == c.id);
    let is_busy = |c: &&ClientStatus| c.state == "leaving" && c.queue_messages + c.chain_depth > 0;
    Ok(status::fetch(dir)?.clients.iter().filter(is_meant).filter(is_busy).count())
}

/// How often the daemon is asked.
const LOOK: Duration = Duration::from_millis(50);
