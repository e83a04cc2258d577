//! The receiver's side of a flow: dedupe, order, and what became of each message (I2, I3, I5, R8).
//!
//! ```text
//!            base                next              highest seen
//!             |                   |                     |
//!   decided   v                   v                     v
//!   ........ [T][G][G][R][T][G] [ ][H][H][ ][H][S][ ][H]
//! ```
//!
//! Below `base`, the sender's floor, everything is decided and nothing is remembered. From there on each number
//! has a slot. In the ordered flow, `next` is the first that is neither given nor decided: what is held behind it waits.

use std::collections::VecDeque;

mod check;
mod slot;

use super::{address::CallCopy, arena::key, client::ClientKey, fragments::Reassembly, link::LinkKey};
use crate::{
    ids::{Channel, FlowId, MsgId, Seq},
    limits::SEQ_SPAN,
    local::UNKNOWN_UID,
    outcome::Verdict,
    units::{Span, Time},
    wire::{AckRun, NackEntry},
};

use slot::Slot;
pub(crate) use slot::{Arrival, Held, is_expired};

key! {
    /// A receiver's side of a flow.
    InboxKey
}

/// Where a flow comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    /// A client of this node.
    Local,
    /// A peer.
    Link(LinkKey),
}

/// The receiver's side of a flow.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) id: FlowId,
    pub(crate) source: Source,
    /// Whom its sender runs as, once that is known.
    pub(crate) uid: u32,
    /// The client; `None` once it has departed.
    pub(crate) client: Option<ClientKey>,
    /// How often the flow began again after a stale delivery.
    pub(crate) round: u32,
    /// Messages that are half reassembled.
    pub(crate) partials: Vec<(Seq, Reassembly)>,
    /// To be acknowledged (R7).
    pub(crate) acks: Vec<AckRun>,
    /// To be refused.
    pub(crate) nacks: Vec<NackEntry>,
    /// It stands in its link's list of flows with something to say.
    pub(crate) is_dirty: bool,
    /// It stands in its client's list of flows that wait for room.
    pub(crate) is_blocked: bool,
    /// When the client departed: the inbox is kept for [`crate::limits::TOMBSTONE_MS`].
    pub(crate) departed_at: Option<Time>,
    /// Its sender is gone: it is kept until none of its copies can come any more.
    pub(crate) is_source_gone: bool,
    /// When a copy came last, and its interval.
    pub(crate) heard: (Time, Span),
    /// Told apart from an earlier inbox with the same key.
    pub(crate) serial: u32,
    base: Seq,
    slots: VecDeque<Slot>,
    /// Ordered: the first slot that is neither given nor decided.
    next: Seq,
    /// Unordered: held, in the order of arrival.
    waiting: VecDeque<Seq>,
    held: usize,
}

impl Inbox {
    pub(crate) const fn new(
        id: FlowId,
        source: Source,
        client: Option<ClientKey>,
        floor: Seq,
        serial: u32,
    ) -> Self {
        Self {
            id,
            source,
            uid: UNKNOWN_UID,
            client,
            round: 0,
            partials: Vec::new(),
            acks: Vec::new(),
            nacks: Vec::new(),
            is_dirty: false,
            is_blocked: false,
            departed_at: None,
            is_source_gone: false,
            heard: (Time(0), Span::ZERO),
            serial,
            base: floor,
            slots: VecDeque::new(),
            next: floor,
            waiting: VecDeque::new(),
            held: 0,
        }
    }

    /// The sender's floor moved: everything below is decided. Gives back what was held below it.
    pub(crate) fn advance_floor(&mut self, floor: Seq, mut dropped: impl FnMut(Held)) {
        let Some(ahead) = floor.since(self.base) else { return };
        for _ in 0..ahead.min(u32::try_from(self.slots.len()).unwrap_or(u32::MAX)) {
            if let Some(Slot::Held(held)) = self.slots.pop_front() {
                self.held -= 1;
                dropped(*held);
            }
        }
        self.base = floor;
        if self.next.is_before(floor) {
            self.next = floor;
        }
        self.partials.retain(|(seq, _)| !seq.is_before(floor));
        self.waiting.retain(|seq| !seq.is_before(floor));
        self.skip_decided();
    }

    /// The sender has decided these numbers: nothing waits for them. Gives back what was held of them. Returns how many
    /// it looked at.
    pub(crate) fn skip(&mut self, first: Seq, count: u32, mut dropped: impl FnMut(Held)) -> u32 {
        // What is in order was decided up to `next`, and is told again and again.
        let decided = match self.id.channel {
            Channel::Ordered => self.next.since(first).unwrap_or(0),
            Channel::Unordered => 0,
        };
        let end = count.min(SEQ_SPAN);
        for i in decided..end {
            let seq = first.plus(i);
            if let Some(slot) = self.slot_or_new(seq) {
                match std::mem::replace(slot, Slot::Skipped) {
                    Slot::Missing => {}
                    Slot::Held(held) => {
                        self.held -= 1;
                        dropped(*held);
                    }
                    other => *slot = other,
                }
            }
        }
        self.skip_decided();
        end.saturating_sub(decided)
    }

    /// In order, what stands before something that was taken is not given any more.
    pub(crate) fn refuse_below_taken(&mut self, verdict: Verdict) {
        let last = self.slots.iter().rposition(|slot| matches!(slot, Slot::Taken)).unwrap_or(0);
        for slot in self.slots.iter_mut().take(last).filter(|slot| matches!(slot, Slot::Missing)) {
            *slot = Slot::Refused(verdict);
        }
        self.skip_decided();
    }

    /// What a copy with that number is.
    pub(crate) fn arrival(&self, seq: Seq) -> Arrival {
        let Some(ahead) = seq.since(self.base) else { return Arrival::Decided };
        match self.slots.get(ahead as usize) {
            _ if ahead >= SEQ_SPAN => Arrival::TooFar,
            None | Some(Slot::Missing) => Arrival::New,
            Some(Slot::Held(_)) => Arrival::Waiting,
            Some(Slot::Given) => Arrival::Given,
            Some(Slot::Taken) => Arrival::Taken,
            Some(Slot::Refused(verdict)) => Arrival::Refused(*verdict),
            Some(Slot::Skipped) => Arrival::Decided,
        }
    }

    /// Ordered: the number that is waited for.
    pub(crate) const fn next(&self) -> Seq {
        self.next
    }

    /// Whether the client may be given a new message with that number at once: nothing before it waits.
    pub(crate) fn is_next(&self, seq: Seq) -> bool {
        match self.id.channel {
            Channel::Ordered => seq == self.next,
            Channel::Unordered => self.waiting.is_empty(),
        }
    }

    /// Whether it is in order, and nothing is known of any number from the next on.
    pub(crate) fn is_at_end(&self) -> bool {
        let known = self.next.since(self.base).unwrap_or(0) as usize;
        self.id.channel == Channel::Ordered && known == self.slots.len()
    }

    /// Whether the next number is not [too far](Arrival::TooFar) beyond the floor, if that is where it [ends](Self::is_at_end).
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.slots.len() < SEQ_SPAN as usize
    }

    /// The message with the next number goes to the client's library, where everything known [ends](Self::is_at_end).
    #[inline]
    pub(crate) fn record_next_given(&mut self) {
        // Written where it stands: one that is passed on is read wider than it was written.
        self.slots.resize_with(self.slots.len() + 1, || Slot::Given);
        self.next = self.next.next();
    }

    /// A new message waits.
    pub(crate) fn hold(&mut self, seq: Seq, held: Held) {
        if let Some(slot) = self.slot_or_new(seq) {
            *slot = Slot::Held(Box::new(held));
            self.held += 1;
            if self.id.channel == Channel::Unordered {
                self.waiting.push_back(seq);
            }
        }
    }

    /// A fresher copy of a message that waits has come (R4).
    pub(crate) fn refresh(&mut self, seq: Seq, send_time: Time, interval: Span) {
        if let Some(Slot::Held(held)) = self.slot(seq) {
            held.send_time = Ord::max(held.send_time, send_time);
            held.interval = interval;
            if std::mem::take(&mut held.is_parked) {
                self.waiting.push_back(seq);
            }
        }
    }

    /// What [`deliverable`](Self::deliverable) gave is stale. In order, others wait with it; else it leaves the line.
    /// Returns whether there may be another.
    pub(crate) fn park(&mut self, seq: Seq) -> bool {
        if self.id.channel == Channel::Ordered {
            return false;
        }
        if self.waiting.front() == Some(&seq) {
            self.waiting.pop_front();
        }
        if let Some(Slot::Held(held)) = self.slot(seq) {
            held.is_parked = true;
        }
        true
    }

    /// The next message that waits for nothing but room: its number, and it.
    pub(crate) fn deliverable(&self) -> Option<(Seq, &Held)> {
        let seq = match self.id.channel {
            Channel::Ordered => self.next,
            Channel::Unordered => *self.waiting.front()?,
        };
        match self.slots.get(seq.since(self.base)? as usize)? {
            Slot::Held(held) => Some((seq, held)),
            _ => None,
        }
    }

    /// Takes [`deliverable`](Self::deliverable)'s message out; its number is missing until it is given.
    pub(crate) fn unhold(&mut self, seq: Seq) -> Option<Held> {
        let slot = self.slot(seq)?;
        match std::mem::replace(slot, Slot::Missing) {
            Slot::Held(held) => {
                self.held -= 1;
                self.waiting.retain(|s| *s != seq);
                Some(*held)
            }
            other => {
                *slot = other;
                None
            }
        }
    }

    /// A message goes to the client's library.
    pub(crate) fn record_given(&mut self, seq: Seq) {
        if let Some(slot) = self.slot_or_new(seq) {
            *slot = Slot::Given;
            self.skip_decided();
        }
    }

    /// The client's library has taken a message. `false` if the sender had decided it before.
    pub(crate) fn record_taken(&mut self, seq: Seq) -> bool {
        let slot = self.slot(seq);
        let is_open = slot.is_some();
        if let Some(slot) = slot {
            *slot = Slot::Taken;
        }
        is_open
    }

    /// The client's library dropped a delivery as stale: it is to be given again, in its place.
    pub(crate) fn record_stale(&mut self, seq: Seq, round: u32) {
        if let Some(slot @ Slot::Given) = self.slot(seq) {
            *slot = Slot::Missing;
            if seq.is_before(self.next) {
                self.next = seq;
            }
        }
        if round == self.round {
            self.round = self.round.wrapping_add(1);
        }
    }

    /// A message will not be given to this client.
    pub(crate) fn record_refused(&mut self, seq: Seq, verdict: Verdict) {
        if let Some(slot) = self.slot_or_new(seq) {
            *slot = Slot::Refused(verdict);
            self.skip_decided();
        }
    }

    /// A message that the sender has not seen the end of: was it given, or can it still be called back?
    /// If it can, it is: it will not be given.
    pub(crate) fn revoke(&mut self, seq: Seq, verdict: Verdict) -> Revoked {
        let Some(slot) = self.slot_or_new(seq) else { return Revoked::Begun };
        match slot {
            Slot::Given | Slot::Taken => Revoked::Begun,
            Slot::Missing | Slot::Skipped | Slot::Refused(_) => {
                *slot = Slot::Refused(verdict);
                self.skip_decided();
                Revoked::NotStarted(None)
            }
            Slot::Held(_) => {
                let held = self.unhold(seq);
                self.record_refused(seq, verdict);
                Revoked::NotStarted(held)
            }
        }
    }

    /// The messages that wait and are wanted.
    pub(crate) fn held(&self, is_wanted: impl Fn(Option<CallCopy>) -> bool) -> Vec<(Seq, MsgId)> {
        let numbered = self.slots.iter().enumerate();
        let held = numbered.filter_map(|(i, slot)| match slot {
            Slot::Held(held) if is_wanted(held.call) => {
                Some((self.base.plus(u32::try_from(i).ok()?), held.msgid))
            }
            _ => None,
        });
        held.collect()
    }

    /// Held messages that went stale and were not refreshed, dropped (R6): what they held.
    pub(crate) fn drop_expired(&mut self, now: Time, mut dropped: impl FnMut(Held)) {
        if self.held == 0 {
            return;
        }
        for slot in &mut self.slots {
            if matches!(slot, Slot::Held(held) if held.is_expired(now))
                && let Slot::Held(held) = std::mem::replace(slot, Slot::Missing)
            {
                self.held -= 1;
                dropped(*held);
            }
        }
        let (base, slots) = (self.base, &self.slots);
        self.waiting.retain(|seq| {
            seq.since(base).and_then(|i| slots.get(i as usize)).is_some_and(|s| matches!(s, Slot::Held(_)))
        });
    }

    /// Messages that wait for one before them, and so for no room yet; 0 where none waits for another.
    pub(crate) fn queued_behind(&self) -> usize {
        match self.id.channel {
            Channel::Unordered => 0,
            Channel::Ordered => {
                let is_first_there = matches!(self.arrival(self.next), Arrival::Waiting)
                    || self.partials.iter().any(|(seq, _)| *seq == self.next);
                self.held + self.partials.len() - usize::from(is_first_there)
            }
        }
    }

    /// Drops what waits last in order, if that is behind `seq`: its bytes, and how many held messages that is (0: it
    /// was half reassembled).
    pub(crate) fn drop_last(&mut self, seq: Seq) -> Option<(Vec<u8>, usize)> {
        let base = self.base;
        let is_behind = |last: &Seq| seq.is_before(*last);
        let last_held = self.slots.iter().rposition(|slot| matches!(slot, Slot::Held(_)));
        let last_held = last_held.and_then(|i| u32::try_from(i).ok()).map(|i| base.plus(i)).filter(is_behind);
        let partial = (0..self.partials.len()).max_by_key(|i| self.partials[*i].0.since(base));
        let partial = partial.filter(|i| is_behind(&self.partials[*i].0));
        match (last_held, partial) {
            (held, Some(index)) if held.is_none_or(|seq| seq.is_before(self.partials[index].0)) => {
                Some((self.partials.swap_remove(index).1.bytes, 0))
            }
            (Some(seq), _) => {
                let held = self.unhold(seq)?;
                while let Some(Slot::Missing) = self.slots.back() {
                    self.slots.pop_back();
                }
                Some((held.payload, 1))
            }
            (None, _) => None,
        }
    }

    /// Whether anything is held or half reassembled.
    pub(crate) fn holds_anything(&self) -> bool {
        self.held > 0 || !self.partials.is_empty()
    }

    /// Messages held.
    pub(crate) const fn held_messages(&self) -> usize {
        self.held
    }

    /// The sender's floor, as last told.
    pub(crate) const fn floor(&self) -> Seq {
        self.base
    }

    /// Bytes of messages held and half reassembled.
    pub(crate) fn held_bytes(&self) -> usize {
        let held = self.slots.iter().map(|s| if let Slot::Held(h) = s { h.payload.len() } else { 0 });
        held.sum::<usize>() + self.partials.iter().map(|(_, p)| p.bytes.len()).sum::<usize>()
    }

    /// Acknowledges a message; joins the last run where both its numbers follow it.
    pub(crate) fn push_ack(&mut self, msgid: MsgId, seq: Seq) {
        if let Some(run) = self.acks.last_mut()
            && run.msgid.plus(run.count) == msgid
            && run.seq.plus(run.count) == seq
            && run.count < SEQ_SPAN
        {
            run.count += 1;
        } else {
            self.acks.push(AckRun { msgid, seq, count: 1 });
        }
    }

    fn slot(&mut self, seq: Seq) -> Option<&mut Slot> {
        let index = seq.since(self.base)? as usize;
        self.slots.get_mut(index)
    }

    fn slot_or_new(&mut self, seq: Seq) -> Option<&mut Slot> {
        let index = seq.since(self.base).filter(|i| *i < SEQ_SPAN)? as usize;
        while self.slots.len() <= index {
            self.slots.push_back(Slot::Missing);
        }
        self.slots.get_mut(index)
    }

    fn skip_decided(&mut self) {
        let mut index = self.next.since(self.base).unwrap_or(0) as usize;
        while let Some(Slot::Given | Slot::Taken | Slot::Refused(_) | Slot::Skipped) = self.slots.get(index) {
            index += 1;
            self.next = self.next.next();
        }
    }
}

/// The answer to [`Inbox::revoke`].
#[derive(Debug)]
pub(crate) enum Revoked {
    /// It was given: it may have begun.
    Begun,
    /// It was not, and will not be; what was held of it.
    NotStarted(Option<Held>),
}

#[cfg(test)]
mod tests;
