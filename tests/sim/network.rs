//! The virtual network: what becomes of a datagram on its way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{
    options::Fault,
    rng::Rng,
    scenario::{FaultPlan, NetworkPlan, Scenario},
    stats::Stats,
};

/// The virtual network.
#[derive(Debug)]
pub(super) struct Network {
    rng: Rng,
    plan: NetworkPlan,
    faults: FaultPlan,
    nodes: usize,
    paths: usize,
    /// By direction: from node, to node, path.
    ways: Vec<Way>,
}

/// One direction of one path.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// Nothing passes until then.
    cut_until: u64,
    /// It comes and goes with this period, ...
    flap_period: u64,
    /// ... until then.
    flap_until: u64,
    /// Datagrams of the present burst that are still to be lost.
    burst: u64,
    /// When the last one arrives: none overtakes it, unless they may.
    last_arrival: u64,
    /// Larger ones vanish.
    mtu: Option<usize>,
}

/// Where a datagram goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) path: usize,
}

impl Network {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let (nodes, paths) = (scenario.nodes.len(), scenario.paths);
        let mut rng = Rng::fork(scenario.seed, 3);
        let mut ways = vec![Way::default(); nodes * nodes * paths];
        for way in &mut ways {
            way.mtu = scenario.faults.mtu.filter(|_| rng.chance(400_000));
        }
        Self { rng, plan: scenario.network, faults: scenario.faults, nodes, paths, ways }
    }

    /// A node's address on a path.
    pub(super) fn address(node: usize, path: usize) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, path as u8, 0, node as u8)), 7400)
    }

    /// The node and path of an address.
    pub(super) fn place(address: SocketAddr) -> (usize, usize) {
        let IpAddr::V4(ip) = address.ip() else { return (0, 0) };
        let [_, path, _, node] = ip.octets();
        (usize::from(node), usize::from(path))
    }

    /// When copies of a datagram of `len` bytes that leaves now arrive, and which of them with a bit flipped.
    pub(super) fn send(
        &mut self,
        now: u64,
        route: Route,
        len: usize,
        stats: &mut Stats,
        mut arrive: impl FnMut(u64, Option<u64>),
    ) {
        stats.datagrams += 1;
        if self.is_lost(now, route, len, stats) {
            return;
        }
        let mut copies = 1;
        while copies < 4 && self.rng.chance(self.faults.duplicate_ppm) {
            stats.count(Fault::Duplicate);
            copies += 1;
        }
        for copy in 0..copies {
            let mut at = now + self.plan.delay + self.rng.below(self.plan.jitter + 1);
            if self.faults.reorder > 0 && self.rng.chance(300_000) {
                stats.count(Fault::Reorder);
                at += self.rng.below(self.faults.reorder);
            } else if self.rng.chance(self.faults.delay_ppm) {
                stats.count(Fault::Delay);
                at += self.rng.below(self.faults.delay_max + 1);
            } else if copy == 0 {
                let way = self.way(route);
                at = at.max(way.last_arrival);
                way.last_arrival = at;
            }
            let flipped = self.rng.chance(self.faults.corrupt_ppm).then(|| {
                stats.count(Fault::Corrupt);
                self.rng.below(len as u64 * 8)
            });
            arrive(at, flipped);
        }
    }

    fn is_lost(&mut self, now: u64, route: Route, len: usize, stats: &mut Stats) -> bool {
        let (loss, burst) = (self.faults.loss_ppm, self.faults.burst_ppm);
        let is_lost = self.rng.chance(loss);
        let begins = self.rng.chance(burst);
        let drawn = self.rng.between(1, self.faults.burst_len * 2 + 1);
        let way = self.way(route);
        let is_down = now < way.flap_until && (now / way.flap_period.max(1)).is_multiple_of(2);
        if way.cut_until > now || is_down {
            return true;
        }
        if way.mtu.is_some_and(|mtu| len > mtu) {
            stats.count(Fault::Mtu);
            return true;
        }
        if begins {
            stats.count(Fault::Burst);
            way.burst += drawn;
        }
        if way.burst > 0 {
            way.burst -= 1;
            return true;
        }
        if is_lost {
            stats.count(Fault::Loss);
        }
        is_lost
    }

    /// Nothing passes from one node to another for a while.
    pub(super) fn cut(&mut self, from: usize, to: usize, path: Option<usize>, until: u64) {
        for path in (0..self.paths).filter(|p| path.is_none_or(|only| only == *p)) {
            self.way(Route { from, to, path }).cut_until = until;
        }
    }

    /// Both directions come and go for a while.
    pub(super) fn flap(&mut self, one: usize, other: usize, period: u64, until: u64) {
        for path in 0..self.paths {
            for (from, to) in [(one, other), (other, one)] {
                let way = self.way(Route { from, to, path });
                (way.flap_period, way.flap_until) = (period, until);
            }
        }
    }

    /// From now on the network is perfect.
    pub(super) fn heal(&mut self) {
        self.faults = FaultPlan::default();
        for way in &mut self.ways {
            *way = Way { last_arrival: way.last_arrival, ..Way::default() };
        }
    }

    fn way(&mut self, route: Route) -> &mut Way {
        &mut self.ways[(route.from * self.nodes + route.to) * self.paths + route.path]
    }
}
