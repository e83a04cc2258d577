//! A daemon as a process of its own: its config, its life, and what it says of itself.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::{
            net::{UnixListener, UnixStream},
            process::ExitStatusExt as _,
        },
    },
    path::PathBuf,
    process::{self, Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::Duration,
};

use msg::{Builder, Client, ClientId};
use msg_proto::{status::StatusDocument, units::Time};
use msgd::{clock, relay::Relay};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{program, report, wait};

/// What a daemon is to be started with.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// The node's name.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The other nodes, and where they are as seen from this one.
    pub peers: Vec<(String, SocketAddr)>,
    /// Lines of the config's section `[node]`, beyond those above.
    pub node: String,
    /// Lines of the config's section `[chain]`.
    pub chain: String,
    /// Lines of the config's section `[limits]`.
    pub limits: String,
    /// Lines of the config's section `[security]`, beyond the mode.
    pub security: String,
    /// A command in front of the program: it changes what the program sees of the system.
    pub wrapper: Vec<OsString>,
    /// Variables of its environment.
    pub env: Vec<(OsString, OsString)>,
    /// Whether its sockets are held for it, as systemd does with `msgd.socket`: they outlive it.
    pub held: bool,
}

impl NodeSpec {
    /// A node with an address that no other node of any test has.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            address: free_address(),
            peers: Vec::new(),
            node: String::new(),
            chain: String::new(),
            limits: String::new(),
            security: String::new(),
            wrapper: Vec::new(),
            env: Vec::new(),
            held: false,
        }
    }

    /// Lines of the config's section `[chain]`.
    #[must_use]
    pub fn chain(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.chain);
        self
    }

    /// Lines of the config's section `[limits]`.
    #[must_use]
    pub fn limits(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.limits);
        self
    }

    /// Lines of the config's section `[node]`.
    #[must_use]
    pub fn node(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.node);
        self
    }

    fn config(&self, runtime_dir: &str) -> String {
        let Self { name, address, node, chain, limits, security, .. } = self;
        let mut text = format!(
            "[node]\nname = \"{name}\"\nlisten = [\"{address}\"]\nruntime_dir = \"{runtime_dir}\"\n{node}\n\
             [chain]\n{chain}\n[limits]\n{limits}\n[security]\nmode = \"none\"\n{security}\n"
        );
        for (peer, at) in &self.peers {
            text.push_str(&format!("[[peer]]\nname = \"{peer}\"\naddresses = [\"{at}\"]\n"));
        }
        text
    }
}

/// Makes two nodes peers, with nothing between them.
pub fn join(a: &mut NodeSpec, b: &mut NodeSpec) {
    a.peers.push((b.name.clone(), b.address));
    b.peers.push((a.name.clone(), a.address));
}

/// Makes two nodes peers, with a relay between them: `a` is at its side A. It lets everything pass at first.
///
/// # Panics
///
/// No socket is to be had.
#[must_use]
pub fn join_by_relay(a: &mut NodeSpec, b: &mut NodeSpec, seed: u64) -> Relay {
    let relay = Relay::start(seed).expect("a relay");
    relay.connect(a.address, b.address);
    a.peers.push((b.name.clone(), relay.side_a()));
    b.peers.push((a.name.clone(), relay.side_b()));
    relay
}

/// An address of this host that no other node of any running test has, and nobody who asks for a free port gets:
/// all of 127.0.0.0/8 is this host's.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let [.., high, low] = process::id().to_be_bytes();
    let last = u8::try_from(number % 250).unwrap_or(0) + 2;
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, high, low, last)), 7400 + number / 250)
}

/// A daemon that runs, or has run. It is killed when this is dropped.
#[derive(Debug)]
pub struct Node {
    spec: NodeSpec,
    dir: TempDir,
    child: Option<Child>,
    held: Option<Held>,
}

/// What a service manager holds for a daemon.
#[derive(Debug)]
struct Held {
    clients: UnixListener,
    udp: UdpSocket,
}

impl Node {
    /// Starts a daemon, and waits until it answers.
    ///
    /// # Panics
    ///
    /// It does not.
    #[must_use]
    pub fn start(spec: &NodeSpec) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let held = spec.held.then(|| Held {
            clients: UnixListener::bind(dir.path().join("msgd.sock")).expect("bound"),
            udp: UdpSocket::bind(spec.address).expect("bound"),
        });
        let mut node = Self { spec: spec.clone(), dir, child: None, held };
        node.start_again();
        node
    }

    /// Starts it again after it has ended, with the same config, address and sockets, and waits until it answers.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn start_again(&mut self) {
        self.launch();
        self.wait_until_ready();
    }

    /// Starts it again after it has ended, and does not wait for anything. Returns when that was.
    ///
    /// # Panics
    ///
    /// It runs.
    pub fn launch(&mut self) -> Time {
        assert!(self.child.is_none(), "{} runs", self.spec.name);
        let config = self.path("msgd.toml");
        fs::write(&config, self.spec.config(&self.dir.path().display().to_string())).expect("written");
        let mut words = self.spec.wrapper.clone();
        if self.held.is_some() {
            // What systemd does: descriptors from 3 on, and variables that say so.
            let script =
                "exec 3<&0 4<&1 0</dev/null 1>/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec \"$0\" \"$@\"";
            words.extend(["sh", "-c", script].map(OsString::from));
        }
        words.extend([program::msgd().into(), "--config".into(), config.into()]);
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        if let Some(Held { clients, udp }) = &self.held {
            command.stdin(OwnedFd::from(clients.try_clone().expect("a descriptor")));
            command.stdout(OwnedFd::from(udp.try_clone().expect("a descriptor")));
            command.env("LISTEN_FDNAMES", "msgd:msgd");
        }
        command.envs(self.spec.env.iter().map(|(name, value)| (name, value)));
        let at = clock::now();
        self.child = Some(command.spawn().expect("it runs"));
        at
    }

    /// Waits until it answers.
    ///
    /// # Panics
    ///
    /// It has ended, or does not.
    pub fn wait_until_ready(&mut self) {
        let name = self.spec.name.clone();
        wait::until(&format!("{name} has started"), || {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            assert!(ended.is_none(), "{name} has ended: {ended:?}\n{}", self.log());
            self.try_get("/v1/status").is_some()
        });
    }

    /// Stops it as systemd does, and waits for its end.
    ///
    /// # Panics
    ///
    /// It does not run, or does not end with status 0.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let status = self.wait_for_end();
        assert_eq!(status.code(), Some(0), "{}", self.log());
    }

    /// Kills it.
    ///
    /// # Panics
    ///
    /// It does not run.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.wait_for_end().signal(), Some(Signal::KILL.as_raw()));
    }

    /// Sends it a signal.
    ///
    /// # Panics
    ///
    /// It does not run.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("it runs")), signal).expect("signalled");
    }

    fn wait_for_end(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait::until_some("the daemon has ended", || child.try_wait().expect("a child of ours"))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.spec.address
    }

    /// Its clients' socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("msgd.sock")
    }

    /// The options of a client of it.
    pub fn client(&self, id: u32) -> Builder {
        Client::builder(ClientId(id)).socket(self.socket())
    }

    /// Its status.
    ///
    /// # Panics
    ///
    /// It does not say it.
    #[must_use]
    pub fn status(&self) -> StatusDocument {
        let body = wait::until_some("a status", || self.try_get("/v1/status"));
        serde_json::from_str(&body).expect("a status document")
    }

    /// The body of what it answers to a request; `None` if that is not 200.
    #[must_use]
    pub fn try_get(&self, target: &str) -> Option<String> {
        self.ask("GET", target)
    }

    /// Has its clients with that number take no more; `None`: all its clients.
    ///
    /// # Panics
    ///
    /// It does not do it.
    pub fn drain(&self, client: Option<u32>) {
        let whom = client.map_or("node".to_owned(), |id| format!("client={id}"));
        self.ask("POST", &format!("/v1/drain?{whom}")).expect("it drains");
    }

    fn ask(&self, method: &str, target: &str) -> Option<String> {
        let mut stream = UnixStream::connect(self.path("status.sock")).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: msgd\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
    }

    /// One of its counters.
    ///
    /// # Panics
    ///
    /// It has no such counter.
    #[must_use]
    pub fn counter(&self, name: &str) -> u64 {
        *self.status().counters.get(name).unwrap_or_else(|| panic!("a counter {name}"))
    }

    /// Waits until its links to all its peers are up.
    pub fn wait_for_links(&self) {
        wait::until("all links are up", || self.status().peers.iter().all(|peer| peer.state == "up"));
    }

    /// Its process.
    ///
    /// # Panics
    ///
    /// It does not run.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Bytes of memory that it has in use.
    #[must_use]
    pub fn resident_bytes(&self) -> u64 {
        self.proc_status("VmRSS:") * 1024
    }

    /// How often its I/O thread has gone to sleep and been woken.
    #[must_use]
    pub fn wake_ups(&self) -> u64 {
        self.proc_status("voluntary_ctxt_switches:")
    }

    /// A number of its main thread's `/proc/PID/status`.
    fn proc_status(&self, key: &str) -> u64 {
        let pid = self.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/task/{pid}/status")).expect("a status");
        let value = status.lines().find_map(|line| line.strip_prefix(key)).expect("a line with that key");
        value.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended; its parent reaps it either way.
            if child.kill().and_then(|()| child.wait()).is_err() {}
        }
        if thread::panicking() {
            report::line(format_args!("the log of {}:\n{}", self.spec.name, self.log()));
        }
    }
}
