//! What must always hold of what waits for a link.

use super::TransmitQueue;
use crate::engine::check::{Check, holds, same};

impl TransmitQueue {
    pub(crate) fn check(&self) -> Check {
        same("entries that wait for a link", self.len, self.lanes.iter().map(|l| l.len()).sum())?;
        let lanes = self.lanes.iter().filter(|l| !l.is_empty()).count();
        same("clients in turn", self.turns.len(), lanes)?;
        let has_some = |c: &crate::engine::client::ClientKey| {
            self.lanes.get(usize::from(*c)).is_some_and(|l| !l.is_empty())
        };
        holds("who has a turn has something", self.turns.iter().all(has_some))
    }
}
