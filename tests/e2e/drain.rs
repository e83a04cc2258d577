//! `msgctl drain`, as an operator runs it before a process or a node is restarted.

use std::{
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use msg::{ClientId, Error, UserBuf};
use msg_tests::{
    node::{Node, NodeSpec, join},
    program, wait,
};
use rustix::process::Signal;

pub(crate) fn msgctl(node: &Node, words: &[&str]) -> Command {
    let mut command = Command::new(program::msgctl());
    command.args(["--runtime-dir".as_ref(), node.socket().parent().expect("a directory").as_os_str()]);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs it to its end: its exit status, what it printed, and what it complained of.
pub(crate) fn run(node: &Node, words: &[&str]) -> (i32, String, String) {
    ended(msgctl(node, words).spawn().expect("it runs"))
}

pub(crate) fn ended(child: Child) -> (i32, String, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().expect("ended");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("not killed"), text(stdout), text(stderr))
}

pub(crate) fn is_leaving(node: &Node, id: u32) -> bool {
    node.status().clients.iter().any(|c| c.id == id && c.state == "leaving")
}

pub(crate) fn node() -> Node {
    Node::start(&NodeSpec::new("a").chain("interval_ms = 300\ntimes = 3"))
}

fn nodes() -> (Node, Node) {
    let (mut a, mut b) = (NodeSpec::new("a"), NodeSpec::new("b"));
    join(&mut a, &mut b);
    let (a, b) = (Node::start(&a), Node::start(&b));
    a.wait_for_links();
    (a, b)
}

/// Starts a `msgctl recv`, and waits until it is registered.
fn recv(node: &Node, id: &str, words: &[&str]) -> Child {
    start(node, &[&["recv", "--as", id], words].concat())
}

pub(crate) fn start(node: &Node, words: &[&str]) -> Child {
    let before = node.status().clients.len();
    let child = msgctl(node, words).spawn().expect("it runs");
    wait::until("it is registered", || node.status().clients.len() > before);
    child
}

#[test]
fn a_process_takes_no_more_and_its_standby_goes_on() {
    let (a, b) = nodes();
    let active = recv(&a, "200", &["--priority", "1"]);
    let standby = recv(&b, "200", &["--count", "1"]);
    let mut other = recv(&a, "300", &[]);
    let send = |text: &str| assert_eq!(run(&a, &["send", "--from", "100", "--to", "200", text]).0, 0);
    send("one");
    let none_busy = "1 asked to take no more; 0 still hold messages\n".to_owned();
    assert_eq!(run(&a, &["drain", "200"]), (0, none_busy, String::new()));
    let (status, printed, _) = ended(active);
    assert!(status == 0 && printed.contains("one"), "{status} {printed}");
    send("two");
    let (status, printed, _) = ended(standby);
    assert!(status == 0 && printed.contains("two"), "{status} {printed}");
    assert_eq!(other.try_wait().expect("a child"), None, "the other client is not meant");
    other.kill().expect("killed");
    other.wait().expect("ended");
}

#[test]
fn a_server_answers_the_call_that_it_has_begun_and_ends() {
    let node = node();
    let dir = tempfile::tempdir().expect("a directory");
    let (begun, go_on) = (dir.path().join("begun"), dir.path().join("go-on"));
    let command = format!(
        "touch '{}'; until [ -e '{}' ]; do sleep 0.01; done; echo done",
        begun.display(),
        go_on.display()
    );
    let server = start(&node, &["serve", "--as", "200", "--procedure", "1", "--exec", &command]);
    let call = ["call", "--from", "100", "--to", "200", "--procedure", "1", "--timeout-ms", "30000", "x"];
    let caller = msgctl(&node, &call).spawn().expect("it runs");
    wait::until("the command runs", || begun.exists());
    let (status, printed, complaint) = run(&node, &["drain", "200", "--timeout-ms", "300"]);
    assert_eq!(
        (status, printed.as_str()),
        (1, "1 asked to take no more; 0 still hold messages, 1 are still registered\n"),
        "the command runs"
    );
    assert!(
        complaint.starts_with("msgctl: 1 clients that take no more have not ended, 0 of them"),
        "{complaint}"
    );
    assert!(is_leaving(&node, 200));
    let waits = msgctl(&node, &["drain", "--node"]).spawn().expect("it runs");
    std::fs::write(&go_on, b"").expect("written");
    let (status, printed, complaint) = ended(caller);
    assert_eq!((status, printed.trim_end()), (0, "done"), "{complaint}");
    let (status, printed, complaint) = ended(server);
    assert!(status == 0 && printed.contains("-> 5 bytes"), "{status} {printed} {complaint}");
    assert_eq!(ended(waits).0, 0);
    assert!(!is_leaving(&node, 200), "it has gone");
}

#[test]
fn a_node_is_drained_before_its_restart() {
    let (a, b) = nodes();
    let elsewhere = b.client(300).connect().expect("registered");
    let here = ["recv --as 200", "recv --as 201", "bench --serve --as 202"]
        .map(|words| start(&a, &words.split(' ').collect::<Vec<_>>()));
    let (status, printed, complaint) = run(&a, &["--json", "drain", "--node"]);
    let summary: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!(summary, serde_json::json!({ "asked": 3, "busy": 0, "holding": 0 }));
    assert_eq!((status, complaint.as_str()), (0, ""));
    for child in here {
        assert_eq!(ended(child).0, 0);
    }
    assert!(!elsewhere.is_draining() && !is_leaving(&b, 300));
    assert!(a.status().clients.is_empty(), "they are gone");
    // A node with nobody on it is drained; who comes after that is not concerned.
    assert_eq!(run(&a, &["drain", "--node"]).0, 0);
    let later = a.client(200).connect().expect("registered");
    assert!(!later.is_draining());
}

#[test]
fn it_waits_until_who_holds_messages_has_gone_and_says_when_it_has_not() {
    let node = node();
    let client = node.client(200).times(255).connect().expect("registered");
    // Nobody has that number: it stays in the chain.
    client.send(ClientId(999), b"x", UserBuf::EMPTY).expect("room");
    wait::until("it is in the chain", || node.counter("chain_depth") == 1);

    assert_eq!(run(&node, &["drain", "200", "--timeout-ms", "0"]).0, 0, "it does not wait");
    assert!(is_leaving(&node, 200));
    let (status, printed, complaint) = run(&node, &["drain", "200", "--timeout-ms", "200"]);
    assert_eq!(
        (status, printed.as_str()),
        (1, "0 asked to take no more; 1 still hold messages, 1 are still registered\n")
    );
    assert!(
        complaint.starts_with("msgctl: 1 clients that take no more have not ended, 1 of them"),
        "{complaint}"
    );
    let (status, printed, _) = run(&node, &["--json", "drain", "--node", "--timeout-ms", "1"]);
    let summary: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((status, summary), (1, serde_json::json!({ "asked": 0, "busy": 1, "holding": 1 })));

    let waits = msgctl(&node, &["drain", "200"]).spawn().expect("it runs");
    let there = node.client(999).connect().expect("registered");
    assert_eq!(there.recv(wait::PATIENCE).expect("no error").expect("a message").data, b"x");
    client.drain(wait::PATIENCE).expect("an outcome");
    assert_eq!(client.recv(None), Err(Error::Draining));
    // It has nothing left, and may still be at work.
    let (status, printed, _) = run(&node, &["--json", "drain", "200", "--timeout-ms", "1"]);
    let summary: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((status, summary), (1, serde_json::json!({ "asked": 0, "busy": 1, "holding": 0 })));
    drop(client);
    let (status, printed, complaint) = ended(waits);
    assert_eq!(
        (status, printed.as_str()),
        (0, "0 asked to take no more; 0 still hold messages\n"),
        "{complaint}"
    );
}

#[test]
fn what_cannot_be_drained_is_an_error() {
    let node = node();
    let _client = node.client(200).connect().expect("registered");
    let (status, printed, complaint) = run(&node, &["drain", "999"]);
    assert_eq!((status, printed.as_str()), (1, ""));
    assert_eq!(
        complaint,
        "msgctl: no process of this node is client 999; msgctl clients shows those that are there\n"
    );
    for words in [&["drain"][..], &["drain", "200", "--node"], &["drain", "x"], &["drain", "-1"]] {
        let (status, printed, complaint) = run(&node, words);
        assert!(
            status == 2 && printed.is_empty() && complaint.starts_with("error: "),
            "{words:?}: {complaint}"
        );
    }
    assert!(!is_leaving(&node, 200), "none of these has drained it");
    let dir = tempfile::tempdir().expect("a directory");
    let mut nobody = Command::new(program::msgctl());
    nobody.arg("--runtime-dir").arg(dir.path()).args(["drain", "200"]);
    let Output { status, stderr, .. } = nobody.output().expect("it runs");
    assert_eq!(status.code(), Some(1));
    assert!(String::from_utf8_lossy(&stderr).starts_with("msgctl: no daemon at "), "{stderr:?}");
}

#[test]
fn a_drain_that_a_daemon_did_not_answer_may_still_be_carried_out_and_says_so() {
    let node = node();
    let client = node.client(200).connect().expect("registered");
    node.signal(Signal::STOP);
    let (status, printed, complaint) = run(&node, &["drain", "--node"]);
    node.signal(Signal::CONT);
    assert_eq!((status, printed.as_str()), (1, ""));
    assert!(complaint.contains("it may still do what it was asked"), "{complaint}");
    wait::until("it is carried out", || {
        client.dispatch(Duration::from_millis(10)).expect("no error");
        client.is_draining()
    });
}
