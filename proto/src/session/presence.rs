//! The instances of the clientids that the client has subscribed to.

use std::collections::{BTreeMap, VecDeque};

use super::{SendError, Session};
use crate::{
    ids::{ClientId, Incarnation},
    limits,
    local::{Presence, PresentInstance, put},
    units::Time,
};

/// Something has changed among the instances of a clientid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresenceEvent {
    /// Which clientid.
    pub client: ClientId,
    /// What.
    pub change: PresenceChange,
}

/// What has changed among the instances of a clientid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PresenceChange {
    /// An instance is there.
    Up(PresentInstance),
    /// An instance is gone, or takes no more.
    Down(PresentInstance),
    /// Another instance is active: what is sent from now on goes to it. `None`: there is none.
    Active(Option<PresentInstance>),
}

/// What is known, and what was not told yet.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    known: BTreeMap<ClientId, Vec<PresentInstance>>,
    /// What the daemon said: at most [`MAX_PENDING`], and one for each clientid.
    pending: VecDeque<Pending>,
    waiting: VecDeque<PresenceEvent>,
}

/// A PRESENCE whose turn has not come.
#[derive(Debug)]
struct Pending {
    client: ClientId,
    is_partial: bool,
    instances: Vec<PresentInstance>,
    /// It came behind so many deliveries of the stream.
    behind: u64,
}

impl Session {
    /// Has [`super::Event::Presence`] tell of the instances of a clientid: of those that are there now, and of each change.
    /// An instance is up before its first message comes. The daemon's restart is not seen, but for what changed.
    ///
    /// # Errors
    ///
    /// More than [`limits::MAX_SUBSCRIPTIONS`] ([`SendError::TooManyFlows`]); the session is closed, or was refused.
    pub fn subscribe(&mut self, _now: Time, client: ClientId) -> Result<(), SendError> {
        self.check_open()?;
        let known = &mut self.subscriptions.known;
        if known.contains_key(&client) {
            return Ok(());
        }
        if known.len() >= limits::MAX_SUBSCRIPTIONS {
            return Err(SendError::TooManyFlows);
        }
        known.insert(client, Vec::new());
        if self.state.takes_submits() {
            put::subscribe(self.output.frames(), client);
        }
        Ok(())
    }

    /// The next change of presence whose turn has come. [`poll_message`](Self::poll_message) gives no message that came
    /// behind it until it was polled.
    pub fn poll_presence(&mut self) -> Option<PresenceEvent> {
        self.subscriptions.ripen(self.polled());
        self.subscriptions.waiting.pop_front()
    }

    /// Whether [`poll_presence`](Self::poll_presence) has something.
    #[must_use]
    pub fn has_presence(&self) -> bool {
        let polled = self.polled();
        !self.subscriptions.waiting.is_empty()
            || self.subscriptions.pending.front().is_some_and(|p| p.behind <= polled)
    }

    /// Deliveries of this stream that were polled, or dropped.
    pub(super) fn polled(&self) -> u64 {
        self.deliveries.scanned().saturating_sub(self.input.deliveries() as u64)
    }

    pub(super) fn on_presence(&mut self, presence: &Presence<'_>) {
        self.subscriptions.record(presence, self.deliveries.scanned());
    }
}

impl Subscriptions {
    /// Whether nothing was said that was not polled.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiting.is_empty() && self.pending.is_empty()
    }

    /// SUBSCRIBE for each: a new stream begins.
    pub(super) fn report(&self, out: &mut Vec<u8>) {
        for client in self.known.keys() {
            put::subscribe(out, *client);
        }
    }

    /// The deliveries that a PRESENCE came behind are forgotten.
    pub(super) fn handle_connected(&mut self) {
        self.pending.iter_mut().for_each(|p| p.behind = 0);
    }

    fn record(&mut self, presence: &Presence<'_>, behind: u64) {
        let (client, is_partial) = (presence.client, presence.is_partial);
        if !self.known.contains_key(&client) {
            return;
        }
        let instances = presence.instances().collect();
        let is_full = self.pending.len() >= MAX_PENDING;
        match self.pending.iter_mut().rev().find(|p| p.client == client) {
            // Nobody asks: what was true in between is not told. (A complete one follows each partial one.)
            Some(last) if is_full => {
                if !is_partial {
                    (last.instances, last.is_partial) = (instances, false);
                }
            }
            _ => self.pending.push_back(Pending { client, is_partial, instances, behind }),
        }
    }

    fn ripen(&mut self, polled: u64) {
        while self.waiting.is_empty() && self.pending.front().is_some_and(|p| p.behind <= polled) {
            let Some(pending) = self.pending.pop_front() else { return };
            self.apply(pending);
        }
    }

    /// What is so now, as far as its daemon knows, becomes the changes since the last time.
    fn apply(&mut self, pending: Pending) {
        let Pending { client, is_partial, instances: mut now, .. } = pending;
        let Some(known) = self.known.get_mut(&client) else { return };
        if is_partial {
            let others: Vec<_> =
                known.iter().copied().filter(|old| !is_among(&now, old.incarnation)).collect();
            now.extend(others);
        }
        now.sort_by_key(|i| std::cmp::Reverse((i.priority, i.incarnation)));
        let before = std::mem::replace(known, now.clone());
        let mut tell = |change| self.waiting.push_back(PresenceEvent { client, change });
        for up in now.iter().filter(|i| !is_among(&before, i.incarnation)) {
            tell(PresenceChange::Up(*up));
        }
        for down in before.iter().filter(|i| !is_among(&now, i.incarnation)) {
            tell(PresenceChange::Down(*down));
        }
        let active = now.first().copied();
        if active.map(|i| i.incarnation) != before.first().map(|i| i.incarnation) {
            tell(PresenceChange::Active(active));
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let entry = size_of::<PresentInstance>();
        self.known.values().map(|k| k.capacity() * entry).sum::<usize>()
            + self
                .pending
                .iter()
                .map(|p| size_of::<Pending>() + p.instances.capacity() * entry)
                .sum::<usize>()
            + self.waiting.capacity() * size_of::<PresenceEvent>()
    }
}

fn is_among(instances: &[PresentInstance], incarnation: Incarnation) -> bool {
    instances.iter().any(|i| i.incarnation == incarnation)
}

/// So many are told each in its place; of more, the last of each clientid counts.
const MAX_PENDING: usize = 64;
