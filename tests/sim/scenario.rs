//! What a seed means: how many nodes and clients, what they do, and what happens to them.
//!
//! Swarm testing (Groce and others 2012): each seed has some kinds of faults and not others, each at a rate of its
//! own, so that seeds differ in kind.

use msg_proto::{engine::Recovery, ids::ClientId, limits::DEFAULT_GRACE_MS, session::AckMode};

use super::{
    calls::CallScript,
    options::{Fault, Options},
    rng::Rng,
};

/// What a seed means.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed.
    pub seed: u64,
    /// The nodes.
    pub nodes: Vec<NodePlan>,
    /// The clients.
    pub clients: Vec<ClientPlan>,
    /// Whether links find losses ahead of the timer.
    pub recovery: Recovery,
    /// Address pairs between two nodes.
    pub paths: usize,
    /// What a daemon's socket holds, in bytes.
    pub receive_window: u32,
    /// How long a daemon that started speaks of no unknown incarnation, in milliseconds.
    pub grace_ms: u32,
    /// The network without faults.
    pub network: NetworkPlan,
    /// The local sockets.
    pub streams: StreamPlan,
    /// A daemon's turn comes this late at most, in microseconds.
    pub lateness: u64,
    /// How long faults go on, in microseconds.
    pub duration: u64,
    /// What happens.
    pub faults: FaultPlan,
}

/// A node.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// What its clock shows at first.
    pub clock: u64,
    /// How much faster than true time it runs.
    pub ppm: i64,
    /// The datagram that every path carries.
    pub mtu: usize,
    /// The largest that it probes for.
    pub max_mtu: usize,
    /// The largest message that it takes.
    pub max_message_bytes: usize,
    /// `max_stored` of its config.
    pub max_stored: u32,
}

/// A client.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// Its number; several may have the same on different nodes (instances).
    pub id: ClientId,
    /// Where it runs.
    pub node: usize,
    /// `interval` asked for; 0: the daemon's.
    pub interval_ms: u32,
    /// Retransmissions asked for.
    pub times: Option<u8>,
    /// `max_stored` asked for; 0: the daemon's.
    pub max_stored: u32,
    /// Among instances.
    pub priority: u8,
    /// When it acks.
    pub ack: AckMode,
    /// How long its handler takes, in microseconds.
    pub handling: u64,
    /// Mean time between its sends, in microseconds.
    pub gap: u64,
    /// Messages in one go, at most.
    pub burst: u64,
    /// Bytes of a message, usually at most.
    pub size: u64,
    /// How often a message is larger than a datagram, in a million.
    pub large_ppm: u32,
    /// How often unordered.
    pub unordered_ppm: u32,
    /// How often at least once.
    pub at_least_once_ppm: u32,
    /// Whom it sends to.
    pub to: Vec<ClientId>,
    /// Where its numbers begin.
    pub first: u32,
    /// Whether it sends before it is registered.
    pub sends_early: bool,
    /// How it calls, and serves.
    pub calls: Option<CallScript>,
    /// What takes it long.
    pub slow: Option<SlowPlan>,
}

/// What takes a client long.
#[derive(Clone, Copy, Debug)]
pub struct SlowPlan {
    /// Of messages.
    pub ppm: u32,
    /// In microseconds, on average.
    pub span: u64,
}

/// The network without faults.
#[derive(Clone, Copy, Debug)]
pub struct NetworkPlan {
    /// A datagram's way, in microseconds.
    pub delay: u64,
    /// More of it, at random.
    pub jitter: u64,
}

/// The local sockets.
#[derive(Clone, Copy, Debug)]
pub struct StreamPlan {
    /// Bytes that the kernel keeps in each direction.
    pub capacity: usize,
    /// Bytes read at once, at most.
    pub chunk: u64,
    /// How late a client's turn comes, in microseconds.
    pub lateness: u64,
}

/// What happens: rates in a million, and mean times between, in microseconds; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub struct FaultPlan {
    /// Of datagrams.
    pub loss_ppm: u32,
    /// Of datagrams: a burst of losses begins.
    pub burst_ppm: u32,
    /// Datagrams in a burst, on average.
    pub burst_len: u64,
    /// Of datagrams.
    pub duplicate_ppm: u32,
    /// More of a datagram's way, so that later ones overtake it.
    pub reorder: u64,
    /// Of datagrams: late by up to `delay_max`.
    pub delay_ppm: u32,
    /// In microseconds.
    pub delay_max: u64,
    /// Of datagrams.
    pub corrupt_ppm: u32,
    /// Larger datagrams vanish between some nodes.
    pub mtu: Option<usize>,
    /// Clients call each other.
    pub has_calls: bool,
    /// They repeat the calls of their last life.
    pub has_repeats: bool,
    /// Handlers are slow now and then.
    pub has_slow: bool,
    /// Mean time between faults of a kind, by [`Fault`]; 0: never.
    pub every: [u64; Fault::ALL.len()],
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::fork(seed, 1);
        let node_count = rng.pick(&[1, 2, 2, 2, 3, 3, 3, 3, 4, 5]);
        let node_count = options.nodes.unwrap_or(node_count);
        let has_drift = rng.chance(500_000) && !options.without.has(Fault::Drift);
        let mtu = rng.pick(&[1200, 1200, 1452, 9000, 65_000]);
        let mut sizes = Rng::fork(seed, 9);
        let stored = rng.pick(&[8, 100, 1000, 1000, 1000]);
        let nodes: Vec<_> = (0..node_count)
            .map(|_| NodePlan {
                clock: rng.pick(&[1, 1_000_000, 500_000_000, 1 << 40]) + rng.below(1 << 30),
                ppm: if has_drift { rng.below(1001) as i64 - 500 } else { 0 },
                mtu: if rng.chance(100_000) { rng.pick(&[1200, 1452, 4000]) } else { mtu },
                max_mtu: sizes.pick(&[1200, 1472, 9000, 65_000, 65_000]),
                max_message_bytes: rng.pick(&[1 << 20, 1 << 20, 1 << 20, 64 << 10, 16 << 10]),
                max_stored: stored,
            })
            .collect();
        let interval = rng.pick(&[50, 100, 200, 500, 1000, 1000]);
        let mut clients = clients(&mut rng, node_count, interval, options);
        let faults = faults(&mut Rng::fork(seed, 2), interval, options);
        if faults.has_calls {
            let mut rng = Rng::fork(seed, 10);
            for client in &mut clients {
                client.calls = Some(CallScript::new(&mut rng, interval));
            }
        }
        if faults.has_slow {
            let mut rng = Rng::fork(seed, 11);
            for client in &mut clients {
                let span = rng.pick(&[1, 2, 5, 12]) * u64::from(interval) * 1000;
                client.slow = Some(SlowPlan { ppm: rng.pick(&[1000, 10_000, 100_000]), span });
            }
        }
        let network = NetworkPlan {
            delay: rng.pick(&[50, 200, 1000, 5000]).min(u64::from(interval) * 1000 / 20),
            jitter: rng.pick(&[0, 20, 200]),
        };
        let streams = StreamPlan {
            capacity: rng.pick(&[2048, 8192, 65_536, 212_992, 212_992]),
            chunk: rng.pick(&[60, 1000, 65_536, 65_536, 65_536]),
            lateness: rng.pick(&[10, 50, 200]),
        };
        Self {
            seed,
            nodes,
            clients,
            recovery: rng.pick(&[Recovery::Adaptive, Recovery::Adaptive, Recovery::TimerOnly]),
            paths: rng.pick(&[1, 1, 1, 2]),
            receive_window: rng.pick(&[64 << 10, 212_992, 4 << 20]),
            grace_ms: rng.pick(&[1000, DEFAULT_GRACE_MS]),
            network,
            streams,
            lateness: rng.pick(&[20, 100, 500]),
            duration: options.seconds * 1_000_000,
            faults,
        }
    }

    /// Whether a local socket holds more than what a client sends in one go: then its own way takes no time.
    #[must_use]
    pub const fn has_fast_streams(&self) -> bool {
        self.streams.capacity > 65_536 && self.streams.chunk >= 65_536
    }

    /// The longest that a message, or a call and then its last message, takes, in microseconds (I1).
    #[must_use]
    pub fn longest_life(&self) -> u64 {
        let life = |c: &ClientPlan| {
            let interval =
                u64::from(if c.interval_ms == 0 { DAEMON_INTERVAL_MS } else { c.interval_ms }) * 1000;
            interval * (u64::from(c.times.unwrap_or(DAEMON_TIMES)) + 1) + interval / 2 + 10_000
        };
        let call = |c: &ClientPlan| c.calls.map_or(0, |calls| calls.timeout);
        self.clients.iter().map(|c| call(c) + life(c)).max().unwrap_or(0)
    }
}

impl ClientPlan {
    /// Before it is registered a client knows no defaults but the library's own.
    fn knowing(self) -> Self {
        let interval_ms = if self.interval_ms == 0 { DAEMON_INTERVAL_MS } else { self.interval_ms };
        Self { interval_ms, times: Some(self.times.unwrap_or(DAEMON_TIMES)), ..self }
    }
}

/// `interval` of all daemons' configs.
pub const DAEMON_INTERVAL_MS: u32 = 400;
/// `times` of all daemons' configs.
pub const DAEMON_TIMES: u8 = 6;

fn clients(rng: &mut Rng, nodes: usize, interval: u32, options: &Options) -> Vec<ClientPlan> {
    let count = rng.pick(&[2, 2, 3, 4, 6, 8]).max(nodes as u64);
    let count = options.clients.map_or(count, |n| n as u64);
    let has_instances = rng.chance(300_000) && nodes > 1;
    let ids: Vec<_> = (0..count).map(|i| ClientId(100 + i as u32)).collect();
    let gap = rng.pick(&[20_000, 100_000, 100_000, 400_000, 2_000_000]) * count.div_ceil(3);
    let size = rng.pick(&[0, 16, 100, 400, 1100]);
    let large_ppm = rng.pick(&[0, 0, 10_000, 100_000]);
    let mut plans = Vec::new();
    for (i, id) in ids.iter().enumerate() {
        let mut to: Vec<_> = ids.iter().copied().filter(|_| rng.chance(600_000)).collect();
        if to.is_empty() {
            to.push(ids[(i + 1) % ids.len()]);
        }
        if rng.chance(100_000) {
            to.push(ClientId(9));
        }
        let plan = ClientPlan {
            id: *id,
            node: if i < nodes { i } else { rng.below(nodes as u64) as usize },
            interval_ms: rng.pick(&[interval, interval, interval * 2, 0, 20]),
            times: rng.pick(&[None, Some(0), Some(1), Some(3), Some(3), Some(10)]),
            max_stored: rng.pick(&[0, 0, 4, 50]),
            priority: 1,
            ack: rng.pick(&[AckMode::OnTake, AckMode::OnTake, AckMode::OnHandled]),
            handling: rng.pick(&[0, 100, 5000]),
            gap: rng.around(gap),
            burst: rng.pick(&[1, 1, 4, 30]),
            size,
            large_ppm,
            unordered_ppm: rng.pick(&[0, 0, 300_000, 1_000_000]),
            at_least_once_ppm: rng.pick(&[0, 0, 300_000, 1_000_000]),
            to,
            first: rng.pick(&[1, 1, u32::MAX - 20]),
            sends_early: rng.chance(300_000),
            calls: None,
            slow: None,
        };
        let plan = if plan.sends_early { plan.knowing() } else { plan };
        if has_instances && rng.chance(400_000) {
            let node = (plan.node + 1 + rng.below(nodes as u64 - 1) as usize) % nodes;
            plans.push(ClientPlan { node, priority: rng.pick(&[0, 1, 2]), ..plan.clone() });
        }
        plans.push(plan);
    }
    plans
}

fn faults(rng: &mut Rng, interval: u32, options: &Options) -> FaultPlan {
    // How many kinds there are differs, too; some seeds have none.
    let density = rng.pick(&[0, 120_000, 250_000, 400_000, 600_000]);
    let is_on = |fault: Fault, rng: &mut Rng| rng.chance(density) && !options.without.has(fault);
    let mut plan = FaultPlan::default();
    for fault in Fault::ALL {
        // Every draw is made, so that a fault turned off changes nothing else.
        let enabled = is_on(*fault, rng);
        let ppm = rng.pick(&[1000, 10_000, 50_000, 150_000, 300_000]);
        let span = rng.pick(&[1, 3, 8]) * u64::from(interval) * 1000;
        let every = rng.pick(&[1, 3, 10, 20]) * 1_000_000;
        if !enabled {
            continue;
        }
        match fault {
            Fault::Loss => plan.loss_ppm = ppm,
            Fault::Burst => (plan.burst_ppm, plan.burst_len) = (ppm / 20, 3 + span / 50_000),
            Fault::Duplicate => plan.duplicate_ppm = ppm,
            Fault::Reorder => plan.reorder = span / 20,
            Fault::Delay => (plan.delay_ppm, plan.delay_max) = (ppm / 2, span),
            Fault::Corrupt => plan.corrupt_ppm = ppm / 5,
            Fault::Mtu => plan.mtu = Some(1100 + (span % 977) as usize),
            Fault::Drift => {}
            Fault::Calls => plan.has_calls = true,
            Fault::Repeat => plan.has_repeats = true,
            Fault::Slow => plan.has_slow = true,
            other => plan.every[*other as usize] = every,
        }
    }
    plan
}
