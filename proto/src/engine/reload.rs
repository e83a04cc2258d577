//! A new config for a running engine: peers, limits, clients' rights. What an engine is built on (its name, its
//! listeners, its MTU) is not in it.

use std::net::SocketAddr;

use super::{
    ChainConfig, ClientRule, Engine, LimitConfig, PeerConfig, Transmit,
    chain::Via,
    connections::Violation,
    inbox::Source,
    link::{LinkKey, Path, path_mtu::PathMtu},
    lives::Home,
};
use crate::{control::LocalRule, units::Time, wire::DatagramBuilder};

/// What a running engine can be told anew.
#[derive(Clone, Debug)]
pub struct ReloadConfig {
    /// All peers.
    pub peers: Vec<PeerConfig>,
    /// Defaults for clients that register from now on. `recovery` is not looked at: links that are up count on it.
    pub chain: ChainConfig,
    /// What clients that register from now on may use. Those that are there keep what they were told.
    pub limits: LimitConfig,
    /// All rules: they hold for clients that are there, too.
    pub clients: Vec<ClientRule>,
}

/// A datagram that says goodbye to a peer that is no longer one.
#[derive(Debug)]
pub(crate) struct Farewell {
    listener: usize,
    to: SocketAddr,
    datagram: Vec<u8>,
}

impl Engine {
    /// The config has changed.
    ///
    /// A peer that is gone is told goodbye, and its clients are gone with it: what waits for them waits for another
    /// way, and what they may have begun fails as not answered when its time comes. A client that may not be what it
    /// is any more loses its connection; one that may send to fewer is refused what it sends from now on.
    pub fn handle_reload(&mut self, now: Time, reload: ReloadConfig) {
        self.advance(now);
        self.forget_removed();
        self.reload_peers(&reload.peers);
        self.config.peers = reload.peers;
        self.config.chain = ChainConfig { recovery: self.config.chain.recovery, ..reload.chain };
        self.config.limits = reload.limits;
        self.config.clients = reload.clients;
        self.reload_clients();
        self.flush_local();
    }

    fn reload_peers(&mut self, peers: &[PeerConfig]) {
        for key in self.links.keys() {
            let name = &self.links[key].name;
            if !self.links[key].is_removed && !peers.iter().any(|p| p.name == *name) {
                self.remove_peer(key);
            }
        }
        for peer in peers {
            let link = self.links.iter().find(|(_, l)| l.name == peer.name);
            let known = link.map(|(key, l)| (key, l.is_removed));
            match known {
                None => self.open_link(peer.clone()),
                Some((key, false)) => self.readdress(key, &peer.addresses),
                Some((key, true)) => {
                    self.links[key].is_removed = false;
                    self.links[key].paths = self.new_paths(&peer.addresses);
                    self.links[key].active = 0;
                    self.lose_link(key);
                }
            }
        }
    }

    fn new_paths(&self, addresses: &[SocketAddr]) -> Vec<Path> {
        let mtu = PathMtu::new(self.config.mtu, self.config.max_mtu);
        Path::all(addresses, self.config.listeners, &mtu)
    }

    /// The link stays as an empty one: messages may be on it.
    fn remove_peer(&mut self, key: LinkKey) {
        self.say_farewell(key);
        self.lose_association(key);
        let link = &mut self.links[key];
        link.is_removed = true;
        link.hellos.clear();
        self.set_attempt(key, None);
    }

    fn say_farewell(&mut self, key: LinkKey) {
        let Some(header) = self.header(key) else { return };
        let mut datagram = Vec::new();
        let mut builder = DatagramBuilder::new(&mut datagram, header, self.config.mtu);
        let len = if builder.put_goodbye() { builder.finish() } else { 0 };
        debug_assert_eq!(len, datagram.len(), "a goodbye fits any datagram");
        let link = &self.links[key];
        let path = &link.paths[link.active];
        self.farewells.push(Farewell { listener: path.listener, to: path.remote, datagram });
    }

    /// The next goodbye to a peer that is no longer one.
    pub(super) fn poll_farewell(&mut self, out: &mut Vec<u8>) -> Option<Transmit> {
        let Farewell { listener, to, datagram } = self.farewells.pop()?;
        out.extend_from_slice(&datagram);
        Some(Transmit { listener, to, len: datagram.len(), segment: datagram.len() })
    }

    /// A peer's addresses may be others. Where the one in use is gone, the link comes up anew.
    fn readdress(&mut self, key: LinkKey, addresses: &[SocketAddr]) {
        let link = &self.links[key];
        if link.paths.iter().map(|p| &p.remote).eq(addresses) {
            return;
        }
        let used = link.paths[link.active].remote;
        let mut paths = self.new_paths(addresses);
        let link = &mut self.links[key];
        for path in &mut paths {
            if let Some(old) = link.paths.iter().find(|old| old.remote == path.remote) {
                path.heard = old.heard;
                path.mtu = old.mtu.clone();
            }
        }
        link.paths = paths;
        link.hellos.clear();
        match link.path_to(used) {
            Some(active) => link.active = active,
            None => {
                link.active = 0;
                self.lose_link(key);
            }
        }
    }

    /// Links of removed peers that nothing refers to any more.
    fn forget_removed(&mut self) {
        for key in self.links.keys() {
            let link = &self.links[key];
            if link.is_removed && !link.is_ready && !self.is_referred_to(key) {
                self.forget_lives(key);
                self.links.remove(key);
            }
        }
    }

    fn is_referred_to(&self, key: LinkKey) -> bool {
        self.chain.flows.iter().any(|(_, f)| f.target.is_some_and(|t| t.via == Via::Link(key)))
            || self.chain.entries.iter().any(|(_, e)| e.to.is_some_and(|(at, _)| at == Home::There(key)))
            || self.inboxes.iter().any(|(_, i)| i.source == Source::Link(key))
    }

    fn reload_clients(&mut self) {
        for (id, key) in self.registered_sorted() {
            let rule = self.config.clients.iter().find(|r| r.id == id);
            let client = &mut self.clients[key];
            // It may have been granted more than it would be now.
            client.has_returned = true;
            if rule.is_none_or(|r| r.allows(client.peer)) {
                client.may_send_to = rule.and_then(|r| r.may_send_to.clone());
            } else if let Some(conn) = client.conn {
                let text = format!("clientid {id} is somebody else's by the config that was reloaded");
                self.end(conn, Violation::new(LocalRule::NotAllowed, text));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::{EngineConfig, Recovery},
        limits,
        units::Span,
    };

    fn peer(number: u16) -> PeerConfig {
        PeerConfig { name: format!("vm-{number}"), addresses: vec![([127, 0, 0, 1], 7400 + number).into()] }
    }

    #[test]
    fn peers_that_come_and_go_for_ever_leave_nothing_behind() {
        let chain = ChainConfig {
            interval: Span::from_millis(100),
            times: 1,
            max_stored: 10,
            recovery: Recovery::Adaptive,
        };
        let limits = LimitConfig {
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
            max_clients: 8,
            client_queue_bytes: limits::DEFAULT_CLIENT_QUEUE_BYTES,
        };
        let config = EngineConfig {
            node: "vm".to_owned(),
            start: 1,
            seed: 1,
            listeners: 1,
            peers: Vec::new(),
            chain,
            limits,
            mtu: limits::MIN_MTU,
            max_mtu: limits::MIN_MTU,
            receive_window: 1 << 20,
            grace: Span::ZERO,
            clients: Vec::new(),
        };
        let mut engine = Engine::new(config, Time(1_000_000));
        for number in 0..1000 {
            let now = Time(1_000_000 + u64::from(number) * 1000);
            let peers = vec![peer(number)];
            engine.handle_reload(now, ReloadConfig { peers, chain, limits, clients: Vec::new() });
            engine.handle_timeout(now);
            while engine.poll_transmit(now, &mut Vec::new(), 1).is_some() {}
            assert!(engine.links.len() <= 2 && engine.link_of.is_empty(), "after {number}");
        }
    }
}
