//! What is refused before anything is opened.

use std::fs;

use super::{msgd, outcome};

/// Runs with a config and words, and returns the one line that it is refused with.
fn refused(config: Option<&str>, words: &[&str]) -> String {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = msgd(dir.path(), words);
    if let Some(text) = config {
        fs::write(dir.path().join("msgd.toml"), text).expect("written");
        command.current_dir(dir.path()).args(["--config", "msgd.toml"]);
    }
    let (status, stdout, stderr) = outcome(&command.output().expect("it runs"));
    assert_eq!((status, stdout.as_str()), (Some(2), ""), "{stderr}");
    assert!(!dir.path().join("msgd").exists(), "it has opened something");
    let line = stderr.strip_suffix('\n').expect("a line").to_owned();
    assert!(!line.contains('\n'), "more than one line: {line}");
    line
}

#[test]
fn each_bad_config_is_one_line_and_status_2() {
    for (config, expected) in [
        (
            "[chain]\nintervall_ms = 10\n",
            "msgd.toml:2: chain.intervall_ms: unknown key; allowed: interval_ms, times, max_stored, adaptive",
        ),
        (
            "[chain]\ninterval_ms = true\n",
            "msgd.toml:2: chain.interval_ms: is true or false; allowed: 10 to 600000",
        ),
        (
            "[chain]\ninterval_ms = 0\n",
            "msgd.toml:2: chain.interval_ms: 0 is out of range; allowed: 10 to 600000",
        ),
        ("[node]\nmtu = 100\n", "msgd.toml:2: node.mtu: 100 is out of range; allowed: 1200 to 65000"),
        (
            "[[peer]]\nname = \"b\"\naddresses = [\"127.0.0.1:1\"]\n\n[[peer]]\nname = \"b\"\naddresses = [\"127.0.0.1:1\"]\n",
            "msgd.toml:6: peer.name: \"b\" is there twice; allowed: one [[peer]] for each node",
        ),
        (
            "[node]\nname = \"b\"\n[[peer]]\nname = \"b\"\naddresses = [\"127.0.0.1:1\"]\n",
            "msgd.toml:4: peer.name: \"b\" is this node's own name; allowed: names of other nodes",
        ),
        (
            "[[peer]]\nname = \"b\"\naddresses = [\"vm-b\"]\n",
            "msgd.toml:3: peer.addresses: \"vm-b\" is not an address; \
             allowed: IP:PORT, like 10.0.0.2:7400 or [fd00::2]:7400 (no host names)",
        ),
        (
            "[[peer]]\nname = \"b\"\naddresses = []\n",
            "msgd.toml:3: peer.addresses: 0 addresses; allowed: 1 to 8, each IP:PORT",
        ),
        (
            "[[client]]\nid = 1\n[[client]]\nid = 1\n",
            "msgd.toml:4: client.id: 1 is there twice; allowed: one [[client]] for each id",
        ),
        (
            "[[client]]\nid = 1\nuser = \"nobody-of-this-name\"\n",
            "msgd.toml:3: client.user: no user \"nobody-of-this-name\"; \
             allowed: the name or number of a user of this system",
        ),
        (
            "[node]\nlisten = [\"10.0.0.1:7400\"]\n",
            "msgd.toml:2: node.listen: 10.0.0.1:7400 is not a loopback address and security.mode is \"none\"; \
             allowed: loopback addresses, or others with security.allow_plaintext = true",
        ),
        (
            "[security]\nmode = \"noise\"\n",
            "msgd.toml:2: security.mode: encryption is not available in this version; set mode = \"none\", \
             and allow_plaintext = true if listeners that are not loopback may go without it",
        ),
        ("[node\n", "msgd.toml:1: syntax: unclosed table, expected `]`; the file must be TOML"),
    ] {
        assert_eq!(refused(Some(config), &[]), expected);
        assert_eq!(refused(Some(config), &["--check-config"]), expected);
    }
}

#[test]
fn a_bad_command_line_is_one_line_and_status_2() {
    const ALLOWED: &str = "allowed: --config FILE, --check-config, --node NAME, --listen ADDR, \
                           --peer NAME=ADDR[,ADDR], --runtime-dir DIR, --help, --version";
    for (words, expected) in [
        (&["--frob"][..], format!("msgd: command line: unexpected argument '--frob' found; {ALLOWED}")),
        (&["x"], format!("msgd: command line: unexpected argument 'x' found; {ALLOWED}")),
        (
            &["--node"],
            format!("msgd: command line: a value is required for '--node <NAME>' but none was supplied; {ALLOWED}"),
        ),
        (
            &["--listen", "0.0.0.0:1"],
            "msgd: --listen: 0.0.0.0:1 is not a loopback address and security.mode is \"none\"; \
             allowed: loopback addresses, or others with security.allow_plaintext = true"
                .to_owned(),
        ),
        (
            &["--peer", "b"],
            "msgd: --peer: \"b\" has no `=`; allowed: NAME=ADDR[,ADDR], like vm-b=10.0.0.2:7400".to_owned(),
        ),
        (
            &["--config", "/nonexistent/x.toml"],
            "/nonexistent/x.toml: cannot be read: No such file or directory (os error 2); allowed: a readable TOML file"
                .to_owned(),
        ),
    ] {
        assert_eq!(refused(None, words), expected);
    }
}

#[test]
fn a_bad_log_level_is_one_line_and_status_2() {
    let dir = tempfile::tempdir().expect("a directory");
    let output =
        msgd(dir.path(), &["--listen", "127.0.0.1:0"]).env("MSGD_LOG", "loud").output().expect("it runs");
    let expected = "msgd: MSGD_LOG: \"loud\" is not a level; allowed: error, warn, info, debug, trace\n";
    assert_eq!(outcome(&output), (Some(2), String::new(), expected.to_owned()));
}

#[test]
fn check_config_prints_one_line_and_opens_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = msgd(dir.path(), &["--check-config", "--node", "vm-a"]).output().expect("it runs");
    let dir_name = dir.path().join("msgd").display().to_string();
    let expected = format!("ok: node vm-a, listen 127.0.0.1:7400, runtime dir {dir_name}, peers none\n");
    assert_eq!(outcome(&output), (Some(0), expected, String::new()));
    let output =
        msgd(dir.path(), &["--check-config", "--node", "vm-a"]).env_clear().output().expect("it runs");
    let expected = "ok: node vm-a, listen 127.0.0.1:7400, runtime dir /run/msgd, peers none\n";
    assert_eq!(outcome(&output), (Some(0), expected.to_owned(), String::new()));
    assert!(!dir.path().join("msgd").exists());
}

#[test]
fn the_example_is_a_config() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../systemd/msgd.toml");
    let dir = tempfile::tempdir().expect("a directory");
    let output = msgd(dir.path(), &["--check-config", "--config", example]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn help_and_version_go_to_standard_output() {
    let dir = tempfile::tempdir().expect("a directory");
    let (status, stdout, stderr) = outcome(&msgd(dir.path(), &["--help"]).output().expect("it runs"));
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    for flag in
        ["--config <FILE>", "--check-config", "--node <NAME>", "--listen <ADDR>", "--runtime-dir <DIR>"]
    {
        assert!(stdout.contains(flag), "{flag} is not in {stdout}");
    }
    let (status, stdout, _) = outcome(&msgd(dir.path(), &["--version"]).output().expect("it runs"));
    assert_eq!((status, stdout), (Some(0), format!("msgd {}\n", env!("CARGO_PKG_VERSION"))));
}
