//! The daemon's side: retransmit chains, links, inboxes, routes. Sans-I/O.
//!
//! The parts, each its own state machine: `chain` and `due` (R2..R5), `fragments`, `inbox` (R6, R8), `link/` (datagram
//! numbers, loss, control stream), `routes`, `client`, `clock`. What ties them together is [`Engine`], in the
//! order of a message's way:
//!
//! * `connections`: bytes of clients become frames; registration;
//! * `reads`: where those bytes are read to, and messages stay; `submit`: into the chain, and on towards an instance;
//! * `transmit`: datagrams; `handshake`: hellos;
//! * `datagram`: frames of peers; `accept`: into an inbox; `give`: on to the client;
//! * `target`: to which instance a flow's messages go, and when to another one; `address`: those for one instance only;
//! * `taken`: what clients took, acks; `outcome`: how a message ends;
//! * `presence`: clients and links that come and go; `leave`: clients that take no more; `returned`: those that
//!   come back; `subscribe`: who is told of it; `lives`: who is told that an instance is gone; `timers`; `report`: the status; `reload`: another
//!   config.

mod accept;
mod address;
mod arena;
mod buffers;
mod chain;
mod check;
mod client;
pub(crate) mod clock;
mod config;
mod connections;
mod datagram;
mod due;
mod fragments;
mod give;
mod handshake;
mod inbox;
mod leave;
mod link;
mod lives;
mod map;
mod outcome;
mod output;
mod presence;
mod reads;
mod register;
mod reload;
mod report;
mod returned;
mod routes;
mod submit;
mod subscribe;
mod taken;
mod target;
mod timers;
mod transmit;

pub use config::{ChainConfig, ClientRule, EngineConfig, LimitConfig, PeerConfig, Recovery};
pub use output::Output;
pub use reload::ReloadConfig;
pub use transmit::splice::MAX_PARTS;
use transmit::splice::Splice;

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use arena::Arena;
use buffers::BufferPool;
use chain::Chain;
use client::{Client, ClientKey, Conn};
use clock::{Clock, Step};
use inbox::{Inbox, InboxKey};
use link::{Link, LinkKey, recovery::Fates};
use lives::Lives;
use map::Map;
use reload::Farewell;
use routes::Routes;

use crate::{
    counters::{Counter, Counters},
    ids::{ClientId, ConnId, FlowId, Incarnation, Instance, SessionId},
    units::Time,
};

/// Who is at the other end of a client's connection (`SO_PEERCRED`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Too many connections: close this one at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionRefused;

/// A rule that a client broke. It was told, and loses its connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which client; `None` if it has not registered.
    pub client: Option<ClientId>,
    /// Its process.
    pub pid: u32,
    /// Which rule.
    pub rule: crate::control::LocalRule,
    /// What it was told, in words.
    pub text: String,
}

/// Datagrams to send to one address: `len` bytes, cut every `segment` bytes (the last may be shorter), as
/// generic segmentation offload does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// From which listener.
    pub listener: usize,
    /// Where to.
    pub to: SocketAddr,
    /// Bytes of all of them.
    pub len: usize,
    /// Bytes of each but the last.
    pub segment: usize,
}

/// The daemon's protocol.
///
/// The driver's law: one `handle_*`, then drain [`poll_transmit`](Self::poll_transmit),
/// [`poll_writable`](Self::poll_writable) and [`poll_close`](Self::poll_close), then sleep until
/// [`poll_timeout`](Self::poll_timeout). Several `handle_*` of one turn may come before the drain: what they
/// produce is then bundled.
#[derive(Debug)]
pub struct Engine {
    config: EngineConfig,
    clock: Clock,
    /// When it started, on the steady clock.
    started_at: Time,
    random: u64,
    counters: Counters,

    conns: Arena<ConnId, Conn>,
    unregistered: usize,
    /// Connections with new output.
    writable: VecDeque<ConnId>,
    /// Connections whose output has room to give back, and when they are gone through.
    roomy: Vec<ConnId>,
    trim_at: Option<Time>,
    /// When to look for segments of reads that hold little.
    condense_at: Option<Time>,
    /// Connections to close.
    closing: VecDeque<ConnId>,

    clients: Arena<ClientKey, Client>,
    /// Every client incarnation that is known here: registered, or departed with messages in the chain.
    by_instance: Map<Instance, ClientKey>,
    /// Those with a connection.
    registered: BTreeMap<Instance, ClientKey>,
    /// Client incarnations that departed, and when: oldest first.
    departed: VecDeque<(Instance, Time)>,

    chain: Chain,
    routes: Routes,
    pool: BufferPool,

    inboxes: Arena<InboxKey, Inbox>,
    inbox_of: Map<FlowId, InboxKey>,
    /// Inboxes from clients of this node with acks or nacks.
    local_dirty: Vec<InboxKey>,
    /// Inboxes that hold something that can go stale.
    sweeping: Vec<InboxKey>,
    sweep_at: Option<Time>,
    /// When what departed clients and senders left behind is looked through.
    expire_at: Option<Time>,
    /// Who wants to know of which clientid's instances.
    watchers: Map<ClientId, Vec<ClientKey>>,
    /// When they can be told that nobody else comes back from before the start.
    settled_at: Option<Time>,
    /// When flows whose instance is out of reach are looked through.
    lost_at: Option<Time>,
    /// When clients whose DRAINED is waited for are looked through.
    held_back_until: Option<Time>,
    /// Who wants to know when which instances are gone.
    lives: Lives,

    links: Arena<LinkKey, Link>,
    link_of: Map<SessionId, LinkKey>,
    /// Links with something to send.
    ready_links: VecDeque<LinkKey>,
    /// Bytes that clients have brought for links since [`Engine::handle_client_batch`] last left off.
    gathered: usize,
    /// Of the last transmission: what was not copied, in its order...
    splices: Vec<Splice>,
    /// ... and whether that may be.
    may_splice: bool,
    /// What peers that are none any more are told.
    farewells: Vec<Farewell>,
    fates: Fates,
    is_shutting_down: bool,
}

impl Engine {
    /// A new engine at `now`. `now` is `CLOCK_BOOTTIME`, here and everywhere.
    #[must_use]
    pub fn new(config: EngineConfig, now: Time) -> Self {
        let mut engine = Self {
            clock: Clock::new(now),
            started_at: now,
            random: config.seed,
            counters: Counters::new(),
            conns: Arena::new(),
            unregistered: 0,
            writable: VecDeque::new(),
            roomy: Vec::new(),
            trim_at: None,
            condense_at: None,
            closing: VecDeque::new(),
            clients: Arena::new(),
            by_instance: Map::default(),
            registered: BTreeMap::new(),
            departed: VecDeque::new(),
            chain: Chain::new(),
            routes: Routes::default(),
            pool: BufferPool::default(),
            inboxes: Arena::new(),
            inbox_of: Map::default(),
            local_dirty: Vec::new(),
            sweeping: Vec::new(),
            sweep_at: None,
            expire_at: None,
            watchers: Map::default(),
            settled_at: None,
            lost_at: None,
            held_back_until: None,
            lives: Lives::default(),
            links: Arena::new(),
            link_of: Map::default(),
            ready_links: VecDeque::new(),
            gathered: 0,
            splices: Vec::new(),
            may_splice: false,
            farewells: Vec::new(),
            fates: Fates::default(),
            is_shutting_down: false,
            config,
        };
        engine.open_links();
        engine
    }

    /// The counters.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Messages in all chains.
    #[must_use]
    pub fn chain_depth(&self) -> usize {
        self.chain.entries.len()
    }

    /// Takes the driver's time; every `handle_*` begins with it.
    fn advance(&mut self, now: Time) {
        let asked = if self.clock.is_gap(now, clock::GAP) { self.next_timer() } else { None };
        match self.clock.advance(now, asked) {
            Step::None => {}
            step => self.on_clock_step(step),
        }
    }

    /// A pseudo-random number (`SplitMix64`, Steele and others 2014), from the driver's seed.
    const fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn new_session(&mut self) -> SessionId {
        loop {
            let session = SessionId(self.random());
            if session != SessionId::NONE {
                return session;
            }
        }
    }

    /// A new incarnation of a client: larger than all that are known of it, here or at a peer.
    ///
    /// Where a peer's are ahead of this node's wall time, chance keeps apart what this daemon gives and what another one
    /// gave, or will give, beside the same peer.
    fn new_incarnation(&mut self, client: ClientId) -> Incarnation {
        let by_time = self.config.start.saturating_add(self.clock.steady().since(self.started_at).0).max(1);
        let here = self.by_instance.keys().filter(|i| i.client == client).map(|i| i.incarnation.0).max();
        let departed =
            self.departed.iter().filter(|(i, _)| i.client == client).map(|(i, _)| i.incarnation.0).max();
        let there = self.routes.newest(client).map(|i| i.incarnation.0);
        let newest = here.max(departed).max(there).unwrap_or(0);
        if by_time > newest {
            return Incarnation(by_time);
        }
        Incarnation(newest.saturating_add(1 + (self.random() >> 32)))
    }

    fn count(&mut self, counter: Counter) {
        self.counters.add(counter);
    }

    /// A link has something to send.
    #[inline]
    fn wake_link(&mut self, key: LinkKey) {
        let link = &mut self.links[key];
        if !link.is_ready {
            link.is_ready = true;
            self.ready_links.push_back(key);
        }
    }

    /// A connection has new output.
    fn wake_conn(&mut self, key: ConnId) {
        let conn = &mut self.conns[key];
        if !conn.is_listed {
            conn.is_listed = true;
            self.writable.push_back(key);
        }
    }
}

#[cfg(test)]
mod tests;
