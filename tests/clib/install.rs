//! What `install.sh` puts where, and that a program finds all it needs there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{c_compilers, daemon, has, install, prefix, run, run_well, scratch, source};

/// All files below a folder, with `-> target` behind links.
fn files(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root).expect("below it").display().to_string();
        if let Ok(target) = fs::read_link(&path) {
            found.insert(format!("{name} -> {}", target.display()));
        } else if path.is_dir() {
            files(root, &path, found);
        } else {
            found.insert(name);
        }
    }
}

#[test]
fn everything_is_in_its_place() {
    let destdir = scratch().join("destdir");
    for _again in 0..2 {
        install(&[
            "--prefix=/usr".as_ref(),
            "--libdir".as_ref(),
            "/usr/lib/triple".as_ref(),
            "--destdir".as_ref(),
            destdir.as_ref(),
        ]);
    }
    let mut found = BTreeSet::new();
    files(&destdir, &destdir, &mut found);
    let pages: Vec<String> =
        found.iter().filter(|name| name.starts_with("usr/share/man/man3/")).cloned().collect();
    let others: Vec<&str> = found.iter().filter(|name| !pages.contains(name)).map(String::as_str).collect();
    assert_eq!(
        others,
        [
            "usr/include/libmsg.h",
            "usr/include/libmsg.hpp",
            "usr/include/send_msg.h",
            "usr/lib/triple/libmsg.a",
            "usr/lib/triple/libmsg.so -> libmsg.so.0",
            "usr/lib/triple/libmsg.so.0 -> libmsg.so.0.1.0",
            "usr/lib/triple/libmsg.so.0.1.0",
            "usr/lib/triple/pkgconfig/libmsg.pc",
        ]
    );
    for function in crate::header::functions() {
        let page = format!("usr/share/man/man3/{function}.3");
        assert!(pages.contains(&page), "no {page}");
    }
    let pc = fs::read_to_string(destdir.join("usr/lib/triple/pkgconfig/libmsg.pc")).expect("a file");
    assert!(
        pc.starts_with("prefix=/usr\nlibdir=${prefix}/lib/triple\nincludedir=${prefix}/include\n"),
        "{pc}"
    );
    assert!(pc.contains(&format!("\nVersion: {}\n", env!("CARGO_PKG_VERSION"))), "{pc}");
}

#[test]
fn install_sh_says_what_it_does_not_understand() {
    let script = source("install.sh");
    let says = |words: &[&str], status, text: &str| {
        let outcome = run(Command::new("sh").arg(&script).args(words));
        assert_eq!(outcome.status.code(), Some(status), "{outcome:?}");
        assert!(outcome.stderr.contains(text), "{outcome:?}");
    };
    says(&["--prefx", "/x"], 2, "unknown option --prefx");
    says(&["--prefix"], 2, "--prefix takes a directory");
    says(&["--prefix", "x"], 2, "absolute path");
    says(&["--from", "/nowhere"], 1, "no /nowhere/libmsg.so: cargo build --release first");
    let help = run(Command::new("sh").arg(&script).arg("--help"));
    assert!(help.status.success() && help.stdout.contains("--destdir"), "{help:?}");
}

/// What pkg-config prints for the installed library.
fn pkg_config(words: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.args(words).arg("libmsg").env("PKG_CONFIG_PATH", prefix().join("lib/pkgconfig"));
    let outcome = run(&mut command);
    assert!(outcome.status.success(), "{outcome:?}");
    outcome.stdout.split_whitespace().map(str::to_owned).collect()
}

fn run_legacy(program: &Path) {
    let node = daemon();
    let said = run_well(&node, program, &["300", "300", "10"]);
    assert!(said.contains("10 sent, 10 arrived here, 0 failed"), "{said}");
}

/// The libraries that a program asks the loader for.
fn needed(program: &Path) -> Option<String> {
    has("readelf", "what a program needs").then(|| run(Command::new("readelf").arg("-d").arg(program)).stdout)
}

#[test]
fn pkg_config_is_all_that_a_program_needs() {
    if !has("pkg-config", "compiling through pkg-config") {
        return;
    }
    for compiler in c_compilers("compiling through pkg-config") {
        let example = source("examples/legacy.c");
        let compile = |flags: &[&str], more: &[&str]| -> PathBuf {
            let words = pkg_config(flags);
            let words: Vec<&str> = words.iter().map(String::as_str).chain(more.iter().copied()).collect();
            compiler.compile_with(&example, &words)
        };
        let rpath = format!("-Wl,-rpath,{}", prefix().join("lib").display());
        let dynamic = compile(&["--cflags", "--libs"], &[&rpath]);
        if let Some(needed) = needed(&dynamic) {
            assert!(needed.contains("[libmsg.so.0]"), "{needed}");
        }
        run_legacy(&dynamic);

        // All of it static; then the library alone.
        let all = compile(&["--cflags", "--libs", "--static"], &["-static"]);
        let words = pkg_config(&["--cflags", "--libs", "--static"]);
        let words: Vec<&str> =
            words.iter().map(|word| if word == "-lmsg" { "-l:libmsg.a" } else { word }).collect();
        let one = compiler.compile_with(&example, &words);
        for program in [all, one] {
            if let Some(needed) = needed(&program) {
                assert!(!needed.contains("libmsg"), "{needed}");
            }
            run_legacy(&program);
        }
    }
}

#[test]
fn the_man_pages_are_clean() {
    let pages = fs::read_dir(source("man")).expect("a folder").map(|page| page.expect("a page").path());
    let pages: Vec<PathBuf> = pages.collect();
    assert_eq!(pages.len(), 3);
    let formatters: [&[&str]; 2] =
        [&["mandoc", "-T", "lint", "-W", "warning"], &["groff", "-mdoc", "-ww", "-z", "-Tutf8"]];
    for words in formatters {
        if !has(words[0], "the man pages") {
            continue;
        }
        let outcome = run(Command::new(words[0]).args(&words[1..]).args(&pages));
        assert!(
            outcome.status.success() && outcome.stdout.is_empty() && outcome.stderr.is_empty(),
            "{outcome:?}"
        );
    }
}
