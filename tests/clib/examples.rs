//! The examples: they compile with every compiler there is, and do what they say.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::tools::{c_compilers, cpp_compilers, daemon, run_at, run_well, source};

#[test]
fn echo() {
    for compiler in c_compilers("the example echo.c") {
        let node = daemon();
        let program = compiler.compile(&source("examples/echo.c"), &[]);
        let mut server = Command::new(&program)
            .arg("200")
            .env("MSGD_SOCKET", node.socket())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let mut ready = String::new();
        let stdout = server.stdout.take().expect("piped");
        BufReader::new(stdout).read_line(&mut ready).expect("a line");
        assert_eq!(ready, "ready\n");
        assert_eq!(run_well(&node, &program, &["100", "200", "hello", "2000"]), "2000 echoes, 0 failures\n");
        kill_process(Pid::from_child(&server), Signal::TERM).expect("signalled");
        assert!(server.wait().expect("ended").success());

        let alone = run_at(&node, &program, &["100", "999", "hello", "3"]);
        assert_eq!((alone.status.code(), alone.stdout.as_str()), (Some(1), "0 echoes, 3 failures\n"));
        assert!(alone.stderr.contains("message 3 to 999 failed: NoRoute, \"echo 3 of 3\"\n"), "{alone:?}");
        drop(node);
        let nobody =
            Command::new(&program).arg("1").env("MSGD_SOCKET", "/nowhere").output().expect("it runs");
        assert_eq!(nobody.status.code(), Some(1));
        assert!(
            String::from_utf8_lossy(&nobody.stderr).starts_with("no socket at /nowhere: is msgd running")
        );
    }
}

#[test]
fn epoll_loop() {
    for compiler in c_compilers("the example epoll_loop.c") {
        let program = compiler.compile(&source("examples/epoll_loop.c"), &[]);
        assert_eq!(run_well(&daemon(), &program, &["100", "200", "1000"]), "1000 + 1000 hits\n");
    }
}

#[test]
fn legacy() {
    for compiler in c_compilers("the example legacy.c") {
        let program = compiler.compile(&source("examples/legacy.c"), &[]);
        let node = daemon();
        let arrived = run_well(&node, &program, &["300", "300", "1500"]);
        assert!(arrived.contains("1500 sent, 1500 arrived here, 0 failed\n"), "{arrived}");
        let failed = run_well(&node, &program, &["300", "999", "100"]);
        assert!(failed.contains("source data 1 of "), "{failed}");
        assert!(failed.contains("100 sent, 0 arrived here, 100 failed\n"), "{failed}");
    }
}

#[test]
fn echo_in_cpp() {
    for compiler in cpp_compilers("the example echo.cpp") {
        let program = compiler.compile(&source("examples/echo.cpp"), &[]);
        assert_eq!(
            run_well(&daemon(), &program, &["100", "200", "hello", "2000"]),
            "2000 echoes, 0 failures\n"
        );
    }
}
