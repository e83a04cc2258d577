//! Programs of other versions: what yesterday's said is understood today, and what cannot be spoken is said in one line on both
//! sides (SPEC.md, section 7).

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use msg::{Client, ClientId, ConnectError, LocalRule, UserBuf};
use msg_tests::{
    node::{Node, NodeSpec},
    party::Party,
    promise, wait,
};
use msgd::clock;

// What a library and a daemon of version 1 wrote: recorded, and never changed. `a` sends three messages, one of them
// unordered, one that another instance may be given, and takes one; `b` takes them and sends that one. The daemon dies, `a` sends
// one more, both come back to the next daemon. `..` is a byte of a clock or of a daemon's life: the test fills in, or does not
// compare, these and nothing else.

const A: &str = "
    37000000 01000000 0101 64000000 0000000000000000 e8030000 01 14 00000000 00 00000000 0a00000000000000 707974686f6e332e3131
    08000000 03000000
    25000000 04000000 c8000000 01000000 01000000 02000000 ................ 7531 6f6e65
    23000000 04010000 c8000000 02000000 01000000 00000000 ................ 74776f
    27000000 04020000 c8000000 03000000 02000000 02000000 ................ 7533 7468726565
    10000000 05000000 0100000000000000";
const B: &str = "
    37000000 01000000 0101 c8000000 0000000000000000 e8030000 01 14 00000000 00 00000000 0a00000000000000 707974686f6e332e3131
    08000000 03000000
    10000000 05000000 0300000000000000
    26000000 04000000 64000000 01000000 01000000 02000000 ................ 7534 706f6e67";
const A_AGAIN: &str = "
    37000000 01000000 0101 64000000 a6e7c00dd9600600 e8030000 01 14 00000000 00 00000000 0a00000000000000 707974686f6e332e3131
    19000000 02000000 c8000000 01000000 08ecc00dd9600600 01
    1c000000 09000000 c8000000 02000000 08ecc00dd9600600 766d2d61
    1c000000 09010000 c8000000 01000000 08ecc00dd9600600 766d2d61
    08000000 03000000
    26000000 04000000 c8000000 04000000 03000000 02000000 ................ 7535 666f7572
    08000000 07000000";
const B_AGAIN: &str = "
    37000000 01000000 0101 c8000000 08ecc00dd9600600 e8030000 01 14 00000000 00 00000000 0a00000000000000 707974686f6e332e3131
    19000000 02000000 64000000 01000000 a6e7c00dd9600600 03
    19000000 02010000 64000000 01000000 a6e7c00dd9600600 01
    1c000000 09000000 64000000 01000000 a6e7c00dd9600600 766d2d61
    08000000 03000000
    10000000 05000000 0100000000000000
    08000000 07000000";

const TO_A: &str = "
    3a000000 41000000 01 0400000000000000 766d2d61 ................ ................ e8030000 14 e8030000
        0000800000000000 00001000
    1c000000 47000000 c8000000 00000000 ................ 766d2d61
    1c000000 47010000 c8000000 00000000 ................ 766d2d61
    20000000 43000000 02000000 01000000 01000000 01000000 03000000 01000000
    3c000000 42000000 0100000000000000 c8000000 01000000 ................ 01000000 01000000 ................ e8030000 00000000
        706f6e67";
const TO_B: &str = "
    3a000000 41000000 01 0400000000000000 766d2d61 ................ ................ e8030000 14 e8030000
        0000800000000000 00001000
    3b000000 42000000 0100000000000000 64000000 01000000 ................ 01000000 01000000 ................ e8030000 00000000
        6f6e65
    3d000000 42000000 0200000000000000 64000000 03000000 ................ 02000000 01000000 ................ e8030000 00000000
        7468726565
    3b000000 42010000 0300000000000000 64000000 02000000 ................ 01000000 01000000 ................ e8030000 00000000
        74776f
    1c000000 47000000 64000000 00000000 ................ 766d2d61
    10000000 43000000 01000000 01000000";
const TO_A_AGAIN: &str = "
    3a000000 41000000 01 0400000000000000 766d2d61 ................ a6e7c00dd9600600 e8030000 14 e8030000
        0000800000000000 00001000
    10000000 43000000 04000000 01000000";
const TO_B_AGAIN: &str = "
    3a000000 41000000 01 0400000000000000 766d2d61 ................ 08ecc00dd9600600 e8030000 14 e8030000
        0000800000000000 00001000
    3c000000 42000000 0100000000000000 64000000 04000000 a6e7c00dd9600600 03000000 03000000 ................ e8030000 00000000
        666f7572";

/// The frames of a recorded stream; `None` is a byte that is not the same in every run.
fn frames(text: &str) -> Vec<Vec<Option<u8>>> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| str::from_utf8(pair).expect("ASCII"));
    let mut bytes = pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).collect::<Vec<_>>();
    let mut frames = Vec::new();
    while let Some(Some(len)) = bytes.first() {
        let rest = bytes.split_off((*len).into());
        frames.push(bytes);
        bytes = rest;
    }
    frames
}

/// A frame as it is to be written now: the bytes left out are the clock.
fn now(frame: &[Option<u8>]) -> Vec<u8> {
    let mut clock = clock::now().0.to_le_bytes().into_iter();
    frame.iter().map(|byte| byte.unwrap_or_else(|| clock.next().expect("8 bytes"))).collect()
}

/// Reads as many frames as were recorded, and compares them.
fn expect(stream: &mut UnixStream, recorded: &[Vec<Option<u8>>]) {
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("a time-out");
    for frame in recorded {
        let mut bytes = vec![0; frame.len()];
        stream.read_exact(&mut bytes).expect("a frame");
        let same = |(byte, recorded): (&u8, &Option<u8>)| recorded.is_none_or(|recorded| recorded == *byte);
        assert!(bytes.iter().zip(frame).all(same), "{bytes:02x?}\nis not\n{frame:02x?}");
    }
}

fn say(stream: &mut UnixStream, recorded: &[Vec<Option<u8>>]) {
    let bytes: Vec<u8> = recorded.iter().flat_map(|frame| now(frame)).collect();
    stream.write_all(&bytes).expect("written");
}

#[test]
fn what_a_library_of_version_1_says_is_understood() {
    let mut node = Node::start(&NodeSpec::new("vm-a"));
    let connect = |node: &Node| UnixStream::connect(node.socket()).expect("connected");
    let (a, b, to_a, to_b) = (frames(A), frames(B), frames(TO_A), frames(TO_B));
    let (mut first, mut second) = (connect(&node), connect(&node));
    say(&mut second, &b[..2]);
    expect(&mut second, &to_b[..1]);
    say(&mut first, &a[..5]);
    expect(&mut second, &to_b[1..4]);
    say(&mut second, &b[2..3]);
    expect(&mut first, &to_a[..4]);
    say(&mut second, &b[3..]);
    expect(&mut first, &to_a[4..]);
    say(&mut first, &a[5..]);
    expect(&mut second, &to_b[4..]);

    node.kill();
    node.start_again();
    let (mut first, mut second) = (connect(&node), connect(&node));
    let (a, b) = (frames(A_AGAIN), frames(B_AGAIN));
    say(&mut second, &b[..5]);
    say(&mut first, &a[..6]);
    expect(&mut second, &frames(TO_B_AGAIN));
    say(&mut second, &b[5..]);
    expect(&mut first, &frames(TO_A_AGAIN));
    say(&mut first, &a[6..]);
    for mut stream in [first, second] {
        assert_eq!(stream.read(&mut [0]).expect("the end"), 0);
    }
    assert_eq!((node.counter("malformed_local_frames"), node.counter("messages_acked")), (0, 1));
}

#[test]
fn what_a_daemon_of_version_1_says_is_understood() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("msgd.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    let says = frames(TO_A);
    thread::scope(|scope| {
        let daemon = scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("a client");
            // Two clocks in one frame: a daemon's start, and an incarnation.
            let registered: Vec<u8> = says[0].iter().map(|byte| byte.unwrap_or(7)).collect();
            stream.write_all(&registered).expect("written");
            stream
        });
        let client = Client::builder(ClientId(100)).socket(&path).connect().expect("registered");
        let mut stream = daemon.join().expect("no panic");
        for text in ["one", "two", "three"] {
            client.send(ClientId(200), text.as_bytes(), UserBuf::EMPTY).expect("sent");
        }
        say(&mut stream, &says[1..4]);
        client.flush(wait::PATIENCE).expect("all three were acked");
        let pong = says[4].iter().enumerate();
        // Where two clocks are: who sent it, and when.
        let who = pong.map(|(at, byte)| byte.or((at < 40).then_some(7))).collect::<Vec<_>>();
        say(&mut stream, &[who]);
        let message = client.recv(wait::PATIENCE).expect("registered").expect("a message");
        assert_eq!((message.src.client, message.data.as_slice()), (ClientId(200), b"pong".as_slice()));
    });
}

/// Takes one connection to the daemon, and has its library speak other versions than it does.
fn change_versions(listener: &UnixListener, daemon: &Path, lowest: u8, highest: u8) {
    let (mut client, _) = listener.accept().expect("a client");
    let mut daemon = UnixStream::connect(daemon).expect("connected");
    let mut buffer = [0; 4096];
    let len = client.read(&mut buffer).expect("REGISTER");
    buffer[8..10].copy_from_slice(&[lowest, highest]);
    daemon.write_all(&buffer[..len]).expect("written");
    let len = daemon.read(&mut buffer).expect("an answer");
    client.write_all(&buffer[..len]).expect("written");
    // Until the client goes.
    while matches!(client.read(&mut buffer), Ok(1..)) {}
}

#[test]
fn a_library_and_a_daemon_that_share_no_version_both_say_so_in_one_line() {
    let node = Node::start(&NodeSpec::new("vm-a"));
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("msgd.sock");
    let listener = UnixListener::bind(&path).expect("bound");
    for (lowest, highest, are_shared) in [(0, 1, true), (1, 9, true), (2, 3, false), (0, 0, false)] {
        thread::scope(|scope| {
            scope.spawn(|| change_versions(&listener, &node.socket(), lowest, highest));
            let connected = Client::builder(ClientId(100)).socket(&path).connect();
            if are_shared {
                connected.expect("registered");
                return;
            }
            let error = connected.expect_err("refused");
            let said = format!(
                "local protocol versions: daemon 1..1, library {lowest}..{highest}; upgrade the older one"
            );
            assert!(error.to_string().contains(&said) && !error.to_string().contains('\n'), "{error}");
            assert!(matches!(error, ConnectError::Refused { nack, .. } if nack.rule == LocalRule::Version));
            let lines = || node.log().lines().filter(|line| line.ends_with(&said)).count();
            wait::until("the daemon has said so too", || lines() == 1);
        });
    }
}

/// Two daemons, and between them somebody who has each seem to speak other versions, while `foreign`.
struct Between<'a> {
    sockets: [UdpSocket; 2],
    nodes: [SocketAddr; 2],
    foreign: &'a AtomicBool,
    stop: &'a AtomicBool,
}

impl Between<'_> {
    fn carry(&self, from: usize) {
        let mut buffer = [0; 65_536];
        self.sockets[from].set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out");
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((len, _)) = self.sockets[from].recv_from(&mut buffer) else { continue };
            if self.foreign.load(Ordering::Relaxed) {
                // Version, lowest, highest: SPEC.md, section 3.1.
                (buffer[2], buffer[4], buffer[5]) = (2, 2, 3);
            }
            // The other may not be there yet.
            self.sockets[1 - from].send_to(&buffer[..len], self.nodes[1 - from]).ok();
        }
    }
}

#[test]
fn two_daemons_that_share_no_version_both_say_so_in_one_line() {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("bound"));
    let (mut a, mut b) = (NodeSpec::new("a"), NodeSpec::new("b"));
    a.peers.push(("b".to_owned(), sockets[0].local_addr().expect("bound")));
    b.peers.push(("a".to_owned(), sockets[1].local_addr().expect("bound")));
    let (foreign, stop) = (AtomicBool::new(true), AtomicBool::new(false));
    let between = Between { sockets, nodes: [a.address, b.address], foreign: &foreign, stop: &stop };
    thread::scope(|scope| {
        let _stop = wait::StopOnDrop(&stop);
        scope.spawn(|| between.carry(0));
        scope.spawn(|| between.carry(1));
        let nodes = [Node::start(&a), Node::start(&b)];
        for (node, peer) in nodes.iter().zip(["b", "a"]) {
            let said = format!("wire protocol versions: {peer} 2..3, this node 1..1; upgrade the older one");
            wait::until("it is in the log", || node.log().contains(&said));
            let peers = node.status().peers;
            assert_eq!((peers[0].mismatch.as_ref(), peers[0].state.as_str()), (Some(&said), "connecting"));
            wait::until("more hellos have come", || node.counter("version_mismatches") > 8);
            assert_eq!(node.log().matches(&said).count(), 1, "{}", node.log());
        }
        // The older one is upgraded.
        foreign.store(false, Ordering::Relaxed);
        nodes.iter().for_each(Node::wait_for_links);
        assert_eq!(nodes[0].status().peers[0].mismatch, None);
        let seed = 20_261_123;
        let (sender, receiver) = (
            Party::join(100, nodes[0].client(100), seed, 4..=100),
            Party::join(200, nodes[1].client(200), seed, 4..=100),
        );
        sender.send(200, 10);
        assert_eq!(promise::check(&sender, &receiver).taken, 10);
    });
}
