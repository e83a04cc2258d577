//! What is between the two sides: loopback, msgd's relay, or a veth pair whose packets nftables drops.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{self, Command, Stdio},
};

use msgd::relay::{Faults, Relay, Share};

use crate::{
    args::{NetworkKind, Options},
    party::Side,
    process::Place,
};

#[derive(Debug)]
pub(crate) enum Network {
    Loopback,
    Relay(Relay),
    Veth(Veth),
}

impl Network {
    /// The network for work that loses datagrams: as asked, else the best that can be had.
    pub(crate) fn lossy(options: &Options) -> Result<Self, String> {
        let relay = || Relay::start(1).map(Self::Relay).map_err(|error| error.to_string());
        match options.network {
            Some(NetworkKind::Veth) => Veth::start().map(Self::Veth),
            Some(NetworkKind::Relay) => relay(),
            None => Veth::start().map_or_else(|_| relay(), |veth| Ok(Self::Veth(veth))),
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::Relay(_) => "relay",
            Self::Veth(_) => "veth",
        }
    }

    /// A side's address in it.
    pub(crate) fn address(&self, side: Side) -> IpAddr {
        match self {
            Self::Veth(_) => IpAddr::V4(Ipv4Addr::new(10, 99, 78, 1 + side as u8)),
            // All of 127.0.0.0/8 is this host's: no other run has these.
            _ => {
                let [.., high, low] = process::id().to_be_bytes();
                IpAddr::V4(Ipv4Addr::new(127, high, low, 252 + side as u8))
            }
        }
    }

    /// Where a side's processes run.
    pub(crate) fn place(&self, side: Side, pinned: bool) -> Place {
        let cpu = pinned.then_some(side as usize);
        let namespace = match self {
            Self::Veth(veth) => Some(PathBuf::from("/run/netns").join(&veth.names[side as usize])),
            _ => None,
        };
        Place { cpu, namespace }
    }

    /// Where each node finds the other.
    pub(crate) fn join(&self, a: SocketAddr, b: SocketAddr) -> [SocketAddr; 2] {
        match self {
            Self::Relay(relay) => {
                relay.connect(a, b);
                [relay.side_a(), relay.side_b()]
            }
            _ => [b, a],
        }
    }

    /// From here on, so many percent of the datagrams are lost each way.
    pub(crate) fn lose(&self, percent: u32) -> Result<(), String> {
        match self {
            Self::Loopback => Ok(()),
            Self::Relay(relay) => {
                relay.set_both(Faults { loss: Share::percent(percent), ..Faults::NONE });
                Ok(())
            }
            Self::Veth(veth) => veth.lose(percent),
        }
    }
}

/// Two network namespaces. They go with this.
#[derive(Debug)]
pub(crate) struct Veth {
    names: [String; 2],
}

impl Veth {
    fn start() -> Result<Self, String> {
        let veth = Self { names: ["a", "b"].map(|side| format!("msgbench{}{side}", process::id())) };
        let [a, b] = &veth.names;
        run(&format!("ip netns add {a}"))?;
        run(&format!("ip netns add {b}"))?;
        run(&format!("ip link add veth-a netns {a} type veth peer name veth-b netns {b}"))?;
        for (name, device, last) in [(a, "veth-a", 1), (b, "veth-b", 2)] {
            run(&format!("ip -n {name} addr add 10.99.78.{last}/24 dev {device}"))?;
            // Each packet is one chance to be lost: no runs of them across the link.
            run(&format!("ip -n {name} link set {device} gso_max_segs 1"))?;
            run(&format!("ip -n {name} link set {device} up"))?;
            run(&format!("ip -n {name} link set lo up"))?;
        }
        veth.lose(0)?;
        Ok(veth)
    }

    fn lose(&self, percent: u32) -> Result<(), String> {
        for (name, device) in self.names.iter().zip(["veth-a", "veth-b"]) {
            run(&format!("ip netns exec {name} nft flush ruleset"))?;
            if percent > 0 {
                let rule = format!("numgen random mod 100 < {percent} drop");
                let hook = format!("type filter hook ingress device {device} priority 0;");
                let table =
                    format!("table netdev loss {{ chain first {{ {hook} meta protocol ip {rule}; }}; }};");
                run_words(&["ip", "netns", "exec", name, "nft", &table])?;
            }
        }
        Ok(())
    }
}

impl Drop for Veth {
    fn drop(&mut self) {
        for name in &self.names {
            // One that could not be made cannot be removed either.
            run(&format!("ip netns del {name}")).ok();
        }
    }
}

fn run(command: &str) -> Result<(), String> {
    run_words(&command.split(' ').collect::<Vec<_>>())
}

fn run_words(words: &[&str]) -> Result<(), String> {
    let output = Command::new(words[0]).args(&words[1..]).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{}: {error}", words[0])),
    }
}
