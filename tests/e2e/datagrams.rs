//! What bad datagrams get: a counter each, no answer, no memory, and nobody notices.

use std::net::{SocketAddr, UdpSocket};

use msg_proto::{
    ids::SessionId,
    units::{Span, Time},
    wire::Heartbeat,
};
use msg_tests::{
    node::{Node, NodeSpec, join},
    party::Party,
    pattern::Random,
    promise, report, wait,
};

use crate::scripted::{Scripted, frames, hello, seal};

/// Two daemons with traffic between them, the second of which has another peer, that does as the test says.
struct Scene {
    a: Node,
    b: Node,
    sender: Party,
    receiver: Party,
    scripted: Scripted,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let scripted = Scripted::new("scripted");
        let (mut a, mut b) = (NodeSpec::new("a"), NodeSpec::new("b"));
        join(&mut a, &mut b);
        b.peers.push(("scripted".to_owned(), scripted.address()));
        let (a, b) = (Node::start(&a), Node::start(&b));
        let sender = Party::join(100, a.client(100), seed, 4..=3_000);
        let receiver = Party::join(200, b.client(200), seed, 4..=3_000);
        sender.send(200, 100);
        receiver.wait_for_taken(100);
        Self { a, b, sender, receiver, scripted }
    }

    /// Has `count` datagrams sent to `b`, with traffic between, and waits until it has counted them.
    fn fire(&self, counter: &str, count: u64, mut send: impl FnMut(SocketAddr)) {
        let before = self.b.counter(counter);
        for sent in 1..=count {
            send(self.b.address());
            if sent % 64 == 0 || sent == count {
                self.sender.send(200, 1);
                wait::until(counter, || self.b.counter(counter) >= before + sent);
            }
        }
        self.receiver.wait_for_taken(self.receiver.taken());
    }

    /// All that was sent has arrived, and the links were never down.
    fn check(&self) {
        let outcomes = promise::check(&self.sender, &self.receiver);
        assert_eq!(outcomes.failures(), 0, "{outcomes}");
        assert_eq!(self.a.counter("links_up"), 1);
        assert_eq!(self.b.status().peers[0].state, "up");
    }
}

/// A socket that nobody knows; all that it is sent is an answer that should not be.
struct Stranger(UdpSocket);

impl Stranger {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_nonblocking(true).expect("set");
        Self(socket)
    }

    fn send(&self, to: SocketAddr, datagram: &[u8]) {
        self.0.send_to(datagram, to).expect("sent");
    }

    fn received(&self) -> usize {
        let mut buffer = [0; 65_536];
        let mut bytes = 0;
        while let Ok(len) = self.0.recv(&mut buffer) {
            bytes += len.max(1);
        }
        bytes
    }
}

const FEW: u64 = 1_000;

#[test]
fn a_strangers_datagrams_are_counted_and_not_answered() {
    let seed = report::seed("datagrams", 20_260_909);
    let mut random = Random(seed);
    let scene = Scene::new(seed);
    let stranger = Stranger::new();
    let resident = scene.b.resident_bytes();
    let valid = hello("a", SessionId(7), SessionId::NONE);

    scene.fire("malformed_datagrams", 1, |to| stranger.send(to, &[]));
    scene.fire("malformed_datagrams", 10 * FEW, |to| {
        let len = random.within(&(0..=1_500));
        stranger.send(to, &random.bytes(len));
    });
    // Cut anywhere behind the head the checksum is wrong; cut in it, there is nothing to check.
    scene.fire("malformed_datagrams", 28, |to| stranger.send(to, &valid[..random.within(&(0..=27))]));
    scene.fire("checksum_errors", FEW, |to| stranger.send(to, &valid[..random.within(&(28..=319))]));
    scene.fire("version_mismatches", FEW, |to| {
        let mut datagram = valid.clone();
        datagram[2] = [0, 2, 255][random.within(&(0..=2))];
        seal(&mut datagram);
        stranger.send(to, &datagram);
    });
    scene.fire("checksum_errors", FEW, |to| {
        let mut datagram = valid.clone();
        datagram[random.within(&(8..=319))] ^= 1 << random.within(&(0..=7));
        stranger.send(to, &datagram);
    });
    scene.fire("unknown_sessions", 10 * FEW, |to| {
        let session = SessionId(random.next() | 1);
        stranger.send(to, &frames(session, random.next(), |builder| _ = builder.put_goodbye()));
    });
    scene.fire("refused_hellos", FEW, |to| {
        let name = format!("node-{}", random.next());
        stranger.send(to, &hello(&name, SessionId(random.next() | 1), SessionId::NONE));
    });
    // In the name of a peer: what answers there are go to the peer's address.
    let answered = scene.b.counter("datagrams_sent");
    (0..100).for_each(|_| {
        let hello = hello("a", SessionId(random.next() | 1), SessionId(random.next()));
        stranger.send(scene.b.address(), &hello);
    });
    scene.sender.send(200, 20);
    wait::until("forged hellos were seen", || scene.b.counter("datagrams_sent") > answered);

    assert_eq!(stranger.received(), 0, "bytes for a stranger");
    let grown = scene.b.resident_bytes().saturating_sub(resident);
    report::line(format_args!("datagrams: 24,000 bad ones, not a byte of answer; b grew by {grown} bytes"));
    assert!(grown < 8 << 20, "{grown} bytes");
    scene.check();
}

#[test]
fn a_peers_own_datagrams_are_held_to_the_rules() {
    let seed = report::seed("a peer's datagrams", 20_260_910);
    let mut random = Random(seed);
    let mut scene = Scene::new(seed);
    let b = scene.b.address();
    scene.scripted.establish(b);
    let peer = &scene.scripted;
    let heartbeat = Heartbeat { wants_reply: false, clock: Time(5), echo: Time(0), held: Span(0) };
    let good = |number| peer.frames(number, |builder| _ = builder.put_heartbeat(&heartbeat));
    peer.send(b, &good(0));
    wait::until("the session is there", || scene.b.counter("links_up") == 2);

    scene.fire("replayed_datagrams", 200, |to| peer.send(to, &good(0)));
    peer.send(b, &good(100_000));
    // Further back than anybody remembers.
    scene.fire("replayed_datagrams", 200, |to| peer.send(to, &good(1 + random.next() % 90_000)));
    let mut number = 100_000;
    scene.fire("malformed_datagrams", 500, |to| {
        number += 1;
        let mut datagram = good(number);
        // The frame's type, its flags, or its length: whatever comes out of it is none.
        match random.within(&(0..=2)) {
            0 => datagram[28] = 14 + u8::try_from(random.within(&(0..=200))).expect("small"),
            1 => datagram[29] = 0x80,
            _ => datagram[30] = u8::try_from(random.within(&(21..=255))).expect("small"),
        }
        seal(&mut datagram);
        peer.send(to, &datagram);
    });
    // Frames of random bytes: most are none, some are, and none does harm.
    let before = scene.b.counter("datagrams_received");
    for _ in 0..500 {
        number += 1;
        let mut datagram = peer.frames(number, |builder| builder.put_padding(28 + 200));
        let bytes = random.bytes(200);
        datagram[28..228].copy_from_slice(&bytes);
        datagram[28] %= 14;
        datagram[29] &= 3;
        // A goodbye would end the session.
        if datagram[28] != 13 {
            seal(&mut datagram);
            peer.send(b, &datagram);
        }
        scene.sender.send(200, 1);
    }
    wait::until("they have come", || scene.b.counter("datagrams_received") > before + 400);
    scene.check();
}
