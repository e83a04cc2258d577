//! The daemon.

use std::{env, process::ExitCode};

fn main() -> ExitCode {
    msgd::program::main(env::args_os())
}
