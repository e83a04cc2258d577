//! `msgctl`: the command line for the people who run a daemon.
//!
//! * `cli`: the options. `error`: exit statuses and error lines. `table`, `verdicts`: tables.
//! * `http`, `status`: what a daemon says of itself. `send`, `recv`: messages through it, with a `port`.
//! * `drain`: has clients take no more. `reload`: has the daemon reread its config. `signals`: Ctrl-C.
//! * `bench`: how fast they are; `latencies`. `call`, `serve`: procedures.
//! * `demo`: two daemons, a bad network, and a check that the promise is kept.

mod bench;
mod call;
mod cli;
mod demo;
mod drain;
mod error;
mod http;
mod latencies;
mod port;
mod recv;
mod reload;
mod send;
mod serve;
mod signals;
mod status;
mod table;
mod verdicts;

#[cfg(test)]
mod tests;

pub use error::{CtlError, Exit};

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser};

use cli::{Cli, Command};
use status::Format;

/// The definition of `msgctl`'s command line.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs `msgctl` with these arguments, of which the first is the program's name: prints, and says how to exit.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match Cli::try_parse_from(args) {
        Ok(Cli { command: Command::Node(args), .. }) => demo::run_node(args),
        Ok(cli) => run_to(cli, &mut io::stdout().lock(), &mut io::stderr()).into(),
        Err(e) => {
            // Help and version are answers. Whoever closed the pipe before they were written has no use for them.
            e.print().ok();
            if e.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() }
        }
    }
}

fn run_to(cli: Cli, out: &mut dyn Write, err: &mut dyn Write) -> Exit {
    match obey(cli, out).and_then(|exit| Ok(out.flush().map(|()| exit)?)) {
        Ok(exit) => exit,
        Err(CtlError::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Ok,
        Err(e) => {
            // With nowhere to complain to, the exit status still says it.
            writeln!(err, "msgctl: {e}").ok();
            e.exit()
        }
    }
}

fn obey(cli: Cli, out: &mut dyn Write) -> Result<Exit, CtlError> {
    let dir = cli.runtime_dir.unwrap_or_else(default_runtime_dir);
    let format = if cli.json { Format::Json } else { Format::Table };
    match cli.command {
        Command::Status => status::show_status(&dir, format, out)?,
        Command::Clients => status::show_clients(&dir, format, out)?,
        Command::Peers => status::show_peers(&dir, format, out)?,
        Command::Chain { client } => status::show_chain(&dir, client, format, out)?,
        Command::Send(args) => return send::run(&dir, &args, format, out),
        Command::Recv(args) => recv::run(&dir, &args, format, out)?,
        Command::Drain(args) => drain::run(&dir, &args, format, out)?,
        Command::Call(args) => call::run(&dir, &args, format, out)?,
        Command::Serve(args) => serve::run(&dir, &args, format, out)?,
        Command::Bench(args) => return bench::run(&dir, &args, format, out),
        Command::Reload => reload::run(&dir)?,
        Command::Demo(args) => return demo::run(&args, format, out),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "msgctl", &mut script);
            out.write_all(&script)?;
        }
        Command::Node(_) => return Err(CtlError::Demo("this command is for the demo's own use".to_owned())),
    }
    Ok(Exit::Ok)
}

/// `$XDG_RUNTIME_DIR/msgd`, else `/run/msgd`.
fn default_runtime_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() => PathBuf::from(dir).join("msgd"),
        _ => PathBuf::from("/run/msgd"),
    }
}
