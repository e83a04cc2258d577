//! The units that the package installs: systemd finds nothing to complain about, they are closed as far as they can be,
//! and what they repeat of the code is what the code says.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use msgd::{
    config::{CLIENT_SOCKET, DEFAULT_PORT, STATUS_SOCKET},
    limits::MAX_OPEN_FILES,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).expect("a unit")
}

/// What a unit says, in its order.
fn settings(name: &str) -> BTreeMap<String, Vec<String>> {
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in text(name).lines().filter(|line| !line.starts_with(['#', '['])) {
        if let Some((key, value)) = line.split_once('=') {
            settings.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    settings
}

/// Runs systemd-analyze; `None`, and said so, where there is none.
fn analyze(words: &[&str]) -> Option<Output> {
    match Command::new("systemd-analyze").args(words).output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Past the test's own capture of what is printed: who runs it is to see that nothing was checked.
            writeln!(io::stderr(), "SKIPPED: no systemd-analyze here (package systemd)").expect("written");
            None
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    }
}

#[test]
fn systemd_finds_nothing_to_complain_about() {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["msgd.service", "msgd.socket"] {
        // The programs that this test was built with stand for those that are not installed.
        let unit = text(name).replace("/usr/bin/msgd", env!("CARGO_BIN_EXE_msgd"));
        let unit = unit.replace("/usr/bin/msgctl", env!("CARGO_BIN_EXE_msgctl"));
        fs::write(dir.path().join(name), unit).expect("written");
    }
    let paths = ["msgd.service", "msgd.socket"].map(|name| dir.path().join(name));
    let words = ["verify", "--man=no", paths[0].to_str().expect("text"), paths[1].to_str().expect("text")];
    let Some(output) = analyze(&words) else { return };
    // It exits with 0 for a key that it does not know.
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.is_empty(), "{complaints}");
}

#[test]
fn the_service_is_closed_as_far_as_it_can_be() {
    let unit = folder().join("msgd.service");
    let words = ["security", "--offline=true", "--no-pager", "--threshold=10", unit.to_str().expect("text")];
    let Some(output) = analyze(&words) else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_units_repeat_what_the_code_says() {
    let (service, socket) = (settings("msgd.service"), settings("msgd.socket"));
    assert_eq!(service["LimitNOFILE"], [MAX_OPEN_FILES.to_string()]);
    assert_eq!(
        socket["ListenStream"],
        [CLIENT_SOCKET, STATUS_SOCKET].map(|name| format!("/run/msgd/{name}")),
        "where a daemon without a user's runtime directory has them"
    );
    assert_eq!(socket["ListenDatagram"], [format!("127.0.0.1:{DEFAULT_PORT}")]);
    assert_eq!(service["Requires"], ["msgd.socket"]);
    for tie in [&service["After"], &service["Requires"]] {
        assert!(tie[0].split(' ').any(|unit| unit == "msgd.socket"), "{tie:?}");
    }
    assert_eq!(service["StartLimitIntervalSec"], ["0"], "no number of crashes is enough to give up");
}
