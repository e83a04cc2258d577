//! Where clients are: which instances a clientid has, and which is active.

use std::collections::VecDeque;

use super::{
    chain::{FlowKey, Target, Via},
    link::LinkKey,
    map::Map,
};
use crate::{
    ids::{ClientId, Instance},
    limits,
    local::PresentInstance,
};

/// Instances of all clientids, and the flows that go to them.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    instances: Map<ClientId, Vec<Route>>,
    /// Flows by destination, whether it has an instance or not.
    flows: Map<ClientId, Vec<FlowKey>>,
    /// Whom instances ran as that are no routes any more: who leaves sends on, and what others sent still comes.
    former: Map<Instance, u32>,
    /// Those, the first to be forgotten first.
    former_order: VecDeque<Instance>,
}

#[derive(Clone, Copy, Debug)]
struct Route {
    instance: Instance,
    priority: u8,
    /// Whom its process runs as.
    uid: u32,
    via: Via,
}

impl Routes {
    /// An instance is there.
    pub(crate) fn add(&mut self, instance: Instance, priority: u8, uid: u32, via: Via) {
        let routes = self.instances.entry(instance.client).or_default();
        routes.retain(|r| !(r.instance == instance && r.via == via));
        routes.push(Route { instance, priority, uid, via });
    }

    /// An instance is gone.
    pub(crate) fn remove(&mut self, instance: Instance, via: Via) {
        let Some(routes) = self.instances.get_mut(&instance.client) else { return };
        let former = routes.extract_if(.., |r| r.instance == instance && r.via == via).map(|r| r.uid).last();
        if routes.is_empty() {
            self.instances.remove(&instance.client);
        }
        if let Some(uid) = former {
            self.record_former(instance, uid);
        }
    }

    fn record_former(&mut self, instance: Instance, uid: u32) {
        if self.former.insert(instance, uid).is_none() {
            self.former_order.push_back(instance);
        }
        if self.former_order.len() > limits::MAX_DEPARTED
            && let Some(oldest) = self.former_order.pop_front()
        {
            self.former.remove(&oldest);
        }
    }

    /// The active instance: the highest priority, then the newest incarnation.
    pub(crate) fn active(&self, client: ClientId) -> Option<Target> {
        let routes = self.instances.get(&client)?;
        let best = routes.iter().max_by_key(|r| (r.priority, r.instance.incarnation))?;
        Some(Target { instance: best.instance, via: best.via })
    }

    /// The way to an instance.
    pub(crate) fn way(&self, instance: Instance) -> Option<Via> {
        self.instances.get(&instance.client)?.iter().find(|r| r.instance == instance).map(|r| r.via)
    }

    /// The instances of a client, the active one first.
    pub(crate) fn present(&self, client: ClientId) -> Vec<PresentInstance> {
        let routes = self.instances.get(&client).into_iter().flatten();
        let mut present: Vec<_> = routes
            .map(|r| PresentInstance { incarnation: r.instance.incarnation, priority: r.priority })
            .collect();
        present.sort_by_key(|i| std::cmp::Reverse((i.priority, i.incarnation)));
        present
    }

    /// All instances, by clientid, the active one of each first: with the way to it.
    pub(crate) fn all(&self) -> Vec<(Instance, u8, Via)> {
        let mut all: Vec<_> =
            self.instances.values().flatten().map(|r| (r.instance, r.priority, r.via)).collect();
        all.sort_by_key(|(i, priority, _)| (i.client, std::cmp::Reverse((*priority, i.incarnation))));
        all
    }

    /// Whom an instance's process runs as, or ran.
    pub(crate) fn uid_of(&self, instance: Instance) -> Option<u32> {
        let mut routes = self.instances.get(&instance.client).into_iter().flatten();
        let route = routes.find(|r| r.instance == instance);
        route.map(|r| r.uid).or_else(|| self.former.get(&instance).copied())
    }

    /// The highest incarnation that is known of a client.
    pub(crate) fn newest(&self, client: ClientId) -> Option<Instance> {
        self.instances.get(&client)?.iter().map(|r| r.instance).max_by_key(|i| i.incarnation)
    }

    /// Removes what a link announced; returns the clients concerned, in order.
    pub(crate) fn remove_link(&mut self, link: LinkKey) -> Vec<ClientId> {
        let (mut concerned, mut former) = (Vec::new(), Vec::new());
        self.instances.retain(|client, routes| {
            let before = former.len();
            let removed = routes.extract_if(.., |r| r.via == Via::Link(link));
            former.extend(removed.map(|r| (r.instance, r.uid)));
            if former.len() > before {
                concerned.push(*client);
            }
            !routes.is_empty()
        });
        concerned.sort_unstable();
        former.sort_unstable();
        former.into_iter().for_each(|(instance, uid)| self.record_former(instance, uid));
        concerned
    }

    /// The clients that a link announced, in order.
    pub(crate) fn over(&self, link: LinkKey) -> Vec<ClientId> {
        let routes = self.instances.values().flatten();
        let mut clients: Vec<_> =
            routes.filter(|r| r.via == Via::Link(link)).map(|r| r.instance.client).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    /// A flow goes to this client.
    pub(crate) fn add_flow(&mut self, client: ClientId, flow: FlowKey) {
        self.flows.entry(client).or_default().push(flow);
    }

    /// A flow has ended.
    pub(crate) fn remove_flow(&mut self, client: ClientId, flow: FlowKey) {
        if let Some(flows) = self.flows.get_mut(&client) {
            flows.retain(|f| *f != flow);
            if flows.is_empty() {
                self.flows.remove(&client);
            }
        }
    }

    /// How many flows there are.
    pub(crate) fn flow_count(&self) -> usize {
        self.flows.values().map(Vec::len).sum()
    }

    /// The flows that go to a client.
    pub(crate) fn flows_to(&self, client: ClientId) -> Vec<FlowKey> {
        self.flows.get(&client).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Incarnation;

    const LINK: LinkKey = LinkKey(3);

    fn instance(client: u32, incarnation: u64) -> Instance {
        Instance { client: ClientId(client), incarnation: Incarnation(incarnation) }
    }

    fn active(routes: &Routes, client: u32) -> Option<u64> {
        routes.active(ClientId(client)).map(|t| t.instance.incarnation.0)
    }

    #[test]
    fn the_highest_priority_then_the_newest_is_active() {
        let mut routes = Routes::default();
        routes.add(instance(7, 1), 5, 0, Via::Link(LINK));
        routes.add(instance(7, 9), 4, 0, Via::Link(LINK));
        assert_eq!(active(&routes, 7), Some(1));
        routes.add(instance(7, 2), 5, 0, Via::Link(LinkKey(4)));
        assert_eq!(active(&routes, 7), Some(2));
        routes.remove(instance(7, 2), Via::Link(LinkKey(4)));
        routes.remove(instance(7, 1), Via::Link(LINK));
        assert_eq!(active(&routes, 7), Some(9));
        routes.remove(instance(7, 9), Via::Link(LINK));
        assert_eq!(active(&routes, 7), None);
    }

    #[test]
    fn a_lost_link_takes_its_clients_with_it() {
        let mut routes = Routes::default();
        for client in [5, 3, 4] {
            routes.add(instance(client, 1), 0, 0, Via::Link(LINK));
        }
        for client in [4, 6] {
            routes.add(instance(client, 1), 0, 0, Via::Link(LinkKey(9)));
        }
        assert_eq!(routes.over(LINK), [ClientId(3), ClientId(4), ClientId(5)]);
        assert_eq!(routes.remove_link(LINK), [ClientId(3), ClientId(4), ClientId(5)]);
        assert_eq!(active(&routes, 4), Some(1));
        assert_eq!(active(&routes, 3), None);
    }

    #[test]
    fn whom_an_instance_ran_as_is_known_of_each_and_of_so_many_that_are_gone() {
        let mut routes = Routes::default();
        routes.add(instance(7, 1), 0, 10, Via::Link(LINK));
        routes.add(instance(7, 2), 0, 20, Via::Link(LINK));
        assert_eq!([1, 2, 3].map(|n| routes.uid_of(instance(7, n))), [Some(10), Some(20), None]);
        routes.remove_link(LINK);
        assert_eq!([1, 2].map(|n| routes.uid_of(instance(7, n))), [Some(10), Some(20)]);
        for n in 2..limits::MAX_DEPARTED as u64 {
            routes.record_former(instance(8, n), 30);
        }
        assert_eq!(routes.uid_of(instance(7, 1)), Some(10));
        routes.record_former(instance(8, 1), 30);
        assert_eq!([1, 2].map(|n| routes.uid_of(instance(7, n))), [None, Some(20)], "the first that went");
    }
}
