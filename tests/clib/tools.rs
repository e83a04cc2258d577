//! Compilers, and running what they made.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
};

use msg_tests::{
    node::{Node, NodeSpec},
    program, report,
};

/// A program's end.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A compiler that is installed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Compiler {
    program: &'static str,
    language: &'static [&'static str],
}

const C: &[&str] = &["-xc", "-std=c99"];
const CPP: &[&str] = &["-xc++", "-std=c++11"];
const STRICT: &[&str] = &["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g"];

/// The root of the C library's sources.
pub(crate) fn source(path: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().expect("a workspace").join("libmsg").join(path)
}

/// A folder that ends with the test run's target folder, and is this process's own.
pub(crate) fn scratch() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clib");
        // The last run's, which nobody needs any more.
        if dir.exists() {
            fs::remove_dir_all(&dir).expect("removed");
        }
        fs::create_dir_all(&dir).expect("created");
        dir
    })
}

/// Where the library is installed for these tests.
pub(crate) fn prefix() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let prefix = scratch().join("prefix");
        let words = ["--prefix".as_ref(), prefix.as_os_str()];
        install(&words);
        prefix
    })
}

/// Runs `install.sh` on the libraries that cargo made.
pub(crate) fn install(words: &[&std::ffi::OsStr]) {
    let mut sh = Command::new("sh");
    sh.arg(source("install.sh")).arg("--from").arg(program::libmsg()).args(words);
    let outcome = run(&mut sh);
    assert!(outcome.status.success(), "{outcome:?}");
}

/// The C compilers that are installed.
pub(crate) fn c_compilers(what: &str) -> Vec<Compiler> {
    installed(what, &["gcc", "clang"], C)
}

/// The C++ compilers that are installed.
pub(crate) fn cpp_compilers(what: &str) -> Vec<Compiler> {
    installed(what, &["g++", "clang++"], CPP)
}

fn installed(what: &str, programs: &[&'static str], language: &'static [&'static str]) -> Vec<Compiler> {
    let found = programs.iter().filter(|program| has(program, &format!("{what} with {program}")));
    found.map(|program| Compiler { program, language }).collect()
}

/// Whether a program is installed. If it is not, says what is not tested.
pub(crate) fn has(program: &str, what: &str) -> bool {
    let found =
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).any(|dir| dir.join(program).is_file());
    if !found {
        report::skipped(what, format_args!("{program} is not installed"));
    }
    found
}

impl Compiler {
    /// Compiles a program against the installed library, with every warning an error.
    pub(crate) fn compile(self, source: &Path, more: &[&str]) -> PathBuf {
        let lib = prefix().join("lib");
        let words = [
            format!("-I{}", prefix().join("include").display()),
            format!("-L{}", lib.display()),
            format!("-Wl,-rpath,{}", lib.display()),
        ];
        let words = words.iter().map(String::as_str).chain(["-lmsg", "-pthread"]).chain(more.iter().copied());
        self.compile_with(source, &words.collect::<Vec<_>>())
    }

    /// Looks whether a program would compile.
    pub(crate) fn check(self, source: &Path, more: &[&str]) {
        let mut command = Command::new(self.program);
        command.args(self.language).args(STRICT).args(more).arg("-fsyntax-only").arg("-I");
        let outcome = run(command.arg(prefix().join("include")).arg(source));
        assert!(outcome.status.success(), "{command:?}\n{}", outcome.stderr);
    }

    /// Compiles a program with these words behind it.
    pub(crate) fn compile_with(self, source: &Path, words: &[&str]) -> PathBuf {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        let program = scratch().join(format!("{name}-{}-{number}", self.program));
        let mut command = Command::new(self.program);
        command.args(self.language).args(STRICT).arg(source).args(["-xnone", "-o"]).arg(&program).args(words);
        let outcome = run(&mut command);
        assert!(outcome.status.success(), "{command:?}\n{}", outcome.stderr);
        program
    }
}

/// A daemon with an interval so short that failures do not keep tests waiting, and so long that a busy machine keeps it.
pub(crate) fn daemon() -> Node {
    Node::start(&NodeSpec::new("vm-a").chain("interval_ms = 700\ntimes = 1"))
}

/// A daemon for programs that are slowed down a lot.
pub(crate) fn patient_daemon() -> Node {
    Node::start(&NodeSpec::new("vm-a").chain("interval_ms = 1500\ntimes = 1"))
}

/// Runs a program with a daemon's socket, to its end.
pub(crate) fn run_at(node: &Node, program: &Path, words: &[&str]) -> Outcome {
    run(Command::new(program).args(words).env("MSGD_SOCKET", node.socket()))
}

/// The same, and it ends well. Returns what it printed.
pub(crate) fn run_well(node: &Node, program: &Path, words: &[&str]) -> String {
    let outcome = run_at(node, program, words);
    assert!(outcome.status.success(), "{} {words:?}: {outcome:?}", program.display());
    outcome.stdout
}

/// Runs a command to its end. It is killed, and the test fails, if that takes too long.
pub(crate) fn run(command: &mut Command) -> Outcome {
    let words = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{words}: {error}"));
    let read = |from: Option<Box<dyn std::io::Read + Send>>| {
        thread::spawn(move || {
            let mut text = Vec::new();
            from.expect("piped").read_to_end(&mut text).expect("read");
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let stdout = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let stderr = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let deadline = msgd::clock::now() + msg_proto::units::Span::from_millis(PATIENCE_MS);
    let mut look = || child.try_wait().expect("a child of ours");
    let mut ended = look();
    while ended.is_none() && msgd::clock::now() < deadline {
        thread::park_timeout(std::time::Duration::from_millis(5));
        ended = look();
    }
    let status = ended.unwrap_or_else(|| child.kill().and_then(|()| child.wait()).expect("killed"));
    let [stdout, stderr] = [stdout, stderr].map(|thread| thread.join().expect("read"));
    assert!(ended.is_some(), "{words} does not end\n{stdout}\n{stderr}");
    Outcome { status, stdout, stderr }
}

/// How long a program may take on a busy machine.
const PATIENCE_MS: u64 = 120_000;
