//! What can be measured: the processes of each system, and its endpoint.

use std::{ffi::OsString, net::SocketAddr, path::Path, process::Command, time::Duration};

use clap::ValueEnum;
use msg_tests::node::{Node, NodeSpec};
use tempfile::TempDir;

use crate::{
    args::Work,
    chain,
    endpoint::Endpoint,
    msgd::Msgd,
    nats::Nats,
    network::Network,
    party::{PartyArgs, Side},
    process::{Place, Process},
};

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum System {
    /// Two daemons, two clients.
    Msgd,
    /// The same, polling 50 us after traffic.
    MsgdSpin,
    /// Processes that only forward, a system call a message.
    #[value(name = "chain-1")]
    Chain1,
    /// ... and in batches.
    ChainBatch,
    /// DEALER and ROUTER over TCP, no daemon.
    #[cfg(feature = "zmq")]
    Zmq,
    /// One server, at side B.
    Nats,
    /// A server on each side, joined by a route.
    #[value(name = "nats-2")]
    Nats2,
}

impl System {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    pub(crate) const fn is_msgd(self) -> bool {
        matches!(self, Self::Msgd | Self::MsgdSpin)
    }

    /// Why it cannot be measured so, if it cannot.
    pub(crate) fn check(self, work: Work, network: &Network) -> Result<(), String> {
        let lossy = matches!(work, Work::Loss | Work::Paced);
        match self {
            Self::Chain1 | Self::ChainBatch if lossy => Err("it repeats nothing that is lost".to_owned()),
            _ if !self.is_msgd() && matches!(network, Network::Relay(_)) => {
                Err("the relay is for msgd: veth needs root, ip and nft".to_owned())
            }
            Self::Nats | Self::Nats2 if Command::new("nats-server").arg("--version").output().is_err() => {
                Err("nats-server is not installed".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// The endpoint of a party.
pub(crate) fn open(args: &PartyArgs) -> Result<Box<dyn Endpoint>, String> {
    Ok(match args.system {
        System::Msgd | System::MsgdSpin => Box::new(Msgd::open(args)?),
        System::Chain1 => Box::new(chain::One::open(args).map_err(|error| error.to_string())?),
        System::ChainBatch => Box::new(chain::Batch::open(args).map_err(|error| error.to_string())?),
        #[cfg(feature = "zmq")]
        System::Zmq => Box::new(crate::zeromq::Zmq::open(args).map_err(|error| error.to_string())?),
        System::Nats | System::Nats2 => Box::new(Nats::open(args).map_err(|error| error.to_string())?),
    })
}

/// A system that runs. All of it ends when this is dropped.
pub(crate) struct Running {
    pub(crate) a: Process,
    pub(crate) b: Process,
    between: Vec<Process>,
    nodes: Vec<Node>,
    _dir: TempDir,
}

impl Running {
    /// Starts all processes, and waits until both clients are ready.
    pub(crate) fn start(
        system: System,
        (work, size): (Work, u32),
        network: &Network,
        pinned: bool,
    ) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let sides = [Side::A, Side::B];
        let places = sides.map(|side| network.place(side, pinned));
        let address = |side, port| SocketAddr::new(network.address(side), port);
        let (mut between, mut nodes) = (Vec::new(), Vec::new());
        let local: [OsString; 2] = match system {
            System::Msgd | System::MsgdSpin => {
                nodes = self::nodes(system, network, &places);
                nodes.iter().for_each(Node::wait_for_links);
                [nodes[0].socket().into(), nodes[1].socket().into()]
            }
            System::Chain1 | System::ChainBatch => {
                let paths = ["a", "b"].map(|name| dir.path().join(name));
                for side in sides {
                    let other = if side == Side::A { Side::B } else { Side::A };
                    let words = [
                        "forward".into(),
                        system.name().into(),
                        paths[side as usize].clone().into(),
                        address(side, 7401).to_string().into(),
                        address(other, 7401).to_string().into(),
                    ];
                    let mut forwarder = Process::helper(&places[side as usize], words.to_vec())?;
                    forwarder.answer("ready")?;
                    between.push(forwarder);
                }
                paths.map(Into::into)
            }
            #[cfg(feature = "zmq")]
            System::Zmq => sides.map(|_| address(Side::B, 7402).to_string().into()),
            System::Nats | System::Nats2 => {
                let at = if system == System::Nats { [Side::B; 2] } else { sides };
                for side in sides.into_iter().filter(|side| at.contains(side)) {
                    between.push(nats_server(&places[side as usize], side, network, dir.path())?);
                }
                at.map(|side| address(side, 7403).to_string().into())
            }
        };
        let party = |side: Side| {
            let words = [
                "party".into(),
                system.name().into(),
                if side == Side::A { "a".into() } else { "b".into() },
                work.to_possible_value().map_or_else(String::new, |work| work.get_name().to_owned()).into(),
                size.to_string().into(),
                local[side as usize].clone(),
            ];
            let mut process = Process::helper(&places[side as usize], words.to_vec())?;
            process.answer("ready").map(|_| process)
        };
        let (b, a) = (party(Side::B)?, party(Side::A)?);
        // What they said to be ready has gone round; NATS' servers tell each other who has subscribed.
        std::thread::park_timeout(Duration::from_millis(if system == System::Nats2 { 1000 } else { 200 }));
        Ok(Self { a, b, between, nodes, _dir: dir })
    }

    /// All its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        let helpers = [&self.a, &self.b].into_iter().chain(&self.between).map(Process::pid);
        helpers.chain(self.nodes.iter().map(Node::pid)).collect()
    }
}

fn nodes(system: System, network: &Network, places: &[Place; 2]) -> Vec<Node> {
    let spin = if system == System::MsgdSpin { "spin_us = 50" } else { "" };
    let mut specs = [Side::A, Side::B].map(|side| {
        let mut spec = NodeSpec::new(if side == Side::A { "a" } else { "b" }).node(spin);
        spec.address = SocketAddr::new(network.address(side), 7400);
        spec.security = "allow_plaintext = true".to_owned();
        spec.wrapper = places[side as usize].wrapper();
        spec
    });
    let [b_from_a, a_from_b] = network.join(specs[0].address, specs[1].address);
    specs[0].peers.push(("b".to_owned(), b_from_a));
    specs[1].peers.push(("a".to_owned(), a_from_b));
    specs.iter().map(Node::start).collect()
}

fn nats_server(place: &Place, side: Side, network: &Network, dir: &Path) -> Result<Process, String> {
    let other = if side == Side::A { Side::B } else { Side::A };
    let words = [
        "nats-server".to_owned(),
        "--addr".to_owned(),
        network.address(side).to_string(),
        "--port".to_owned(),
        "7403".to_owned(),
        "--cluster".to_owned(),
        format!("nats://{}:7404", network.address(side)),
        "--routes".to_owned(),
        format!("nats-route://{}:7404", network.address(other)),
        "--log".to_owned(),
        dir.join(format!("nats-{side:?}")).display().to_string(),
    ];
    Process::start(place, words.map(OsString::from).to_vec(), "nats-server")
}
