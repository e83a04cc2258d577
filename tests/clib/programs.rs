//! The test programs of `libmsg/tests/c` against a daemon. Each checks for itself, and says where something does not hold.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Command, Stdio},
};

use crate::tools::{c_compilers, cpp_compilers, daemon, run_well, source};

/// Compiles one with every compiler and runs it.
fn passes(name: &str, words: &[&str]) {
    for compiler in c_compilers(&format!("libmsg/tests/c/{name}.c")) {
        let program = compiler.compile(&source(&format!("tests/c/{name}.c")), &[]);
        let said = run_well(&daemon(), &program, words);
        assert!(!said.is_empty(), "{name} says nothing");
    }
}

#[test]
fn calls_as_they_must_not_be_made() {
    passes("misuse", &["close"]);
}

#[test]
fn callbacks_and_the_fd() {
    passes("callbacks", &[]);
}

#[test]
fn calls_and_their_replies() {
    passes("calls", &[]);
}

#[test]
fn instances_drains_and_takeovers() {
    for compiler in c_compilers("libmsg/tests/c/instances.c") {
        let program = compiler.compile(&source("tests/c/instances.c"), &[]);
        let node = daemon();
        let mut child = Command::new(program)
            .env("MSGD_SOCKET", node.socket())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        if line == "drain me\n" {
            node.drain(Some(200));
        }
        line.clear();
        said.read_to_string(&mut line).expect("text");
        let status = child.wait().expect("ended");
        assert!(status.success() && line == "ok\n", "{status}: {line:?}");
    }
}

#[test]
fn many_threads_use_one_client() {
    passes("threads", &["4", "2000"]);
}

#[test]
fn a_fork_is_refused() {
    passes("fork", &[]);
}

#[test]
fn the_smallest_form() {
    passes("smallest", &[]);
}

#[test]
fn the_cpp_wrapper() {
    for name in ["wrapper", "wrapper_calls"] {
        for compiler in cpp_compilers(&format!("libmsg/tests/c/{name}.cpp")) {
            let program = compiler.compile(&source(&format!("tests/c/{name}.cpp")), &[]);
            assert_eq!(run_well(&daemon(), &program, &[]), "ok\n", "{name}");
        }
    }
}

#[test]
fn a_daemon_that_is_killed_under_a_client_raises_no_signal_and_loses_no_outcome() {
    for compiler in c_compilers("libmsg/tests/c/survive.c") {
        let program = compiler.compile(&source("tests/c/survive.c"), &[]);
        let mut node = daemon();
        let mut child = Command::new(program)
            .env("MSGD_SOCKET", node.socket())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut said = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        said.read_line(&mut line).expect("a line");
        assert_eq!(line, "going\n");
        for _ in 0..5 {
            node.kill();
            node.start_again();
            // It is in the middle of it again.
            msg_tests::wait::until("it has registered again", || !node.status().clients.is_empty());
        }
        drop(child.stdin.take());
        line.clear();
        said.read_to_string(&mut line).expect("text");
        assert!(child.wait().expect("ended").success(), "{line}");
        assert!(line.starts_with("ok "), "{line}");
    }
}
