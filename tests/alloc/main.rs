//! On the steady path nothing is allocated for a message: the same few buffers are used again and again.
//!
//! One test, as the allocator counts for the whole process.

mod counting;

use std::{
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use counting::Counting;
use msg::{Client, ClientId, SendFlags, UserBuf};
use msg_tests::{direct::Pair, node::NodeSpec, report, wait::StopOnDrop};
use msgd::{Args, Config, Daemon, stop};

#[global_allocator]
static ALLOCATOR: Counting = Counting::new();

const MESSAGES: usize = 10_000;

/// For a message: what is left of buffers that still grow, of heartbeats and of the log.
const ALMOST_NONE: f64 = 0.01;

/// For a message, when time passes between two: what timers take, whether there are messages or not.
const TIMERS: f64 = 0.2;

#[test]
fn nothing_is_allocated_for_a_message() {
    for (name, bursts, bytes, allowed) in [
        ("one at a time", vec![1; MESSAGES], 256, ALMOST_NONE),
        ("100 at a time", vec![100; MESSAGES / 100], 256, ALMOST_NONE),
        // What each node knows of the parts of a message that does not fit a datagram.
        ("in fragments", vec![10; MESSAGES / 100], 16_384, 2.0 + ALMOST_NONE),
    ] {
        let mut pair = Pair::new(bytes);
        bursts.iter().for_each(|burst| pair.send(*burst));
        let before = ALLOCATOR.allocations();
        bursts.iter().for_each(|burst| pair.send(*burst));
        let allocations = ALLOCATOR.allocations() - before;
        check(&format!("engine and session, {name}"), (allocations, allowed), bursts.iter().sum());
    }
    daemons_and_library();
}

/// Two daemons, each on a thread of its own, and two clients.
fn daemons_and_library() {
    let dir = tempfile::tempdir().expect("a directory");
    let [a, b] = ["a", "b"].map(NodeSpec::new).map(|spec| (spec.name, spec.address));
    let daemon = |(name, address): (&str, SocketAddr), (peer, at): (&str, SocketAddr)| {
        let args = Args {
            node: Some(name.to_owned()),
            listen: vec![address.to_string()],
            peer: vec![format!("{peer}={at}")],
            runtime_dir: Some(dir.path().join(name)),
            ..Args::default()
        };
        let config = Config::load(&args).expect("a config");
        let (stopper, signal) = stop::channel().expect("a channel");
        let daemon = Daemon::open(&config).expect("opened");
        (stopper, thread::spawn(move || daemon.run(signal)), config.client_socket())
    };
    let (a, b) = ((&*a.0, a.1), (&*b.0, b.1));
    let (daemon_a, daemon_b) = (daemon(a, b), daemon(b, a));
    let open = |id, path: &Path| Client::builder(ClientId(id)).socket(path).connect().expect("registered");
    let (sender, receiver) = (open(100, &daemon_a.2), open(200, &daemon_b.2));
    let (taken, over) = (Arc::new(AtomicUsize::new(0)), AtomicBool::new(false));
    receiver.on_message({
        let taken = Arc::clone(&taken);
        move |_, _| _ = taken.fetch_add(1, Ordering::Relaxed)
    });
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                receiver.dispatch(Duration::from_millis(20)).expect("registered");
            }
        });
        let _over = StopOnDrop(&over);
        let send = |count: usize, flags: SendFlags, each: &dyn Fn()| {
            for _ in 0..count {
                let flags = flags | SendFlags::WAIT;
                sender.send_with(ClientId(200), &[0x5A; 256], UserBuf::EMPTY, flags).expect("sent");
                each();
            }
            sender.flush(Duration::from_secs(30)).expect("all have their outcome");
        };
        let one_by_one = || sender.flush(Duration::from_secs(30)).expect("it has its outcome");
        let count = |name: &str, (count, allowed): (usize, f64), send: &dyn Fn(usize)| {
            send(count);
            let before = ALLOCATOR.allocations();
            send(count);
            let allocations = ALLOCATOR.allocations() - before;
            check(&format!("daemons and library, {name}"), (allocations, allowed), count);
        };
        count("as fast as it goes", (MESSAGES * 5, ALMOST_NONE), &|n| send(n, SendFlags::MORE, &|| {}));
        count("one at a time", (MESSAGES / 2, TIMERS), &|n| send(n, SendFlags::NONE, &one_by_one));
    });
    for (stopper, thread, _) in [daemon_a, daemon_b] {
        stopper.stop();
        thread.join().expect("no panic").expect("stopped");
    }
}

fn check(what: &str, (allocations, allowed): (u64, f64), messages: usize) {
    let each = allocations as f64 / messages as f64;
    report::line(format_args!("{what}: {allocations} allocations for {messages} messages"));
    assert!(each <= allowed, "{what}: {each} allocations a message");
}
