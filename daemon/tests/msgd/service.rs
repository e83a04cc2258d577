//! A daemon under a service manager, which this test plays: it holds sockets, and is told how the daemon is.

use std::{
    fs,
    io::Read as _,
    net::UdpSocket,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use msgd::clock;
use rustix::process::{Pid, Signal, kill_process};

use super::next_state;

/// What the service manager of a test holds.
struct Manager {
    home: tempfile::TempDir,
    notify: UnixDatagram,
    clients: UnixListener,
    udp: UdpSocket,
}

impl Manager {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir(home.path().join("msgd")).expect("made");
        let notify = UnixDatagram::bind(home.path().join("notify")).expect("bound");
        notify.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        let clients = UnixListener::bind(home.path().join("msgd/msgd.sock")).expect("bound");
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
        Self { home, notify, clients, udp }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("msgd")
    }

    fn address(&self) -> String {
        self.udp.local_addr().expect("bound").to_string()
    }

    /// Starts a daemon with both sockets as its descriptors 3 and 4.
    fn start(&self, words: &[&str], variables: &[(&str, &str)]) -> Service {
        let script = "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_msgd"), "--node", "vm-a"]).args(words);
        command.env_clear().env("XDG_RUNTIME_DIR", self.home.path());
        command.env("LISTEN_FDNAMES", "msgd:msgd").env("NOTIFY_SOCKET", self.home.path().join("notify"));
        command.envs(variables.iter().copied());
        command.stdin(Stdio::from(OwnedFd::from(self.clients.try_clone().expect("a descriptor"))));
        command.stdout(Stdio::from(OwnedFd::from(self.udp.try_clone().expect("a descriptor"))));
        Service(command.stderr(Stdio::piped()).spawn().expect("it runs"))
    }

    /// The next state that the daemon tells.
    fn state(&self) -> String {
        next_state(&self.notify).expect("a state")
    }
}

/// A daemon, killed when the test ends.
struct Service(Child);

impl Service {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("signalled");
    }

    fn stop(&mut self) -> (Option<i32>, String) {
        self.signal(Signal::TERM);
        self.end()
    }

    fn end(&mut self) -> (Option<i32>, String) {
        let mut log = String::new();
        self.0.stderr.take().expect("piped").read_to_string(&mut log).expect("text");
        (self.0.wait().expect("ended").code(), log)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended; its parent reaps it either way.
        if self.0.kill().and_then(|()| self.0.wait()).is_err() {}
    }
}

fn can_connect(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

#[test]
fn what_the_manager_holds_is_used_and_outlives_the_daemon() {
    let manager = Manager::new();
    let client = UnixStream::connect(manager.dir().join("msgd.sock")).expect("it waits for a daemon");
    client.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
    for round in 0..2 {
        let mut service = manager.start(&[], &[]);
        let state = manager.state();
        let expected = format!("READY=1\nSTATUS=node vm-a, listen {}, ", manager.address());
        assert!(state.starts_with(&expected), "what is held is the default: {state}");
        if round == 0 {
            (&client).read_exact(&mut []).expect("open");
            assert_eq!(std::io::Write::write(&mut &client, &[0xff; 64]).expect("written"), 64);
            let answered = (&client).read(&mut [0; 64]).expect("the daemon accepted it");
            assert!(answered > 0, "a client that waited is told which rule it broke");
        }
        assert!(can_connect(&manager.dir().join("status.sock")), "what is not held is bound");
        let (status, log) = service.stop();
        assert_eq!(status, Some(0), "{log}");
        assert!(log.contains("held by systemd: ") && !log.contains("does not name"), "{log}");
        assert_eq!(manager.state(), "STOPPING=1\n");
        assert!(can_connect(&manager.dir().join("msgd.sock")), "the manager's socket stays");
        assert!(!manager.dir().join("status.sock").exists(), "the daemon's own does not");
    }
}

#[test]
fn what_the_config_does_not_name_is_told() {
    let manager = Manager::new();
    let mut service = manager.start(&["--listen", "127.0.0.1:0"], &[]);
    assert!(manager.state().starts_with("READY=1\n"));
    let (_, log) = service.stop();
    let expected = format!("systemd holds udp {}, which the config does not name;", manager.address());
    assert!(log.contains(&expected), "{log}");
}

#[test]
fn an_address_that_the_managers_stands_in_the_way_of_is_one_line() {
    let manager = Manager::new();
    let config = manager.home.path().join("msgd.toml");
    let port = manager.udp.local_addr().expect("bound").port();
    let text = format!(
        "[node]\nlisten = [\"0.0.0.0:{port}\"]\n[security]\nmode = \"none\"\nallow_plaintext = true\n"
    );
    fs::write(&config, text).expect("written");
    let mut service = manager.start(&["--config", config.to_str().expect("text")], &[]);
    let (status, log) = service.end();
    let held = manager.address();
    let line = format!(
        "msgd: 0.0.0.0:{port}: address in use; msgd.socket holds {held}: make its ListenDatagram= and node.listen \
         agree\n"
    );
    assert_eq!((status, log), (Some(1), line.clone()));
    assert_eq!(manager.state(), format!("STATUS={line}"), "and `systemctl status` shows it");
}

#[test]
fn the_watchdog_is_fed_by_the_loop_and_by_nothing_else() {
    let manager = Manager::new();
    let words = ["--listen", &manager.address()];
    let start = clock::now();
    let service = manager.start(&words, &[("WATCHDOG_USEC", "400000")]);
    assert!(manager.state().starts_with("READY=1\n"));
    for _ in 0..6 {
        assert_eq!(manager.state(), "WATCHDOG=1\n");
    }
    let took = clock::now().since(start).as_millis();
    assert!(took > 6 * 100, "fed six times in {took} ms: twice in 400 ms is enough");
    let start = clock::now();
    service.signal(Signal::STOP);
    manager.notify.set_read_timeout(Some(Duration::from_millis(600))).expect("a time-out");
    // What was fed before the stop may still be there.
    while let Ok(state) = next_state(&manager.notify) {
        assert!(clock::now().since(start).as_millis() < 30_000, "{state} from a loop that stands still");
    }
    service.signal(Signal::CONT);
    assert_eq!(manager.state(), "WATCHDOG=1\n");
}
