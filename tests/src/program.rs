//! Where the program msgd and the C library are: beside the test that runs, and up to date.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::SystemTime,
};

/// The path of a `msgd` of this source tree, in the profile of the test that asks.
///
/// `cargo test --workspace` has built it. `cargo test -p msg-tests` has not, or not again since its sources changed:
/// then it is built here, once.
///
/// # Panics
///
/// There is none, and it cannot be built.
pub fn msgd() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| program("msgd"))
}

/// The path of the `msgctl` beside it.
///
/// # Panics
///
/// There is none, and it cannot be built.
pub fn msgctl() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| program("msgctl"))
}

fn program(name: &str) -> PathBuf {
    let place = Place::of_this_test();
    let mut program = place.folder.join(name);
    if !is_up_to_date(&program) {
        program = place.build(&["-p", "msgd", "--bin", name]).join(name);
    }
    assert!(program.exists(), "cargo has built no {}", program.display());
    program
}

/// The folder with the `libmsg.so` and `libmsg.a` of this source tree, in the profile of the test that asks.
///
/// # Panics
///
/// There are none, and they cannot be built.
pub fn libmsg() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let place = Place::of_this_test();
        let libraries = |folder: &Path| ["libmsg.so", "libmsg.a"].map(|name| folder.join(name));
        // `cargo test` leaves them where it leaves what programs are linked with.
        for folder in [place.folder.clone(), place.folder.join("deps")] {
            if libraries(&folder).iter().all(|library| is_up_to_date(library)) {
                return folder;
            }
        }
        let folder = place.build(&["-p", "libmsg"]);
        for library in libraries(&folder) {
            assert!(library.exists(), "cargo has built no {}", library.display());
        }
        folder
    })
}

/// Where cargo puts what it builds: `TARGET/[TRIPLE/]PROFILE/`.
struct Place {
    folder: PathBuf,
    target: PathBuf,
    triple: Option<String>,
    profile: String,
}

impl Place {
    fn of_this_test() -> Self {
        let test = env::current_exe().expect("a path of this test");
        // A test is in `deps`, a program is not.
        let folder =
            test.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).expect("a folder").to_owned();
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let parent = folder.parent().expect("a target folder").to_owned();
        // Newer versions of cargo mark the folder of a triple, too.
        let is_target = |dir: &Path| dir.join("CACHEDIR.TAG").exists();
        let is_triple = name(&parent).starts_with(&format!("{}-", env::consts::ARCH));
        let (target, triple) = match parent.parent() {
            Some(above) if is_triple && is_target(above) => (above.to_owned(), Some(name(&parent))),
            _ => (parent, None),
        };
        let profile = match name(&folder).as_str() {
            "debug" => "dev".to_owned(),
            profile => profile.to_owned(),
        };
        Self { folder, target, triple, profile }
    }

    /// Builds in a target folder of its own, and says in which folder the result is. In this test's one it would
    /// replace `deps/libmsg.rlib`, whose name has no hash, by one with other features, and documentation tests that
    /// come later could not link.
    #[must_use]
    fn build(&self, what: &[&str]) -> PathBuf {
        let target = self.target.join("built-by-tests");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--profile", &self.profile]).args(what);
        cargo.arg("--target-dir").arg(&target).current_dir(env!("CARGO_MANIFEST_DIR"));
        if let Some(triple) = &self.triple {
            cargo.args(["--target", triple]);
        }
        let status = cargo.status().expect("cargo runs");
        assert!(status.success(), "cargo cannot build {what:?}: {status}");
        let profile = self.folder.file_name().expect("a profile's folder");
        self.triple.as_ref().map_or(target.clone(), |triple| target.join(triple)).join(profile)
    }
}

/// Whether a program is newer than all that it was made of: as cargo's dep-info beside it says, or, where `cargo test` has
/// left none, than all sources.
fn is_up_to_date(program: &Path) -> bool {
    let Some(built) = modified(program) else { return false };
    let Ok(info) = fs::read_to_string(program.with_extension("d")) else {
        return newest_source().is_some_and(|changed| changed <= built);
    };
    // A line for each file that is made at once of the same sources.
    let Some((_, sources)) = info.lines().next().and_then(|line| line.split_once(": ")) else { return false };
    // In a path, a blank is written `\ `.
    let sources = sources.replace("\\ ", "\0");
    let mut sources = sources.split(' ').map(|path| PathBuf::from(path.replace('\0', " ")));
    sources.all(|path| modified(&path).is_some_and(|changed| changed <= built))
}

/// When the last of the sources changed that msgd and libmsg are made of.
fn newest_source() -> Option<SystemTime> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let mut left: Vec<_> = ["Cargo.toml", "Cargo.lock"].map(|name| root.join(name)).into();
    for member in ["proto", "daemon", "libmsg"] {
        left.extend(["Cargo.toml", "src"].map(|name| root.join(member).join(name)));
    }
    let mut newest = None;
    while let Some(path) = left.pop() {
        match fs::read_dir(&path) {
            Ok(entries) => left.extend(entries.flatten().map(|entry| entry.path())),
            Err(_) => newest = newest.max(Some(modified(&path)?)),
        }
    }
    newest
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}
