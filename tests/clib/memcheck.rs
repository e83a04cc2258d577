//! valgrind's memcheck over the examples and the test programs: no error, no leak, nothing suppressed.

use std::path::{Path, PathBuf};

use msg_tests::node::Node;

use crate::tools::{Outcome, c_compilers, cpp_compilers, has, patient_daemon, run_at, source};

/// The status that memcheck ends a program with in which it has found something.
const FOUND: i32 = 99;

/// Runs a program under memcheck, which looks for blocks that are lost, too. Returns what it printed.
fn check(node: &Node, program: &Path, words: &[&str]) -> String {
    let outcome = memcheck(node, program, words, "full");
    assert!(outcome.status.success(), "{} {words:?}: {}", program.display(), outcome.stderr);
    outcome.stdout
}

fn memcheck(node: &Node, program: &Path, words: &[&str], leak_check: &str) -> Outcome {
    let options = [
        "--quiet".to_owned(),
        format!("--error-exitcode={FOUND}"),
        format!("--leak-check={leak_check}"),
        "--errors-for-leak-kinds=all".to_owned(),
        "--fair-sched=yes".to_owned(),
        program.display().to_string(),
    ];
    let all: Vec<&str> = options.iter().map(String::as_str).chain(words.iter().copied()).collect();
    run_at(node, Path::new("valgrind"), &all)
}

/// A C program, compiled. None if that cannot be, or there is no valgrind.
fn compile(path: &str) -> Option<PathBuf> {
    let what = format!("memcheck over {path}");
    let compiler = *c_compilers(&what).first()?;
    has("valgrind", &what).then(|| compiler.compile(&source(path), &[]))
}

#[test]
fn the_examples() {
    let node = patient_daemon();
    let Some(echo) = compile("examples/echo.c") else { return };
    // It ends with 1, because nobody answers.
    let alone = memcheck(&node, &echo, &["100", "999", "hello", "3"], "full");
    assert_eq!(
        (alone.status.code(), alone.stdout.as_str()),
        (Some(1), "0 echoes, 3 failures\n"),
        "{alone:?}"
    );
    let Some(epoll_loop) = compile("examples/epoll_loop.c") else { return };
    assert_eq!(check(&node, &epoll_loop, &["100", "200", "100"]), "100 + 100 hits\n");
    let Some(legacy) = compile("examples/legacy.c") else { return };
    assert!(check(&node, &legacy, &["300", "300", "1200"]).contains("1200 arrived here, 0 failed"));
    assert!(check(&node, &legacy, &["300", "999", "100"]).contains("0 arrived here, 100 failed"));
    if let Some(compiler) = cpp_compilers("memcheck over the example echo.cpp").first() {
        let echo = compiler.compile(&source("examples/echo.cpp"), &[]);
        assert_eq!(check(&node, &echo, &["100", "200", "hello", "100"]), "100 echoes, 0 failures\n");
    }
}

#[test]
fn the_test_programs() {
    let node = patient_daemon();
    let programs: [(&str, &[&str]); 5] =
        [("misuse", &[]), ("callbacks", &[]), ("calls", &[]), ("smallest", &[]), ("threads", &["3", "200"])];
    for (name, words) in programs {
        let Some(program) = compile(&format!("tests/c/{name}.c")) else { return };
        assert!(!check(&node, &program, words).is_empty(), "{name} says nothing");
    }
    // Calls whose callbacks are never called go with their client.
    for name in ["wrapper", "wrapper_calls"] {
        if let Some(compiler) = cpp_compilers(&format!("memcheck over {name}.cpp")).first() {
            let program = compiler.compile(&source(&format!("tests/c/{name}.cpp")), &[]);
            assert_eq!(check(&node, &program, &[]), "ok\n", "{name}");
        }
    }
    // A child leaves alone what another thread of its parent may have left half done: to memcheck that is lost.
    let Some(fork) = compile("tests/c/fork.c") else { return };
    let outcome = memcheck(&node, &fork, &[], "no");
    assert!(outcome.status.success(), "{outcome:?}");
}
