//! The world: time, and what happens in its order.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    check::{Checker, Invariant, LifePlan, Log, Moment, Violation},
    client::Client,
    network::Network,
    node::Node,
    options::Fault,
    rng::Rng,
    scenario::{ClientPlan, DAEMON_INTERVAL_MS, DAEMON_TIMES, Scenario},
    stats::Stats,
};
use msg_proto::ids::MsgId;

/// The world of one seed.
#[derive(Debug)]
pub struct World {
    pub(super) scenario: Scenario,
    pub(super) now: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    next_entry: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) clients: Vec<Client>,
    pub(super) network: Network,
    pub(super) check: Checker,
    pub(super) stats: Stats,
    /// What turns draw: chunks, order, lateness.
    pub(super) turns: Rng,
    /// What clients draw.
    pub(super) scripts: Rng,
    /// What faults draw.
    pub(super) chance: Rng,
    /// What repeats draw.
    pub(super) repeats: Rng,
    /// What slow handlers draw.
    pub(super) slowness: Rng,
    /// The daemon whose turn it is dies when it has done so many things more.
    pub(super) dies_in: Option<u64>,
    /// Faults and scripts are over.
    pub(super) is_healed: bool,
    /// Buffers to use again.
    pub(super) spare: Vec<Vec<u8>>,
    pub(super) scratch: Vec<u8>,
}

/// What happens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// A daemon's turn.
    Node(usize),
    /// A client's turn.
    Client(usize),
    /// A datagram arrives: to, from, path, bytes.
    Arrival(usize, usize, usize, Vec<u8>),
    /// A client sends.
    Script(usize),
    /// A fault of that kind.
    Fault(Fault),
    /// A node's daemon starts.
    Start(usize),
    /// A client's process starts.
    Born(usize),
    /// A node goes on.
    Resume(usize),
    /// A daemon that stood still alone goes on.
    Unhang(usize),
}

#[derive(PartialEq, Eq, Debug)]
struct Entry {
    at: u64,
    number: u64,
    event: Event,
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl World {
    /// The world of a scenario, at its beginning.
    #[must_use]
    pub fn new(scenario: Scenario, log: Log) -> Self {
        let mut world = Self {
            now: 0,
            queue: BinaryHeap::new(),
            next_entry: 0,
            nodes: (0..scenario.nodes.len()).map(|n| Node::new(&scenario, n)).collect(),
            clients: scenario.clients.iter().cloned().map(Client::new).collect(),
            network: Network::new(&scenario),
            check: Checker::new(log, scenario.has_fast_streams()),
            stats: Stats::default(),
            turns: Rng::fork(scenario.seed, 4),
            scripts: Rng::fork(scenario.seed, 5),
            chance: Rng::fork(scenario.seed, 6),
            repeats: Rng::fork(scenario.seed, 12),
            slowness: Rng::fork(scenario.seed, 13),
            dies_in: None,
            is_healed: false,
            spare: Vec::new(),
            scratch: Vec::new(),
            scenario,
        };
        if world.scenario.nodes.iter().any(|n| n.ppm != 0) {
            world.stats.count(Fault::Drift);
        }
        world.begin();
        world
    }

    fn begin(&mut self) {
        for node in 0..self.nodes.len() {
            let at = self.turns.below(50_000);
            self.schedule(at, Event::Start(node));
        }
        for client in 0..self.clients.len() {
            let at = self.scripts.below(100_000);
            self.schedule(at, Event::Born(client));
            let at = at + self.scripts.around(self.clients[client].plan.gap);
            self.schedule(at, Event::Script(client));
        }
        for fault in Fault::ALL {
            let every = self.scenario.faults.every[*fault as usize];
            if every > 0 {
                let at = self.chance.around(every);
                self.schedule(at, Event::Fault(*fault));
            }
        }
    }

    /// Goes on until that time.
    ///
    /// # Errors
    ///
    /// Something that must not be.
    pub fn run_until(&mut self, until: u64) -> Result<(), Violation> {
        while let Some(Reverse(entry)) = self.queue.pop_if_before(until) {
            debug_assert!(entry.at >= self.now);
            self.now = entry.at;
            self.stats.steps += 1;
            self.happen(entry.event)?;
        }
        self.now = until;
        self.stats.simulated = until;
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), Violation> {
        let now = self.now;
        self.check.log.stir(now);
        match event {
            Event::Node(n) if self.nodes[n].turn_at == Some(now) => {
                self.nodes[n].turn_at = None;
                self.node_turn(n)
            }
            Event::Client(c) if self.clients[c].turn_at == Some(now) => {
                self.clients[c].turn_at = None;
                self.client_turn(c)
            }
            Event::Node(_) | Event::Client(_) => Ok(()),
            Event::Arrival(to, from, path, bytes) => {
                self.arrive(to, from, path, bytes);
                Ok(())
            }
            Event::Script(c) => self.script(c),
            Event::Fault(fault) => self.fault(fault),
            Event::Start(n) => {
                self.start_node(n);
                Ok(())
            }
            Event::Resume(n) => {
                if self.nodes[n].paused_until == Some(now) {
                    self.resume(n);
                }
                Ok(())
            }
            Event::Unhang(n) => {
                if self.nodes[n].hangs.is_some_and(|(_, until)| until == now) {
                    self.unhang(n);
                }
                Ok(())
            }
            Event::Born(c) => {
                self.start_client(c);
                Ok(())
            }
        }
    }

    pub(super) fn schedule(&mut self, at: u64, event: Event) {
        self.next_entry += 1;
        self.queue.push(Reverse(Entry { at: at.max(self.now), number: self.next_entry, event }));
    }

    /// A daemon has something to do, at that time at the latest.
    pub(super) fn wake_node(&mut self, n: usize, at: u64) {
        let at = at.max(self.now).max(self.nodes[n].still_until());
        if self.nodes[n].turn_at.is_none_or(|set| set > at) {
            self.nodes[n].turn_at = Some(at);
            self.schedule(at, Event::Node(n));
        }
    }

    /// A daemon has something to do, soon.
    pub(super) fn wake_node_soon(&mut self, n: usize) {
        let at = self.now + self.turns.below(self.scenario.lateness + 1);
        self.wake_node(n, at);
    }

    /// A client has something to do, at that time at the latest.
    pub(super) fn wake_client(&mut self, c: usize, at: u64) {
        let node = self.clients[c].plan.node;
        let at = at.max(self.now).max(self.nodes[node].paused_until.unwrap_or(0));
        if self.clients[c].turn_at.is_none_or(|set| set > at) {
            self.clients[c].turn_at = Some(at);
            self.schedule(at, Event::Client(c));
        }
    }

    /// A client has something to do, soon.
    pub(super) fn wake_client_soon(&mut self, c: usize) {
        let at = self.now + self.turns.below(self.scenario.streams.lateness + 1);
        self.wake_client(c, at);
    }

    /// Now, as I1 counts on a node.
    pub(super) fn moment(&self, node: usize) -> Moment {
        Moment { now: self.now, judged: self.nodes[node].judged(self.now) }
    }

    fn arrive(&mut self, to: usize, from: usize, path: usize, bytes: Vec<u8>) {
        let window = self.scenario.receive_window as usize;
        let node = &mut self.nodes[to];
        if node.engine.is_none() || node.inbox_bytes + bytes.len() > window {
            self.spare.push(bytes);
            return;
        }
        node.inbox_bytes += bytes.len();
        node.inbox.push_back((path, Network::address(from, path), bytes));
        self.wake_node_soon(to);
    }

    fn start_node(&mut self, n: usize) {
        if self.nodes[n].engine.is_none() {
            let now = self.now;
            self.nodes[n].start(now, &self.scenario, n, &mut self.turns);
            self.check.log.note(now, None, || format!("node {n} starts"));
            self.wake_node(n, now);
        }
    }

    fn start_client(&mut self, c: usize) {
        let (now, plan) = (self.now, &self.clients[c].plan);
        if self.clients[c].process.is_some() || self.clients[c].is_retired {
            return;
        }
        let life = self.check.on_born(now, life_of(plan, self.nodes[plan.node].clock.ppm()));
        self.clients[c].start(now, life, &mut self.scripts);
        self.wake_client_soon(c);
    }

    /// How the links of all nodes stand: for the story of a violation.
    pub fn note_links(&mut self) {
        for n in 0..self.nodes.len() {
            let raw = self.nodes[n].clock.at(self.now);
            let Some(engine) = &self.nodes[n].engine else { continue };
            let status = engine.status(raw);
            for peer in status.peers {
                self.check.log.note(self.now, None, || format!("node {n}: {peer:?}"));
            }
        }
    }

    /// What happened so far, in numbers.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats { excused: self.check.excused, simulated: self.now, ..self.stats.clone() }
    }

    /// Something that must not be, about no message.
    pub(super) fn wrong<T>(&self, invariant: Invariant, text: String) -> Result<T, Violation> {
        Err(Violation { invariant, at: self.now, about: None, text })
    }
}

fn life_of(plan: &ClientPlan, ppm: i64) -> LifePlan {
    let interval = if plan.interval_ms == 0 { DAEMON_INTERVAL_MS } else { plan.interval_ms };
    LifePlan {
        client: plan.id,
        node: plan.node,
        ppm,
        interval: u64::from(interval) * 1000,
        times: plan.times.unwrap_or(DAEMON_TIMES),
        first: MsgId(plan.first),
        calls: plan.calls.is_some(),
    }
}

trait PopBefore {
    fn pop_if_before(&mut self, until: u64) -> Option<Reverse<Entry>>;
}

impl PopBefore for BinaryHeap<Reverse<Entry>> {
    fn pop_if_before(&mut self, until: u64) -> Option<Reverse<Entry>> {
        if self.peek().is_some_and(|Reverse(e)| e.at < until) { self.pop() } else { None }
    }
}
