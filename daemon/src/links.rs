//! Log lines about links that come up, go down, and cannot come up.

use std::collections::BTreeMap;

use msg_proto::{
    counters::Counter,
    engine::Engine,
    units::{Span, Time},
};

/// The status is asked for a change this often at most.
const GAP: Span = Span::from_millis(1_000);

/// What the log has said of each link.
#[derive(Debug, Default)]
pub(crate) struct Links {
    /// How many changes the log knows of.
    changes: u64,
    looked: Time,
    states: BTreeMap<String, String>,
    /// Which peers it has said to speak another version.
    mismatches: BTreeMap<String, String>,
}

impl Links {
    /// Logs what has changed. Three counters tell whether anything has, so that it costs nothing otherwise.
    pub(crate) fn note(&mut self, now: Time, engine: &Engine) {
        let counters = engine.counters();
        let changes = [Counter::LinksUp, Counter::LinksDown, Counter::VersionMismatches];
        let changes =
            changes.map(|counter| counters.value(counter)).iter().fold(0, |sum, n| n.wrapping_add(sum));
        if changes == self.changes || now.since(self.looked) < GAP {
            return;
        }
        self.changes = changes;
        self.looked = now;
        for peer in engine.status(now).peers {
            let before = self.states.get(&peer.name);
            let was_up = before.is_some_and(|state| state == "up");
            match (was_up, peer.state == "up") {
                (false, true) => tracing::info!(peer = peer.name, "link to {} is up", peer.name),
                (true, false) => {
                    tracing::warn!(
                        peer = peer.name,
                        reason = peer.state,
                        "link to {} is {}",
                        peer.name,
                        peer.state
                    );
                }
                _ => {}
            }
            if let Some(mismatch) = peer.mismatch
                && self.mismatches.get(&peer.name) != Some(&mismatch)
            {
                tracing::warn!(
                    peer = peer.name,
                    reason = "Version",
                    "no link to {} is possible: {mismatch}",
                    peer.name
                );
                self.mismatches.insert(peer.name.clone(), mismatch);
            }
            if peer.state == "up" {
                self.mismatches.remove(&peer.name);
            }
            self.states.insert(peer.name, peer.state);
        }
    }
}
