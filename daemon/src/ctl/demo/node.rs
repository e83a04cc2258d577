//! The demo's daemons: this program again, under its hidden command, as processes of their own.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write},
    net::{SocketAddr, UdpSocket},
    os::{fd::OwnedFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use msg_proto::{
    status::StatusDocument,
    units::{Span, Time},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{
        Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open, set_parent_process_death_signal,
    },
};

use crate::{
    clock,
    ctl::{
        cli::{NODE_COMMAND, NodeArgs},
        error::CtlError,
        signals::Stop,
        status,
    },
};

/// How long a daemon may take to come up.
const START_TIMEOUT_MS: u64 = 10_000;

/// How often a daemon that comes up, or a link, is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// How long a daemon may take to end when it is asked to.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// Lines of a daemon's log that are shown when it did not work.
const LOG_LINES: usize = 5;

/// What a daemon is to be.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) name: &'a str,
    pub(super) listen: SocketAddr,
    pub(super) peer: &'a str,
    pub(super) peer_address: SocketAddr,
    /// Where its runtime directory and its log are made.
    pub(super) home: &'a Path,
}

/// A daemon that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    child: Child,
    pidfd: OwnedFd,
    runtime_dir: PathBuf,
    log: PathBuf,
}

impl Node {
    /// Starts it. It is to be called from the main thread: the daemon ends with the thread that started it.
    pub(super) fn start(plan: &Plan<'_>) -> io::Result<Self> {
        let runtime_dir = plan.home.join(plan.name);
        fs::create_dir_all(&runtime_dir)?;
        let log = plan.home.join(format!("{}.log", plan.name));
        let file = File::create(&log)?;
        let child = Command::new(program())
            .arg(NODE_COMMAND)
            .arg(format!("--parent={}", getpid()))
            .arg("--")
            .args(["--node", plan.name])
            .arg(format!("--listen={}", plan.listen))
            .arg(format!("--peer={}={}", plan.peer, plan.peer_address))
            .arg("--runtime-dir")
            .arg(&runtime_dir)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            // Ctrl-C is for the demo, which ends its daemons itself.
            .process_group(0)
            .spawn()?;
        let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
        Ok(Self { name: plan.name.to_owned(), child, pidfd, runtime_dir, log })
    }

    /// Where clients connect.
    pub(super) fn socket(&self) -> PathBuf {
        self.runtime_dir.join("msgd.sock")
    }

    /// What it says of itself.
    pub(super) fn status(&self) -> Result<StatusDocument, CtlError> {
        status::fetch(&self.runtime_dir)
    }

    /// Waits until its status is as wanted.
    pub(super) fn wait_until(
        &self,
        what: &str,
        stop: &Stop,
        mut wanted: impl FnMut(&StatusDocument) -> bool,
    ) -> Result<(), CtlError> {
        let deadline = clock::now() + Span::from_millis(START_TIMEOUT_MS);
        loop {
            let problem = match self.status() {
                Ok(status) if wanted(&status) => return Ok(()),
                Ok(_) => "it runs".to_owned(),
                Err(e) => e.to_string(),
            };
            if stop.is_raised() {
                return Err(CtlError::Interrupted);
            }
            if self.ended_within(LOOK) {
                return Err(self.failure("ended"));
            }
            if clock::now() >= deadline {
                return Err(self.failure(&format!("{what} did not come in time ({problem})")));
            }
        }
    }

    /// Waits for its end, that long.
    fn ended_within(&self, span: Duration) -> bool {
        let timeout = Timespec::try_from(span).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        // An interruption counts as time passed: every caller looks again.
        poll(&mut fds, Some(&timeout)).is_ok_and(|ready| ready > 0)
    }

    fn failure(&self, what: &str) -> CtlError {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join(" | ");
        CtlError::Demo(format!("the daemon of node {}: {what}; its last words: {last}", self.name))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).ok();
        let deadline = clock::now() + Span::from(STOP_TIMEOUT);
        while !self.ended_within(left(deadline)) {
            if left(deadline).is_zero() {
                self.child.kill().ok();
                break;
            }
        }
        self.child.wait().ok();
    }
}

/// A port that was free a moment ago.
pub(super) fn free_address() -> io::Result<SocketAddr> {
    UdpSocket::bind("127.0.0.1:0")?.local_addr()
}

/// The hidden command: the daemon itself, in this process, which ends when its parent does.
pub(in crate::ctl) fn run_node(args: NodeArgs) -> ExitCode {
    let set = set_parent_process_death_signal(Some(Signal::TERM));
    // The parent may have gone before that was set.
    if set.is_err() || getppid().map(Pid::as_raw_pid) != Some(args.parent) {
        writeln!(io::stderr(), "msgctl: this command is for the demo's own use").ok();
        return ExitCode::FAILURE;
    }
    crate::program::main([OsString::from("msgd")].into_iter().chain(args.daemon))
}

/// This program. Where its file was replaced or removed meanwhile, the kernel's link still leads to it.
fn program() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

fn left(deadline: Time) -> Duration {
    clock::until(deadline, clock::now())
}
