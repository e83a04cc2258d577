//! Two daemons that are told anything at all, and what must hold whatever it is.
//!
//! * `script`: bytes become steps. `world`: two engines, their clients, the datagrams between them. `crafted`: frames of
//!   clients and peers that break the rules.
//! * `check`: what holds after every step.

mod check;
mod crafted;
mod script;
mod world;

use std::net::SocketAddr;

use arbitrary::Unstructured;
use msg_proto::{
    control::{Register, VersionRange},
    engine::{ChainConfig, EngineConfig, LimitConfig, PeerConfig, Recovery},
    ids::{ClientId, Incarnation},
    limits,
    units::Span,
};

use self::world::World;
pub(super) use self::{check::check_counters, script::op};

/// The largest datagram of these engines.
const MTU: usize = 1200;

/// A sequence of steps: connections, frames and datagrams well-formed or not, time, restarts, goodbyes.
///
/// After every step: nothing has panicked, the counters add up, what is queued is within its limits, no timer is due
/// that was just dealt with, and each library's sends have had no outcome twice. In the end the network is cut and time
/// passes: then all have had one.
pub fn engine(data: &[u8]) {
    let mut bytes = Unstructured::new(data);
    let options = script::byte(&mut bytes);
    let recovery = if options & 1 == 0 { Recovery::Adaptive } else { Recovery::TimerOnly };
    let mut world = World::new(recovery);
    if options & 2 == 0 {
        world.bring_up();
    }
    for _ in 0..MAX_STEPS {
        if bytes.is_empty() {
            break;
        }
        script::step(&mut world, &mut bytes);
        world.drain();
        check::check(&world);
    }
    world.finish();
}

/// Steps of one script: more only make it slow.
const MAX_STEPS: usize = 400;

/// What the engine of a node is told.
pub(super) fn config(node: usize, starts: u64, peers: Vec<PeerConfig>) -> EngineConfig {
    EngineConfig {
        node: ["a", "b"][node].to_owned(),
        start: 1_000_000 + starts,
        seed: 7 + node as u64 + starts * 1000,
        listeners: 1,
        peers,
        chain: ChainConfig {
            interval: Span::from_millis(100),
            times: 3,
            max_stored: 64,
            recovery: Recovery::Adaptive,
        },
        limits: LimitConfig {
            max_message_bytes: 64 << 10,
            max_clients: 6,
            client_queue_bytes: limits::MIN_CLIENT_QUEUE_BYTES,
        },
        mtu: MTU,
        max_mtu: limits::MAX_MTU,
        receive_window: 1 << 16,
        grace: Span::from_millis(500),
        clients: Vec::new(),
    }
}

/// What a process that wants to be that client says first.
pub(super) fn register(client: u32) -> Register {
    Register {
        versions: VersionRange { lowest: 1, highest: 1 },
        client: ClientId(client),
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: 0,
        priority: 0,
        arrival: msg_proto::control::Arrival::Alone,
        name: "fuzz".to_owned(),
    }
}

/// Where a node listens.
fn address(node: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], if node == 0 { 7400 } else { 7401 }))
}

/// The other node.
fn peer_of(node: usize) -> PeerConfig {
    PeerConfig { name: ["b", "a"][node].to_owned(), addresses: vec![address(1 - node)] }
}
