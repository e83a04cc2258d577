//! A daemon that is told to reread its config.

use std::{fs, path::Path, process::Command};

use msg_proto::status::StatusDocument;
use rustix::process::Signal;

use crate::life::Running;

const NODE: &str = "[node]\nname = \"vm-a\"\nlisten = [\"127.0.0.1:0\"]\n";

fn peer(name: &str) -> String {
    format!("[[peer]]\nname = \"{name}\"\naddresses = [\"127.0.0.1:9\"]\n")
}

fn start(home: &Path) -> Running {
    fs::write(home.join("msgd.toml"), NODE).expect("written");
    Running::start(home, &["--config", home.join("msgd.toml").to_str().expect("text")])
}

/// Reloads a config, and waits until the daemon says what came of it.
fn reload(daemon: &Running, home: &Path, text: &str) -> String {
    fs::write(home.join("msgd.toml"), text).expect("written");
    let notify = daemon.notify_again();
    daemon.signal(Signal::HUP);
    let state = crate::next_state(&notify).expect("reloading");
    let began = state.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("when it began").trim();
    assert!(began.parse::<u64>().is_ok_and(|began| began > 0), "{state}");
    let state = crate::next_state(&notify).expect("reloaded");
    let (ready, status) = state.split_once('\n').expect("two lines");
    assert_eq!(ready, "READY=1");
    status.trim().to_owned()
}

fn peers(daemon: &Running) -> Vec<String> {
    let document: StatusDocument =
        serde_json::from_str(&daemon.ask("/v1/status").1).expect("a status document");
    document.peers.into_iter().map(|peer| peer.name).collect()
}

#[test]
fn what_can_change_does_and_what_cannot_changes_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let daemon = start(home.path());
    assert!(peers(&daemon).is_empty());
    let text = [NODE, "[log]\nlevel = \"debug\"\n", &peer("vm-b"), &peer("vm-c")].concat();
    assert!(reload(&daemon, home.path(), &text).ends_with("peers vm-b, vm-c"));
    assert_eq!(peers(&daemon), ["vm-b", "vm-c"]);
    let status = reload(&daemon, home.path(), &[NODE, &peer("vm-c")].concat());
    assert!(status.ends_with("peers vm-c"), "{status}");
    assert_eq!(peers(&daemon), ["vm-c"]);

    let text = [&NODE.replace("vm-a", "vm-x"), "", &peer("vm-d")].concat();
    let status = reload(&daemon, home.path(), &text);
    assert!(
        status.contains("peers vm-c; not reloaded: msgd: node.name: cannot change from vm-a to vm-x"),
        "{status}"
    );
    let status = reload(&daemon, home.path(), "[node]\nnmae = 1\n");
    assert!(
        status.contains("not reloaded: ") && status.contains("msgd.toml:2: node.nmae: unknown key"),
        "{status}"
    );
    assert_eq!(peers(&daemon), ["vm-c"], "the old config stays");

    daemon.signal(Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<_> = log.lines().filter(|line| line.contains("reloaded: ")).collect();
    assert_eq!(lines.len(), 4, "{log}");
    assert!(lines[2].contains("ERROR not reloaded: msgd: node.name: "), "{log}");
}

#[test]
fn msgctl_waits_for_what_comes_of_a_reload() {
    let home = tempfile::tempdir().expect("a directory");
    let daemon = start(home.path());
    let reload = |text: &str| {
        fs::write(home.path().join("msgd.toml"), text).expect("written");
        let mut msgctl = Command::new(env!("CARGO_BIN_EXE_msgctl"));
        let output = msgctl.arg("--runtime-dir").arg(&daemon.dir).arg("reload").output().expect("it runs");
        assert!(output.stdout.is_empty());
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    assert_eq!(reload(&[NODE, &peer("vm-b")].concat()), (Some(0), String::new()));
    assert_eq!(peers(&daemon), ["vm-b"]);
    let (code, line) = reload(&NODE.replace("vm-a", "vm-x"));
    let expected = "msgctl: not reloaded: msgd: node.name: cannot change from vm-a to vm-x";
    assert!(code == Some(1) && line.starts_with(expected) && line.lines().count() == 1, "{line}");
    let (code, line) = reload("[node]\nnmae = 1\n");
    assert!(code == Some(1) && line.contains("msgd.toml:2: node.nmae: unknown key"), "{line}");
    assert_eq!(peers(&daemon), ["vm-b"], "the old config stays");
    assert_eq!(reload(NODE), (Some(0), String::new()), "the last error is over");
}
