//! What [`Engine::check_invariants`](crate::engine::Engine::check_invariants) asks.

use super::{Home, Lives};
use crate::{
    engine::{client::ClientKey, link::LinkKey},
    ids::Instance,
};

impl Lives {
    /// Whether a client is told of an instance.
    pub(crate) fn is_told(&self, at: (Home, Instance), client: ClientKey) -> bool {
        self.watched.get(&at).is_some_and(|w| w.clients.contains(&client))
    }

    /// How often a client is told of an instance.
    pub(crate) fn watching(&self) -> usize {
        self.watched.values().map(|w| w.clients.len()).sum()
    }

    /// The links to nodes of which something is watched.
    pub(crate) fn links(&self) -> impl Iterator<Item = LinkKey> + '_ {
        self.watched
            .keys()
            .filter_map(|(home, _)| if let Home::There(link) = home { Some(*link) } else { None })
    }
}
