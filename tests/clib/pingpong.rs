//! A program that knows nothing but the library's path: twice, on two nodes.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
};

use msg_tests::node::{Node, NodeSpec, join};

use crate::tools::{c_compilers, prefix, source};

const ROUNDS: &str = "500";

#[test]
fn two_programs_that_load_the_library_play_through_two_daemons() {
    for compiler in c_compilers("libmsg/tests/c/pingpong.c") {
        let program = compiler.compile_with(&source("tests/c/pingpong.c"), &["-ldl"]);
        let (mut a, mut b) = (NodeSpec::new("vm-a"), NodeSpec::new("vm-b"));
        join(&mut a, &mut b);
        let (a, b) = (Node::start(&a), Node::start(&b));
        let answers = play(&program, &b, ["200", "100", "0"]);
        let serves = play(&program, &a, ["100", "200", ROUNDS]);
        for player in [serves, answers] {
            let outcome = player.wait_with_output().expect("ended");
            assert!(outcome.status.success(), "{outcome:?}");
            assert_eq!(String::from_utf8_lossy(&outcome.stdout), format!("{ROUNDS} hits\n"));
        }
        assert!(a.counter("datagrams_sent") > 0 && b.counter("messages_delivered") >= 500);
    }
}

fn play(program: &Path, node: &Node, words: [&str; 3]) -> Child {
    let library = prefix().join("lib/libmsg.so");
    Command::new(program)
        .arg(library)
        .arg(node.socket())
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs")
}
