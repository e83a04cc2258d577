//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    msgd::ctl::run(std::env::args_os())
}
