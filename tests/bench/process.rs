//! The processes of a measurement: where they run, what they are told, what they cost.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
};

use rustix::{
    param::clock_ticks_per_second,
    process::{Signal, set_parent_process_death_signal},
    thread::{CpuSet, LinkNameSpaceType, move_into_link_name_space, sched_setaffinity},
};

use crate::args::ExecArgs;

/// Where one side's processes run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    pub(crate) cpu: Option<usize>,
    pub(crate) namespace: Option<PathBuf>,
}

impl Place {
    /// The words in front of a command that is to run there.
    pub(crate) fn wrapper(&self) -> Vec<OsString> {
        let bench = env::current_exe().expect("a path of this program");
        let mut words: Vec<OsString> = vec![bench.into(), "exec".into()];
        if let Some(cpu) = self.cpu {
            words.extend(["--cpu".into(), cpu.to_string().into()]);
        }
        if let Some(namespace) = &self.namespace {
            words.extend(["--namespace".into(), namespace.into()]);
        }
        words.push("--".into());
        words
    }
}

/// Becomes another program in its place, which ends with the one that asked for it.
pub(crate) fn exec(args: &ExecArgs) -> ExitCode {
    let why = match prepare(args) {
        Ok(()) => Command::new(&args.program[0]).args(&args.program[1..]).exec(),
        Err(error) => error,
    };
    println!("error {}: {why}", args.program[0].display());
    ExitCode::FAILURE
}

fn prepare(args: &ExecArgs) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    if let Some(namespace) = &args.namespace {
        let namespace = File::open(namespace)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    if let Some(cpu) = args.cpu {
        let mut cpus = CpuSet::new();
        cpus.set(cpu);
        sched_setaffinity(None, &cpus)?;
    }
    Ok(())
}

/// A process that is told what to do over its standard input. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts this program's subcommand in its place.
    pub(crate) fn helper(place: &Place, words: Vec<OsString>) -> Result<Self, String> {
        let name: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let bench = env::current_exe().map_err(|error| error.to_string())?;
        let words = [vec![bench.into()], words].concat();
        Self::start(place, words, &name.join(" "))
    }

    /// Starts a program in its place.
    pub(crate) fn start(place: &Place, words: Vec<OsString>, name: &str) -> Result<Self, String> {
        let words = [place.wrapper(), words].concat();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stderr(Stdio::null());
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{name}: {error}"))?;
        let stdin = child.stdin.take().ok_or("no standard input")?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?);
        Ok(Self { name: name.to_owned(), child, stdin, stdout })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn tell(&mut self, what: &str) -> Result<(), String> {
        writeln!(self.stdin, "{what}").map_err(|error| format!("{}: {error}", self.name))
    }

    /// Waits for a line that begins with that word, and returns the rest of it.
    pub(crate) fn answer(&mut self, word: &str) -> Result<String, String> {
        loop {
            let mut line = String::new();
            let len = self.stdout.read_line(&mut line).map_err(|error| format!("{}: {error}", self.name))?;
            if len == 0 {
                return Err(format!("{} has ended", self.name));
            }
            if let Some(why) = line.strip_prefix("error ") {
                return Err(format!("{}: {}", self.name, why.trim_end()));
            }
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended; its parent reaps it either way.
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {}
    }
}

/// CPU seconds that processes have used so far, in user mode and in the kernel.
pub(crate) fn cpu_seconds(pids: &[u32]) -> f64 {
    let ticks: u64 = pids.iter().map(|pid| ticks(*pid).unwrap_or(0)).sum();
    ticks as f64 / clock_ticks_per_second() as f64
}

fn ticks(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
    // The name, in parentheses, may hold anything; `utime` and `stime` are fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).map(|field| field.parse::<u64>().ok());
    Some(times.next()?? + times.next()??)
}
