//! The program `msgd`: command line, log, signals, exit status.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser as _};

use crate::{
    config::{Args, Config, ConfigError},
    error::RunError,
    log,
    run::Daemon,
    service::{self, Inherited},
    stop,
};

/// Runs the program with a command line, whose first word is the program's name.
///
/// The exit status is 0 after SIGTERM or SIGINT, 2 for a bad config or command line, and 1 otherwise.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut args = match Args::try_parse_from(words) {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => return print(&error.to_string()),
        Err(error) => return fail(&RunError::Config(usage(&error))),
    };
    // Before there is a second thread.
    let inherited = Inherited::from_env();
    args.held = inherited.udp_addresses();
    // A panic is our own fault, and ends the daemon as any such fault does.
    match panic::catch_unwind(AssertUnwindSafe(|| start(args, inherited))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => fail(&error),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Runs a daemon until a signal ends it. Sockets that it does not inherit it binds; SIGHUP makes it reread what `args` name.
///
/// # Errors
///
/// It cannot start, or cannot go on.
pub fn run(config: &Config, args: Args, inherited: Inherited) -> Result<(), RunError> {
    let stop = stop::on_signals().map_err(RunError::system("signals"))?;
    let mut daemon = Daemon::open_with(config, inherited)?;
    daemon.reload_on_hangup(args)?;
    service::ready(&config.to_string());
    daemon.run(stop)
}

fn start(args: Args, inherited: Inherited) -> Result<ExitCode, RunError> {
    let config = Config::load(&args)?;
    if args.check_config {
        for warning in config.warnings() {
            complain(warning);
        }
        return Ok(print(&format!("ok: {config}\n")));
    }
    let _log = log::start(config.log_level())?;
    run(&config, args, inherited)?;
    Ok(ExitCode::SUCCESS)
}

/// A refused command line, in one line.
fn usage(error: &clap::Error) -> ConfigError {
    let text = error.to_string();
    let what = text.lines().next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(what);
    let command = Args::command();
    let allowed: Vec<String> = command
        .get_arguments()
        .filter_map(|argument| {
            let value = argument.get_value_names().filter(|_| argument.get_action().takes_values());
            let value = value.map(|names| format!(" {}", names.join(" "))).unwrap_or_default();
            Some(format!("--{}{value}", argument.get_long()?))
        })
        .collect();
    ConfigError::program(
        "command line",
        format!("{what}; allowed: {}, --help, --version", allowed.join(", ")),
    )
}

fn fail(error: &RunError) -> ExitCode {
    complain(error);
    service::status(&error.to_string());
    ExitCode::from(error.exit_status())
}

fn complain(line: &impl std::fmt::Display) {
    // Nobody is left to hear that nobody listens.
    if writeln!(io::stderr(), "{line}").is_err() {}
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
