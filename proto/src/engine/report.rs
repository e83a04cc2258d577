//! The status.

use std::fmt::Write as _;

use super::{
    Engine,
    chain::{EntryKey, Via},
    client::ClientKey,
    link::{Link, LinkKey},
};
use crate::{
    counters::Counter,
    ids::{ClientId, Instance},
    status::{ChainEntry, ClientStatus, InstanceStatus, PathStatus, PeerStatus, StatusDocument},
    units::Time,
    wire::VERSIONS,
};

impl Engine {
    /// The status, but for what stands before the clients, which is the driver's except the node's name.
    #[must_use]
    pub fn status(&self, now: Time) -> StatusDocument {
        let timers = self.timer_time(now);
        let named = |c: &Counter| (c.name().to_owned(), self.counters.value(*c));
        let mut counters: std::collections::BTreeMap<_, _> = Counter::ALL.iter().map(named).collect();
        counters.insert("chain_depth".to_owned(), self.chain_depth() as u64);
        let peers = self.links.iter().filter(|(_, link)| !link.is_removed);
        StatusDocument {
            node: self.config.node.clone(),
            version: String::new(),
            uptime_ms: 0,
            pid: 0,
            reloads: 0,
            reload_error: None,
            clients: self
                .registered_sorted()
                .into_iter()
                .map(|(_, key)| self.client_status(key, now))
                .collect(),
            peers: peers.map(|(key, link)| self.peer_status(key, link, timers)).collect(),
            instances: self.instances_status(),
            counters,
        }
    }

    fn instances_status(&self) -> Vec<InstanceStatus> {
        let status = |(instance, priority, via): (Instance, u8, Via)| InstanceStatus {
            client: instance.client.0,
            incarnation: instance.incarnation.to_string(),
            node: match via {
                Via::Link(link) => self.links[link].name.clone(),
                Via::Local | Via::Nowhere => self.config.node.clone(),
            },
            priority,
            active: self.routes.active(instance.client).is_some_and(|t| t.instance == instance),
        };
        self.routes.all().into_iter().map(status).collect()
    }

    /// What the chains hold, of one client or of all, oldest first within a client; at most `limit` entries.
    #[must_use]
    pub fn chain_status(&self, now: Time, client: Option<ClientId>, limit: usize) -> Vec<ChainEntry> {
        let mut clients: Vec<_> = self.clients.iter().collect();
        clients.sort_unstable_by_key(|(_, c)| c.instance);
        let wanted = clients.into_iter().filter(|(_, c)| client.is_none_or(|id| id == c.instance.client));
        let entries = wanted.flat_map(|(_, c)| c.sent.iter());
        entries.take(limit).map(|key| self.entry_status(key, now)).collect()
    }

    /// What the timers' clock shows at the driver's `now`.
    fn timer_time(&self, now: Time) -> Time {
        self.clock.steady() + now.since(self.clock.raw())
    }

    fn client_status(&self, key: ClientKey, now: Time) -> ClientStatus {
        let c = &self.clients[key];
        let state = match self.routes.active(c.instance.client) {
            _ if c.is_leaving => "leaving",
            Some(target) if target.instance == c.instance => "active",
            _ => "standby",
        };
        let oldest = c.sent.iter().next().map(|e| self.chain.entries[e].sent_at);
        ClientStatus {
            id: c.instance.client.0,
            incarnation: c.instance.incarnation.to_string(),
            name: c.name.clone(),
            priority: c.priority,
            state: state.to_owned(),
            pid: c.peer.pid,
            uid: c.peer.uid,
            interval_ms: c.interval.as_millis(),
            times: c.times,
            max_stored: c.max_stored,
            chain_depth: u64::from(c.sent.count),
            chain_bytes: c.sent.bytes as u64,
            oldest_ms: oldest.map_or(0, |at| now.since(at).as_millis()),
            queue_messages: c.queue.messages() as u64,
            queue_bytes: c.queue.bytes() as u64,
            submitted: c.totals.submitted,
            acked: c.totals.acked,
            failed: c.totals.failed,
            taken: c.totals.taken,
        }
    }

    fn peer_status(&self, key: LinkKey, link: &Link, now: Time) -> PeerStatus {
        let ago = |at: Option<Time>| at.map(|at| now.since(at).as_millis());
        let rtt = link.current.as_ref().and_then(|a| a.recovery.rtt());
        let path = |(i, p): (usize, &super::link::Path)| PathStatus {
            remote: p.remote.to_string(),
            heard_ms_ago: ago(p.heard),
            active: i == link.active,
            mtu: p.mtu.size() as u64,
        };
        PeerStatus {
            name: link.name.clone(),
            state: link.state_name().to_owned(),
            mismatch: link.foreign.map(|theirs| {
                format!(
                    "wire protocol versions: {} {theirs}, this node {VERSIONS}; upgrade the older one",
                    link.name
                )
            }),
            paths: link.paths.iter().enumerate().map(path).collect(),
            clients: self.routes.over(key).into_iter().map(|c| c.0).collect(),
            rtt_us: rtt.map_or(0, |(smoothed, _)| smoothed.0),
            jitter_us: rtt.map_or(0, |(_, deviation)| deviation.0),
            delay_us: link.current.as_ref().map_or(0, |a| a.clock.spread(self.clock.raw()).0),
            clock_step_ms_ago: ago(link.clock_step),
            in_flight_bytes: link.current.as_ref().map_or(0, |a| a.recovery.sent.in_flight() as u64),
            queued: link.queue.len() as u64,
            heard_ms_ago: ago(link.heard),
        }
    }

    fn entry_status(&self, key: EntryKey, now: Time) -> ChainEntry {
        let e = &self.chain.entries[key];
        let flow = &self.chain.flows[e.flow];
        let waits_for = match (self.target_of(key), e.queued) {
            (None, _) => "route",
            (Some(_), true) => "link",
            (Some(_), false) => "answer",
        };
        ChainEntry {
            client: self.clients[e.client].instance.client.0,
            msgid: e.msgid.0,
            dst: flow.dst.0,
            len: e.payload_len() as u64,
            age_ms: now.since(e.sent_at).as_millis(),
            copies: e.copies,
            times_left: u32::from(e.retries_left),
            waits_for: waits_for.to_owned(),
            user_buff: printable(e.user(&self.chain.reads)),
        }
    }
}

/// Bytes as text: what is not printable ASCII as `\xNN`.
fn printable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b' '..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
            _ => {
                let written = write!(text, "\\x{byte:02x}");
                debug_assert!(written.is_ok(), "a String takes what is written to it");
            }
        }
    }
    text
}
