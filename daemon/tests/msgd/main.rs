//! The program `msgd` as a user meets it.
//!
//! * `config`: what it refuses, in one line, with exit status 2. `start`: what it cannot have, with exit status 1.
//! * `life`: a daemon that runs, is asked, and is stopped. `service`: one under a service manager.
//! * `reload`: one whose config changes.

mod config;
mod life;
mod reload;
mod service;
mod start;

use std::{
    io,
    os::unix::net::UnixDatagram,
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

/// The next state that a daemon tells its service manager.
fn next_state(notify: &UnixDatagram) -> io::Result<String> {
    let mut state = [0; 512];
    loop {
        match notify.recv(&mut state) {
            Ok(count) => return Ok(String::from_utf8_lossy(&state[..count]).into_owned()),
            // A child that stops is a signal to this process.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
