//! What must always hold inside an inbox.

use super::{Inbox, Slot};
use crate::{
    engine::check::{Check, holds, same},
    ids::Channel,
    limits::SEQ_SPAN,
};

impl Inbox {
    pub(crate) fn check(&self) -> Check {
        let held =
            || self.slots.iter().filter_map(|s| if let Slot::Held(held) = s { Some(held) } else { None });
        same("messages that an inbox holds", self.held, held().count())?;
        holds("slots", self.slots.len() <= SEQ_SPAN as usize)?;
        holds("what is half there is undecided", self.partials.iter().all(|(s, _)| !s.is_before(self.base)))?;
        match self.id.channel {
            Channel::Ordered => self.check_order(),
            Channel::Unordered => {
                let in_line = held().filter(|h| !h.is_parked).count();
                same("messages in the line", self.waiting.len(), in_line)?;
                let is_held =
                    |i: u32| matches!(self.slots.get(i as usize), Some(Slot::Held(held)) if !held.is_parked);
                let all = self.waiting.iter().all(|seq| seq.since(self.base).is_some_and(is_held));
                holds("what stands in the line is held", all)
            }
        }
    }

    /// `next` is the first that is neither given nor decided.
    fn check_order(&self) -> Check {
        let is_done = |s: &Slot| !matches!(s, Slot::Missing | Slot::Held(_));
        let done = self.slots.iter().take_while(|s| is_done(s)).count();
        same("what comes next", self.next.since(self.base).map(|n| n as usize), Some(done))?;
        holds("in order there is no line", self.waiting.is_empty())
    }

    /// Whether it holds something that can go stale, counted anew.
    pub(crate) fn has_any(&self) -> bool {
        self.slots.iter().any(|s| matches!(s, Slot::Held(_))) || !self.partials.is_empty()
    }
}
