//! What must always hold of what a client sent, and is given.

use super::{ReceiveQueue, SentMessages};
use crate::engine::check::{Check, holds, same};

impl SentMessages {
    pub(crate) fn check(&self) -> Check {
        same("messages in a client's chain", self.count as usize, self.ring.iter().flatten().count())?;
        holds("the oldest is unresolved", self.ring.front().is_none_or(Option::is_some))
    }
}

impl ReceiveQueue {
    pub(crate) fn check(&self) -> Check {
        same("bytes given", self.window_bytes, self.deliveries.iter().map(|d| d.len).sum())?;
        let frames = || self.deliveries.iter().map(|d| d.starts_at);
        holds("deliveries stand in the stream in order", frames().is_sorted())
    }
}
