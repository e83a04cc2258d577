//! The retransmit chain: messages whose outcome is not known yet (R3).

mod check;

use std::collections::VecDeque;

use super::{
    arena::{Arena, key},
    client::ClientKey,
    due::{DueLists, Place},
    fragments::Units,
    link::LinkKey,
    lives::Home,
    reads::{Bytes, Reads},
};
use crate::{
    ids::{Channel, ClientId, FlowId, Instance, MsgId, Seq},
    limits::SEQ_SPAN,
    outcome::{Certainty, Reason},
    units::Time,
    wire::CallMark,
};

key! {
    /// A message in the chain.
    EntryKey
}
key! {
    /// A sender's side of a flow.
    FlowKey
}

/// A message whose outcome is not known yet. It begins where a cache line does: a thousand of them stand around, and each is
/// looked at a handful of times, far apart.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Entry {
    /// Told apart from an earlier entry with the same key.
    pub(crate) serial: u32,
    pub(crate) client: ClientKey,
    pub(crate) flow: FlowKey,
    pub(crate) msgid: MsgId,
    pub(crate) seq: Seq,
    pub(crate) at_least_once: bool,
    pub(crate) is_call: bool,
    /// The only instance that may be given it, and whose client that is. Its flow's target is nothing to it.
    pub(crate) to: Option<(Home, Instance)>,
    /// The user data, then the payload: [`Chain::payload`].
    pub(crate) bytes: Bytes,
    pub(crate) user_len: u8,
    /// When its client sent it, by the raw clock, as the library counts it.
    pub(crate) sent_at: Time,
    pub(crate) retries_left: u8,
    pub(crate) place: Option<Place>,
    /// Copies that left this node, or were handed to the inbox of a client of this node.
    pub(crate) copies: u32,
    /// Its flow's target may have begun it: a copy left, and was not refused. Nobody else may be given it.
    pub(crate) in_doubt: bool,
    /// Some instance that is gone may have begun (only with `at_least_once`).
    pub(crate) tainted: bool,
    /// Why the last instance refused it, for the failure.
    pub(crate) refusal: Option<Reason>,
    /// It stands in a link's queue.
    pub(crate) queued: bool,
    /// A large message's units.
    pub(crate) units: Option<Box<Units>>,
}

// Two cache lines.
const _: () = assert!(size_of::<Entry>() <= 128);

/// A destination: an instance and the way to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) instance: Instance,
    pub(crate) via: Via,
}

/// The way to an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Via {
    /// It is a client of this node, or was one of the daemon before this one.
    Local,
    /// Over a link.
    Link(LinkKey),
    /// None is known: the daemon before this one knew it.
    Nowhere,
}

/// Whether a flow's messages go to its target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// They go.
    Open,
    /// First the sender's library is told of the target (I6): it has read it once so much of its stream is written.
    Telling(u64),
    /// Only those go that the target may have begun: when none is left, the others go to another instance.
    Closing,
}

/// To which instance a flow's messages go, as the sender's library knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    /// To none: nobody may have begun any that is unresolved.
    Nobody,
    /// To the one before, or to the one that it is being told of.
    Unsure,
    This(Instance),
}

impl Entry {
    /// That of no message.
    pub(crate) const BLANK: Self = Self {
        serial: 0,
        client: ClientKey(0),
        flow: FlowKey(0),
        msgid: MsgId(0),
        seq: Seq(0),
        at_least_once: false,
        is_call: false,
        to: None,
        bytes: Bytes::EMPTY,
        user_len: 0,
        sent_at: Time(0),
        retries_left: 0,
        place: None,
        copies: 0,
        in_doubt: false,
        tainted: false,
        refusal: None,
        queued: false,
        units: None,
    };

    /// The length of the message itself.
    pub(crate) fn payload_len(&self) -> usize {
        self.bytes.len() - usize::from(self.user_len)
    }

    /// The message itself.
    #[inline]
    pub(crate) fn payload<'a>(&'a self, reads: &'a Reads) -> &'a [u8] {
        &reads.get(&self.bytes)[usize::from(self.user_len)..]
    }

    /// The sender's user data.
    pub(crate) fn user<'a>(&'a self, reads: &'a Reads) -> &'a [u8] {
        &reads.get(&self.bytes)[..usize::from(self.user_len)]
    }

    /// Of a message of the call layer: how long ago its client sent it, and whether it is for one instance.
    pub(crate) fn call(&self, raw: Time) -> Option<CallMark> {
        // By the clock that judges: what is measured short would be begun late.
        let (age, is_addressed) = (raw.since(self.sent_at), self.to.is_some());
        self.is_call.then_some(CallMark { age, is_addressed })
    }

    /// What is known of it if it fails now (I3): nothing left this node, or all that did was refused, or not.
    pub(crate) const fn certainty(&self) -> Certainty {
        if self.in_doubt || self.tainted { Certainty::Unknown } else { Certainty::NotStarted }
    }
}

/// All clients' chains.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) entries: Arena<EntryKey, Entry>,
    pub(crate) due: DueLists,
    pub(crate) flows: Arena<FlowKey, OutFlow>,
    pub(crate) reads: Reads,
    next_serial: u32,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self {
            entries: Arena::new(),
            due: DueLists::default(),
            flows: Arena::new(),
            reads: Reads::new(),
            next_serial: 0,
        }
    }

    /// A number that tells this entry from others with the same key.
    pub(crate) const fn serial(&mut self) -> u32 {
        self.next_serial = self.next_serial.wrapping_add(1);
        self.next_serial
    }

    /// The entry with that key, if it is still the one meant.
    #[inline]
    pub(crate) fn same(&self, key: EntryKey, serial: u32) -> Option<&Entry> {
        self.entries.get(key).filter(|e| e.serial == serial)
    }

    /// Which instance a message is given to, if it is.
    #[inline]
    pub(crate) fn given_to(&self, entry: &Entry) -> Option<Instance> {
        match entry.to {
            Some((_, instance)) => Some(instance),
            None => self.flows[entry.flow].target.map(|target| target.instance),
        }
    }

    /// Whether an answer is about this message: its flow's, with its number, from the instance that may have begun it.
    #[inline]
    pub(crate) fn is_answered(&self, key: EntryKey, flow: &FlowId, seq: Seq) -> bool {
        let entry = &self.entries[key];
        entry.seq == seq
            && entry.in_doubt
            && self.given_to(entry) == Some(flow.dst)
            && self.flows[entry.flow].channel == flow.channel
    }

    /// A copy goes to the target: it may begin from now on.
    pub(crate) fn bind(&mut self, key: EntryKey) {
        let entry = &mut self.entries[key];
        if !std::mem::replace(&mut entry.in_doubt, true) && entry.to.is_none() {
            self.flows[entry.flow].in_doubt += 1;
        }
    }

    /// The target has not begun it, and never will; or its outcome is known.
    pub(crate) fn unbind(&mut self, key: EntryKey) {
        let entry = &mut self.entries[key];
        if std::mem::replace(&mut entry.in_doubt, false) && entry.to.is_none() {
            self.flows[entry.flow].in_doubt -= 1;
        }
    }

    /// What was queued, or is on its way to an earlier target, is meant no more.
    pub(crate) fn renew_serials(&mut self, flow: FlowKey) {
        let keys: Vec<_> = self.flows[flow].unresolved().collect();
        for key in keys {
            if self.entries[key].to.is_some() {
                continue;
            }
            let serial = self.serial();
            let entry = &mut self.entries[key];
            (entry.serial, entry.queued) = (serial, false);
            if let Some(units) = &mut entry.units {
                units.restart();
            }
        }
    }
}

/// A sender's side of a flow: which of its messages are unresolved.
#[derive(Debug)]
pub(crate) struct OutFlow {
    pub(crate) client: ClientKey,
    pub(crate) dst: ClientId,
    pub(crate) channel: Channel,
    /// The instance that its messages go to, and the way to it. One at a time: while it may have begun any of them, no
    /// other instance is given one, and the order holds across instances.
    pub(crate) target: Option<Target>,
    /// Whether they go.
    pub(crate) stage: Stage,
    /// The target that the sender's library knows of.
    pub(crate) known: Known,
    /// How many unresolved messages, those for one instance aside, the target may have begun.
    pub(crate) in_doubt: u32,
    /// The way to the target is lost: from then on it counts as gone for good. Without a target: until then the one that the
    /// library knows of may come back.
    pub(crate) lost_until: Option<Time>,
    /// The client that came back submits again what the target may have begun: up to this one.
    pub(crate) replay: Option<Seq>,
    /// The floor is to be told to the target's node, though no message takes it there.
    pub(crate) floor_untold: bool,
    /// It stands in its client's list of flows whose floor moved.
    pub(crate) is_moved: bool,
    /// The floor that receivers may be told: the sender's library knows all outcomes below it. A receiver forgets
    /// what is below; if this daemon died before its client had read an outcome, the message would come again, and its
    /// receiver must still know it (I6).
    told: Seq,
    /// The last message that was given up.
    last_failed: Option<Seq>,
    /// The lowest unresolved sequence number; without any, the one after the highest.
    floor: Seq,
    /// From the floor on.
    ring: VecDeque<Option<EntryKey>>,
}

impl OutFlow {
    pub(crate) fn new(client: ClientKey, dst: ClientId, channel: Channel, first: Seq) -> Self {
        let ring = VecDeque::new();
        Self {
            client,
            dst,
            channel,
            target: None,
            stage: Stage::Open,
            known: Known::Nobody,
            in_doubt: 0,
            lost_until: None,
            replay: None,
            floor_untold: false,
            is_moved: false,
            told: first,
            last_failed: None,
            floor: first,
            ring,
        }
    }

    pub(crate) const fn floor(&self) -> Seq {
        self.floor
    }

    /// The floor that receivers are told.
    pub(crate) const fn told_floor(&self) -> Seq {
        self.told
    }

    /// The sender's library knows all outcomes below `floor`.
    pub(crate) fn record_known(&mut self, floor: Seq) {
        if self.told.is_before(floor) {
            self.told = floor;
        }
    }

    /// A message was given up: nothing waits for it.
    pub(crate) const fn record_failed(&mut self, seq: Seq) {
        self.last_failed = Some(seq);
    }

    /// Whether the target may have begun any of its messages.
    pub(crate) const fn is_in_doubt(&self) -> bool {
        self.in_doubt > 0 || self.replay.is_some()
    }

    /// From now on its messages go to another instance, which will not be given what was decided before.
    pub(crate) fn begin_anew(&mut self) {
        if self.told != self.floor {
            self.last_failed = Some(Seq(self.floor.0.wrapping_sub(1)));
        }
    }

    /// How far a sequence number would be beyond the floor; `None` if it is not beyond what was added before.
    pub(crate) fn room_for(&self, seq: Seq) -> Option<u32> {
        let ahead = seq.since(self.floor)?;
        (ahead as usize >= self.ring.len()).then_some(ahead)
    }

    /// Whether the next message may have that number.
    #[inline]
    pub(crate) fn takes(&self, seq: Seq) -> bool {
        self.room_for(seq).is_some_and(|ahead| ahead < SEQ_SPAN)
    }

    /// Adds a message. Numbers that are left out were given up by the sender's library.
    #[inline]
    pub(crate) fn push(&mut self, seq: Seq, entry: EntryKey) {
        if self.ring.is_empty() {
            if self.told == self.floor {
                self.told = seq;
            } else if self.floor != seq {
                self.last_failed = Some(Seq(seq.0.wrapping_sub(1)));
            }
            self.floor = seq;
        }
        let ahead = seq.since(self.floor).unwrap_or(0) as usize;
        if ahead > self.ring.len() {
            self.ring.resize(ahead, None);
        }
        self.ring.push_back(Some(entry));
    }

    /// A message's outcome is known.
    #[inline]
    pub(crate) fn resolve(&mut self, seq: Seq) {
        if let Some(slot) = seq.since(self.floor).and_then(|i| self.ring.get_mut(i as usize)) {
            *slot = None;
        }
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.floor = self.floor.next();
        }
    }

    /// The unresolved messages, in order.
    pub(crate) fn unresolved(&self) -> impl Iterator<Item = EntryKey> + '_ {
        self.ring.iter().flatten().copied()
    }

    /// The decided numbers right before `seq`, down to the next unresolved one, unless the told floor covers them:
    /// the first, and how many.
    #[inline]
    pub(crate) fn hole_before(&self, seq: Seq) -> Option<(Seq, u32)> {
        let index = seq.since(self.floor)? as usize;
        let before = index.checked_sub(1).and_then(|before| self.ring.get(before));
        if before.is_some_and(Option::is_some) { None } else { self.find_hole(seq, index) }
    }

    fn find_hole(&self, seq: Seq, index: usize) -> Option<(Seq, u32)> {
        let decided = self.ring.range(..index.min(self.ring.len())).rev().take_while(|s| s.is_none()).count();
        let below = if decided == index { self.hole_below() } else { 0 };
        let count = u32::try_from(decided).ok().map(|n| n + below).filter(|n| *n > 0)?;
        Some((Seq(seq.0.wrapping_sub(count)), count))
    }

    /// How many decided numbers there are between the told floor and the floor, if any of them was given up.
    /// (Where all were taken, the receiver knows that itself.)
    fn hole_below(&self) -> u32 {
        let failed = self.last_failed.is_some_and(|f| !f.is_before(self.told) && f.is_before(self.floor));
        if failed { self.floor.since(self.told).unwrap_or(0) } else { 0 }
    }

    /// All holes above the told floor.
    pub(crate) fn holes(&self) -> impl Iterator<Item = (Seq, u32)> + '_ {
        let mut index = 0;
        let below = Some((self.told, self.hole_below())).filter(|(_, count)| *count > 0);
        below.into_iter().chain(std::iter::from_fn(move || {
            while index < self.ring.len() && self.ring[index].is_some() {
                index += 1;
            }
            let start = index;
            while index < self.ring.len() && self.ring[index].is_none() {
                index += 1;
            }
            let count = u32::try_from(index - start).ok().filter(|n| *n > 0)?;
            Some((self.floor.plus(u32::try_from(start).ok()?), count))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(first: u32) -> OutFlow {
        OutFlow::new(ClientKey(0), ClientId(2), Channel::Ordered, Seq(first))
    }

    #[test]
    fn the_floor_is_the_lowest_unresolved_across_the_wrap() {
        let start = u32::MAX - 2;
        let mut flow = flow(start);
        for i in 0..6 {
            flow.push(Seq(start).plus(i), EntryKey(i));
        }
        flow.resolve(Seq(start).plus(2));
        flow.resolve(Seq(start).plus(1));
        assert_eq!(flow.floor(), Seq(start));
        assert_eq!(flow.hole_before(Seq(start).plus(3)), Some((Seq(start).plus(1), 2)));
        assert_eq!(flow.holes().collect::<Vec<_>>(), [(Seq(start).plus(1), 2)]);
        assert_eq!(flow.hole_before(Seq(start).plus(4)), None);
        flow.resolve(Seq(start));
        assert_eq!(flow.floor(), Seq(0));
        assert_eq!(flow.hole_before(Seq(0)), None);
        for i in 3..6 {
            flow.resolve(Seq(start).plus(i));
        }
        assert!(flow.unresolved().next().is_none());
        assert_eq!(flow.floor(), Seq(3));
    }

    #[test]
    fn i6_the_floor_is_told_when_the_library_knows_it() {
        let mut flow = flow(0);
        for i in 0..4 {
            flow.push(Seq(i), EntryKey(i));
        }
        flow.resolve(Seq(0));
        assert_eq!((flow.floor(), flow.told_floor()), (Seq(1), Seq(0)));
        assert_eq!(flow.hole_before(Seq(1)), None, "the receiver has taken it, and knows");
        flow.record_failed(Seq(1));
        flow.resolve(Seq(1));
        assert_eq!(flow.hole_before(Seq(2)), Some((Seq(0), 2)), "it does not know of this one");
        assert_eq!(flow.holes().collect::<Vec<_>>(), [(Seq(0), 2)]);
        flow.record_known(Seq(2));
        flow.record_known(Seq(1));
        assert_eq!(flow.told_floor(), Seq(2));
        assert_eq!(flow.hole_before(Seq(2)), None);
    }

    #[test]
    fn numbers_left_out_are_holes() {
        let mut flow = flow(0);
        flow.push(Seq(5), EntryKey(1));
        assert_eq!(flow.floor(), Seq(5));
        flow.push(Seq(9), EntryKey(2));
        assert_eq!(flow.hole_before(Seq(9)), Some((Seq(6), 3)));
        assert_eq!(flow.room_for(Seq(9)), None);
        assert_eq!(flow.room_for(Seq(10)), Some(5));
        assert_eq!(flow.unresolved().collect::<Vec<_>>(), [EntryKey(1), EntryKey(2)]);
        // They are also when the library does not know yet what became of the last one.
        flow.resolve(Seq(5));
        flow.resolve(Seq(9));
        assert_eq!((flow.floor(), flow.told_floor()), (Seq(10), Seq(5)));
        flow.push(Seq(10), EntryKey(3));
        assert_eq!(flow.hole_before(Seq(10)), None, "none was left out");
        flow.resolve(Seq(10));
        flow.push(Seq(14), EntryKey(4));
        assert_eq!(flow.hole_before(Seq(14)), Some((Seq(5), 9)));
    }
}
