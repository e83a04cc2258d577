//! `msgctl serve`, as an operator runs and replaces it.

use std::{fs, os::unix::process::CommandExt, path::Path, process::Child, time::Duration};

use msg::{CallOptions, ClientId, Procedure};
use msg_tests::{
    node::{Node, NodeSpec},
    wait,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::drain::{ended, is_leaving, msgctl, node, run, start};

/// A server whose commands say that they have begun, in a file each, and wait for the file `go-on`, or the end of the test.
fn slow_server(node: &Node, dir: &Path, words: &[&str]) -> Child {
    start(
        node,
        &[&["serve", "--as", "200", "--procedure", "1", "--exec", &slow_command(dir)], words].concat(),
    )
}

/// The same in a process group of its own, as a shell starts what runs in the foreground.
fn foreground(node: &Node, dir: &Path) -> Child {
    let words = ["serve", "--as", "200", "--procedure", "1", "--exec", &slow_command(dir)];
    let server = msgctl(node, &words).process_group(0).spawn().expect("it runs");
    wait::until("it is registered", || node.status().clients.iter().any(|c| c.id == 200));
    server
}

fn slow_command(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "touch {dir}/begun-$MSGD_XID; while [ -d {dir} -a ! -e {dir}/go-on ]; do sleep 0.01; done; echo done"
    )
}

fn begun(dir: &Path) -> usize {
    let files = fs::read_dir(dir).expect("a directory");
    files
        .filter(|file| file.as_ref().is_ok_and(|f| f.file_name().to_string_lossy().starts_with("begun")))
        .count()
}

fn call(node: &Node, from: &str, text: &str) -> Child {
    let words = ["call", "--from", from, "--to", "200", "--procedure", "1", "--timeout-ms", "30000", text];
    msgctl(node, &words).spawn().expect("it runs")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    kill_process(pid, signal).expect("signalled");
}

#[test]
fn what_it_has_begun_is_answered_when_it_ends() {
    for way in ["SIGTERM", "--count", "--takeover"] {
        let node = node();
        let dir = tempfile::tempdir().expect("a directory");
        let count: &[&str] = if way == "--count" { &["--count", "1"] } else { &[] };
        let old = slow_server(&node, dir.path(), count);
        let mut callers = vec![call(&node, "100", "x"), call(&node, "101", "x")];
        wait::until("the commands run", || begun(dir.path()) == 2);
        let mut successor = None;
        match way {
            "SIGTERM" => {
                signal(&old, Signal::TERM);
                wait::until("it takes no more", || is_leaving(&node, 200));
            }
            "--takeover" => {
                let words = ["serve", "--as", "200", "--procedure", "1", "--exec", "cat", "--takeover"];
                successor = Some(start(&node, &words));
                let (status, printed, complaint) = ended(call(&node, "102", "y"));
                assert_eq!((status, printed.trim_end()), (0, "y"), "{complaint}");
            }
            _ => {}
        }
        fs::write(dir.path().join("go-on"), b"").expect("written");
        for caller in callers.drain(..) {
            let (status, printed, complaint) = ended(caller);
            assert_eq!((status, printed.trim_end()), (0, "done"), "{way}: {complaint}");
        }
        let (status, printed, complaint) = ended(old);
        assert_eq!((status, printed.lines().count()), (0, 2), "{way}: {printed} {complaint}");
        if let Some(successor) = successor {
            signal(&successor, Signal::TERM);
            assert_eq!(ended(successor).0, 0);
        }
    }
}

#[test]
fn an_interrupt_of_its_terminal_leaves_its_commands_to_end() {
    let node = node();
    let dir = tempfile::tempdir().expect("a directory");
    let server = foreground(&node, dir.path());
    let caller = call(&node, "100", "x");
    wait::until("the command runs", || begun(dir.path()) == 1);
    // As Ctrl-C does: everything in the foreground gets it.
    let group = Pid::from_raw(i32::try_from(server.id()).expect("a pid")).expect("a pid");
    kill_process_group(group, Signal::INT).expect("signalled");
    wait::until("it takes no more", || is_leaving(&node, 200));
    fs::write(dir.path().join("go-on"), b"").expect("written");
    let (status, printed, complaint) = ended(caller);
    assert_eq!((status, printed.trim_end()), (0, "done"), "{complaint}");
    assert_eq!(ended(server).0, 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let node = node();
    let dir = tempfile::tempdir().expect("a directory");
    let mut server = slow_server(&node, dir.path(), &[]);
    let caller = call(&node, "100", "x");
    wait::until("the command runs", || begun(dir.path()) == 1);
    signal(&server, Signal::TERM);
    wait::until("it takes no more", || is_leaving(&node, 200));
    signal(&server, Signal::TERM);
    assert!(!server.wait().expect("a child").success());
    assert_eq!(ended(caller).0, 4, "it may have run");
    fs::write(dir.path().join("go-on"), b"").expect("written");
}

#[test]
fn a_call_whose_time_is_over_when_a_worker_is_free_is_not_run() {
    let node = node();
    let dir = tempfile::tempdir().expect("a directory");
    let server = slow_server(&node, dir.path(), &[]);
    let caller = node.client(100).connect().expect("registered");
    for _ in 0..WORKERS {
        let options = CallOptions::new(wait::PATIENCE);
        caller.start_call(ClientId(200), Procedure(1), b"", options, |_, _| {}).expect("room");
    }
    wait::until("all workers are busy", || {
        caller.dispatch(Duration::from_millis(10)).expect("no error");
        begun(dir.path()) == WORKERS
    });
    let late = caller.call(ClientId(200), Procedure(1), b"", CallOptions::new(Duration::from_millis(200)));
    late.expect_err("its time is over");
    fs::write(dir.path().join("go-on"), b"").expect("written");
    assert_eq!(run(&node, &["drain", "200"]).0, 0);
    let (status, printed, _) = ended(server);
    assert_eq!((status, begun(dir.path())), (0, WORKERS), "{printed}");
    assert_eq!(printed.matches("no reply: its caller waits no more").count(), 1, "{printed}");
}

#[test]
fn a_reply_that_is_too_large_is_said_to_be_and_not_kept() {
    let node = Node::start(&NodeSpec::new("a").limits("max_message_bytes = 65536"));
    for (command, why) in [
        ("head -c 100000 /dev/zero", "no reply: reply too large: at most 65520 bytes"),
        // It never ends by itself.
        ("yes", "no reply: the command wrote more than 1048560 bytes, and was stopped"),
    ] {
        let words = ["serve", "--as", "200", "--procedure", "1", "--count", "1", "--exec", command];
        let server = start(&node, &words);
        assert_eq!(ended(call(&node, "100", "x")).0, 4, "it may have run");
        let (status, printed, complaint) = ended(server);
        assert!(status == 0 && printed.contains(why), "{printed} {complaint}");
    }
}

/// Commands that `serve` runs at a time.
const WORKERS: usize = 16;
