//! The whole program, against status sockets that are not a daemon's and against a daemon in this process.

use std::{
    io::Read as _,
    os::unix::net::UnixListener,
    path::Path,
    thread::{self, JoinHandle},
};

use super::*;
use crate::{Args, Config, Daemon, stop};

/// A daemon's status socket that gives one answer.
fn fake_daemon(dir: &Path, head: &'static str, body: &'static str) -> JoinHandle<String> {
    let listener = UnixListener::bind(dir.join("status.sock")).unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.extend(byte);
        }
        write!(stream, "HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        String::from_utf8(request).unwrap()
    })
}

fn msgctl(dir: &Path, line: &str) -> (Exit, String, String) {
    let words = ["msgctl", "--runtime-dir"].into_iter().map(str::to_owned);
    let words = words.chain([dir.display().to_string()]).chain(line.split(' ').map(str::to_owned));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let exit = run_to(Cli::try_parse_from(words).unwrap(), &mut out, &mut err);
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

const STATUS: &str = r#"{"node":"vm-a","version":"0.1.0","uptime_ms":61000,"clients":[],"peers":[],
    "counters":{"messages_submitted":7},"from_the_future":1}"#;

#[test]
fn without_a_daemon_one_line_says_where_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    for line in ["status", "clients", "--json peers", "chain 7"] {
        let (exit, out, err) = msgctl(dir.path(), line);
        assert_eq!((exit, out.as_str()), (Exit::Error, ""));
        let path = dir.path().join("status.sock").display().to_string();
        assert!(err.contains(&path) && err.contains("start msgd") && err.lines().count() == 1, "{err}");
    }
    for line in ["send --from 1 --to 2 x", "recv --as 1"] {
        let (exit, out, err) = msgctl(dir.path(), line);
        assert_eq!((exit, out.as_str()), (Exit::Error, ""));
        let path = dir.path().join("msgd.sock").display().to_string();
        assert!(err.contains(&path) && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn status_is_a_table_or_the_document_as_it_came() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = fake_daemon(dir.path(), "200 OK", STATUS);
    let (exit, out, _) = msgctl(dir.path(), "status");
    assert_eq!(exit, Exit::Ok);
    assert!(out.starts_with("node vm-a, msgd 0.1.0, up 1 min 1 s; clients: 0; peers: 0 of 0 up\n"), "{out}");
    assert!(out.contains("messages_submitted"));
    assert!(daemon.join().unwrap().starts_with("GET /v1/status HTTP/1.1\r\n"));

    let dir = tempfile::tempdir().unwrap();
    let daemon = fake_daemon(dir.path(), "200 OK", STATUS);
    let (_, out, _) = msgctl(dir.path(), "status --json");
    let json = |text| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(json(&out), json(STATUS));
    daemon.join().unwrap();
}

#[test]
fn chain_asks_for_one_client() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = fake_daemon(dir.path(), "200 OK", "[]");
    let (exit, out, _) = msgctl(dir.path(), "chain 7");
    assert_eq!((exit, out.as_str()), (Exit::Ok, "nothing waits for an outcome\n"));
    assert!(daemon.join().unwrap().starts_with("GET /v1/chain?client=7 HTTP/1.1\r\n"));
}

#[test]
fn a_refusal_and_nonsense_are_one_line() {
    for (head, body, said) in [
        ("503 Service Unavailable", r#"{"error":"the loop is busy"}"#, "503: the loop is busy"),
        ("200 OK", "hello", "not what was expected"),
        ("200 OK", "{}", "not what was expected"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let daemon = fake_daemon(dir.path(), head, body);
        let (exit, out, err) = msgctl(dir.path(), "clients --json");
        assert_eq!((exit, out.as_str()), (Exit::Error, ""));
        assert!(err.contains(said) && err.lines().count() == 1, "{err}");
        daemon.join().unwrap();
    }
}

/// A pipe whose reader has gone.
struct ClosedPipe;

impl Write for ClosedPipe {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_no_complaint() {
    for json in [&[][..], &["--json"]] {
        let dir = tempfile::tempdir().unwrap();
        let daemon = fake_daemon(dir.path(), "200 OK", STATUS);
        let dir = format!("--runtime-dir={}", dir.path().display());
        let words = ["msgctl", &dir, "status"].into_iter().chain(json.iter().copied());
        let mut err = Vec::new();
        assert_eq!(run_to(Cli::try_parse_from(words).unwrap(), &mut ClosedPipe, &mut err), Exit::Ok);
        assert_eq!(err, b"");
        daemon.join().unwrap();
    }
}

/// A daemon in this process, until it is dropped.
struct RealDaemon {
    stopper: Option<stop::Stopper>,
    thread: Option<JoinHandle<()>>,
}

impl RealDaemon {
    fn start(dir: &Path) -> Self {
        let runtime_dir = Some(dir.to_owned());
        let args = Args {
            node: Some("n".into()),
            listen: vec!["127.0.0.1:0".into()],
            runtime_dir,
            ..Args::default()
        };
        let config = Config::load(&args).unwrap();
        let daemon = Daemon::open(&config).unwrap();
        let (stopper, signal) = stop::channel().unwrap();
        let thread = thread::spawn(move || daemon.run(signal).unwrap());
        Self { stopper: Some(stopper), thread: Some(thread) }
    }
}

impl Drop for RealDaemon {
    fn drop(&mut self) {
        drop(self.stopper.take());
        self.thread.take().map(JoinHandle::join).transpose().unwrap();
    }
}

#[test]
fn send_ends_with_0_when_all_were_acked_and_recv_prints_them() {
    let dir = tempfile::tempdir().unwrap();
    let _daemon = RealDaemon::start(dir.path());
    let path = dir.path().to_owned();
    let receiver = thread::spawn(move || msgctl(&path, "--json recv --as 2 --count 3"));
    // Nobody waits for the receiver to be there: the messages do.
    let (exit, out, err) = msgctl(dir.path(), "--json send --from 1 --to 2 --count 3 --user-buff u hello");
    assert_eq!((exit, err.as_str()), (Exit::Ok, ""));
    let summary: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&summary["sent"], &summary["acked"], &summary["failed"]), (&3.into(), &3.into(), &0.into()));
    let (exit, out, err) = receiver.join().unwrap();
    assert_eq!((exit, err.as_str()), (Exit::Ok, ""));
    let lines: Vec<serde_json::Value> = out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|l| l["src"] == 1 && l["text"] == "hello"), "{out}");
}

#[test]
fn send_ends_with_3_when_any_failed_and_shows_their_user_data() {
    let dir = tempfile::tempdir().unwrap();
    let _daemon = RealDaemon::start(dir.path());
    let line = "send --from 1 --to 9 --count 12 --interval-ms 10 --times 1 --user-buff id=7 x";
    let (exit, out, err) = msgctl(dir.path(), line);
    assert_eq!((exit, err.as_str()), (Exit::Failed, ""));
    assert!(out.starts_with("sent 12, acked 0, failed 12, in "), "{out}");
    assert!(out.contains("NoRoute    NotStarted        12"), "{out}");
    assert_eq!(out.matches("id=7").count(), 10, "{out}");
}

#[test]
fn bench_measures_there_and_back_and_one_way() {
    let dir = tempfile::tempdir().unwrap();
    let _daemon = RealDaemon::start(dir.path());
    let path = dir.path().to_owned();
    // It ends with the test's process: only a signal ends it, and that would end the test, too.
    thread::spawn(move || msgctl(&path, "bench --serve --as 2"));
    for (work, count) in [("ping-pong", 20), ("one-way", 2000)] {
        let line = format!("--json bench --from 1 --to 2 --work {work} --count {count} --size 100");
        let (exit, out, err) = msgctl(dir.path(), &line);
        assert_eq!((exit, err.as_str()), (Exit::Ok, ""), "{out}");
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&report["work"], &report["done"]), (&work.into(), &count.into()), "{out}");
        assert!(report["latency_us"]["p99_9"].as_u64().is_some_and(|us| us > 0), "{out}");
    }
    let (exit, out, _) = msgctl(dir.path(), "bench --from 1 --to 2 --count 10 --size 16");
    assert_eq!(exit, Exit::Ok);
    assert!(out.starts_with("ping-pong, 16 bytes: sent 10, answered 10, failed 0, in "), "{out}");
}

#[test]
fn a_clientid_that_is_taken_is_an_error_that_names_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let _daemon = RealDaemon::start(dir.path());
    let socket = dir.path().join("msgd.sock");
    let _owner = msg::Client::builder(msg::ClientId(1)).socket(socket).connect().unwrap();
    let (exit, out, err) = msgctl(dir.path(), "send --from 1 --to 2 x");
    assert_eq!((exit, out.as_str()), (Exit::Error, ""));
    assert!(err.contains(&format!("pid {}", std::process::id())) && err.lines().count() == 1, "{err}");
    let (_, out, _) = msgctl(dir.path(), "clients");
    assert_eq!(out.lines().count(), 2, "{out}");
}
