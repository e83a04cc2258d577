//! Which instances are gone, and who wants to know.
//!
//! An instance is *gone* when its process has ended, and every message that it sent to one instance has, too: a reply that
//! its daemon has taken over is taken, or has failed, before anybody is told. What is told is behind what it sent.
//!
//! Its own daemon knows, so a daemon whose client watches a peer's instance asks that peer (WATCH, of the control stream), once
//! a session, and is answered when it is so (GONE). Of a node that is lost nothing is heard: then that is what counts.

mod check;

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, client::ClientKey, connections::Violation, link::LinkKey};
use crate::{
    control::{Control, LocalRule},
    ids::{Incarnation, Instance},
    limits,
    local::{Watch, put},
    units::{Span, Time},
};

/// Whose client an instance is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Home {
    /// This node's.
    Here,
    /// A peer's.
    There(LinkKey),
}

/// The instances that are watched.
#[derive(Debug, Default)]
pub(crate) struct Lives {
    watched: BTreeMap<(Home, Instance), Watchers>,
    /// Links that are down: when their nodes count as lost. Of those that were never up, see [`Engine::lost_from`].
    down: BTreeMap<LinkKey, Time>,
    /// When the first of them does, if anything of it is watched.
    due: Option<Time>,
}

/// Who is told.
#[derive(Debug, Default)]
struct Watchers {
    clients: BTreeSet<ClientKey>,
    /// Only of an instance here.
    links: BTreeSet<LinkKey>,
}

impl Engine {
    /// A client wants to know when an instance is gone.
    pub(super) fn on_watch(&mut self, key: ClientKey, watch: &Watch<'_>) -> Result<(), Violation> {
        let Watch { instance, node } = *watch;
        let waiting = self.clients[key].conn.map_or(0, |conn| self.conns[conn].out.len());
        if waiting > self.config.limits.client_queue_bytes {
            return Err(Violation::new(LocalRule::Quota, "it asks, and does not read"));
        }
        if self.clients[key].watches.len() >= limits::MAX_WATCHES {
            return Err(Violation::new(LocalRule::Quota, "more than 4,096 watched instances"));
        }
        let Some(home) = self.home_of(node) else {
            self.tell_gone(key, instance);
            return Ok(());
        };
        let is_new = !self.lives.watched.contains_key(&(home, instance));
        if is_new && self.lives.watched.len() >= limits::MAX_WATCHED {
            return Ok(());
        }
        self.lives.watched.entry((home, instance)).or_default().clients.insert(key);
        self.clients[key].watches.insert((home, instance));
        match home {
            Home::Here => {
                self.await_settling();
                self.check_gone(instance);
            }
            Home::There(link) if self.links[link].current.is_none() => self.schedule_lost(link),
            Home::There(link) if is_new => self.ask_of_life(link, instance),
            Home::There(_) => {}
        }
        Ok(())
    }

    /// Which node has that name, if there is one.
    pub(super) fn home_of(&self, node: &str) -> Option<Home> {
        if node == self.config.node {
            return Some(Home::Here);
        }
        let mut links = self.links.iter().filter(|(_, l)| !l.is_removed);
        links.find(|(_, l)| l.name == node).map(|(link, _)| Home::There(link))
    }

    /// A peer wants to know when an instance of this node is gone.
    pub(super) fn on_peer_watch(&mut self, link: LinkKey, instance: Instance) {
        let at = (Home::Here, instance);
        let is_new = !self.lives.watched.contains_key(&at);
        if is_new && self.lives.watched.len() >= limits::MAX_WATCHED {
            return;
        }
        self.lives.watched.entry(at).or_default().links.insert(link);
        self.await_settling();
        self.check_gone(instance);
    }

    /// A peer says that an instance of its node is gone.
    pub(super) fn on_peer_gone(&mut self, link: LinkKey, instance: Instance) {
        self.end_watch((Home::There(link), instance));
    }

    /// An instance of this node may be gone now: who watches it is told.
    pub(super) fn check_gone(&mut self, instance: Instance) {
        let at = (Home::Here, instance);
        if !self.lives.watched.contains_key(&at) || self.may_return(instance) {
            return;
        }
        let record = self.by_instance.get(&instance).map(|key| &self.clients[*key]);
        if !record.is_some_and(|c| c.conn.is_some() || c.sent.addressed > 0) {
            self.end_watch(at);
        }
    }

    /// The grace is over: who is not here by now is gone.
    pub(super) fn settle_lives(&mut self) {
        let here: Vec<_> = self.lives.watched.keys().copied().filter(|(at, _)| *at == Home::Here).collect();
        for (_, instance) in here {
            self.check_gone(instance);
        }
    }

    /// A client watches nothing any more.
    pub(super) fn unwatch(&mut self, key: ClientKey) {
        for at in std::mem::take(&mut self.clients[key].watches) {
            if let Some(watchers) = self.lives.watched.get_mut(&at) {
                watchers.clients.remove(&key);
                if watchers.clients.is_empty() && watchers.links.is_empty() {
                    self.lives.watched.remove(&at);
                }
            }
        }
    }

    /// A link is up: its node is asked of the instances that are watched.
    pub(super) fn ask_of_lives(&mut self, link: LinkKey) {
        self.lives.down.remove(&link);
        for instance in self.lives.of(Home::There(link)) {
            self.ask_of_life(link, instance);
        }
    }

    /// A link is down, and its node is lost if it does not come back in time.
    pub(super) fn record_link_down(&mut self, link: LinkKey, until: Time) {
        self.lives.watched.retain(|_, watchers| {
            watchers.links.remove(&link);
            !(watchers.clients.is_empty() && watchers.links.is_empty())
        });
        self.lives.down.insert(link, until);
        if !self.lives.of(Home::There(link)).is_empty() {
            self.schedule_lost(link);
        }
    }

    /// A link is removed: nothing refers to it any more.
    pub(super) fn forget_lives(&mut self, link: LinkKey) {
        self.lives.down.remove(&link);
        for instance in self.lives.of(Home::There(link)) {
            self.end_watch((Home::There(link), instance));
        }
    }

    /// When a lost node's instances count as gone.
    pub(super) const fn next_lost(&self) -> Option<Time> {
        self.lives.due
    }

    /// Of nodes that are lost, what is watched is gone.
    pub(super) fn give_up_lives(&mut self) {
        let now = self.clock.steady();
        self.lives.due = None;
        for link in self.links.keys() {
            let watched = self.lives.of(Home::There(link));
            if self.links[link].current.is_some() || watched.is_empty() {
                continue;
            }
            if self.lost_from(link) <= now {
                watched.into_iter().for_each(|instance| self.end_watch((Home::There(link), instance)));
            } else {
                self.schedule_lost(link);
            }
        }
    }

    /// When the node of a link that is down counts as lost.
    fn lost_from(&self, link: LinkKey) -> Time {
        let never_up = self.started_at + self.config.grace + Span::from_millis(limits::LINK_LOST_MS);
        self.lives.down.get(&link).copied().unwrap_or(never_up)
    }

    fn schedule_lost(&mut self, link: LinkKey) {
        let at = self.lost_from(link);
        self.lives.due = Some(self.lives.due.map_or(at, |due| due.min(at)));
    }

    fn ask_of_life(&mut self, link: LinkKey, instance: Instance) {
        let Instance { client, incarnation } = instance;
        self.push_control(link, Control::Watch { client, incarnation });
    }

    /// Tells everybody who watches an instance, and forgets them.
    fn end_watch(&mut self, at: (Home, Instance)) {
        let Some(watchers) = self.lives.watched.remove(&at) else { return };
        let Instance { client, incarnation } = at.1;
        for key in watchers.clients {
            self.clients[key].watches.remove(&at);
            self.tell_gone(key, at.1);
        }
        for link in watchers.links {
            self.push_control(link, Control::Gone { client, incarnation });
        }
    }

    /// Outcomes that came about before are told before.
    fn tell_gone(&mut self, key: ClientKey, instance: Instance) {
        let Some(conn) = self.clients[key].conn else { return };
        self.flush_resolved(conn);
        put::gone(self.conns[conn].out.tail(), instance);
        self.wake_conn(conn);
    }
}

impl Lives {
    /// The instances of a node that are watched.
    fn of(&self, home: Home) -> Vec<Instance> {
        let lowest = Instance { client: crate::ids::ClientId(0), incarnation: Incarnation(0) };
        let from_there = self.watched.range((home, lowest)..).map(|(at, _)| *at);
        from_there.take_while(|(at, _)| *at == home).map(|(_, instance)| instance).collect()
    }
}
