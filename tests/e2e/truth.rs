//! The truth table of calls in README.md: each cell, with the real programs. The server is `msgctl serve`, which can be
//! killed; the command that it runs says when it begins, and waits while it is told to.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use msg::{CallError, CallOptions, Certainty, Client, ClientId, Procedure, Reply, Semantics};
use msg_proto::units::Time;
use msg_tests::{
    node::{Node, NodeSpec, join_by_relay},
    program, wait,
};
use msgd::{
    clock,
    relay::{Direction, Relay},
};
use tempfile::TempDir;

const SERVER: ClientId = ClientId(200);
const PROCEDURE: Procedure = Procedure(1);
const BOTH: [Semantics; 2] = [Semantics::AtMostOnce, Semantics::AtLeastOnce];

/// Two nodes, the caller on `a`, the server on `b`.
struct World {
    a: Node,
    b: Node,
    relay: Relay,
    dir: TempDir,
}

/// A `msgctl serve`. It is killed when this is dropped.
struct Served(Option<Child>);

impl World {
    fn new() -> Self {
        let spec = |name| NodeSpec::new(name).chain("interval_ms = 100\ntimes = 100");
        let (mut a, mut b) = (spec("a"), spec("b"));
        let relay = join_by_relay(&mut a, &mut b, 1);
        let (a, b) = (Node::start(&a), Node::start(&b));
        a.wait_for_links();
        Self { a, b, relay, dir: tempfile::tempdir().expect("a directory") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn serve(&self) -> Served {
        self.serve_on(&self.b)
    }

    fn serve_on(&self, node: &Node) -> Served {
        let dir = self.dir.path().display();
        // What it answers depends on whether it was told that it may have run before.
        let exec = format!(
            "echo run >> {dir}/runs; while [ -e {dir}/hold ]; do sleep 0.02; done; printf \"$MSGD_REPEAT \"; cat"
        );
        let mut command = Command::new(program::msgctl());
        command.args(["--runtime-dir".as_ref(), node.socket().parent().expect("a directory").as_os_str()]);
        command.args(["serve", "--as", "200", "--procedure", "1", "--exec", &exec]);
        let child = command.stdout(Stdio::null()).spawn().expect("it runs");
        let served = Served(Some(child));
        wait::until("the server is registered", || node.status().clients.iter().any(|c| c.id == 200));
        served
    }

    fn hold(&self) {
        fs::write(self.path("hold"), "").expect("written");
    }

    fn let_go(&self) {
        fs::remove_file(self.path("hold")).expect("it was there");
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).map_or(0, |text| text.lines().count())
    }

    fn caller(&self) -> Client {
        self.a.client(100).connect().expect("registered")
    }

    /// Calls, and has something happen meanwhile.
    fn call(&self, options: CallOptions, meanwhile: impl FnOnce(&Self) + Send) -> Result<Reply, CallError> {
        let caller = self.caller();
        thread::scope(|scope| {
            let call = scope.spawn(|| caller.call(SERVER, PROCEDURE, b"x", options));
            meanwhile(self);
            call.join().expect("no panic")
        })
    }

    fn wait_for_run(&self, runs: usize) {
        wait::until("the procedure has begun", || self.runs() == runs);
    }
}

impl Served {
    fn kill(mut self) {
        let mut child = self.0.take().expect("it runs");
        child.kill().expect("killed");
        assert_eq!(child.wait().expect("ended").signal(), Some(9));
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0
            && child.kill().and_then(|()| child.wait()).is_err()
        {}
    }
}

const fn patient(semantics: Semantics) -> CallOptions {
    CallOptions { semantics, ..CallOptions::new(wait::PATIENCE) }
}

const fn brief(semantics: Semantics) -> CallOptions {
    CallOptions { semantics, ..CallOptions::new(Duration::from_millis(1_500)) }
}

fn replied(result: Result<Reply, CallError>, reply: &[u8]) {
    assert_eq!(result.expect("a reply").data, reply);
}

fn failed(result: Result<Reply, CallError>, certainty: Certainty) {
    assert_eq!(result.expect_err("no reply").certainty(), certainty);
}

/// Whether it is not long since: much less than the patience of a call.
fn soon_after(died: Option<Time>) -> bool {
    Duration::from(clock::now().since(died.expect("it did"))) < wait::PATIENCE / 3
}

#[test]
fn the_request_is_lost() {
    for semantics in BOTH {
        let w = World::new();
        let _server = w.serve();
        w.relay.cut(Direction::AToB);
        let before = w.relay.counts(Direction::AToB).cut;
        let result = w.call(patient(semantics), |w| {
            wait::until("copies are lost", || w.relay.counts(Direction::AToB).cut > before + 2);
            w.relay.heal(Direction::AToB);
        });
        replied(result, b"0 x");
        assert_eq!(w.runs(), 1);
    }
}

#[test]
fn the_reply_is_lost() {
    for semantics in BOTH {
        let w = World::new();
        let _server = w.serve();
        w.hold();
        let result = w.call(patient(semantics), |w| {
            w.wait_for_run(1);
            w.relay.cut(Direction::BToA);
            let before = w.relay.counts(Direction::BToA).cut;
            w.let_go();
            wait::until("copies are lost", || w.relay.counts(Direction::BToA).cut > before + 2);
            w.relay.heal(Direction::BToA);
        });
        replied(result, b"0 x");
        assert_eq!(w.runs(), 1);
    }
}

#[test]
fn the_server_died_before_it_was_given_the_request() {
    for semantics in BOTH {
        let w = World::new();
        w.serve().kill();
        failed(w.call(brief(semantics), |_| {}), Certainty::NotStarted);
        assert_eq!(w.runs(), 0);
        // With a successor in time the call does not notice.
        let mut server = None;
        let result = w.call(patient(semantics), |w| server = Some(w.serve()));
        replied(result, b"0 x");
        assert_eq!(w.runs(), 1);
    }
}

#[test]
fn the_server_died_in_the_handler() {
    for semantics in BOTH {
        let w = World::new();
        let server = w.serve();
        w.hold();
        let mut successor = None;
        let mut died = None;
        let result = w.call(patient(semantics), |w| {
            w.wait_for_run(1);
            server.kill();
            died = Some(clock::now());
            w.let_go();
            successor = Some(w.serve());
        });
        match semantics {
            Semantics::AtMostOnce => {
                failed(result, Certainty::Unknown);
                assert!(soon_after(died), "its caller learns of it at once");
                assert_eq!(w.runs(), 1);
            }
            Semantics::AtLeastOnce => {
                replied(result, b"1 x");
                assert_eq!(w.runs(), 2);
            }
        }
    }
}

#[test]
fn the_server_died_in_the_handler_and_has_no_successor() {
    for semantics in BOTH {
        let w = World::new();
        let server = w.serve();
        w.hold();
        let (begun, mut died) = (clock::now(), None);
        let options = match semantics {
            Semantics::AtMostOnce => patient(semantics),
            Semantics::AtLeastOnce => brief(semantics),
        };
        let result = w.call(options, |w| {
            w.wait_for_run(1);
            server.kill();
            died = Some(clock::now());
            w.let_go();
        });
        failed(result, Certainty::Unknown);
        assert_eq!(w.runs(), 1);
        match semantics {
            Semantics::AtMostOnce => assert!(soon_after(died)),
            Semantics::AtLeastOnce => {
                let waited = Duration::from(clock::now().since(begun));
                assert!(waited >= options.timeout, "somebody may still come");
            }
        }
    }
}

#[test]
fn the_servers_node_is_lost_when_it_has_the_request() {
    for semantics in BOTH {
        let w = World::new();
        let _server = w.serve();
        w.hold();
        let options = match semantics {
            Semantics::AtMostOnce => patient(semantics),
            Semantics::AtLeastOnce => brief(semantics),
        };
        let mut lost = None;
        let result = w.call(options, |w| {
            w.wait_for_run(1);
            w.relay.cut_both();
            lost = Some(clock::now());
        });
        failed(result, Certainty::Unknown);
        assert!(soon_after(lost));
        w.let_go();
        w.relay.heal_both();
        replied(w.call(patient(semantics), |_| {}), b"0 x");
        assert_eq!(w.runs(), 2, "what came too late was not begun");
    }
}

#[test]
fn the_servers_node_is_lost_when_it_has_the_request_and_another_node_has_a_successor() {
    for semantics in BOTH {
        let w = World::new();
        let _server = w.serve();
        w.hold();
        let (mut successor, mut lost) = (None, None);
        let result = w.call(patient(semantics), |w| {
            w.wait_for_run(1);
            w.relay.cut_both();
            lost = Some(clock::now());
            successor = Some(w.serve_on(&w.a));
            w.let_go();
        });
        assert!(soon_after(lost));
        match semantics {
            Semantics::AtMostOnce => {
                failed(result, Certainty::Unknown);
                assert_eq!(w.runs(), 1);
            }
            Semantics::AtLeastOnce => {
                replied(result, b"1 x");
                assert_eq!(w.runs(), 2);
            }
        }
    }
}

#[test]
fn the_server_died_after_the_handler() {
    for semantics in BOTH {
        let w = World::new();
        let server = w.serve();
        let mut successor = None;
        w.hold();
        let options = match semantics {
            Semantics::AtMostOnce => brief(semantics),
            Semantics::AtLeastOnce => patient(semantics),
        };
        let submitted = |w: &World| w.b.counter("messages_submitted");
        let result = w.call(options, |w| {
            w.wait_for_run(1);
            // Its reply gets as far as its daemon, and no further while both live.
            w.relay.cut(Direction::BToA);
            let before = submitted(w);
            w.let_go();
            wait::until("the reply is with the daemon", || submitted(w) > before);
            server.kill();
            w.relay.heal(Direction::BToA);
            successor = Some(w.serve());
        });
        // What was accepted of a process that died still goes its way.
        replied(result, b"0 x");
        assert_eq!(w.runs(), 1);
    }
}

#[test]
fn a_daemon_died() {
    for semantics in BOTH {
        for of_the_server in [true, false] {
            let mut w = World::new();
            let _server = w.serve();
            w.hold();
            let caller = w.caller();
            let result = thread::scope(|scope| {
                let call = scope.spawn(|| caller.call(SERVER, PROCEDURE, b"x", patient(semantics)));
                w.wait_for_run(1);
                let node = if of_the_server { &mut w.b } else { &mut w.a };
                node.kill();
                node.start_again();
                w.let_go();
                call.join().expect("no panic")
            });
            replied(result, b"0 x");
            assert_eq!(w.runs(), 1, "the cache is in the library");
        }
    }
}

#[test]
fn the_caller_died() {
    for at_least_once in [None, Some("--at-least-once")] {
        let w = World::new();
        let _server = w.serve();
        let call = |repeated: Option<&str>| {
            let mut command = Command::new(program::msgctl());
            command.args(["--runtime-dir".as_ref(), w.a.socket().parent().expect("a directory").as_os_str()]);
            command.args(["call", "--from", "100", "--to", "200", "--procedure", "1", "--xid", "7"]);
            command.args(["--timeout-ms", "30000"]).args(repeated).args(at_least_once).arg("x");
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
        };
        w.hold();
        let mut first = call(None);
        w.wait_for_run(1);
        first.kill().expect("killed");
        first.wait().expect("ended");
        wait::until("its daemon has seen its death", || w.a.status().clients.is_empty());
        // A repeat of a call that still runs, and one of a call that has run.
        let second = call(Some("--repeated"));
        wait::until("the repeat has come", || w.b.counter("messages_delivered") >= 2);
        w.let_go();
        let replied = |child: Child| {
            let Output { status, stdout, .. } = child.wait_with_output().expect("ended");
            assert_eq!((status.code(), &*stdout), (Some(0), &b"0 x"[..]));
        };
        replied(second);
        replied(call(Some("--repeated")));
        assert_eq!(w.runs(), 1);
    }
}

#[test]
fn the_network_is_cut_for_good() {
    for semantics in BOTH {
        let w = World::new();
        let _server = w.serve();
        w.relay.cut_both();
        let before = w.relay.counts(Direction::AToB).cut;
        let result = w.call(brief(semantics), |w| {
            wait::until("a copy has left", || w.relay.counts(Direction::AToB).cut > before);
        });
        failed(result, Certainty::Unknown);
        assert_eq!(w.runs(), 0);
        // A call that nothing of has left is known not to have started.
        wait::until("the link is down", || w.a.status().peers[0].state != "up");
        failed(w.call(brief(semantics), |_| {}), Certainty::NotStarted);
        // Neither is begun when the network is back: their time is over.
        w.relay.heal_both();
        replied(w.call(patient(semantics), |_| {}), b"0 x");
        assert_eq!(w.runs(), 1);
    }
}
