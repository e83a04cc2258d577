//! `msgctl serve`: runs a command for each call of a procedure.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use msg::{Call, Client, ClientId, LostReply, Procedure, ProcedureOptions};
use msg_proto::{call::REPLY_HEAD, limits::MAX_MESSAGE_BYTES};
use serde::Serialize;

use super::{
    cli::ServeArgs,
    error::CtlError,
    signals::{LOOK, Stop},
    status::Format,
};

/// A call that was served, as `--json` prints it: one object a line.
#[derive(Serialize)]
struct Served {
    src: u32,
    node: String,
    xid: u64,
    request_bytes: usize,
    /// None: see `no_reply`.
    reply_bytes: Option<usize>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    no_reply: Option<String>,
    is_repeat: bool,
}

/// `msgctl serve`. An interruption is its usual end, or a drain.
pub(super) fn run(dir: &Path, args: &ServeArgs, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    let builder = Client::builder(ClientId(args.id)).socket(dir.join("msgd.sock"));
    let client = Arc::new(builder.priority(args.place.priority).arrival(args.place.arrival()).connect()?);
    let stop = Stop::on_signals().map_err(CtlError::Signals)?;
    client.enable_reply_cache(usize::try_from(args.cache).unwrap_or(usize::MAX));
    let (calls, waiting) = mpsc::channel::<Call>();
    let (told, served) = mpsc::channel();
    let options = ProcedureOptions { is_idempotent: args.idempotent, lost_reply: LostReply::BySemantics };
    client.serve_with(Procedure(args.procedure), options, move |_, call| {
        // Nobody takes it only while the command ends: it is answered so when it is dropped.
        calls.send(call).ok();
    });
    let waiting = Arc::new(Mutex::new(waiting));
    for _ in 0..WORKERS {
        let (client, waiting, told, exec) =
            (client.clone(), waiting.clone(), told.clone(), args.exec.clone());
        thread::spawn(move || work(&client, &waiting, &told, &exec));
    }
    let (mut printed, limit) = (0, args.count.unwrap_or(u64::MAX));
    let mut print = |call: &Served| write_line(call, format, out).and_then(|()| Ok(out.flush()?));
    while printed < limit && !stop.is_raised() && !client.is_draining() {
        client.dispatch(Some(LOOK))?;
        for call in served.try_iter() {
            print(&call)?;
            printed += 1;
        }
    }
    // What it has begun is answered first, whyever it ends; a second signal ends it at once.
    client.drain(None)?;
    // A command whose caller waits no more may go on for long.
    while printed < client.call_counters().runs
        && let Ok(call) = served.recv_timeout(LAST)
    {
        print(&call)?;
        printed += 1;
    }
    Ok(())
}

/// Takes calls one after the other until none will come.
fn work(client: &Client, waiting: &Mutex<mpsc::Receiver<Call>>, told: &mpsc::Sender<Served>, exec: &OsStr) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(call) = next else { return };
        let reply = answer(client, exec, &call);
        let served = Served {
            src: call.from.instance.client.0,
            node: call.from.node.to_string(),
            xid: call.xid.0,
            request_bytes: call.request.len(),
            reply_bytes: reply.as_ref().ok().copied(),
            no_reply: reply.err(),
            is_repeat: call.is_repeat,
        };
        // Dropped without an answer, it is answered so.
        drop(call);
        client.wake();
        if told.send(served).is_err() {
            return;
        }
    }
}

/// How long the reply is, or why there is none.
fn answer(client: &Client, exec: &OsStr, call: &Call) -> Result<usize, String> {
    // It may have waited for others to end.
    if !client.caller_waits(&call.responder) {
        return Err("its caller waits no more, and the command was not run".to_owned());
    }
    let (status, reply) =
        execute(exec, call).map_err(|error| format!("the command could not be run: {error}"))?;
    if reply.len() > MAX_REPLY_BYTES {
        return Err(format!("the command wrote more than {MAX_REPLY_BYTES} bytes, and was stopped"));
    }
    if !status.success() {
        return Err("the command failed".to_owned());
    }
    client.reply(&call.responder, &reply).map_err(|error| error.to_string())?;
    Ok(reply.len())
}

/// How a command ended, and what it wrote: at most a byte more than a reply can hold.
fn execute(exec: &OsStr, call: &Call) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(exec)
        .env("MSGD_CALLER", call.from.instance.client.to_string())
        .env("MSGD_CALLER_NODE", &*call.from.node)
        .env("MSGD_XID", call.xid.to_string())
        .env("MSGD_REPEAT", if call.is_repeat { "1" } else { "0" })
        // What a terminal's Ctrl-C sends to all of its foreground is for the server, which answers first what it has begun.
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut reply = Vec::new();
    thread::scope(|scope| {
        let stdin = child.stdin.take();
        // A command that does not read all of it is free to.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(&call.request).ok()));
        let Some(stdout) = child.stdout.take() else { return Ok(()) };
        let read = stdout.take(MAX_REPLY_BYTES as u64 + 1).read_to_end(&mut reply);
        // What it has started and does not end with it meets the closed pipe.
        if read.is_err() || reply.len() > MAX_REPLY_BYTES {
            child.kill()?;
        }
        read.map(|_| ())
    })?;
    Ok((child.wait()?, reply))
}

fn write_line(call: &Served, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    if format == Format::Json {
        serde_json::to_writer(&mut *out, call)?;
        return Ok(writeln!(out)?);
    }
    let Served { src, node, xid, request_bytes, reply_bytes, .. } = call;
    let repeat = if call.is_repeat { ", a repeat" } else { "" };
    let why = call.no_reply.as_deref().unwrap_or_default();
    let answer = reply_bytes.map_or_else(|| format!("no reply: {why}"), |n| format!("{n} bytes"));
    Ok(writeln!(out, "{src} on {node}, xid {xid}{repeat}: {request_bytes} bytes -> {answer}")?)
}

/// Commands that run at a time; more calls wait.
const WORKERS: usize = 16;

/// The longest reply of a daemon with the highest limit.
const MAX_REPLY_BYTES: usize = MAX_MESSAGE_BYTES - REPLY_HEAD;

/// How long a server that ends waits for commands whose callers wait no more.
const LAST: std::time::Duration = std::time::Duration::from_millis(500);
