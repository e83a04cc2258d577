//! Two engines, their clients, and the datagrams on their way between them.

use std::collections::VecDeque;

use msg_proto::{
    engine::{Credentials, Engine, Recovery},
    ids::{ClientId, ConnId, Incarnation, MsgId, Seq, SessionId},
    limits::MAX_MTU,
    session::{AckMode, Event, Outcomes, SendFlags, Session, SessionConfig, State},
    units::{Span, Time},
    wire::{Frame, Frames, Header},
};

use super::{address, check, config, peer_of};

/// Clients that a node can have at a time.
pub(super) const SLOTS: usize = 4;

pub(super) struct World {
    pub(super) nodes: [Node; 2],
    /// (to, bytes), oldest first.
    pub(super) wire: VecDeque<(usize, Vec<u8>)>,
    recovery: Recovery,
    starts: u64,
}

pub(super) struct Node {
    pub(super) engine: Engine,
    pub(super) now: Time,
    pub(super) slots: [Slot; SLOTS],
    /// The header of the last datagram on its way here: of the session that it would answer to.
    pub(super) heard: Option<Header>,
    /// Its number, as the peer last echoed it.
    pub(super) echoed: SessionId,
}

/// A process, or room for one.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) conn: Option<ConnId>,
    /// `None`: it writes whatever it likes.
    pub(super) library: Option<Library>,
    /// It neither reads nor writes.
    pub(super) is_stopped: bool,
}

/// A library that counts what it was told.
pub(super) struct Library {
    pub(super) session: Session,
    pub(super) accepted: usize,
    pub(super) outcomes: usize,
}

impl World {
    pub(super) fn new(recovery: Recovery) -> Self {
        let node = |n: usize| {
            let now = Time([1 << 40, 1 << 33][n]);
            Node {
                engine: start(n, 0, recovery, now),
                now,
                slots: Default::default(),
                heard: None,
                echoed: SessionId::NONE,
            }
        };
        let mut world = Self { nodes: [node(0), node(1)], wire: VecDeque::new(), recovery, starts: 0 };
        world.drain();
        world
    }

    /// The usual case: a link that is up, and a client at each end.
    pub(super) fn bring_up(&mut self) {
        self.connect_library(0, 0, 100);
        self.connect_library(1, 0, 200);
        for _ in 0..4 {
            self.exchange();
            self.pass(1000);
        }
    }

    /// A process with the library takes a place that is free.
    pub(super) fn connect_library(&mut self, node: usize, slot: usize, id: u32) {
        if self.nodes[node].slots[slot].library.is_some() {
            // It is still there, and comes back with what it has.
            return self.reconnect(node, slot);
        }
        let config = SessionConfig {
            client: ClientId(id),
            incarnation: Incarnation::NONE,
            // Without a daemon too, all ends within half a second.
            interval_ms: 100,
            times: Some(3),
            max_stored: 0,
            priority: 0,
            arrival: msg_proto::control::Arrival::Alone,
            ack: AckMode::OnTake,
            outcomes: Outcomes::All,
            name: "fuzz".to_owned(),
        };
        let session = Session::new(config, MsgId(1), Seq(1));
        self.nodes[node].slots[slot].library = Some(Library { session, accepted: 0, outcomes: 0 });
        self.reconnect(node, slot);
    }

    fn reconnect(&mut self, node: usize, slot: usize) {
        let n = &mut self.nodes[node];
        let now = n.now;
        if n.slots[slot].conn.is_none()
            && let Some(library) = &mut n.slots[slot].library
            && !matches!(library.session.state(), State::Refused | State::Closed)
            && let Ok(conn) = n.engine.handle_connect(now, CREDENTIALS)
        {
            library.session.handle_connected(now);
            n.slots[slot].conn = Some(conn);
        }
    }

    /// A process that writes whatever it likes takes a place.
    pub(super) fn connect_raw(&mut self, node: usize, slot: usize) {
        self.disconnect(node, slot);
        let n = &mut self.nodes[node];
        n.slots[slot].library = None;
        n.slots[slot].conn = n.engine.handle_connect(n.now, CREDENTIALS).ok();
    }

    /// The process's connection ends; a library stays and can come back.
    pub(super) fn disconnect(&mut self, node: usize, slot: usize) {
        let n = &mut self.nodes[node];
        if let Some(conn) = n.slots[slot].conn.take() {
            n.engine.handle_disconnect(n.now, conn);
        }
        if let Some(library) = &mut n.slots[slot].library {
            library.session.handle_disconnected(n.now);
        }
    }

    pub(super) fn send(&mut self, node: usize, slot: usize, dst: u32, payload: &[u8], flags: SendFlags) {
        let n = &mut self.nodes[node];
        if let Some(library) = &mut n.slots[slot].library {
            let sent = library.session.send(n.now, ClientId(dst), payload, b"user", flags);
            library.accepted += usize::from(sent.is_ok());
        }
    }

    /// Bytes of a client without a library. The driver does not read from one that leaves too much unread.
    pub(super) fn client_bytes(&mut self, node: usize, slot: usize, bytes: &[u8]) {
        let n = &mut self.nodes[node];
        if let Some(conn) = n.slots[slot].conn
            && n.engine.output(conn).len() <= msgd::limits::MAX_UNREAD_OUTPUT_BYTES
        {
            n.engine.handle_client_bytes(n.now, conn, bytes);
        }
    }

    pub(super) fn datagram(&mut self, to: usize, bytes: &[u8]) {
        let n = &mut self.nodes[to];
        n.engine.handle_datagram(n.now, 0, address(1 - to), bytes);
    }

    /// Everything that is on its way arrives, and what that brings about, a few times over.
    pub(super) fn exchange(&mut self) {
        for _ in 0..6 {
            self.drain();
            for (to, bytes) in std::mem::take(&mut self.wire) {
                self.datagram(to, &bytes);
            }
        }
        self.drain();
    }

    /// Time passes, on both nodes.
    pub(super) fn pass(&mut self, micros: u64) {
        for node in &mut self.nodes {
            node.now = node.now + Span(micros);
        }
        self.time_out();
    }

    /// Timers that are due; they are not due again at once.
    pub(super) fn time_out(&mut self) {
        for node in 0..2 {
            let now = self.nodes[node].now;
            for slot in &mut self.nodes[node].slots {
                if let Slot { library: Some(library), is_stopped: false, .. } = slot
                    && library.session.poll_timeout().is_some_and(|at| at <= now)
                {
                    library.session.handle_timeout(now);
                    assert!(library.session.poll_timeout().is_none_or(|at| at > now), "busy library");
                }
            }
            let mut turns = 0;
            while self.nodes[node].engine.poll_timeout().is_some_and(|at| at <= now) {
                assert!(turns < 8, "busy: {:?} at {now:?}", self.nodes[node].engine.poll_timeout());
                self.nodes[node].engine.handle_timeout(now);
                self.drain();
                turns += 1;
            }
        }
    }

    /// The daemon is killed and started again, empty; libraries notice, and come back when told to.
    pub(super) fn restart(&mut self, node: usize) {
        self.starts += 1;
        let n = &mut self.nodes[node];
        for slot in &mut n.slots {
            slot.conn = None;
            if let Some(library) = &mut slot.library {
                library.session.handle_disconnected(n.now);
            }
        }
        (n.heard, n.echoed) = (None, SessionId::NONE);
        n.engine = start(node, self.starts, self.recovery, n.now);
        for slot in 0..SLOTS {
            self.reconnect(node, slot);
        }
    }

    /// The law: after every `handle_*`, all that is to be done.
    pub(super) fn drain(&mut self) {
        for _ in 0..MAX_ROUNDS {
            let mut is_busy = false;
            for node in 0..2 {
                is_busy |= self.drain_engine(node);
                for slot in 0..SLOTS {
                    is_busy |= self.turn_library(node, slot);
                }
            }
            if !is_busy {
                return;
            }
        }
        panic!("two daemons keep each other's clients busy for ever");
    }

    /// Cuts the network, and lets the time pass: everything ends.
    pub(super) fn finish(&mut self) {
        for node in 0..2 {
            for slot in &mut self.nodes[node].slots {
                slot.is_stopped = false;
            }
        }
        // All that these clients sent ends within half a second; a link is lost within five.
        for round in 0..50 {
            self.wire.clear();
            self.pass(200_000);
            self.drain();
            if round % 10 == 0 {
                check::check(self);
            }
        }
        check::check_finished(self);
    }

    fn drain_engine(&mut self, node: usize) -> bool {
        let n = &mut self.nodes[node];
        let mut is_busy = false;
        while let Some(conn) = n.engine.poll_writable() {
            is_busy = true;
            let Some(slot) = n.slots.iter_mut().find(|s| s.conn == Some(conn)) else { continue };
            read(&mut n.engine, slot, conn, n.now);
        }
        while let Some(conn) = n.engine.poll_close() {
            is_busy = true;
            let slot = n.slots.iter_mut().find(|s| s.conn == Some(conn));
            if let Some(slot) = slot {
                read(&mut n.engine, slot, conn, n.now);
                slot.conn = None;
                if let Some(library) = &mut slot.library {
                    library.session.handle_disconnected(n.now);
                }
            }
            n.engine.handle_disconnect(n.now, conn);
        }
        is_busy | self.transmit(node)
    }

    fn transmit(&mut self, node: usize) -> bool {
        let mut out = Vec::new();
        let mut datagrams = 0;
        loop {
            let now = self.nodes[node].now;
            let Some(transmit) = self.nodes[node].engine.poll_transmit(now, &mut out, 10) else { break };
            assert_eq!(transmit.len, out.len());
            assert_eq!((transmit.listener, transmit.to), (0, address(1 - node)));
            assert!((1..=MAX_MTU).contains(&transmit.segment) && !out.is_empty());
            for datagram in out.chunks(transmit.segment) {
                datagrams += 1;
                assert!(datagrams <= MAX_DATAGRAMS, "no end of datagrams");
                let (header, frames) = Header::parse(datagram).expect("a daemon's datagram");
                assert!(Frames::new(header.kind, frames).all(|frame| frame.is_ok()));
                self.nodes[1 - node].heard = Some(header);
                if let Some(Ok(Frame::Hello(hello))) = Frames::new(header.kind, frames).next() {
                    self.nodes[1 - node].echoed = hello.echo;
                }
                if self.wire.len() < MAX_WIRE {
                    self.wire.push_back((1 - node, datagram.to_vec()));
                }
            }
            out.clear();
        }
        datagrams > 0
    }

    fn turn_library(&mut self, node: usize, slot: usize) -> bool {
        let n = &mut self.nodes[node];
        let Slot { conn, library: Some(library), is_stopped: false } = &mut n.slots[slot] else {
            return false;
        };
        poll(library, n.now);
        let Some(id) = *conn else { return false };
        if matches!(library.session.state(), State::Broken | State::Refused) {
            *conn = None;
            n.engine.handle_disconnect(n.now, id);
            library.session.handle_disconnected(n.now);
            return true;
        }
        let output = library.session.output().to_vec();
        library.session.consume_output(n.now, output.len());
        if !output.is_empty() {
            n.engine.handle_client_bytes(n.now, id, &output);
        }
        !output.is_empty()
    }
}

fn start(node: usize, starts: u64, recovery: Recovery, now: Time) -> Engine {
    let mut config = config(node, starts, vec![peer_of(node)]);
    config.chain.recovery = recovery;
    Engine::new(config, now)
}

/// A client reads what there is.
fn read(engine: &mut Engine, slot: &mut Slot, conn: ConnId, now: Time) {
    if slot.is_stopped {
        return;
    }
    let bytes = engine.output(conn).to_vec();
    let n = match &mut slot.library {
        Some(library) => {
            let n = library.session.handle_bytes(now, &bytes);
            poll(library, now);
            n
        }
        None => bytes.len(),
    };
    engine.consume_output(now, conn, n);
}

fn poll(library: &mut Library, now: Time) {
    while let Some(event) = library.session.poll_event(now) {
        library.outcomes += usize::from(matches!(event, Event::Acked { .. } | Event::Failed(_)));
    }
}

const CREDENTIALS: Credentials = Credentials { pid: 1, uid: 0, gid: 0 };

/// Datagrams on their way; more are lost.
const MAX_WIRE: usize = 256;

/// Datagrams that one drain may bring: a window of them, several times over.
const MAX_DATAGRAMS: usize = 4096;

/// Turns that one drain may take.
const MAX_ROUNDS: usize = 1000;
