//! Who wants to know of the instances of which clientids, and what they are told.
//!
//! A PRESENCE is written where it happens, so it stands in the stream before the first message of an instance that came
//! up. To a library that does not read, only what is true when it does (I7).

use super::{Engine, client::ClientKey, connections::Violation};
use crate::{
    control::LocalRule,
    ids::{ClientId, ConnId},
    limits,
    local::put,
    units::Time,
};

impl Engine {
    /// A client wants to know of another's instances.
    pub(super) fn on_subscribe(&mut self, key: ClientKey, client: ClientId) -> Result<(), Violation> {
        let wanted = &mut self.clients[key].subscriptions;
        if !wanted.contains(&client) {
            if wanted.len() >= limits::MAX_SUBSCRIPTIONS {
                return Err(Violation::new(LocalRule::Quota, "more than 1,024 subscriptions"));
            }
            wanted.push(client);
            self.watchers.entry(client).or_default().push(key);
        }
        self.await_settling();
        self.tell_presence(key, client);
        Ok(())
    }

    /// The instances of a client are others, or another is active.
    pub(super) fn on_presence(&mut self, client: ClientId) {
        for watcher in self.watchers.get(&client).cloned().unwrap_or_default() {
            self.tell_presence(watcher, client);
        }
    }

    /// What could not be written goes out, once there is room.
    pub(super) fn flush_presence(&mut self, conn: ConnId) {
        let Some(key) = self.conns[conn].state.client() else { return };
        for client in std::mem::take(&mut self.clients[key].presence_due) {
            self.tell_presence(key, client);
        }
    }

    /// A client that has a connection no more wants to know nothing.
    pub(super) fn unsubscribe(&mut self, key: ClientKey) {
        self.clients[key].presence_due.clear();
        for client in std::mem::take(&mut self.clients[key].subscriptions) {
            if let Some(watchers) = self.watchers.get_mut(&client) {
                watchers.retain(|k| *k != key);
                if watchers.is_empty() {
                    self.watchers.remove(&client);
                }
            }
        }
    }

    /// The grace is over: who is not there by now is gone.
    pub(super) fn settle_presence(&mut self) {
        self.settled_at = None;
        let mut watched: Vec<_> = self.watchers.keys().copied().collect();
        watched.sort_unstable();
        for client in watched {
            self.on_presence(client);
        }
    }

    /// Somebody wants to know what is sure only when the grace is over.
    pub(super) fn await_settling(&mut self) {
        if self.is_young() {
            self.settled_at.get_or_insert(self.started_at + self.config.grace);
        }
    }

    /// When the grace is over for those who want to know.
    pub(super) const fn next_settling(&self) -> Option<Time> {
        self.settled_at
    }

    fn tell_presence(&mut self, key: ClientKey, client: ClientId) {
        let Some(conn) = self.clients[key].conn else { return };
        let due = &mut self.clients[key].presence_due;
        if self.conns[conn].out.len() > BACKLOG_BYTES {
            if !due.contains(&client) {
                due.push(client);
            }
            return;
        }
        let instances = self.routes.present(client);
        let is_partial = self.is_young();
        put::presence(self.conns[conn].out.tail(), client, is_partial, &instances);
        self.wake_conn(conn);
    }

    /// Whether clients of this node, and peers, may still come back from before the start.
    fn is_young(&self) -> bool {
        self.clock.steady() < self.started_at + self.config.grace
    }
}

/// More than this unread, and a PRESENCE waits, since the next makes it useless.
const BACKLOG_BYTES: usize = 64 << 10;
