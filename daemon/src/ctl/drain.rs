//! `msgctl drain`: has clients take no more, and waits until they have gone.

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
    /// Clients that take no more and have not gone yet: what they have begun may still run.
    busy: usize,
    /// Of those, clients that hold messages.
    holding: usize,
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
    let (mut busy, mut holding) = count_busy(dir, args)?;
    while busy > 0 && clock::now() < deadline && !stop.is_raised() {
        stop.sleep(LOOK);
        (busy, holding) = count_busy(dir, args)?;
    }
    let summary = Summary { asked, busy, holding };
    match format {
        Format::Json => status::write_json(out, &summary)?,
        Format::Table => {
            write!(out, "{asked} asked to take no more; {holding} still hold messages")?;
            let registered = if busy > 0 { format!(", {busy} are still registered") } else { String::new() };
            writeln!(out, "{registered}")?;
        }
    }
    if busy > 0 && args.timeout_ms > 0 { Err(CtlError::NotDrained { busy, holding }) } else { Ok(()) }
}

/// How many of those that are asked have not gone: the daemon knows nothing of the handlers that run in them. And how many of
/// these have messages that they have not taken, or wait for outcomes.
fn count_busy(dir: &Path, args: &DrainArgs) -> Result<(usize, usize), CtlError> {
    let is_meant = |c: &&ClientStatus| args.client.is_none_or(|id| id == c.id) && c.state == "leaving";
    let is_holding = |c: &&&ClientStatus| c.queue_messages + c.chain_depth > 0;
    let clients = status::fetch(dir)?.clients;
    let busy: Vec<_> = clients.iter().filter(is_meant).collect();
    Ok((busy.len(), busy.iter().filter(is_holding).count()))
}

/// How often the daemon is asked.
const LOOK: Duration = Duration::from_millis(50);
