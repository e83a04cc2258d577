//! Instances whose end the client wants to know of.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use super::Session;
use crate::{
    ids::Instance,
    limits,
    local::{Watch, put},
    units::Time,
};

/// An instance that took a message, or sent one, and its node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Taker {
    /// Which.
    pub instance: Instance,
    /// Where it is.
    pub node: Arc<str>,
}

/// What is watched, and what was not told yet.
#[derive(Debug, Default)]
pub(super) struct Lives {
    watched: BTreeMap<Instance, Arc<str>>,
    /// And behind how many deliveries of the stream each was said.
    gone: VecDeque<(Instance, u64)>,
}

impl Session {
    /// Has [`poll_gone`](Self::poll_gone) tell when an instance is gone. A watch ends with that, and lasts until then,
    /// whatever happens to the daemon. Beyond [`limits::MAX_WATCHES`] nothing is told.
    pub fn watch(&mut self, _now: Time, whom: &Taker) {
        let Lives { watched, gone } = &mut self.lives;
        let is_full = watched.len() + gone.len() >= limits::MAX_WATCHES;
        if watched.contains_key(&whom.instance) || is_full {
            return;
        }
        watched.insert(whom.instance, whom.node.clone());
        if self.state.takes_submits() {
            let watch = Watch { instance: whom.instance, node: &whom.node };
            put::watch(self.output.frames(), &watch);
        }
    }

    /// The next instance of those watched that is gone: its process has ended, and each message that it sent to one
    /// instance was taken there, or has failed, or is lost with its node. Comes behind what was delivered before.
    pub fn poll_gone(&mut self) -> Option<Instance> {
        if !self.has_gone() {
            return None;
        }
        self.lives.gone.pop_front().map(|(instance, _)| instance)
    }

    /// Whether [`poll_gone`](Self::poll_gone) has something.
    #[must_use]
    pub fn has_gone(&self) -> bool {
        let polled = self.polled();
        self.lives.gone.front().is_some_and(|(_, behind)| *behind <= polled)
    }

    pub(super) fn on_gone(&mut self, instance: Instance) {
        if self.lives.watched.remove(&instance).is_some() {
            self.lives.gone.push_back((instance, self.deliveries.scanned()));
        }
    }
}

impl Lives {
    /// A new stream begins: WATCH for each.
    pub(super) fn handle_connected(&mut self, out: &mut Vec<u8>) {
        self.gone.iter_mut().for_each(|(_, behind)| *behind = 0);
        for (instance, node) in &self.watched {
            put::watch(out, &Watch { instance: *instance, node });
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.watched.len() * (size_of::<Taker>() + limits::MAX_NODE_NAME_BYTES)
            + self.gone.capacity() * size_of::<(Instance, u64)>()
    }
}
