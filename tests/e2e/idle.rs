//! A daemon with nothing to do sleeps.

use std::time::Duration;

use msg::Client;
use msg_tests::{
    node::{Node, NodeSpec, join},
    report, wait,
};
use msgd::clock;

#[test]
fn an_idle_daemon_is_seldom_woken() {
    let (mut a, mut b, mut c) = (NodeSpec::new("a"), NodeSpec::new("b"), NodeSpec::new("c"));
    join(&mut a, &mut b);
    join(&mut a, &mut c);
    let (a, _b, _c) = (Node::start(&a), Node::start(&b), Node::start(&c));
    a.wait_for_links();
    let clients: Vec<Client> = (100..120).map(|id| a.client(id).connect().expect("registered")).collect();
    // What their coming brought about is over.
    let sent = || a.counter("datagrams_sent");
    let mut last = sent();
    wait::until("nothing but heartbeats is sent", || {
        wait::throughout("a moment", Duration::from_millis(300), || true);
        let before = std::mem::replace(&mut last, sent());
        last - before <= 3
    });
    let (begin, before) = (clock::now(), a.wake_ups());
    wait::throughout("the clients stay", Duration::from_secs(3), || clients.len() == 20);
    let seconds = wait::ms_since(begin) / 1e3;
    let wake_ups = a.wake_ups() - before;
    report::line(format_args!("idle: {wake_ups} wake-ups in {seconds:.1} s, with 20 clients and 2 peers"));
    assert!((wake_ups as f64) < 20.0 * seconds, "{wake_ups} wake-ups in {seconds:.1} s");
}
