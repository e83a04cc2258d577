//! A client in a process of its own, which can be stopped, killed, and run under another clock: the program
//! `msg-test-client`, told what to do over its standard input.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use msg::{ClientId, Incarnation, Procedure};
use msg_proto::units::Time;
use rustix::process::{Pid, Signal, kill_process};

use crate::{party::Taken, pattern, promise::Receiver, wait};

/// How a client process is to be started.
#[derive(Clone, Debug)]
pub struct ClientSpec {
    /// Its daemon's socket.
    pub socket: PathBuf,
    /// Its number.
    pub id: u32,
    /// Its `interval`.
    pub interval_ms: u64,
    /// Its retransmissions.
    pub times: u8,
    /// What its messages, and those that it expects, are drawn from.
    pub seed: u64,
    /// How long they are: from, to.
    pub sizes: (usize, usize),
    /// `beside`, `takeover`, `handled` (acks then), `high` (its priority), `threads` (several dispatch), `slow` (it has work
    /// to do with each): any of them.
    pub modes: &'static [&'static str],
    /// A command in front of the program.
    pub wrapper: Vec<OsString>,
}

impl ClientSpec {
    /// A client with the usual times: 200 ms, ten times.
    #[must_use]
    pub const fn new(socket: PathBuf, id: u32, seed: u64, sizes: (usize, usize)) -> Self {
        Self { socket, id, interval_ms: 200, times: 10, seed, sizes, modes: &[], wrapper: Vec::new() }
    }
}

/// The procedure that it serves: the reply is the request. Who runs it tells of it as of a message that it was given.
pub const ECHO: Procedure = Procedure(1);

/// A client process. It is killed when this is dropped.
#[derive(Debug)]
pub struct ClientProcess {
    spec: ClientSpec,
    child: Child,
    stdin: ChildStdin,
    said: Arc<Mutex<Said>>,
    reader: Option<JoinHandle<()>>,
}

/// What it has printed.
#[derive(Debug, Default)]
struct Said {
    /// Answers to what it was told.
    answers: Vec<String>,
    taken: Vec<Taken>,
    failed: Vec<String>,
}

impl ClientProcess {
    /// Starts it, and waits until it is registered.
    ///
    /// # Panics
    ///
    /// It is not.
    #[must_use]
    pub fn start(spec: ClientSpec) -> Self {
        let test = env::current_exe().expect("a path of this test");
        let folder = test.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).expect("a folder");
        let mut words = spec.wrapper.clone();
        words.push(folder.join("msg-test-client").into());
        words.push(spec.socket.clone().into());
        let (from, to) = spec.sizes;
        let numbers = [u64::from(spec.id), spec.interval_ms, u64::from(spec.times), spec.seed];
        words.extend(numbers.map(|number| number.to_string().into()));
        words.extend([from, to].map(|size| size.to_string().into()));
        words.extend(spec.modes.iter().map(OsString::from));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let said = Arc::new(Mutex::new(Said::default()));
        let reader = thread::spawn({
            let (said, spec) = (Arc::clone(&said), spec.clone());
            move || read_all(stdout, &spec, &said)
        });
        let process = Self { spec, child, stdin, said, reader: Some(reader) };
        process.answer("ready");
        process
    }

    /// Has it send its next `count` messages to a client, and waits until its library has accepted them.
    ///
    /// # Panics
    ///
    /// It does not do it.
    pub fn send(&mut self, dst: u32, count: u32) {
        self.tell(&format!("send {dst} {count}"));
        self.answer("sent");
    }

    /// Waits until everything that it sent has its outcome: how many were acked, how many failed.
    ///
    /// # Panics
    ///
    /// Something has none for long.
    pub fn flush(&mut self) -> (u64, u64) {
        self.tell("flush");
        let answer = self.answer("flushed");
        let mut numbers = answer.split(' ').skip(1).map(|word| word.parse().expect("a number"));
        (numbers.next().expect("acked"), numbers.next().expect("failed"))
    }

    /// How many messages it was given.
    #[must_use]
    pub fn taken(&self) -> usize {
        lock(&self.said).taken.len()
    }

    /// Waits until it was given that many messages.
    pub fn wait_for_taken(&self, count: usize) {
        wait::until(&format!("client {} has taken {count} messages", self.spec.id), || self.taken() >= count);
    }

    /// Why its messages failed, a line for each.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        lock(&self.said).failed.clone()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Has it stand still, and waits until it does.
    ///
    /// # Panics
    ///
    /// It does not.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
        let stat = format!("/proc/{}/stat", self.child.id());
        wait::until("the process stands still", || {
            let stat = fs::read_to_string(&stat).expect("a process");
            stat.rsplit(") ").next().is_some_and(|state| state.starts_with('T'))
        });
    }

    /// Has it go on.
    ///
    /// # Panics
    ///
    /// It has ended.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Kills it and reads what it had printed.
    ///
    /// # Panics
    ///
    /// It has ended before.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("ended");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read to the end");
        }
    }

    /// Waits until it has taken its last message, as its daemon asked, and has all its outcomes; it ends then.
    pub fn wait_for_drained(&mut self) {
        self.answer("drained");
        self.child.wait().expect("ended");
        if let Some(reader) = self.reader.take() {
            reader.join().expect("read to the end");
        }
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.stdin, "{command}").expect("it reads");
    }

    fn answer(&self, word: &str) -> String {
        wait::until_some(&format!("client {} says {word}", self.spec.id), || {
            let mut said = lock(&self.said);
            let at = said.answers.iter().position(|answer| answer.starts_with(word))?;
            Some(said.answers.remove(at))
        })
    }
}

impl Receiver for ClientProcess {
    fn id(&self) -> ClientId {
        ClientId(self.spec.id)
    }

    fn taken_from(&self, src: ClientId) -> Vec<Taken> {
        lock(&self.said).taken.iter().filter(|taken| taken.src == src).cloned().collect()
    }
}

impl Drop for ClientProcess {
    fn drop(&mut self) {
        // It may have ended; its parent reaps it either way.
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {}
    }
}

/// The line in which the program tells of a message that it was given.
#[must_use]
pub fn taken_line(taken: &Taken, seed: u64, dst: ClientId, sizes: (usize, usize)) -> String {
    let index = pattern::index_of(&taken.data);
    let is_intact = index.is_some_and(|index| {
        pattern::payload(seed, (taken.src, dst), index, &(sizes.0..=sizes.1)) == taken.data
    });
    let what = index.filter(|_| is_intact).map_or("changed".to_owned(), |index| index.to_string());
    format!("taken {} {} {} {what}", taken.src.0, taken.incarnation.0, taken.at.0)
}

/// Reads that line; the bytes are made again.
fn read_taken(line: &str, spec: &ClientSpec) -> Option<Taken> {
    let mut words = line.strip_prefix("taken ")?.split(' ');
    let src = ClientId(words.next()?.parse().ok()?);
    let incarnation = Incarnation(words.next()?.parse().ok()?);
    let at = Time(words.next()?.parse().ok()?);
    let sizes = spec.sizes.0..=spec.sizes.1;
    let index = words.next()?.parse().ok();
    let data = index.map(|index| pattern::payload(spec.seed, (src, ClientId(spec.id)), index, &sizes));
    Some(Taken { src, incarnation, data: data.unwrap_or_default(), at })
}

fn read_all(stdout: ChildStdout, spec: &ClientSpec, said: &Mutex<Said>) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { return };
        let taken = read_taken(&line, spec);
        let mut said = lock(said);
        match taken {
            Some(taken) => said.taken.push(taken),
            None if line.starts_with("failed ") => said.failed.push(line),
            None => said.answers.push(line),
        }
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A command that runs another with its monotonic and boot clocks a day ahead; `None` if this system, or this user,
/// cannot have it.
#[must_use]
pub fn boot_clock_a_day_ahead() -> Option<Vec<OsString>> {
    let words =
        ["unshare", "--time", "--boottime", "86400", "--monotonic", "86400", "--fork", "--kill-child"];
    let works = Command::new(words[0]).args(&words[1..]).arg("true").stderr(Stdio::null()).status();
    works.is_ok_and(|status| status.success()).then(|| words.map(OsString::from).to_vec())
}

/// The variables that have a program see wall time a day ahead, and the other clocks as they are; `None` if
/// libfaketime is not installed.
#[must_use]
pub fn wall_clock_a_day_ahead() -> Option<Vec<(OsString, OsString)>> {
    let arch = format!("/usr/lib/{}-linux-gnu/faketime/libfaketime.so.1", env::consts::ARCH);
    let places =
        [arch.as_str(), "/usr/lib/faketime/libfaketime.so.1", "/usr/lib64/faketime/libfaketime.so.1"];
    let library = places.into_iter().find(|path| Path::new(path).exists())?;
    let variables = [("LD_PRELOAD", library), ("FAKETIME", "+1d"), ("DONT_FAKE_MONOTONIC", "1")];
    Some(variables.map(|(name, value)| (name.into(), value.into())).to_vec())
}
