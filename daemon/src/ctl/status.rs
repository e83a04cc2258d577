//! `status`, `clients`, `peers` and `chain`: what a daemon says of itself, as tables or as it came.

use std::{
    io::{self, Write},
    path::Path,
};

use msg_proto::{
    counters::Counter,
    status::{ChainEntry, ClientStatus, PeerStatus, StatusDocument},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    error::CtlError,
    http::{self, HttpError},
    table::{Align::Left, Align::Right, Table, printable},
};

/// Tables for people or JSON for programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    Table,
    Json,
}

/// A daemon's status document.
pub(super) fn fetch(runtime_dir: &Path) -> Result<StatusDocument, CtlError> {
    fetch_as(runtime_dir, "/v1/status")
}

/// `msgctl status`.
pub(super) fn show_status(dir: &Path, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    match format {
        Format::Json => write_json(out, &fetch_as::<Value>(dir, "/v1/status")?),
        Format::Table => Ok(write_status(out, &fetch(dir)?)?),
    }
}

/// `msgctl clients`.
pub(super) fn show_clients(dir: &Path, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    match format {
        Format::Json => write_json(out, &part(dir, "clients")?),
        Format::Table => Ok(write_clients(out, &fetch(dir)?.clients)?),
    }
}

/// `msgctl peers`.
pub(super) fn show_peers(dir: &Path, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    match format {
        Format::Json => write_json(out, &part(dir, "peers")?),
        Format::Table => Ok(write_peers(out, &fetch(dir)?.peers)?),
    }
}

/// `msgctl chain`.
pub(super) fn show_chain(
    dir: &Path,
    client: Option<u32>,
    format: Format,
    out: &mut dyn Write,
) -> Result<(), CtlError> {
    let target = client.map_or("/v1/chain".to_owned(), |id| format!("/v1/chain?client={id}"));
    match format {
        Format::Json => write_json(out, &fetch_as::<Value>(dir, &target)?),
        Format::Table => Ok(write_chain(out, &fetch_as::<Vec<ChainEntry>>(dir, &target)?)?),
    }
}

/// One JSON document and a line end.
pub(super) fn write_json(out: &mut dyn Write, value: &impl serde::Serialize) -> Result<(), CtlError> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

fn fetch_as<T: DeserializeOwned>(dir: &Path, target: &str) -> Result<T, CtlError> {
    read(dir, |socket| http::get(socket, target))
}

fn read<T: DeserializeOwned>(
    dir: &Path,
    ask: impl FnOnce(&Path) -> Result<Vec<u8>, HttpError>,
) -> Result<T, CtlError> {
    let path = dir.join("status.sock");
    let body = match ask(&path) {
        Ok(body) => body,
        Err(HttpError::Connect(source)) => return Err(CtlError::NoDaemon { path, source }),
        Err(e) => return Err(CtlError::Answer { path, what: e.to_string() }),
    };
    serde_json::from_slice(&body)
        .map_err(|e| CtlError::Answer { path, what: format!("its answer is not what was expected: {e}") })
}

/// The number `field` of what a POST gives.
pub(super) fn post_for(dir: &Path, target: &str, field: &str) -> Result<u64, CtlError> {
    let answer: Value = read(dir, |socket| http::post(socket, target))?;
    Ok(answer.get(field).and_then(Value::as_u64).unwrap_or(0))
}

/// One field of the status, as the daemon wrote it: a newer daemon's fields are not lost.
fn part(dir: &Path, field: &str) -> Result<Value, CtlError> {
    let mut document: Value = fetch_as(dir, "/v1/status")?;
    match document.get_mut(field) {
        Some(part) => Ok(part.take()),
        None => {
            let what = format!("its answer is not what was expected: it has no `{field}`");
            Err(CtlError::Answer { path: dir.join("status.sock"), what })
        }
    }
}

fn write_status(out: &mut dyn Write, status: &StatusDocument) -> io::Result<()> {
    let up = status.peers.iter().filter(|p| p.state == "up").count();
    writeln!(
        out,
        "node {}, msgd {}, up {}; clients: {}; peers: {} of {} up\n",
        printable(&status.node),
        printable(&status.version),
        duration(status.uptime_ms),
        status.clients.len(),
        up,
        status.peers.len(),
    )?;
    let mut table = Table::new(&[("COUNTER", Left), ("VALUE", Right), ("", Left)]);
    let help = |name: &str| Counter::ALL.iter().find(|c| c.name() == name).map_or("", |c| c.help());
    // In the order in which the daemon documents them; what this program does not know comes last.
    let known = Counter::ALL.iter().map(|c| c.name());
    let order =
        known.clone().chain(status.counters.keys().map(String::as_str).filter(|n| help(n).is_empty()));
    for name in order {
        if let Some(value) = status.counters.get(name) {
            let meaning =
                if name == "chain_depth" { "Messages whose outcome is not known yet." } else { help(name) };
            table.row([name.to_owned(), value.to_string(), meaning.to_owned()]);
        }
    }
    table.write(out, "no counters")
}

fn write_clients(out: &mut dyn Write, clients: &[ClientStatus]) -> io::Result<()> {
    let mut table = Table::new(&[
        ("ID", Right),
        ("NAME", Left),
        ("STATE", Left),
        ("PRIO", Right),
        ("PID", Right),
        ("UID", Right),
        ("INTERVAL", Right),
        ("TIMES", Right),
        ("CHAIN", Right),
        ("BYTES", Right),
        ("OLDEST", Right),
        ("QUEUE", Right),
        ("BYTES", Right),
        ("SENT", Right),
        ("ACKED", Right),
        ("FAILED", Right),
        ("TAKEN", Right),
    ]);
    for c in clients {
        table.row([
            c.id.to_string(),
            c.name.clone(),
            c.state.clone(),
            c.priority.to_string(),
            c.pid.to_string(),
            c.uid.to_string(),
            duration(c.interval_ms),
            c.times.to_string(),
            format!("{}/{}", c.chain_depth, c.max_stored),
            c.chain_bytes.to_string(),
            duration(c.oldest_ms),
            c.queue_messages.to_string(),
            c.queue_bytes.to_string(),
            c.submitted.to_string(),
            c.acked.to_string(),
            c.failed.to_string(),
            c.taken.to_string(),
        ]);
    }
    table.write(out, "no clients")
}

fn write_peers(out: &mut dyn Write, peers: &[PeerStatus]) -> io::Result<()> {
    let mut table = Table::new(&[
        ("NAME", Left),
        ("STATE", Left),
        ("PATH", Left),
        ("HEARD", Right),
        ("MTU", Right),
        ("RTT", Right),
        ("JITTER", Right),
        ("DELAY", Right),
        ("CLOCK STEP", Right),
        ("IN FLIGHT", Right),
        ("QUEUED", Right),
        ("CLIENTS", Left),
    ]);
    let ago = |ms: Option<u64>| ms.map_or("never".to_owned(), |ms| format!("{} ago", duration(ms)));
    for p in peers {
        let clients: Vec<String> = p.clients.iter().map(u32::to_string).collect();
        let path = |i: usize| {
            p.paths.get(i).map_or(String::new(), |path| {
                format!("{}{}", if path.active { "*" } else { " " }, path.remote)
            })
        };
        table.row([
            p.name.clone(),
            if p.mismatch.is_some() { "version".to_owned() } else { p.state.clone() },
            path(0),
            ago(p.heard_ms_ago),
            p.paths.first().map_or(String::new(), |path| path.mtu.to_string()),
            micros(p.rtt_us),
            micros(p.jitter_us),
            micros(p.delay_us),
            ago(p.clock_step_ms_ago),
            p.in_flight_bytes.to_string(),
            p.queued.to_string(),
            clients.join(","),
        ]);
        for (i, more) in p.paths.iter().enumerate().skip(1) {
            let mut cells = [const { String::new() }; 12];
            cells[2] = path(i);
            cells[3] = ago(more.heard_ms_ago);
            cells[4] = more.mtu.to_string();
            table.row(cells);
        }
    }
    table.write(out, "no peers")
}

fn write_chain(out: &mut dyn Write, entries: &[ChainEntry]) -> io::Result<()> {
    let mut table = Table::new(&[
        ("CLIENT", Right),
        ("MSGID", Right),
        ("TO", Right),
        ("BYTES", Right),
        ("AGE", Right),
        ("COPIES", Right),
        ("TIMES LEFT", Right),
        ("WAITS FOR", Left),
        ("USER DATA", Left),
    ]);
    for e in entries {
        table.row([
            e.client.to_string(),
            e.msgid.to_string(),
            e.dst.to_string(),
            e.len.to_string(),
            duration(e.age_ms),
            e.copies.to_string(),
            e.times_left.to_string(),
            e.waits_for.clone(),
            e.user_buff.clone(),
        ]);
    }
    table.write(out, "nothing waits for an outcome")
}

/// Milliseconds in the two largest units that say something.
pub(super) fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 => format!("{ms} ms"),
        1..60 => format!("{s}.{} s", ms % 1000 / 100),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s % 3600 / 60),
        _ => format!("{} d {} h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Microseconds, as milliseconds; 0 is not measured yet.
fn micros(us: u64) -> String {
    if us == 0 { "-".to_owned() } else { format!("{}.{:02} ms", us / 1000, us % 1000 / 10) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let shown = [0, 999, 1_000, 59_999, 61_000, 3_660_000, 90_000_000].map(duration);
        assert_eq!(shown, ["0 ms", "999 ms", "1.0 s", "59.9 s", "1 min 1 s", "1 h 1 min", "1 d 1 h"]);
        assert_eq!(micros(1_234), "1.23 ms");
    }

    #[test]
    fn every_counter_is_shown_once_and_explained() {
        let counters =
            Counter::ALL.iter().map(|c| (c.name().to_owned(), 7)).chain([("chain_depth".into(), 1)]);
        let status = StatusDocument { node: "a".into(), counters: counters.collect(), ..Default::default() };
        let mut out = Vec::new();
        write_status(&mut out, &status).unwrap();
        let text = String::from_utf8(out).unwrap();
        for counter in Counter::ALL {
            let lines = text.lines().filter(|l| l.split_whitespace().next() == Some(counter.name()));
            assert_eq!(lines.count(), 1, "{}", counter.name());
        }
        assert!(text.contains("chain_depth"));
        assert!(text.lines().skip(3).all(|l| l.ends_with('.')), "{text}");
    }

    #[test]
    fn tables_have_a_cell_for_each_column() {
        let mut out = Vec::new();
        write_clients(&mut out, &[ClientStatus::default()]).unwrap();
        let paths = vec![Default::default(); 3];
        write_peers(&mut out, &[PeerStatus { paths, ..Default::default() }]).unwrap();
        write_chain(&mut out, &[ChainEntry::default()]).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), 2 + 4 + 2);
    }
}
