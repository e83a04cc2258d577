//! 5,000 connections at once: the daemon keeps a bounded number of them, and those who have registered notice nothing.

use std::{
    io::Read as _,
    os::unix::net::UnixStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use msg::{Client, ClientId, UserBuf};
use msg_proto::limits::{MAX_UNREGISTERED, REGISTER_TIMEOUT_MS};
use msg_tests::{
    node::{Node, NodeSpec},
    report, wait,
};
use msgd::clock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const CROWD: usize = 5_000;
const EXCHANGES: usize = 200;

#[test]
fn a_crowd_of_connections_is_bounded_and_others_notice_nothing() {
    allow_open_files(CROWD + 1_000);
    let node = Node::start(&NodeSpec::new("a"));
    let (a, b) =
        (node.client(100).connect().expect("registered"), node.client(200).connect().expect("registered"));
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| echo(&b, &stop));
        let _stop = wait::StopOnDrop(&stop);
        let before = exchange(&a, EXCHANGES);
        let crowd = scope.spawn(|| -> Vec<UnixStream> {
            (0..CROWD).map(|_| UnixStream::connect(node.socket()).expect("connected")).collect()
        });
        let mut during = Vec::new();
        while !crowd.is_finished() || during.len() < EXCHANGES {
            during.extend(exchange(&a, 10));
        }
        let crowd = crowd.join().expect("connected");
        wait::until("all but some are refused", || {
            node.counter("refused_connections") >= (CROWD - MAX_UNREGISTERED) as u64
        });
        let open = crowd.iter().filter(|stream| is_open(stream)).count();
        report::line(format_args!("crowd: {open} of {CROWD} connections are kept until they time out"));
        report::line(format_args!("crowd: round trips of two others: alone {}", report::spread(&before)));
        report::line(format_args!("crowd: round trips in the crowd: {}", report::spread(&during)));
        assert!(open <= MAX_UNREGISTERED, "{open}");
        assert!(during.iter().all(|&ms| ms < 5_000.0));
        // The crowd stays; those who time out make room.
        let late = wait::until_some("a newcomer is registered", || node.client(300).connect().ok());
        drop(late);
    });
    assert!(Duration::from_millis(REGISTER_TIMEOUT_MS) < wait::PATIENCE);
    assert_eq!(node.counter("messages_failed"), 0);
}

/// Sends messages one after the other, each when the last has come back: milliseconds of each round trip.
fn exchange(client: &Client, count: usize) -> Vec<f64> {
    let once = |_| {
        let begin = clock::now();
        client.send(ClientId(200), b"there", UserBuf::EMPTY).expect("sent");
        client.recv(wait::PATIENCE).expect("registered").expect("it comes back");
        wait::ms_since(begin)
    };
    (0..count).map(once).collect()
}

fn echo(client: &Client, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Some(message) = client.recv(Duration::from_millis(20)).expect("registered") {
            client.send(message.src.client, &message.data, UserBuf::EMPTY).expect("sent");
        }
    }
}

/// Whether the daemon has not closed it.
fn is_open(mut stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).expect("set");
    stream.read(&mut [0; 600]).is_err()
}

fn allow_open_files(count: usize) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Some(count as u64);
    if limit.current.is_some() && limit.current < wanted {
        setrlimit(Resource::Nofile, Rlimit { current: wanted, ..limit })
            .expect("many open files are allowed");
    }
}
