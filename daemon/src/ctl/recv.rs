//! `msgctl recv`: prints what comes for a client.

use std::{io::Write, path::Path, sync::mpsc};

use msg::{PresenceChange, PresenceEvent};
use serde::Serialize;

use super::{
    cli::RecvArgs,
    error::CtlError,
    port::{Port, Registration, Taken},
    signals::{LOOK, Stop},
    status::Format,
    table::{escaped_bytes, printable},
};

/// A message, as `--json` prints it: one object a line.
#[derive(Serialize)]
struct Line<'a> {
    src: u32,
    msgid: u32,
    age_us: u64,
    len: usize,
    /// The message, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The message in hexadecimal, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// A change among the instances of a client, as `--json` prints it.
#[derive(Serialize)]
struct Change {
    client: u32,
    /// `up`, `down`, `active`.
    change: &'static str,
    /// Absent: no instance is active.
    #[serde(skip_serializing_if = "Option::is_none")]
    incarnation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<u8>,
}

/// `msgctl recv`. An interruption, and a takeover by another process, is its usual end.
pub(super) fn run(dir: &Path, args: &RecvArgs, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    let registration = Registration {
        socket: dir.join("msgd.sock"),
        id: args.id,
        interval: None,
        times: None,
        priority: args.place.priority,
        arrival: args.place.arrival(),
    };
    let port = Port::open(registration)?;
    let (told, changes) = mpsc::channel();
    // Nobody listens any more only while the port is being dropped.
    port.subscribe(&args.subscribe, move |event| {
        told.send(*event).ok();
    })?;
    let stop = Stop::on_signals().map_err(CtlError::Signals)?;
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 && !stop.is_raised() {
        let message = port.take()?;
        for event in changes.try_iter() {
            write_change(&event, format, out)?;
        }
        match message {
            None if port.is_draining() => break,
            Some(message) => {
                write_message(&message, format, out)?;
                left -= 1;
            }
            None => {
                out.flush()?;
                port.wait(LOOK)?;
            }
        }
    }
    Ok(())
}

fn write_change(event: &PresenceEvent, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    let client = event.client.0;
    let (change, instance) = match event.change {
        PresenceChange::Up(instance) => ("up", Some(instance)),
        PresenceChange::Down(instance) => ("down", Some(instance)),
        PresenceChange::Active(instance) => ("active", instance),
    };
    let incarnation = instance.map(|i| i.incarnation.to_string());
    if format == Format::Json {
        let priority = instance.map(|i| i.priority);
        let change = Change { client, change, incarnation, priority };
        serde_json::to_writer(&mut *out, &change)?;
        return Ok(writeln!(out)?);
    }
    let whom = incarnation.unwrap_or_else(|| "none".to_owned());
    let priority = instance.map(|i| format!(", priority {}", i.priority)).unwrap_or_default();
    Ok(writeln!(out, "{client} {change}: {whom}{priority}")?)
}

fn write_message(message: &Taken, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    let Taken { src, msgid, age_us, ref data } = *message;
    let text = std::str::from_utf8(data).ok();
    if format == Format::Json {
        let hex = text.is_none().then(|| data.iter().map(|byte| format!("{byte:02x}")).collect());
        serde_json::to_writer(&mut *out, &Line { src, msgid, age_us, len: data.len(), text, hex })?;
        return Ok(writeln!(out)?);
    }
    let shown = text.map_or_else(|| escaped_bytes(data), |text| printable(text.trim_end_matches('\n')));
    let (ms, hundredths) = (age_us / 1000, age_us % 1000 / 10);
    Ok(writeln!(out, "{src} #{msgid} {ms}.{hundredths:02} ms {} bytes: {shown}", data.len())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(data: &[u8], format: Format) -> String {
        let mut out = Vec::new();
        let message = Taken { src: 7, msgid: 3, age_us: 1_230, data: data.to_vec() };
        write_message(&message, format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_line_a_message() {
        assert_eq!(line(b"a\nb\n", Format::Table), "7 #3 1.23 ms 4 bytes: a\\nb\n");
        assert_eq!(line(b"\xff", Format::Table), "7 #3 1.23 ms 1 bytes: \\xff\n");
        let json = line(b"a\n\"b", Format::Json);
        assert_eq!(json, concat!(r#"{"src":7,"msgid":3,"age_us":1230,"len":4,"text":"a\n\"b"}"#, "\n"));
        assert!(line(b"\xff\x01", Format::Json).contains("\"hex\":\"ff01\""));
    }
}
