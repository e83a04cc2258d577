//! What must always hold of a sender's side of a flow.

use super::OutFlow;
use crate::engine::check::{Check, holds};

impl OutFlow {
    pub(crate) fn check(&self) -> Check {
        holds("the floor is unresolved", self.ring.front().is_none_or(Option::is_some))?;
        holds("what is told is decided", !self.floor.is_before(self.told))
    }
}
