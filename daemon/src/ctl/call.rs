//! `msgctl call`: calls a procedure, and prints its reply as it came.

use std::{
    io::{self, Write},
    path::Path,
    sync::mpsc,
    time::Duration,
};

use msg::{CallError, CallOptions, Client, ClientId, Procedure, Reply, Semantics, Xid};
use serde::Serialize;

use super::{
    cli::CallArgs,
    error::CtlError,
    send::read_payload,
    signals::{LOOK, Stop},
    status::Format,
};

/// What came of it, as `--json` prints it.
#[derive(Serialize)]
struct Answer<'a> {
    xid: u64,
    /// Of a call that failed: whether it may have run.
    #[serde(skip_serializing_if = "Option::is_none")]
    certainty: Option<&'static str>,
    /// Of a call that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// The reply, if it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    /// The reply in hexadecimal, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    hex: Option<String>,
}

/// `msgctl call`.
pub(super) fn run(dir: &Path, args: &CallArgs, format: Format, out: &mut dyn Write) -> Result<(), CtlError> {
    let request = read_payload(&args.text, io::stdin())?;
    let client = Client::builder(ClientId(args.from)).socket(dir.join("msgd.sock")).connect()?;
    let stop = Stop::on_signals().map_err(CtlError::Signals)?;
    let options = CallOptions {
        semantics: if args.at_least_once { Semantics::AtLeastOnce } else { Semantics::AtMostOnce },
        retries: args.retries,
        xid: args.xid.map(Xid),
        is_repeat: args.repeated,
        ..CallOptions::new(Duration::from_millis(args.timeout_ms))
    };
    let (told, result) = mpsc::channel();
    let target = (ClientId(args.to), Procedure(args.procedure));
    let call = client
        .start_call(target.0, target.1, &request, options, move |_, result| {
            // Nobody listens any more only when the command has ended.
            told.send(result).ok();
        })
        .map_err(|error| CtlError::Call { xid: None, error })?;
    let xid = client.xid(call).or(options.xid);
    let result = loop {
        if let Ok(result) = result.try_recv() {
            break result;
        }
        if stop.is_raised() {
            client.cancel_call(call);
        }
        client.dispatch(Some(LOOK))?;
    };
    if format == Format::Json {
        write_json(xid, &result, out)?;
    }
    match result {
        Ok(reply) if format == Format::Table => Ok(out.write_all(&reply.data)?),
        Ok(_) => Ok(()),
        Err(error) => {
            out.flush()?;
            Err(CtlError::Call { xid, error })
        }
    }
}

fn write_json(
    xid: Option<Xid>,
    result: &Result<Reply, CallError>,
    out: &mut dyn Write,
) -> Result<(), CtlError> {
    let data = result.as_ref().map(|reply| &*reply.data).unwrap_or_default();
    let text = str::from_utf8(data).ok().filter(|_| result.is_ok());
    let answer = Answer {
        xid: xid.map_or(0, |xid| xid.0),
        certainty: result.as_ref().err().map(|error| error.certainty().name()),
        error: result.as_ref().err().map(ToString::to_string),
        text,
        hex: (result.is_ok() && text.is_none()).then(|| data.iter().map(|b| format!("{b:02x}")).collect()),
    };
    serde_json::to_writer(&mut *out, &answer)?;
    Ok(writeln!(out)?)
}
