//! `msgctl serve`: runs a command for each call of a procedure.

use std::{
    ffi::OsStr,
    io::{self, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

use msg::{Call, Client, ClientId, LostReply, Procedure, ProcedureOptions};
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
    /// None: the command failed.
    reply_bytes: Option<usize>,
    is_repeat: bool,
}

/// `msgctl serve`. An interruption is its usual end, or a drain.
pub(super) fn run(dir: &Path, args: &ServeArgs, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    let client = Client::builder(ClientId(args.id)).socket(dir.join("msgd.sock")).connect()?;
    let client = Arc::new(client);
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
    // Asked to take no more, it answers what it has begun.
    while client.is_draining() && !stop.is_raised() {
        match client.drain(Some(LOOK)) {
            Err(msg::Error::Timeout { .. }) => {}
            ended => {
                ended?;
                // A command whose caller waits no more may go on for long.
                while printed < client.call_counters().runs
                    && let Ok(call) = served.recv_timeout(LAST)
                {
                    print(&call)?;
                    printed += 1;
                }
                return Ok(());
            }
        }
    }
    // The last replies are on their way when everything that was sent has its outcome.
    client.flush(Some(LAST))?;
    Ok(())
}

/// Takes calls one after the other until none will come.
fn work(client: &Client, waiting: &Mutex<mpsc::Receiver<Call>>, told: &mpsc::Sender<Served>, exec: &OsStr) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(call) = next else { return };
        let reply = execute(exec, &call).ok().flatten();
        let is_answered = reply.as_ref().is_some_and(|reply| client.reply(&call.responder, reply).is_ok());
        let served = Served {
            src: call.from.instance.client.0,
            node: call.from.node.to_string(),
            xid: call.xid.0,
            request_bytes: call.request.len(),
            reply_bytes: reply.filter(|_| is_answered).map(|reply| reply.len()),
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

/// What a command wrote; `None` if it failed.
fn execute(exec: &OsStr, call: &Call) -> io::Result<Option<Vec<u8>>> {
    let mut child = Command::new("sh")
        .arg("-c")
        .arg(exec)
        .env("MSGD_CALLER", call.from.instance.client.to_string())
        .env("MSGD_CALLER_NODE", &*call.from.node)
        .env("MSGD_XID", call.xid.to_string())
        .env("MSGD_REPEAT", if call.is_repeat { "1" } else { "0" })
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut reply = Vec::new();
    thread::scope(|scope| {
        let stdin = child.stdin.take();
        // A command that does not read all of it is free to.
        scope.spawn(|| stdin.map(|mut stdin| stdin.write_all(&call.request).ok()));
        read_all(&mut child, &mut reply)
    })?;
    Ok(child.wait()?.success().then_some(reply))
}

fn read_all(child: &mut Child, reply: &mut Vec<u8>) -> io::Result<()> {
    match &mut child.stdout {
        Some(stdout) => stdout.read_to_end(reply).map(|_| ()),
        None => Ok(()),
    }
}

fn write_line(call: &Served, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    if format == Format::Json {
        serde_json::to_writer(&mut *out, call)?;
        return Ok(writeln!(out)?);
    }
    let Served { src, node, xid, request_bytes, reply_bytes, .. } = call;
    let repeat = if call.is_repeat { ", a repeat" } else { "" };
    let answer =
        reply_bytes.map_or_else(|| "no reply: the command failed".to_owned(), |n| format!("{n} bytes"));
    Ok(writeln!(out, "{src} on {node}, xid {xid}{repeat}: {request_bytes} bytes -> {answer}")?)
}

/// Commands that run at a time; more calls wait.
const WORKERS: usize = 16;

/// How long an interrupted server waits for its last replies to be taken.
const LAST: std::time::Duration = std::time::Duration::from_millis(500);
