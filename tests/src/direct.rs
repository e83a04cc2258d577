//! Two engines and their clients' sessions, driven directly: no socket, no thread, no clock, and no memory of the
//! driver's own while it runs. What this costs, the protocol costs.
//!
//! ```text
//!   session A -> engine A ==datagrams==> engine B -> session B        and back
//! ```

use std::net::{Ipv4Addr, SocketAddr};

use msg_proto::{
    counters::Counter,
    engine::{ChainConfig, Credentials, Engine, EngineConfig, LimitConfig, PeerConfig, Recovery},
    ids::{ClientId, ConnId, Incarnation, MsgId, Seq},
    limits,
    session::{AckMode, Event, Outcomes, SendFlags, Session, SessionConfig, State},
    units::{Span, Time},
};

/// Two nodes, each with a client: 100 on the first, 200 on the second.
#[derive(Debug)]
pub struct Pair {
    sides: [Side; 2],
    now: Time,
    /// Datagrams on their way.
    out: Vec<u8>,
    wire: Vec<u8>,
    payload: Vec<u8>,
    taken: u64,
}

#[derive(Debug)]
struct Side {
    engine: Engine,
    session: Session,
    conn: ConnId,
}

impl Pair {
    /// Two nodes whose link is up, with clients whose messages have this many bytes.
    ///
    /// # Panics
    ///
    /// They do not come up.
    #[must_use]
    pub fn new(payload_bytes: usize) -> Self {
        let now = Time(1_000_000);
        let sides = [0, 1].map(|node| {
            let mut engine = engine(node, &[node_name(1 - node)], now);
            let mut session = session(if node == 0 { SENDER } else { RECEIVER });
            let conn = engine.handle_connect(now, NOBODY).expect("few connections");
            session.handle_connected(now);
            Side { engine, session, conn }
        });
        let payload = vec![0x5A; payload_bytes];
        let mut pair = Self {
            sides,
            now,
            out: Vec::with_capacity(1 << 17),
            wire: Vec::with_capacity(1 << 17),
            payload,
            taken: 0,
        };
        // The links come up, and each node hears of the other's client.
        while pair.now < now + Span::from_millis(2_000) {
            pair.run_until_quiet();
            pair.pass();
        }
        assert!(pair.sides.iter().all(|side| side.session.state() == State::Registered));
        pair
    }

    /// Sends so many messages at once from A to B, and lets everything happen until each has its outcome.
    ///
    /// # Panics
    ///
    /// One failed, or did not come.
    pub fn send(&mut self, messages: usize) {
        let before = self.taken;
        let Self { sides: [a, _], now, payload, .. } = self;
        for _ in 0..messages {
            a.session.send(*now, RECEIVER, payload, &[], SendFlags::default()).expect("room");
        }
        self.run_until_quiet();
        while self.sides[0].session.unresolved() > 0 {
            self.pass();
            self.run_until_quiet();
        }
        assert_eq!(self.taken - before, messages as u64, "all came");
    }

    /// The time goes on to whatever is due next.
    fn pass(&mut self) {
        let due = self.sides.iter().filter_map(|side| side.engine.poll_timeout()).min();
        self.now = due.unwrap_or(self.now).max(self.now) + Span(1);
        for side in &mut self.sides {
            if side.engine.poll_timeout().is_some_and(|at| at <= self.now) {
                side.engine.handle_timeout(self.now);
            }
        }
    }

    fn run_until_quiet(&mut self) {
        while self.turn(0) | self.turn(1) {
            // What goes to the other node takes a moment.
            self.now = self.now + Span(20);
        }
    }

    /// One node's turn. Returns whether anything moved.
    fn turn(&mut self, node: usize) -> bool {
        let Self { sides: [a, b], now, out, wire, taken, .. } = self;
        let (side, other) = if node == 0 { (a, b) } else { (b, a) };
        let Side { engine, session, conn } = side;
        let mut moved = false;
        // As the library does it.
        session.take_messages(*now, |_| {
            *taken += 1;
            true
        });
        while let Some(event) = session.poll_event(*now) {
            match event {
                Event::Message(_) => *taken += 1,
                Event::Failed(failure) => panic!("{failure:?}"),
                _ => {}
            }
        }
        let len = session.output().len();
        if len > 0 {
            engine.handle_client_bytes(*now, *conn, session.output());
            session.consume_output(*now, len);
            moved = true;
        }
        while let Some(conn) = engine.poll_writable() {
            moved |= read(session, engine, *now, conn) > 0;
        }
        loop {
            out.clear();
            wire.clear();
            let Some(transmit) = engine.poll_transmit_parts(*now, out, RUN) else { break };
            let is_whole = out.len() == transmit.len;
            if !is_whole {
                // What it copies in the kernel's place.
                engine.parts(out).for_each(|part| wire.extend_from_slice(part));
            }
            let datagrams = if is_whole { &*out } else { &*wire };
            for datagram in datagrams.chunks(transmit.segment) {
                other.engine.handle_datagram(*now, 0, address(node), datagram);
            }
            moved = true;
        }
        moved
    }
}

/// A node alone whose clients' messages wait for somebody who never comes.
#[derive(Debug)]
pub struct Waiting {
    engine: Engine,
    now: Time,
}

impl Waiting {
    /// A node with so many messages in its chains, in [`Self::SCANS`] equal parts whose intervals differ.
    ///
    /// # Panics
    ///
    /// It does not take them.
    #[must_use]
    pub fn new(messages: u32) -> Self {
        let now = Time(1_000_000);
        let mut waiting = Self { engine: engine(0, &[], now), now };
        for client in 0..Self::SCANS {
            waiting.fill(client, messages / Self::SCANS);
        }
        let few = Span::from_millis(u64::from(limits::MAX_INTERVAL_MS) / 3);
        // What their coming brought about is over.
        while let Some(at) = waiting.engine.poll_timeout().filter(|at| *at < now + few) {
            waiting.now = at;
            waiting.engine.handle_timeout(at);
        }
        waiting
    }

    /// How often [`scan`](Self::scan) can be called.
    pub const SCANS: u32 = 16;

    /// Messages in the chains.
    #[must_use]
    pub fn messages(&self) -> usize {
        self.engine.chain_depth()
    }

    fn fill(&mut self, client: u32, messages: u32) {
        let Self { engine, now } = self;
        let config = SessionConfig {
            // A class of its own, whose first scan is due in some five minutes.
            interval_ms: limits::MAX_INTERVAL_MS - client,
            max_stored: limits::MAX_STORED_CEILING,
            ..session_config(ClientId(client))
        };
        let mut session = Session::new(config, MsgId(1), Seq(1));
        let conn = engine.handle_connect(*now, NOBODY).expect("few connections");
        session.handle_connected(*now);
        let mut pass = |session: &mut Session| {
            while !session.output().is_empty() {
                let len = session.output().len();
                engine.handle_client_bytes(*now, conn, session.output());
                session.consume_output(*now, len);
            }
            read(session, engine, *now, conn);
        };
        pass(&mut session);
        for number in 0..messages {
            // A flow's numbers span less than a chain can hold.
            let dst = ClientId(1_000_000 + number % 64);
            session.send(*now, dst, b"x", &[], SendFlags::default()).expect("room");
            if session.output().len() > 1 << 15 {
                pass(&mut session);
            }
        }
        pass(&mut session);
    }

    /// The next scan comes, and finds nothing due.
    ///
    /// # Panics
    ///
    /// It was called too often.
    pub fn scan(&mut self) {
        self.now = self.engine.poll_timeout().expect("a scan");
        self.engine.handle_timeout(self.now);
    }

    /// How many scans there were, and how many messages they looked at.
    #[must_use]
    pub fn scanned(&self) -> (u64, u64) {
        let value = |counter| self.engine.counters().value(counter);
        (value(Counter::Scans), value(Counter::ScannedEntries))
    }
}

fn engine(node: usize, peers: &[&str], now: Time) -> Engine {
    let peer = |name: &&str| PeerConfig { name: (*name).to_owned(), addresses: vec![address(1 - node)] };
    let config = EngineConfig {
        node: node_name(node).to_owned(),
        start: 1_700_000_000_000_000,
        seed: 7 + node as u64,
        listeners: 1,
        peers: peers.iter().map(peer).collect(),
        chain: ChainConfig {
            interval: Span::from_millis(1000),
            times: 10,
            max_stored: limits::MAX_STORED_CEILING,
            recovery: Recovery::Adaptive,
        },
        limits: LimitConfig {
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
            max_clients: 1024,
            client_queue_bytes: 1 << 30,
        },
        mtu: limits::MIN_MTU,
        max_mtu: limits::MIN_MTU,
        receive_window: 4 << 20,
        grace: Span::ZERO,
        clients: Vec::new(),
    };
    Engine::new(config, now)
}

fn session(id: ClientId) -> Session {
    Session::new(session_config(id), MsgId(1), Seq(1))
}

fn session_config(client: ClientId) -> SessionConfig {
    SessionConfig {
        client,
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: limits::DEFAULT_MAX_STORED,
        priority: 0,
        arrival: msg_proto::control::Arrival::Alone,
        ack: AckMode::OnTake,
        outcomes: Outcomes::Failures,
        name: "direct".to_owned(),
    }
}

/// A library reads what its daemon has for it. Returns how many bytes it took.
fn read(session: &mut Session, engine: &mut Engine, now: Time, conn: ConnId) -> usize {
    let output = engine.output(conn);
    let mut taken = 0;
    if let Some(bytes) = output.whole() {
        taken = session.handle_bytes(now, bytes);
    } else {
        for part in output.parts() {
            let of_this = session.handle_bytes(now, part);
            taken += of_this;
            if of_this < part.len() {
                break;
            }
        }
    }
    engine.consume_output(now, conn, taken);
    taken
}

const fn node_name(node: usize) -> &'static str {
    if node == 0 { "a" } else { "b" }
}

fn address(node: usize) -> SocketAddr {
    let last = if node == 0 { 1 } else { 2 };
    SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 7400))
}

const SENDER: ClientId = ClientId(100);
const RECEIVER: ClientId = ClientId(200);
const NOBODY: Credentials = Credentials { pid: 1, uid: 0, gid: 0 };

/// Datagrams of one run.
const RUN: usize = 44;
