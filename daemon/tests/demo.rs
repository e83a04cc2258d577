//! `msgctl demo`, as a user starts it: it keeps its promise, says so, and leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
};

use msg_proto::units::Span;
use msgd::clock;
use rustix::process::{Pid, Signal, kill_process};

fn demo(temp: &Path, args: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_msgctl"))
        .arg("demo")
        .args(args)
        .env("TMPDIR", temp)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The daemons' runtime directories were made here, and removed.
fn assert_empty(temp: &Path) {
    assert_eq!(temp.read_dir().unwrap().count(), 0);
}

/// Processes that were started with this directory on their command line.
fn processes_in(temp: &Path) -> usize {
    let temp = temp.to_str().unwrap().as_bytes();
    let lines = Path::new("/proc").read_dir().unwrap().filter_map(|entry| {
        // Processes come and go while they are looked at.
        std::fs::read(entry.ok()?.path().join("cmdline")).ok()
    });
    lines.filter(|line| line.windows(temp.len()).any(|part| part == temp)).count()
}

/// Waits for a condition, with a deadline.
fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = clock::now() + Span::from_millis(20_000);
    while !condition() {
        assert!(clock::now() < deadline, "{what} did not come");
        thread::yield_now();
    }
}

#[test]
fn it_keeps_the_promise_and_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let child = demo(temp.path(), &["--messages", "2000", "--seed", "7", "--json"]);
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (out, err) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success() && err.is_empty(), "{status}: {err}\n{out}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["promise_kept"], true, "{out}");
    let flow = |i: usize, field: &str| report["flows"][i][field].as_u64().unwrap();
    for i in 0..2 {
        assert_eq!(flow(i, "sent"), 2000);
        assert_eq!(flow(i, "acked") + flow(i, "failed"), 2000);
    }
    assert!(flow(2, "failed") >= 50, "what was sent into the cut network fails: {out}");
    assert_eq!(flow(3, "failed"), 10, "what nobody can receive fails: {out}");
    assert_eq!((&report["flows"][4]["phase"], &report["takeovers"]), (&"takeover".into(), &5.into()));
    assert_eq!(
        (flow(4, "sent"), flow(4, "acked"), flow(4, "received")),
        (3000, 3000, 3000),
        "nothing is lost: {out}"
    );
    assert!(report["network"][0]["lost"].as_u64().unwrap() > 0, "{out}");
    assert_empty(temp.path());
    assert_eq!(processes_in(temp.path()), 0);
}

#[test]
fn an_interruption_leaves_nothing_behind() {
    let temp = tempfile::tempdir().unwrap();
    let child = demo(temp.path(), &["--messages", "1000000"]);
    wait_for("two daemons", || processes_in(temp.path()) == 2);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "msgctl: interrupted\n");
    assert_empty(temp.path());
    assert_eq!(processes_in(temp.path()), 0);
}

#[test]
fn the_daemons_die_with_their_parent() {
    let temp = tempfile::tempdir().unwrap();
    let mut child = demo(temp.path(), &["--messages", "1000000"]);
    wait_for("two daemons", || processes_in(temp.path()) == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    wait_for("their end", || processes_in(temp.path()) == 0);
}
