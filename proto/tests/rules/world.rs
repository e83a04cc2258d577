//! Engines, two unless a test wants more, their clients, and a network between them that a test bends. Time is the test's.

use std::{collections::BTreeMap, net::SocketAddr};

use msg_proto::{
    control::Arrival,
    counters::Counter,
    engine::{ChainConfig, Credentials, Engine, EngineConfig, LimitConfig, PeerConfig, Recovery, Transmit},
    ids::{ClientId, ConnId, Incarnation, Instance, MsgId, Seq},
    limits,
    local::DrainCause,
    outcome::Verdict,
    session::{
        AckMode, CallMessage, Delivery, Event, Failure, Outcomes, PresenceEvent, SendError, SendFlags,
        Session, SessionConfig, Taker,
    },
    units::{Span, Time},
};

/// What the network does with a datagram.
pub(crate) enum Fate {
    Drop,
    /// Each copy arrives after its delay, in microseconds.
    Arrive(Vec<u64>),
}

type Network = Box<dyn FnMut(usize, &[u8]) -> Fate>;

pub(crate) struct Client {
    pub(crate) node: usize,
    pub(crate) session: Session,
    conn: Option<ConnId>,
    /// Its process was not killed.
    pub(crate) is_alive: bool,
    /// It takes nothing while this is set.
    pub(crate) is_stopped: bool,
    pub(crate) taken: Vec<(u32, Vec<u8>, u64)>,
    pub(crate) calls: Vec<Call>,
    pub(crate) call_outcomes: Vec<(MsgId, Result<(), Verdict>)>,
    /// Who took the messages of the call layer.
    pub(crate) takers: Vec<Taker>,
    /// Instances that are gone, and how many messages of the call layer were taken before that was known.
    pub(crate) gone: Vec<(Instance, usize)>,
    pub(crate) acked: Vec<(u32, u64)>,
    pub(crate) failed: Vec<(Failure, u64)>,
    pub(crate) drain: Option<DrainCause>,
    /// Changes, and how many messages were taken before each.
    pub(crate) presence: Vec<(PresenceEvent, usize)>,
}

/// A message of the call layer that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Call {
    pub(crate) data: Vec<u8>,
    /// By the clock of the node that it came to.
    pub(crate) sent_at: Time,
    pub(crate) uid: u32,
    pub(crate) node: String,
}

pub(crate) struct World {
    /// True time, in microseconds.
    pub(crate) now: u64,
    pub(crate) engines: Vec<Engine>,
    /// Each node's clock is true time plus this.
    pub(crate) clocks: Vec<u64>,
    pub(crate) clients: Vec<Client>,
    pub(crate) network: Network,
    /// From one node to another everything is lost.
    pub(crate) cuts: Vec<(usize, usize)>,
    /// (due, order) to (node, from, bytes).
    pub(crate) wire: BTreeMap<(u64, u64), (usize, SocketAddr, Vec<u8>)>,
    order: u64,
    options: Options,
    starts: u64,
}

#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) recovery: Recovery,
    pub(crate) max_stored: u32,
    pub(crate) client_queue_bytes: usize,
    /// One for each node.
    pub(crate) clocks: Vec<u64>,
    pub(crate) max_mtu: usize,
}

impl Client {
    fn poll(&mut self, now: Time, at: u64) {
        while let Some(event) = self.session.poll_notice() {
            match event {
                Event::Acked { msgid } => self.acked.push((msgid.0, at)),
                Event::Failed(failure) => self.failed.push((failure, at)),
                Event::Registered(_) => {}
                Event::Drain(cause) => self.drain = Some(cause),
                other => panic!("{other:?}"),
            }
        }
        while let Some((msgid, outcome)) = self.session.poll_call_outcome() {
            self.call_outcomes.push((msgid, outcome.as_ref().map(|_| ()).map_err(|verdict| *verdict)));
            self.takers.extend(outcome.ok().flatten());
        }
        loop {
            while let Some(instance) = self.session.poll_gone() {
                self.gone.push((instance, self.calls.len()));
            }
            while let Some(event) = self.session.poll_presence() {
                self.presence.push((event, self.taken.len()));
            }
            let taken = &mut self.taken;
            self.session.take_messages(now, |m| (taken.push((m.msgid.0, m.data.to_vec(), at)), true).1);
            if let Some(delivery) = self.session.poll_delivery(now) {
                match delivery {
                    Delivery::Message(m) => self.taken.push((m.msgid.0, m.data.to_vec(), at)),
                    Delivery::Call(CallMessage { sent_at, uid, node, data, .. }) => {
                        self.calls.push(Call { data: data.to_vec(), sent_at, uid, node });
                    }
                }
            } else if !self.session.has_presence() {
                return;
            }
            self.session.message_handled();
        }
    }
}

pub(crate) fn config(options: &Options, node: usize, starts: u64) -> EngineConfig {
    EngineConfig {
        node: NAMES[node].to_owned(),
        start: 1_700_000_000_000_000 + starts + 1000 * node as u64,
        seed: 7 + node as u64 + starts * 1000,
        listeners: 1,
        peers: (0..options.clocks.len())
            .filter(|peer| *peer != node)
            .map(|peer| PeerConfig { name: NAMES[peer].to_owned(), addresses: vec![address(peer)] })
            .collect(),
        chain: ChainConfig {
            interval: Span::from_millis(1000),
            times: 10,
            max_stored: options.max_stored,
            recovery: options.recovery,
        },
        limits: LimitConfig {
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
            max_clients: 64,
            client_queue_bytes: options.client_queue_bytes,
        },
        mtu: 1200,
        max_mtu: options.max_mtu,
        receive_window: 1 << 20,
        grace: Span::from_millis(2000),
        clients: Vec::new(),
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recovery: Recovery::Adaptive,
            max_stored: limits::DEFAULT_MAX_STORED,
            client_queue_bytes: limits::DEFAULT_CLIENT_QUEUE_BYTES,
            clocks: vec![1_000_000, 90_000_000_000],
            max_mtu: limits::MIN_MTU,
        }
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(&Options::default())
    }

    pub(crate) fn with(options: &Options) -> Self {
        let mut world = Self {
            now: 0,
            engines: (0..options.clocks.len())
                .map(|n| Engine::new(config(options, n, 0), Time(options.clocks[n])))
                .collect(),
            options: options.clone(),
            starts: 0,
            clocks: options.clocks.clone(),
            cuts: Vec::new(),
            clients: Vec::new(),
            network: Box::new(|_, _| Fate::Arrive(vec![100])),
            wire: BTreeMap::new(),
            order: 0,
        };
        world.drain();
        world
    }

    /// A client of a node, registered. `interval_ms` and `times` as R4 and R5 have them.
    pub(crate) fn client(&mut self, node: usize, id: u32, interval_ms: u32, times: u8) -> usize {
        self.client_with(node, SessionConfig { interval_ms, times: Some(times), ..session_config(id) })
    }

    /// A client of a node, registered.
    pub(crate) fn client_with(&mut self, node: usize, config: SessionConfig) -> usize {
        let mut session = Session::new(config, MsgId(1), Seq(1));
        session.handle_connected(self.clock(node));
        let now = self.clock(node);
        let peer = Credentials { pid: 1, uid: 0, gid: 0 };
        let conn = self.engines[node].handle_connect(now, peer).expect("few connections");
        let (taken, calls, acked, failed) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        self.clients.push(Client {
            node,
            session,
            conn: Some(conn),
            is_alive: true,
            is_stopped: false,
            taken,
            calls,
            call_outcomes: Vec::new(),
            takers: Vec::new(),
            gone: Vec::new(),
            acked,
            failed,
            drain: None,
            presence: Vec::new(),
        });
        self.drain();
        self.clients.len() - 1
    }

    pub(crate) fn clock(&self, node: usize) -> Time {
        Time(self.clocks[node] + self.now)
    }

    pub(crate) fn send(
        &mut self,
        client: usize,
        dst: u32,
        payload: &[u8],
        user: &[u8],
    ) -> Result<MsgId, SendError> {
        self.send_with(client, dst, payload, user, SendFlags::default())
    }

    pub(crate) fn send_with(
        &mut self,
        client: usize,
        dst: u32,
        payload: &[u8],
        user: &[u8],
        flags: SendFlags,
    ) -> Result<MsgId, SendError> {
        let now = self.clock(self.clients[client].node);
        self.clients[client].session.send(now, ClientId(dst), payload, user, flags)
    }

    pub(crate) fn send_call(&mut self, client: usize, dst: u32, payload: &[u8]) -> Result<MsgId, SendError> {
        let now = self.clock(self.clients[client].node);
        self.clients[client].session.send_call(now, ClientId(dst), payload, SendFlags::default())
    }

    /// Sends a message of the call layer to one instance and no other.
    pub(crate) fn send_to(&mut self, client: usize, to: &Taker, payload: &[u8]) -> Result<MsgId, SendError> {
        let now = self.clock(self.clients[client].node);
        self.clients[client].session.send_call_to(now, to, payload)
    }

    pub(crate) fn withdraw(&mut self, client: usize, msgid: MsgId) -> bool {
        let now = self.clock(self.clients[client].node);
        self.clients[client].session.withdraw(now, msgid)
    }

    /// Who a client is, and where.
    pub(crate) fn who(&self, client: usize) -> Taker {
        let Client { node, session, .. } = &self.clients[client];
        let instance = Instance { client: session.client(), incarnation: session.incarnation() };
        Taker { instance, node: NAMES[*node].into() }
    }

    /// A client wants to know when another is gone.
    pub(crate) fn watch(&mut self, client: usize, whom: &Taker) {
        let now = self.clock(self.clients[client].node);
        self.clients[client].session.watch(now, whom);
    }

    /// A node's daemon is killed and started again, empty. Its clients come back at once.
    pub(crate) fn restart(&mut self, node: usize) {
        let now = self.clock(node);
        self.starts += 1;
        for client in self.clients.iter_mut().filter(|c| c.node == node && c.conn.is_some()) {
            // What was written to the socket can still be read; nothing is read of what the library wrote.
            let conn = client.conn.take().expect("filtered");
            let bytes = self.engines[node].output(conn).to_vec();
            let cut = bytes.len() / 2;
            let _taken = client.session.handle_bytes(now, &bytes[..cut]);
            client.poll(now, self.now);
            client.session.handle_disconnected(now);
        }
        self.engines[node] = Engine::new(config(&self.options, node, self.starts), now);
        for client in 0..self.clients.len() {
            if self.clients[client].node == node && self.clients[client].is_alive {
                self.connect(client);
            }
        }
        self.drain();
    }

    /// A client that has no connection comes back.
    pub(crate) fn connect(&mut self, client: usize) {
        let now = self.clock(self.clients[client].node);
        let client = &mut self.clients[client];
        let peer = Credentials { pid: 1, uid: 0, gid: 0 };
        client.is_alive = true;
        client.session.handle_connected(now);
        let conn = self.engines[client.node].handle_connect(now, peer);
        client.conn = Some(conn.expect("few connections"));
    }

    /// The client's process dies.
    pub(crate) fn kill(&mut self, client: usize) {
        let now = self.clock(self.clients[client].node);
        self.clients[client].is_alive = false;
        if let Some(conn) = self.clients[client].conn.take() {
            self.engines[self.clients[client].node].handle_disconnect(now, conn);
        }
        self.drain();
    }

    /// The client says that it takes no more.
    pub(crate) fn drain_client(&mut self, client: usize) {
        let now = self.clock(self.clients[client].node);
        self.clients[client].session.drain(now);
        self.drain();
    }

    /// The client says goodbye and ends.
    pub(crate) fn leave(&mut self, client: usize) {
        let now = self.clock(self.clients[client].node);
        self.clients[client].session.close(now);
        self.drain();
        self.kill(client);
    }

    /// Whether a client of a node has a connection.
    pub(crate) fn is_registered(&self, node: usize, id: u32) -> bool {
        self.engines[node].status(self.clock(node)).clients.iter().any(|c| c.id == id)
    }

    /// Lets everything happen for some time, in milliseconds.
    pub(crate) fn run(&mut self, ms: u64) {
        self.run_micros(ms * 1000);
    }

    pub(crate) fn run_micros(&mut self, micros: u64) {
        let end = self.now + micros;
        self.drain();
        loop {
            let timers = (0..self.engines.len())
                .filter_map(|n| self.engines[n].poll_timeout().map(|at| at.0 - self.clocks[n]));
            let wire = self.wire.keys().next().map(|(due, _)| *due);
            let next = timers.chain(wire).min().unwrap_or(u64::MAX).max(self.now);
            if next > end {
                self.now = end;
                self.engines.iter().for_each(|engine| assert_eq!(engine.check_invariants(), Ok(())));
                return;
            }
            self.now = next;
            while let Some(entry) = self.wire.first_entry().filter(|e| e.key().0 <= next) {
                let (node, from, bytes) = entry.remove();
                let now = self.clock(node);
                self.engines[node].handle_datagram(now, 0, from, &bytes);
            }
            for node in 0..self.engines.len() {
                let now = self.clock(node);
                if self.engines[node].poll_timeout().is_some_and(|at| at <= now) {
                    self.engines[node].handle_timeout(now);
                }
            }
            self.drain();
        }
    }

    pub(crate) fn counter(&self, node: usize, counter: Counter) -> u64 {
        self.engines[node].counters().value(counter)
    }

    pub(crate) fn payloads(&self, client: usize) -> Vec<Vec<u8>> {
        self.clients[client].taken.iter().map(|(_, payload, _)| payload.clone()).collect()
    }

    pub(crate) fn drain(&mut self) {
        loop {
            let mut is_busy = false;
            for index in 0..self.clients.len() {
                is_busy |= self.turn_client(index);
            }
            for node in 0..self.engines.len() {
                is_busy |= self.drain_engine(node);
            }
            if !is_busy {
                return;
            }
        }
    }

    fn turn_client(&mut self, index: usize) -> bool {
        let node = self.clients[index].node;
        let (now, at) = (self.clock(node), self.now);
        let client = &mut self.clients[index];
        let Some(conn) = client.conn else { return false };
        if client.is_stopped {
            return false;
        }
        client.poll(now, at);
        let output = client.session.output().to_vec();
        client.session.consume_output(now, output.len());
        if !output.is_empty() {
            self.engines[node].handle_client_bytes(now, conn, &output);
        }
        !output.is_empty()
    }

    fn drain_engine(&mut self, node: usize) -> bool {
        let now = self.clock(node);
        let mut is_busy = false;
        while let Some(conn) = self.engines[node].poll_writable() {
            let Some(client) = self.clients.iter_mut().find(|c| c.node == node && c.conn == Some(conn))
            else {
                continue;
            };
            let bytes = self.engines[node].output(conn).to_vec();
            // A stopped process's socket buffer takes this much.
            let n = client.session.handle_bytes(now, &bytes);
            self.engines[node].consume_output(now, conn, n);
            is_busy |= n > 0;
        }
        let mut out = Vec::new();
        while let Some(transmit) = self.engines[node].poll_transmit(now, &mut out, 10) {
            let Transmit { len, segment, to, .. } = transmit;
            assert!(len == out.len() && len <= limits::MAX_MTU, "as much as one send takes");
            // An address that is nobody's leads to the other one, too.
            let to = Some(usize::from(to.port() - 7400)).filter(|to| *to != node).unwrap_or_else(|| 1 - node);
            for datagram in out.chunks(segment) {
                assert!(datagram.len() <= self.options.max_mtu);
                if let Fate::Arrive(delays) = (self.network)(node, datagram)
                    && !self.cuts.contains(&(node, to))
                {
                    for delay in delays {
                        self.order += 1;
                        let entry = (to, address(node), datagram.to_vec());
                        self.wire.insert((self.now + delay, self.order), entry);
                    }
                }
            }
            out.clear();
        }
        is_busy
    }
}

/// Client `id`, with the daemon's interval and times.
pub(crate) fn session_config(id: u32) -> SessionConfig {
    SessionConfig {
        client: ClientId(id),
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: 0,
        priority: 0,
        arrival: Arrival::Alone,
        ack: AckMode::OnTake,
        outcomes: Outcomes::All,
        name: "test".to_owned(),
    }
}

pub(crate) fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 7400 + u16::try_from(node).expect("a small number")))
}

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Everything is lost, in both directions.
pub(crate) fn cut() -> Network {
    Box::new(|_, _| Fate::Drop)
}

/// What node 0 sends is lost.
pub(crate) fn cut_from(node: usize) -> Network {
    Box::new(move |from, _| if from == node { Fate::Drop } else { Fate::Arrive(vec![100]) })
}

/// A network without faults.
pub(crate) fn clear() -> Network {
    Box::new(|_, _| Fate::Arrive(vec![100]))
}

/// The same pseudo-random numbers for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}
