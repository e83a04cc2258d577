//! The flows that come in, and what was taken of each.

use std::collections::BTreeMap;

use super::taken::TakenSet;
use crate::{
    ids::{Channel, Instance, Seq},
    limits::MAX_FLOWS_PER_CLIENT,
    local::{FlowTaken, Progress, UNKNOWN_UID, put},
};

/// The flows that come in, at most [`MAX_FLOWS_PER_CLIENT`], as the daemon holds them. Nobody tells when one
/// ends, so for one too many the one that has been silent longest is forgotten.
#[derive(Debug)]
pub(super) struct InFlows {
    index: BTreeMap<(Instance, Channel), usize>,
    flows: Vec<InFlow>,
    /// The flow of the last delivery: most come from where the one before came.
    last: usize,
    uses: u64,
}

#[derive(Debug)]
pub(super) struct InFlow {
    src: Instance,
    channel: Channel,
    pub(super) taken: TakenSet,
    /// Deliveries of an earlier round stand behind one that was dropped as stale.
    pub(super) min_round: u32,
    /// Whom its sender runs as, as last said.
    uid: u32,
    used: u64,
}

/// A message that came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) src: Instance,
    pub(super) channel: Channel,
    pub(super) seq: Seq,
}

impl Place {
    /// FLOW_TAKEN for this message alone.
    pub(super) fn report(self, out: &mut Vec<u8>, progress: Progress) {
        let Self { src, channel, seq: floor } = self;
        put::flow_taken(out, &FlowTaken { src, channel, floor, progress, bitmap: &[1] });
    }
}

impl InFlow {
    #[inline]
    pub(super) fn is_of(&self, src: Instance, channel: Channel) -> bool {
        self.src == src && self.channel == channel
    }
}

impl InFlows {
    pub(super) const fn new() -> Self {
        Self { index: BTreeMap::new(), flows: Vec::new(), last: 0, uses: 0 }
    }

    /// The flow of a delivery, whose floor this is if the flow is new.
    pub(super) fn of_delivery(&mut self, src: Instance, channel: Channel, floor: Seq) -> &mut InFlow {
        self.uses += 1;
        let used = self.uses;
        let at = self.find(src, channel).unwrap_or_else(|| {
            let taken = TakenSet::new(floor);
            let flow = InFlow { src, channel, taken, min_round: 0, uid: UNKNOWN_UID, used };
            self.add(flow)
        });
        self.last = at;
        let flow = &mut self.flows[at];
        flow.used = used;
        flow
    }

    /// Whom the sender of a delivery runs as: what is said with it, or what was said before. A daemon that was started since
    /// is told nothing of a sender that leaves.
    pub(super) fn learn_uid(&mut self, src: Instance, channel: Channel, said: u32) -> u32 {
        let both = [Channel::Ordered, Channel::Unordered];
        if said == UNKNOWN_UID {
            let known = both.into_iter().filter_map(|channel| self.find(src, channel));
            return known.map(|at| self.flows[at].uid).min().unwrap_or(UNKNOWN_UID);
        }
        if self.find(src, channel).is_some_and(|at| self.flows[at].uid != said) {
            for at in both.map(|channel| self.find(src, channel)).into_iter().flatten() {
                self.flows[at].uid = said;
            }
        }
        said
    }

    /// A new stream begins: its rounds are counted anew.
    pub(super) fn handle_connected(&mut self) {
        for flow in &mut self.flows {
            flow.min_round = 0;
        }
    }

    /// FLOW_TAKEN for each flow. One message of them may have been begun only.
    pub(super) fn report(&self, out: &mut Vec<u8>, begun: Option<Place>) {
        let mut bitmap = Vec::new();
        for at in self.index.values() {
            let flow = &self.flows[*at];
            let begun = begun.filter(|b| (b.src, b.channel) == (flow.src, flow.channel));
            flow.taken.write_bitmap(begun.map(|b| b.seq), &mut bitmap);
            let (src, channel, floor) = (flow.src, flow.channel, flow.taken.floor());
            put::flow_taken(
                out,
                &FlowTaken { src, channel, floor, progress: Progress::Taken, bitmap: &bitmap },
            );
            if let Some(place) = begun {
                place.report(out, Progress::Begun);
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let key = size_of::<(Instance, Channel)>() + size_of::<usize>();
        let sets: usize = self.flows.iter().map(|f| f.taken.memory_bytes()).sum();
        self.flows.capacity() * size_of::<InFlow>() + self.index.len() * key + sets
    }

    fn find(&self, src: Instance, channel: Channel) -> Option<usize> {
        let last = self.flows.get(self.last);
        if last.is_some_and(|f| f.src == src && f.channel == channel) {
            return Some(self.last);
        }
        self.index.get(&(src, channel)).copied()
    }

    fn add(&mut self, flow: InFlow) -> usize {
        let key = (flow.src, flow.channel);
        let at = if self.flows.len() < MAX_FLOWS_PER_CLIENT {
            self.flows.push(flow);
            self.flows.len() - 1
        } else {
            let silent = self.flows.iter_mut().enumerate().min_by_key(|(_, f)| f.used);
            silent.map_or(0, |(at, old)| {
                self.index.remove(&(old.src, old.channel));
                *old = flow;
                at
            })
        };
        self.index.insert(key, at);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClientId, Incarnation};

    #[test]
    fn so_many_flows_are_known_and_the_one_that_was_silent_longest_is_forgotten() {
        let mut flows = InFlows::new();
        let src = |n| Instance { client: ClientId(n), incarnation: Incarnation(1) };
        let most = u32::try_from(MAX_FLOWS_PER_CLIENT).unwrap();
        for n in 0..most {
            flows.of_delivery(src(n), Channel::Ordered, Seq(1));
        }
        flows.of_delivery(src(0), Channel::Ordered, Seq(1));
        flows.of_delivery(src(most), Channel::Ordered, Seq(1));
        assert_eq!((flows.flows.len(), flows.index.len()), (MAX_FLOWS_PER_CLIENT, MAX_FLOWS_PER_CLIENT));
        let is_known = |n| flows.find(src(n), Channel::Ordered).is_some();
        assert_eq!([0, 1, 2, most].map(is_known), [true, false, true, true]);
    }
}
