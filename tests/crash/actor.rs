//! A client number and its lives: one process after the other.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    mem,
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
};

use msg_proto::units::{Span, Time};
use msgd::clock;
use rustix::process::{Pid, Signal, kill_process};

use super::{client::ClientArgs, ledger::Entry};

/// A process that ran, and what it wrote.
#[derive(Debug)]
pub struct Life {
    /// Its number in the run.
    pub number: u32,
    /// Whose it was.
    pub id: u32,
    /// Whether it was killed, or lived to the end.
    pub killed: bool,
    /// All that it wrote.
    pub ledger: Vec<Entry>,
    /// From when to when it stood still.
    pub stops: Vec<(Time, Time)>,
}

impl Life {
    /// How long it stood still between two moments.
    #[must_use]
    pub fn stood_still(&self, from: Time, to: Time) -> Span {
        let overlap = |(begin, end): &(Time, Time)| (*end).min(to).since((*begin).max(from)).0;
        Span(self.stops.iter().map(overlap).sum())
    }
}

/// A client number. Its process is killed when this is dropped.
#[derive(Debug)]
pub struct Actor {
    /// How its next process is to be started.
    pub args: ClientArgs,
    /// Its lives before this one.
    pub past: Vec<Life>,
    process: Option<Process>,
    stops: Vec<(Time, Time)>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    stdin: ChildStdin,
    ledger: Arc<Mutex<Vec<Entry>>>,
    reader: JoinHandle<()>,
}

impl Actor {
    /// A client number without a process.
    #[must_use]
    pub const fn new(args: ClientArgs) -> Self {
        Self { args, past: Vec::new(), process: None, stops: Vec::new() }
    }

    /// Starts its next life, with that number.
    ///
    /// # Panics
    ///
    /// It lives.
    pub fn launch(&mut self, life: u32) {
        assert!(self.process.is_none(), "client {} runs", self.args.id);
        self.args.life = life;
        let mut command = Command::new(program());
        command.arg("client").arg(&self.args.socket);
        let ClientArgs { id, interval_ms, times, rate, on_handled, .. } = &self.args;
        let numbers = [(*id).into(), life.into(), *interval_ms, (*times).into(), *rate, (*on_handled).into()];
        command.args(numbers.map(|number: u64| number.to_string()));
        command.args(self.args.dst.iter().map(ToString::to_string));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let ledger = Arc::new(Mutex::new(Vec::new()));
        let reader = thread::spawn({
            let ledger = Arc::clone(&ledger);
            move || read_all(stdout, &ledger)
        });
        self.process = Some(Process { child, stdin, ledger, reader });
    }

    /// Kills it, and reads what it had written.
    ///
    /// # Panics
    ///
    /// It does not live.
    pub fn kill(&mut self) {
        self.end(true);
    }

    /// Ends the last life, which lived to the end.
    ///
    /// # Panics
    ///
    /// It does not live.
    pub fn finish(&mut self) {
        self.end(false);
    }

    fn end(&mut self, killed: bool) {
        self.signal(Signal::KILL);
        let Process { mut child, ledger, reader, .. } = self.process.take().expect("it lives");
        child.wait().expect("ended");
        reader.join().expect("read to the end");
        let ledger = mem::take(&mut *lock(&ledger));
        let stops = mem::take(&mut self.stops);
        self.past.push(Life { number: self.args.life, id: self.args.id, killed, ledger, stops });
    }

    /// Has it stand still.
    ///
    /// # Panics
    ///
    /// It does not live.
    pub fn stop(&mut self) {
        self.stops.push((clock::now(), Time(u64::MAX)));
        self.signal(Signal::STOP);
    }

    /// Has it go on.
    ///
    /// # Panics
    ///
    /// It does not live.
    pub fn go_on(&mut self) {
        self.signal(Signal::CONT);
        if let Some((_, end)) = self.stops.last_mut() {
            *end = clock::now();
        }
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("it lives");
        kill_process(Pid::from_child(&process.child), signal).expect("signalled");
    }

    /// Tells it to send no more.
    ///
    /// # Panics
    ///
    /// It does not live.
    pub fn quiet(&mut self) {
        let process = self.process.as_mut().expect("it lives");
        writeln!(process.stdin, "quiet").expect("it reads");
    }

    /// Whether anything that it has written is so.
    #[must_use]
    pub fn has(&self, is: impl Fn(&Entry) -> bool) -> bool {
        self.count(is) > 0
    }

    /// How much of what it has written is so.
    #[must_use]
    pub fn count(&self, is: impl Fn(&Entry) -> bool) -> u64 {
        let process = self.process.as_ref();
        process.map_or(0, |process| lock(&process.ledger).iter().filter(|entry| is(entry)).count() as u64)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if let Some(Process { mut child, .. }) = self.process.take() {
            // It may have ended; its parent reaps it either way.
            if child.kill().and_then(|()| child.wait()).is_err() {}
        }
    }
}

/// The program `crash`, beside the one that runs.
fn program() -> PathBuf {
    let this = env::current_exe().expect("a path of this program");
    let folder = this.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).expect("a folder");
    folder.join("crash")
}

fn read_all(stdout: ChildStdout, ledger: &Mutex<Vec<Entry>>) {
    // A line that a kill cut in two is no event: whoever writes it has not returned from it.
    let mut lines = BufReader::new(stdout);
    let mut line = String::new();
    while matches!(lines.read_line(&mut line), Ok(1..)) {
        if let Some(whole) = line.strip_suffix('\n') {
            let entry = whole.parse().unwrap_or_else(|()| Entry::Broken(format!("unread: {whole}")));
            lock(ledger).push(entry);
        }
        line.clear();
    }
}

fn lock(ledger: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
