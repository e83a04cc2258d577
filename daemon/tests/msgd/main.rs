//! The program `msgd` as a user meets it.
//!
//! * `config`: what it refuses, in one line, with exit status 2. `start`: what it cannot have, with exit status 1.
//! * `life`: a daemon that runs, is asked, and is stopped.

mod config;
mod life;
mod start;

use std::{
    path::Path,
    process::{Command, Output},
};

/// The program in an environment of its own: nothing of it is in the user's runtime directory.
fn msgd(runtime_dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_msgd"));
    command.args(words).env_clear().env("XDG_RUNTIME_DIR", runtime_dir);
    command
}

/// What a program that has ended has left: exit status, standard output, standard error.
fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
