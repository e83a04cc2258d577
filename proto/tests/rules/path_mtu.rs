//! What size of datagrams a link uses on paths that carry more, and less (RFC 8899).

use std::{cell::Cell, rc::Rc};

use msg_proto::{counters::Counter, engine::Recovery, limits};

use super::{Fate, Options, World};

/// A world whose network carries datagrams up to a size that can change, and the largest datagram it has carried.
fn world(options: &Options, carried: usize) -> (World, Rc<Cell<usize>>, Rc<Cell<usize>>) {
    let mut w = World::with(options);
    let (carried, largest) = (Rc::new(Cell::new(carried)), Rc::new(Cell::new(0)));
    let (limit, seen) = (carried.clone(), largest.clone());
    w.network = Box::new(move |_, datagram| {
        if datagram.len() > limit.get() {
            return Fate::Drop;
        }
        seen.set(seen.get().max(datagram.len()));
        Fate::Arrive(vec![100])
    });
    (w, carried, largest)
}

fn probing() -> Options {
    Options { max_mtu: limits::MAX_MTU, ..Options::default() }
}

fn mtu(w: &World, node: usize) -> u64 {
    w.engines[node].status(w.clock(node)).peers[0].paths[0].mtu
}

#[test]
fn datagrams_become_as_large_as_the_path_carries_them() {
    for carried in [1200, 1472, 8972, limits::MAX_MTU] {
        let (mut w, _, largest) = world(&probing(), carried);
        let (a, b) = (w.client(0, 100, 200, 20), w.client(1, 200, 200, 20));
        w.run(3000);
        assert_eq!((mtu(&w, 0), mtu(&w, 1)), (carried as u64, carried as u64));
        assert!(if carried == 1200 { largest.get() < 1200 } else { largest.get() == carried });
        let lost = w.counter(0, Counter::DatagramsLost);
        for _ in 0..100 {
            w.send(a, 200, &[7; 4000], b"").unwrap();
        }
        w.run(100);
        assert_eq!((w.clients[b].taken.len(), w.clients[a].failed.len()), (100, 0));
        assert_eq!((w.counter(0, Counter::DatagramsLost), w.counter(0, Counter::Retransmits)), (lost, 0));
    }
}

#[test]
fn an_idle_link_that_knows_its_path_is_idle() {
    let (mut w, _, _) = world(&probing(), 1472);
    w.run(5000);
    let before = [0, 1].map(|n| (w.counter(n, Counter::PathMtuProbes), w.counter(n, Counter::DatagramsSent)));
    w.run(20_000);
    let after = [0, 1].map(|n| (w.counter(n, Counter::PathMtuProbes), w.counter(n, Counter::DatagramsSent)));
    for n in 0..2 {
        assert_eq!(after[n].0, before[n].0);
        assert!(after[n].1 - before[n].1 <= 20_000 / limits::HEARTBEAT_MS * 2 + 2, "nothing but heartbeats");
    }
}

#[test]
fn a_path_that_carries_less_than_it_did_costs_no_message_and_no_link() {
    let (mut w, carried, _) = world(&probing(), 8972);
    let (a, b) = (w.client(0, 100, 200, 20), w.client(1, 200, 200, 20));
    w.run(3000);
    assert_eq!(mtu(&w, 0), 8972);
    let links = w.counter(0, Counter::LinksUp);
    carried.set(1300);
    for _ in 0..100 {
        w.send(a, 200, &[7; 4000], b"").unwrap();
    }
    w.run(200);
    assert_eq!((w.clients[b].taken.len(), w.clients[a].failed.len()), (100, 0));
    w.run(15_000);
    assert_eq!((w.counter(0, Counter::LinksUp), w.counter(0, Counter::PathMtuBlackHoles)), (links, 1));
    carried.set(8972);
    for _ in 0..20 {
        w.send(a, 200, &[7; 4000], b"").unwrap();
        w.run(100);
    }
    assert!(mtu(&w, 0) > 1200, "after a pause it searches again");
}

#[test]
fn timer_only_links_keep_to_the_size_of_the_config() {
    let (mut w, _, largest) = world(&Options { recovery: Recovery::TimerOnly, ..probing() }, limits::MAX_MTU);
    let (a, b) = (w.client(0, 100, 200, 20), w.client(1, 200, 200, 20));
    w.run(1000);
    w.send(a, 200, &[7; 40_000], b"").unwrap();
    w.run(1000);
    assert_eq!((w.clients[b].taken.len(), w.counter(0, Counter::PathMtuProbes)), (1, 0));
    assert!(largest.get() <= 1200);
}
