//! A daemon that runs, is asked, and is stopped.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::SocketAddr,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixDatagram, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use msg_proto::{
    status::{ChainEntry, StatusDocument},
    units::Span,
};
use msgd::{Args, Config, Daemon, clock, stop};
use rustix::process::{Pid, Signal, kill_process};

use super::{msgd, next_state};

/// A running daemon, killed when the test ends.
pub(crate) struct Running {
    child: Child,
    home: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Running {
    /// Starts it, and waits until it says that it is ready.
    pub(crate) fn start(home: &Path, words: &[&str]) -> Self {
        let ready = home.join("notify");
        let notify = UnixDatagram::bind(&ready).expect("bound");
        notify.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let listen: &[&str] = if words.contains(&"--config") { &[] } else { &["--listen", "127.0.0.1:0"] };
        let words = [words, listen].concat();
        let mut command = msgd(home, &words);
        command.env("NOTIFY_SOCKET", &ready).stderr(Stdio::piped());
        let child = command.spawn().expect("it runs");
        let running = Self { child, home: home.to_owned(), dir: home.join("msgd") };
        let state = next_state(&notify).expect("ready");
        assert!(state.starts_with("READY=1\nSTATUS=node "), "{state}");
        fs::remove_file(&ready).expect("removed");
        running
    }

    /// Where the daemon tells what it does from now on.
    pub(crate) fn notify_again(&self) -> UnixDatagram {
        let path = self.home.join("notify");
        // What an earlier one of these has left.
        if path.exists() {
            fs::remove_file(&path).expect("removed");
        }
        let notify = UnixDatagram::bind(path).expect("bound");
        notify.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        notify
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Waits for its end: exit status and standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let deadline = clock::now() + Span::from_millis(10_000);
        // Standard error ends with the program; its reader would wait for ever only if the program did.
        let mut log = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
        let status = self.child.wait().expect("ended");
        assert!(clock::now() < deadline);
        (status.code(), log)
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn ask(&self, target: &str) -> (String, String) {
        let mut stream = UnixStream::connect(self.socket("status.sock")).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        write!(stream, "GET {target} HTTP/1.1\r\nHost: msgd\r\n\r\n").expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended; its parent reaps it either way.
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {}
    }
}

#[test]
fn a_signal_ends_it_with_status_0_and_no_socket_stays() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = tempfile::tempdir().expect("a directory");
        let daemon = Running::start(home.path(), &["--node", "vm-a"]);
        let mode = |name| fs::metadata(daemon.socket(name)).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("msgd.sock"), mode("status.sock")), (0o660, 0o660));
        let dir = daemon.dir.clone();
        daemon.signal(signal);
        let (status, log) = end_in_time(daemon);
        assert_eq!(status, Some(0), "{log}");
        assert_eq!(fs::read_dir(dir).expect("there").count(), 0);
        assert!(log.contains("started: node vm-a, listen 127.0.0.1:0") && log.contains("stopped"), "{log}");
    }
}

fn end_in_time(daemon: Running) -> (Option<i32>, String) {
    let start = clock::now();
    let end = daemon.end();
    assert!(clock::now().since(start) < Span::from_millis(5_000), "systemd would kill it");
    end
}

#[test]
fn it_answers_what_it_is_asked() {
    let home = tempfile::tempdir().expect("a directory");
    let daemon = Running::start(home.path(), &["--node", "vm-a", "--peer", "vm-b=127.0.0.1:9"]);
    let (status, body) = daemon.ask("/v1/status");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let document: StatusDocument = serde_json::from_str(&body).expect("a status document");
    assert_eq!((document.node.as_str(), document.version.as_str()), ("vm-a", env!("CARGO_PKG_VERSION")));
    for counter in ["messages_submitted", "datagrams_sent", "datagram_send_errors", "log_lines_dropped"] {
        assert!(document.counters.contains_key(counter), "{counter} is not in {body}");
    }
    let (status, body) = daemon.ask("/v1/chain?client=1&limit=5");
    assert_eq!(status, "HTTP/1.1 200 OK");
    serde_json::from_str::<Vec<ChainEntry>>(&body).expect("a list of entries");
    assert_eq!(daemon.ask("/v1/nothing").0, "HTTP/1.1 404 Not Found");
}

#[test]
fn what_a_killed_daemon_left_does_not_matter_to_the_next() {
    let home = tempfile::tempdir().expect("a directory");
    let daemon = Running::start(home.path(), &[]);
    daemon.signal(Signal::KILL);
    daemon.end();
    let leftover = fs::symlink_metadata(home.path().join("msgd/msgd.sock")).expect("left over");
    assert!(leftover.file_type().is_socket());
    let daemon = Running::start(home.path(), &[]);
    assert_eq!(daemon.ask("/v1/status").0, "HTTP/1.1 200 OK");
}

#[test]
fn a_log_and_a_status_socket_that_are_gone_harm_nobody() {
    let home = tempfile::tempdir().expect("a directory");
    let mut daemon = Running::start(home.path(), &[]);
    drop(daemon.child.stderr.take().expect("piped"));
    fs::remove_file(daemon.socket("status.sock")).expect("removed");
    for _ in 0..3 {
        let notify = daemon.notify_again();
        daemon.signal(Signal::HUP);
        let states =
            [next_state(&notify).expect("a line is logged"), next_state(&notify).expect("and another")];
        assert!(states[0].starts_with("RELOADING=1") && states[1].starts_with("READY=1"), "{states:?}");
    }
    UnixStream::connect(daemon.socket("msgd.sock")).expect("it goes on");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.child.wait().expect("ended").code(), Some(0));
}

#[test]
fn a_client_that_goes_away_and_one_that_says_nonsense_harm_nobody() {
    let home = tempfile::tempdir().expect("a directory");
    let daemon = Running::start(home.path(), &[]);
    for _ in 0..300 {
        drop(UnixStream::connect(daemon.socket("msgd.sock")).expect("connected"));
    }
    let mut stream = UnixStream::connect(daemon.socket("msgd.sock")).expect("connected");
    // The daemon may close the connection before all of it is written; that is its right.
    stream
        .write_all(&[0xff; 100_000])
        .or_else(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Ok(()),
            _ => Err(error),
        })
        .expect("written, or refused");
    assert_eq!(daemon.ask("/v1/status").0, "HTTP/1.1 200 OK");
}

#[test]
fn a_program_can_run_a_daemon_on_a_thread() {
    let dir = tempfile::tempdir().expect("a directory");
    let args = Args {
        node: Some("vm-a".to_owned()),
        listen: vec!["127.0.0.1:0".to_owned(), "127.0.0.1:0".to_owned()],
        runtime_dir: Some(dir.path().to_owned()),
        ..Args::default()
    };
    let config = Config::load(&args).expect("a config");
    let (stopper, stop) = stop::channel().expect("a channel");
    let daemon = Daemon::open(&config).expect("opened");
    let ports: Vec<u16> = daemon.local_addresses().expect("bound").iter().map(SocketAddr::port).collect();
    assert!(ports.len() == 2 && !ports.contains(&0), "{ports:?}");
    let thread = thread::spawn(move || daemon.run(stop));
    UnixStream::connect(config.client_socket()).expect("connected");
    stopper.stop();
    thread.join().expect("no panic").expect("no error");
    assert!(!config.client_socket().exists());
}

#[test]
fn an_idle_daemon_sleeps() {
    let home = tempfile::tempdir().expect("a directory");
    let daemon = Running::start(home.path(), &["--peer", "vm-b=127.0.0.1:9"]);
    let turns = || -> u64 {
        let path = format!("/proc/{0}/task/{0}/status", daemon.child.id());
        let status = fs::read_to_string(path).expect("a status");
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).expect("a line");
        line.rsplit('\t').next().and_then(|count| count.parse().ok()).expect("a number")
    };
    let (before, ticks) = (turns(), cpu_ticks(daemon.child.id()));
    let wait = UnixDatagram::unbound().expect("a socket");
    wait.set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out");
    wait.recv(&mut [0]).expect_err("nobody sends");
    assert!(turns() - before < 100, "{} turns in a second", turns() - before);
    assert!(cpu_ticks(daemon.child.id()) - ticks < 10);
}

/// Hundredths of a second of CPU.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a stat");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    [11, 12].iter().filter_map(|&field| fields.get(field)?.parse::<u64>().ok()).sum()
}
