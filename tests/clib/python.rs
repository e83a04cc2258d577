//! The Python module: its own tests, with the structs as the C compiler lays them out.

use std::process::Command;

use crate::tools::{c_compilers, daemon, has, prefix, run, source};

#[test]
fn the_module_passes_its_tests() {
    if !has("python3", "libmsg.py") {
        return;
    }
    let node = daemon();
    let mut python = Command::new("python3");
    python
        .args(["-W", "error", "-B"])
        .arg(source("python/test_libmsg.py"))
        .env("MSGD_SOCKET", node.socket())
        .env("LIBMSG_SO", prefix().join("lib/libmsg.so.0"));
    if let Some(compiler) = c_compilers("libmsg.py's structs").first() {
        let layout = run(&mut Command::new(compiler.compile(&source("tests/c/abi.c"), &[])));
        python.env("LIBMSG_LAYOUT", layout.stdout);
    }
    let outcome = run(&mut python);
    assert!(outcome.status.success(), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("\nOK"), "{}", outcome.stderr);
}
