//! Registration: who may be a client, and what it is granted.

use super::{
    Credentials, Engine, Map,
    client::{Client, ClientKey, ConnState, ReceiveQueue, SentMessages, Totals},
    connections::Violation,
};
use crate::{
    control::{Arrival, LocalRule, Register, Registered},
    ids::{ConnId, Incarnation, Instance},
    local,
    units::Span,
};

impl Engine {
    pub(super) fn on_register(&mut self, conn: ConnId, register: &Register) {
        match self.register(conn, register) {
            Ok(()) => {}
            Err(violation) => self.end(conn, violation),
        }
    }

    fn register(&mut self, conn: ConnId, register: &Register) -> Result<(), Violation> {
        let peer = self.conns[conn].peer;
        let Some(version) = local::VERSIONS.agree(register.versions) else {
            let (ours, theirs) = (local::VERSIONS, register.versions);
            return Err(Violation::new(
                LocalRule::Version,
                format!("local protocol versions: daemon {ours}, library {theirs}; upgrade the older one"),
            ));
        };
        let id = register.client;
        let may_send_to = self.check_allowed(register, peer)?;
        self.drop_own_predecessor(register);
        let has_place = self.check_arrival(register, peer)?;
        if self.registered.len() >= self.config.limits.max_clients {
            return Err(Violation::new(
                LocalRule::TooManyClients,
                format!("max_clients = {} are registered", self.config.limits.max_clients),
            ));
        }
        let incarnation = match register.incarnation {
            Incarnation::NONE => self.new_incarnation(id),
            given => given,
        };
        let chain = self.config.chain;
        let interval = match register.interval_ms {
            0 => chain.interval,
            ms => Span::from_millis(u64::from(ms)),
        };
        let max_stored = match register.max_stored {
            0 => chain.max_stored,
            n => n.min(chain.max_stored),
        };
        let times = register.times.unwrap_or(chain.times);
        let instance = Instance { client: id, incarnation };
        let key = self.enter_client(instance, conn, peer, register);
        let client = &mut self.clients[key];
        (client.interval, client.times, client.max_stored, client.may_send_to) =
            (interval, times, max_stored, may_send_to);
        self.registered.insert(instance, key);
        self.unregistered -= 1;
        self.conns[conn].state = ConnState::Registered(key);
        let registered = Registered {
            version,
            node: self.config.node.clone(),
            start: self.config.start,
            incarnation,
            interval_ms: u32::try_from(interval.as_millis()).unwrap_or(u32::MAX),
            times,
            max_stored,
            max_stored_bytes: self.config.limits.client_queue_bytes as u64,
            max_message_bytes: u32::try_from(self.config.limits.max_message_bytes).unwrap_or(u32::MAX),
        };
        local::put::registered(self.conns[conn].out.tail(), &registered);
        let missed = std::mem::take(&mut self.clients[key].missed);
        self.conns[conn].out.tail().extend_from_slice(&missed);
        self.tell_targets_again(key);
        if !has_place {
            self.begin_leaving(key, Some(local::DrainCause::Superseded));
        }
        if self.clients[key].is_leaving {
            self.clients[key].unanswered = Some(Vec::new());
            self.await_drained(key);
        }
        self.wake_conn(conn);
        Ok(())
    }

    /// A client that comes back before its old connection's end was read takes its own place.
    fn drop_own_predecessor(&mut self, register: &Register) {
        let own = Instance { client: register.client, incarnation: register.incarnation };
        let Some(key) = self.registered.get(&own).copied() else { return };
        if let Some(old) = self.clients[key].conn {
            self.conns[old].state = ConnState::Closing;
            self.closing.push_back(old);
            self.on_departure(key, crate::control::Departure::Died);
        }
    }

    /// The client's record: a new one, or that of the same incarnation, whose messages are still in the chain.
    fn enter_client(
        &mut self,
        instance: Instance,
        conn: ConnId,
        peer: Credentials,
        register: &Register,
    ) -> ClientKey {
        if let Some(key) = self.by_instance.get(&instance).copied() {
            self.clients[key].conn = Some(conn);
            self.clients[key].has_returned = true;
            self.clients[key].is_leaving |= register.arrival == Arrival::Leaving;
            self.departed.retain(|(i, _)| *i != instance);
            return key;
        }
        let key = self.clients.insert(Client {
            instance,
            peer,
            name: register.name.clone(),
            priority: register.priority,
            arrival: register.arrival,
            is_leaving: register.arrival == Arrival::Leaving,
            unanswered: None,
            drained_by: None,
            begun: None,
            conn: Some(conn),
            interval: Span::ZERO,
            times: 0,
            max_stored: 0,
            may_send_to: None,
            sent: SentMessages::default(),
            flows: Map::default(),
            last_flow: None,
            resolved: Vec::new(),
            missed: Vec::new(),
            has_returned: register.incarnation != Incarnation::NONE,
            moved_flows: Vec::new(),
            known_at: std::collections::VecDeque::new(),
            told_targets: std::collections::VecDeque::new(),
            restored: Map::default(),
            gone_at: None,
            subscriptions: Vec::new(),
            presence_due: Vec::new(),
            watches: std::collections::BTreeSet::new(),
            queue: ReceiveQueue::default(),
            inboxes: Vec::new(),
            totals: Totals::default(),
        });
        self.by_instance.insert(instance, key);
        key
    }

    fn check_allowed(
        &self,
        register: &Register,
        peer: Credentials,
    ) -> Result<Option<Vec<crate::ids::ClientId>>, Violation> {
        let Some(rule) = self.config.clients.iter().find(|r| r.id == register.client) else {
            return Ok(None);
        };
        if rule.allows(peer) {
            return Ok(rule.may_send_to.clone());
        }
        let owner = match (rule.uid, rule.gid) {
            (Some(uid), _) => format!("uid {uid}"),
            (None, gid) => format!("gid {}", gid.unwrap_or(0)),
        };
        Err(Violation::new(
            LocalRule::NotAllowed,
            format!(
                "clientid {} is for {owner} by config; this process has uid {}, gid {}",
                rule.id, peer.uid, peer.gid
            ),
        ))
    }
}
