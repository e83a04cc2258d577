//! What `msg_open` says of daemons that are not there, are not msgd, or speak another version.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use msg::{Incarnation, LocalNack, LocalRule, ffi::Code};
use msg_proto::{control::Registered, local::put};
use msg_tests::report;

use crate::tools::{c_compilers, daemon, prefix, run, scratch, source};

/// `open.c`, compiled. None if there is no compiler.
fn opener() -> Option<PathBuf> {
    Some(c_compilers("msg_open's errors").first()?.compile(&source("tests/c/open.c"), &[]))
}

/// What `msg_open` says of a socket.
fn open(program: &Path, socket: &Path, words: &[&str]) -> (Option<Code>, String) {
    let outcome = run(Command::new(program).arg(socket).args(words).env_remove("MSGD_SOCKET"));
    assert!(outcome.status.success(), "{outcome:?}");
    let (number, text) = outcome.stdout.trim_end_matches('\n').split_once(' ').expect("a number and a text");
    let code = number.parse().ok().and_then(Code::from_value);
    assert!(code.is_some() || number == "0", "{number}");
    (code, text.to_owned())
}

#[test]
fn nobody_is_there() {
    let Some(program) = opener() else { return };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("msgd.sock");
    let says = |path: &Path, code, text: &str| {
        let (found, said) = open(&program, path, &[]);
        assert!(found == Some(code) && said.contains(text), "{}: {found:?} {said}", path.display());
    };
    says(&path, Code::NoSocket, "no socket at");
    says(&path.join("x"), Code::NoSocket, "no socket at");
    drop(UnixListener::bind(&path).expect("a socket"));
    says(&path, Code::NotRunning, "msgd is not running");
    fs::remove_file(&path).expect("removed");
    fs::write(&path, "").expect("a file");
    says(&path, Code::NotASocket, "is not a stream socket");
    says(&dir.path().join("x".repeat(108)), Code::PathTooLong, "at most 107 bytes");
}

#[test]
fn a_user_without_permission() {
    let Some(program) = opener() else { return };
    if !rustix::process::getuid().is_root() {
        report::skipped("MSG_E_PERMISSION", "only root can become another user");
        return;
    }
    let node = daemon();
    // Nobody can reach the socket's folder; the program and the library are where nobody can read them.
    let dir = tempfile::tempdir().expect("a directory");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("set");
    let copy = dir.path().join("open");
    fs::copy(&program, &copy).expect("copied");
    fs::copy(prefix().join("lib/libmsg.so.0"), dir.path().join("libmsg.so.0")).expect("copied");
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&copy).arg(node.socket());
    command.env("LD_LIBRARY_PATH", dir.path());
    let outcome = run(&mut command);
    assert!(outcome.stdout.starts_with("-14 no permission to connect to"), "{outcome:?}");
}

#[test]
fn options_that_a_daemon_grants() {
    let Some(program) = opener() else { return };
    let node = daemon();
    let no_retransmits = msg::ffi::types::O_NO_RETRANSMITS.to_string();
    for words in [["0", "0", "0"], ["10", "1", "0"], ["600000", "255", "2"], ["50", "0", &no_retransmits]] {
        assert_eq!(open(&program, &node.socket(), &words), (None, String::new()), "{words:?}");
    }
}

#[test]
fn the_status_socket_is_not_the_clients() {
    let Some(program) = opener() else { return };
    let node = daemon();
    let (code, said) = open(&program, &node.socket().with_file_name("status.sock"), &[]);
    assert!(matches!(code, Some(Code::Protocol | Code::Lost)), "{code:?} {said}");
}

/// A daemon that answers whatever comes with these bytes.
fn answers(name: &str, answer: Vec<u8>) -> PathBuf {
    let path = scratch().join(format!("{name}.sock"));
    // A path of a target folder may be longer than a socket's may be.
    let path = if path.as_os_str().len() < 100 {
        path
    } else {
        std::env::temp_dir().join(format!("msg-{name}-{}.sock", std::process::id()))
    };
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        assert!(stream.read(&mut [0; 4096]).expect("a REGISTER") > 0);
        stream.write_all(&answer).expect("written");
        // Until the client is gone, so that what it finds is the answer and not the end.
        while stream.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {}
    });
    path
}

#[test]
fn a_daemon_of_another_version() {
    let Some(program) = opener() else { return };
    let mut refusal = Vec::new();
    let text = "local protocol versions: daemon 7..9, library 1..1; upgrade the older one".to_owned();
    put::nack(&mut refusal, &LocalNack { rule: LocalRule::Version, text });
    let path = answers("refuses", refusal);
    let (code, said) = open(&program, &path, &[]);
    assert_eq!(code, Some(Code::Version));
    assert!(said.contains("daemon 7..9, library 1..1; upgrade the older one"), "{said}");

    let mut registered = Vec::new();
    let body = Registered {
        version: 9,
        node: "vm-a".to_owned(),
        start: 1,
        incarnation: Incarnation(1),
        interval_ms: 1000,
        times: 10,
        max_stored: 1000,
        max_stored_bytes: 1 << 20,
        max_message_bytes: 1 << 20,
    };
    put::registered(&mut registered, &body);
    let (code, said) = open(&program, &answers("goes-on", registered), &[]);
    assert_eq!(code, Some(Code::Version));
    assert!(said.contains("version 9"), "{said}");
}

#[test]
fn what_answers_is_something_else() {
    let Some(program) = opener() else { return };
    let (code, said) = open(&program, &answers("http", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()), &[]);
    assert_eq!(code, Some(Code::Protocol), "{said}");
    let (code, said) = open(&program, &answers("zeros", vec![0; 64]), &[]);
    assert_eq!(code, Some(Code::Protocol), "{said}");
}

#[test]
fn each_refusal_has_its_code() {
    let Some(program) = opener() else { return };
    let rules = [
        (LocalRule::ClientIdTaken, Code::ClientIdTaken),
        (LocalRule::NotAllowed, Code::NotAllowed),
        (LocalRule::TooManyClients, Code::TooManyClients),
        (LocalRule::Superseded, Code::Superseded),
        (LocalRule::Quota, Code::Refused),
    ];
    for (rule, code) in rules {
        let mut refusal = Vec::new();
        put::nack(&mut refusal, &LocalNack { rule, text: "in so many words".to_owned() });
        let (found, said) = open(&program, &answers(&format!("{rule:?}"), refusal), &[]);
        assert!(found == Some(code) && said.contains("in so many words"), "{found:?} {said}");
    }
}
