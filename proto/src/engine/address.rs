//! Messages for one instance and no other, as a reply is for the process that called.
//!
//! They stand in the unordered flow to its clientid, and are numbered there, but where the flow's other messages go is nothing to
//! them, nor they to those: each goes to its own instance, also while that leaves, and to nobody else when it is gone.

use super::{
    Engine,
    chain::{EntryKey, Target, Via},
    lives::Home,
};
use crate::{
    ids::{ClientId, Instance},
    units::Time,
    wire::CallMark,
};

/// What is known of a copy of a message of the call layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallCopy {
    /// When its client sent it, in this node's clock.
    pub(crate) sent_at: Time,
    /// It is for this instance and no other: a client that leaves is given it.
    pub(crate) is_addressed: bool,
}

impl CallCopy {
    /// As a peer sent it.
    pub(super) fn of(mark: CallMark, send_time: Time) -> Self {
        Self { sent_at: send_time.minus(mark.age), is_addressed: mark.is_addressed }
    }
}

impl Engine {
    /// The way to an instance that a message is for. `None`: it is not here yet (I6).
    pub(super) fn target_for(&self, (home, instance): (Home, Instance)) -> Option<Target> {
        let via = match home {
            Home::There(link) => Via::Link(link),
            Home::Here => {
                let key = *self.by_instance.get(&instance)?;
                self.clients[key].conn?;
                Via::Local
            }
        };
        Some(Target { instance, via })
    }

    /// Whether the only instance that may be given a message was of this node, and is not any more.
    #[inline]
    pub(super) fn is_for_nobody(&self, key: EntryKey) -> bool {
        match self.chain.entries[key].to {
            Some((Home::Here, instance)) => {
                self.target_for((Home::Here, instance)).is_none() && !self.may_return(instance)
            }
            _ => false,
        }
    }

    /// The instances of a client are others: what is for one of them may go to it now.
    pub(super) fn send_addressed(&mut self, client: ClientId) {
        for flow in self.routes.flows_to(client) {
            let Some(flow) = self.chain.flows.get(flow) else { continue };
            let addressed = |e: &EntryKey| {
                let entry = &self.chain.entries[*e];
                entry.to.is_some() && entry.copies == 0 && !entry.queued
            };
            let entries: Vec<_> = flow.unresolved().filter(addressed).collect();
            for entry in entries {
                // Handing one over can end others: look again at each.
                if self.chain.entries.get(entry).is_some_and(|e| e.to.is_some()) && self.may_send_copy(entry)
                {
                    self.dispatch(entry);
                }
            }
        }
    }
}
