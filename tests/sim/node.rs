//! A node: its daemon, its clock, its sockets.

use std::{collections::VecDeque, net::SocketAddr};

use msg_proto::{
    engine::{ChainConfig, Engine, EngineConfig, LimitConfig, PeerConfig},
    ids::ConnId,
    units::{Span, Time},
};

use super::{
    clock::NodeClock,
    network::Network,
    rng::Rng,
    scenario::{DAEMON_INTERVAL_MS, DAEMON_TIMES, Scenario},
    stream::Stream,
};

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    /// `None` while it is down.
    pub(super) engine: Option<Engine>,
    pub(super) clock: NodeClock,
    /// Datagrams in its socket's buffer.
    pub(super) inbox: VecDeque<(usize, SocketAddr, Vec<u8>)>,
    pub(super) inbox_bytes: usize,
    /// By [`ConnId::index`].
    pub(super) streams: Vec<Option<(ConnId, Stream)>>,
    /// Its daemon dies in its next turn, and is back after so long.
    pub(super) is_doomed: Option<u64>,
    /// When its next turn is.
    pub(super) turn_at: Option<u64>,
    /// It stands still until then.
    pub(super) paused_until: Option<u64>,
    pub(super) paused_at: u64,
    /// Its daemon stands still alone: since, until.
    pub(super) hangs: Option<(u64, u64)>,
    pub(super) is_clock_stopped: bool,
    /// Time that I1 does not count.
    pub(super) excluded: u64,
    /// When the engine was last called, in true time.
    pub(super) called_at: u64,
    /// Its clock was touched since.
    pub(super) is_touched: bool,
    /// Timers in a row that moved nothing.
    pub(super) idle_timers: u32,
    /// Timers since the second began.
    pub(super) timers: (u64, u32),
    /// Datagrams since the second began.
    pub(super) datagrams: (u64, u32),
    /// Turns so far.
    pub(super) turns: u64,
}

impl Node {
    pub(super) fn new(scenario: &Scenario, index: usize) -> Self {
        let plan = &scenario.nodes[index];
        Self {
            engine: None,
            clock: NodeClock::new(0, plan.clock, plan.ppm),
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            streams: Vec::new(),
            is_doomed: None,
            turn_at: None,
            paused_until: None,
            paused_at: 0,
            hangs: None,
            is_clock_stopped: false,
            excluded: 0,
            called_at: 0,
            is_touched: false,
            idle_timers: 0,
            timers: (0, 0),
            datagrams: (0, 0),
            turns: 0,
        }
    }

    /// Its daemon starts, empty.
    pub(super) fn start(&mut self, now: u64, scenario: &Scenario, index: usize, rng: &mut Rng) {
        let config = config(scenario, index, WALL_TIME + now, rng.draw());
        self.engine = Some(Engine::new(config, self.clock.at(now)));
        self.called_at = now;
        self.is_touched = false;
        self.streams.clear();
        self.hangs = None;
    }

    /// Until when its daemon does nothing.
    pub(super) fn still_until(&self) -> u64 {
        self.paused_until.unwrap_or(0).max(self.hangs.map_or(0, |(_, until)| until))
    }

    /// The time of I1: true time less what does not count.
    pub(super) const fn judged(&self, now: u64) -> u64 {
        now.saturating_sub(self.excluded)
    }

    /// The engine is about to be called: time since its clock was last touched does not count.
    pub(super) fn call(&mut self, now: u64) -> Time {
        if std::mem::take(&mut self.is_touched) {
            self.excluded += now - self.called_at;
        }
        self.called_at = now;
        self.clock.at(now)
    }

    pub(super) fn stream(&mut self, conn: ConnId) -> Option<&mut Stream> {
        let (id, stream) = self.streams.get_mut(conn.index())?.as_mut()?;
        (*id == conn).then_some(stream)
    }

    /// Whether there is something to read.
    pub(super) fn has_input(&self) -> bool {
        let waits = |entry: &Option<(ConnId, Stream)>| {
            entry.as_ref().is_some_and(|(_, s)| s.to_daemon.len() > 0 || s.client.is_none())
        };
        !self.inbox.is_empty() || self.streams.iter().any(waits)
    }

    pub(super) fn open(&mut self, conn: ConnId, stream: Stream) {
        if self.streams.len() <= conn.index() {
            self.streams.resize_with(conn.index() + 1, || None);
        }
        self.streams[conn.index()] = Some((conn, stream));
    }
}

fn config(scenario: &Scenario, index: usize, start: u64, seed: u64) -> EngineConfig {
    let plan = &scenario.nodes[index];
    let peers = (0..scenario.nodes.len()).filter(|n| *n != index).map(|n| PeerConfig {
        name: format!("node-{n}"),
        addresses: (0..scenario.paths).map(|p| Network::address(n, p)).collect(),
    });
    EngineConfig {
        node: format!("node-{index}"),
        start,
        seed,
        listeners: scenario.paths,
        peers: peers.collect(),
        chain: ChainConfig {
            interval: Span::from_millis(u64::from(DAEMON_INTERVAL_MS)),
            times: DAEMON_TIMES,
            max_stored: plan.max_stored,
            recovery: scenario.recovery,
        },
        limits: LimitConfig {
            max_message_bytes: plan.max_message_bytes,
            max_clients: 1024,
            client_queue_bytes: msg_proto::limits::MIN_CLIENT_QUEUE_BYTES,
        },
        mtu: plan.mtu,
        max_mtu: plan.max_mtu,
        receive_window: scenario.receive_window,
        grace: Span::from_millis(u64::from(scenario.grace_ms)),
        clients: Vec::new(),
    }
}

/// Wall time at the beginning of the world, in microseconds.
const WALL_TIME: u64 = 1_700_000_000_000_000;
