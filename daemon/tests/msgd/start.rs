//! What the daemon cannot have: each is one line and exit status 1, and what was there stays.

use std::{
    fs,
    net::UdpSocket,
    os::unix::{net::UnixListener, process::CommandExt as _},
    path::Path,
};

use super::{msgd, outcome};

/// Starts a daemon that must not start, and returns the one line that it gives.
fn refused(dir: &Path, words: &[&str]) -> String {
    let output = msgd(dir, words).output().expect("it runs");
    let (status, stdout, stderr) = outcome(&output);
    assert_eq!((status, stdout.as_str()), (Some(1), ""), "{stderr}");
    let line = stderr.strip_suffix('\n').expect("a line").to_owned();
    assert!(!line.contains('\n'), "more than one line: {line}");
    line
}

const FREE: &[&str] = &["--listen", "127.0.0.1:0"];

#[test]
fn a_socket_that_somebody_listens_on_is_left_alone() {
    for name in ["msgd.sock", "status.sock"] {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("msgd")).expect("made");
        let path = dir.path().join("msgd").join(name);
        let listener = UnixListener::bind(&path).expect("bound");
        let expected = "already running: somebody listens there; stop it, or choose another --runtime-dir";
        assert_eq!(refused(dir.path(), FREE), format!("msgd: {}: {expected}", path.display()));
        drop(listener);
        assert!(path.exists());
        assert_eq!(fs::read_dir(dir.path().join("msgd")).expect("there").count(), 1, "nothing was added");
    }
}

#[test]
fn what_is_not_a_socket_is_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::create_dir(dir.path().join("msgd")).expect("made");
    let path = dir.path().join("msgd/msgd.sock");
    fs::write(&path, "precious").expect("written");
    let expected = "is there and not a socket; remove it by hand, or choose another --runtime-dir";
    assert_eq!(refused(dir.path(), FREE), format!("msgd: {}: {expected}", path.display()));
    assert_eq!(fs::read(&path).expect("still there"), b"precious");
}

#[test]
fn a_path_may_be_too_long() {
    let dir = tempfile::tempdir().expect("a directory");
    let long = dir.path().join("d".repeat(100));
    let words = [FREE, &["--runtime-dir", long.to_str().expect("text")]].concat();
    let line = refused(dir.path(), &words);
    let expected = "longer than 107 bytes, which no socket's path may be; choose a shorter --runtime-dir";
    assert_eq!(line, format!("msgd: {}/msgd.sock: {expected}", long.display()));
    assert!(!long.exists());
}

#[test]
fn an_address_may_be_in_use() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let Ok(taken) = UdpSocket::bind(address) else { continue };
        let address = taken.local_addr().expect("bound").to_string();
        let dir = tempfile::tempdir().expect("a directory");
        let line = refused(dir.path(), &["--listen", &address]);
        assert_eq!(
            line,
            format!(
                "msgd: {address}: address in use; stop what listens there, or choose another with --listen"
            )
        );
        assert!(!dir.path().join("msgd").exists(), "nothing was made");
    }
}

#[test]
fn an_address_may_be_another_hosts() {
    let dir = tempfile::tempdir().expect("a directory");
    // TEST-NET-1: no host has it.
    fs::write(dir.path().join("c"), "[node]\nlisten=['192.0.2.1:7400']\n[security]\nallow_plaintext=true\n")
        .expect("written");
    let config = dir.path().join("c");
    let line = refused(dir.path(), &["--config", config.to_str().expect("text")]);
    assert!(
        line.starts_with("msgd: 192.0.2.1:7400: cannot listen: Cannot assign requested address"),
        "{line}"
    );
}

#[test]
fn the_runtime_directory_may_be_a_file_or_forbidden() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("msgd"), "").expect("written");
    let line = refused(dir.path(), FREE);
    let path = dir.path().join("msgd/msgd.sock").display().to_string();
    assert!(line.starts_with(&format!("msgd: {path}: cannot be claimed: Not a directory")), "{line}");

    let words = [FREE, &["--runtime-dir", "/proc/msgd"]].concat();
    let line = refused(dir.path(), &words);
    assert!(line.starts_with("msgd: /proc/msgd: no usable runtime directory: "), "{line}");
}

#[test]
fn a_directory_may_be_somebody_elses() {
    let dir = tempfile::tempdir_in("/tmp").expect("a directory");
    fs::create_dir(dir.path().join("msgd")).expect("made");
    // Only root can become somebody else; and that somebody must be able to run the program.
    let mut command = msgd(dir.path(), FREE);
    let Ok(output) = command.uid(65_534).gid(65_534).output() else { return };
    let (status, _, stderr) = outcome(&output);
    assert_eq!(status, Some(1), "{stderr}");
    assert!(stderr.contains("Permission denied") && stderr.lines().count() == 1, "{stderr}");
}
