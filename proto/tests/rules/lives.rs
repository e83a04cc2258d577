//! Who is told that an instance is gone, and when: behind all that it sent, and never of one that is there.

use msg_proto::{
    control::Control,
    ids::{ClientId, Incarnation, Instance},
    limits,
    local::{Watch, put},
    session::Taker,
    units::Span,
    wire::Frame,
};

use super::{
    Options, Random, World,
    by_hand::{ByHand, register},
    cut_from,
};

/// A watcher on the first node, whom it watches on the second.
fn world() -> (World, usize, usize, Taker) {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 100, 100), w.client(1, 200, 100, 100));
    w.run(2500);
    let whom = w.who(b);
    w.watch(a, &whom);
    w.run(50);
    assert_eq!(w.clients[a].gone, []);
    (w, a, b, whom)
}

/// Who is gone for a client, and how many calls' messages it had taken before it knew.
fn gone(w: &World, client: usize) -> Vec<(Instance, usize)> {
    w.clients[client].gone.clone()
}

#[test]
fn a_process_that_ends_is_gone_at_once() {
    for leaves in [true, false] {
        let (mut w, a, b, whom) = world();
        if leaves {
            w.leave(b)
        } else {
            w.kill(b)
        }
        w.run(1);
        assert_eq!(gone(&w, a), [(whom.instance, 0)]);
        // Who asks again is told again; on its own node, too.
        let beside = w.client(1, 201, 100, 100);
        w.watch(a, &whom);
        w.watch(beside, &whom);
        w.run(1);
        assert_eq!((gone(&w, a).len(), gone(&w, beside)), (2, vec![(whom.instance, 0)]));
    }
}

#[test]
fn what_it_sent_comes_before() {
    let (mut w, a, b, whom) = world();
    // Its reply is lost on the way; its daemon goes on when it is dead.
    w.network = cut_from(1);
    let to = w.who(a);
    w.send_to(b, &to, b"reply").unwrap();
    w.run(10);
    w.kill(b);
    w.run(10);
    // The daemon can say something again, but the watcher stands still.
    w.clients[a].is_stopped = true;
    w.network = super::clear();
    w.run(300);
    assert_eq!(gone(&w, a), []);
    // What stands in its socket is stale by now; the next copy is not.
    w.clients[a].is_stopped = false;
    w.run(200);
    assert_eq!(gone(&w, a), [(whom.instance, 1)]);
}

#[test]
fn what_it_sent_and_nobody_takes_ends_before() {
    let (mut w, a, b, whom) = world();
    let stopped = w.client(0, 101, 100, 100);
    w.run(10);
    w.clients[stopped].is_stopped = true;
    let to = w.who(stopped);
    w.send_to(b, &to, b"to one that stands still").unwrap();
    w.send_call(b, 999, b"what is for nobody in particular does not matter").unwrap();
    w.run(10);
    w.kill(b);
    w.run(500);
    assert_eq!(gone(&w, a), []);
    w.kill(stopped);
    w.run(10);
    assert_eq!(gone(&w, a), [(whom.instance, 0)]);
}

#[test]
fn who_leaves_is_there_until_it_has_left() {
    let (mut w, a, b, whom) = world();
    w.drain_client(b);
    w.run(3000);
    assert_eq!(gone(&w, a), []);
    w.leave(b);
    w.run(10);
    assert_eq!(gone(&w, a), [(whom.instance, 0)]);
}

#[test]
fn of_a_lost_node_everything_is_gone_and_of_one_that_comes_back_in_time_nothing() {
    let (mut w, a, b, whom) = world();
    w.cuts = vec![(0, 1), (1, 0)];
    w.run(3500);
    w.cuts.clear();
    w.run(3000);
    assert_eq!(gone(&w, a), []);
    w.cuts = vec![(0, 1), (1, 0)];
    w.run(6500);
    assert_eq!(gone(&w, a), [(whom.instance, 0)]);
    // It is there again, and can be watched again.
    w.cuts.clear();
    w.run(3000);
    w.watch(a, &whom);
    w.run(3000);
    assert_eq!(gone(&w, a).len(), 1);
    w.kill(b);
    w.run(10);
    assert_eq!(gone(&w, a).len(), 2);
}

#[test]
fn i6_a_watch_survives_either_daemon() {
    for node in [0, 1] {
        let (mut w, a, b, whom) = world();
        w.restart(node);
        w.run(4000);
        assert_eq!(gone(&w, a), []);
        w.kill(b);
        w.run(10);
        assert_eq!(gone(&w, a), [(whom.instance, 0)]);
    }
}

#[test]
fn i6_who_died_with_its_daemon_is_gone_when_the_grace_is_over() {
    let (mut w, a, b, whom) = world();
    w.cuts = vec![(0, 1), (1, 0)];
    w.kill(b);
    w.restart(1);
    w.cuts.clear();
    w.run(1500);
    assert_eq!(gone(&w, a), []);
    w.run(1000);
    assert_eq!(gone(&w, a), [(whom.instance, 0)]);
}

#[test]
fn of_a_node_that_nobody_knows_and_of_one_that_never_came_everything_is_gone() {
    let mut w = World::with(&Options { clocks: vec![5, 6, 7], ..Options::default() });
    let a = w.client(0, 100, 100, 100);
    let whom = |node: &str| Taker { node: node.into(), ..w.who(a) };
    let (nowhere, never) = (whom("nowhere"), Taker { node: "b".into(), ..whom("b") });
    w.cuts = vec![(0, 1), (1, 0)];
    w.run(50);
    w.watch(a, &nowhere);
    w.run(1);
    assert_eq!(gone(&w, a).len(), 1);
    w.watch(a, &never);
    w.run(6000);
    assert_eq!(gone(&w, a).len(), 1);
    w.run(1500);
    assert_eq!(gone(&w, a).len(), 2);
}

/// Whatever dies and comes back: nobody who is there is gone, everybody who is not is, and nothing comes from one that is.
#[test]
fn nobody_is_gone_who_is_there() {
    for seed in 0..60 {
        let mut w = World::with(&Options { clocks: vec![1 << 40, 1 << 41, 5], ..Options::default() });
        let mut random = Random(seed);
        let watchers = [w.client(0, 100, 100, 100), w.client(1, 101, 100, 100)];
        w.run(50);
        let (mut living, mut dead) = (Vec::new(), Vec::new());
        for id in 200..230 {
            let node = usize::try_from(random.next(3)).unwrap();
            let client = w.client(node, id, 100, 100);
            w.run(1 + random.next(20));
            let whom = w.who(client);
            living.push(client);
            watchers.iter().for_each(|watcher| w.watch(*watcher, &whom));
            for watcher in watchers {
                let to = w.who(watcher);
                w.send_to(client, &to, &id.to_le_bytes()).unwrap();
            }
            match random.next(9) {
                0 => w.restart(usize::try_from(random.next(3)).unwrap()),
                1 => w.cuts = vec![(node, 0)],
                2 => w.cuts = vec![(0, node), (1, node)],
                3..7 => {
                    let at = usize::try_from(random.next(living.len() as u64)).unwrap();
                    let client = living.swap_remove(at);
                    if random.next(3) == 0 {
                        w.leave(client)
                    } else {
                        w.kill(client)
                    }
                    dead.push(w.who(client).instance);
                }
                _ => w.cuts.clear(),
            }
            w.run(1 + random.next(600));
            if random.next(2) == 0 {
                w.cuts.clear();
            }
            for engine in &w.engines {
                engine.check_invariants().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            }
            for watcher in watchers {
                for (instance, before) in &w.clients[watcher].gone {
                    assert!(dead.contains(instance), "seed {seed}: {instance:?} is there");
                    let late = w.clients[watcher].calls[*before..].iter();
                    let mut late = late.filter(|call| call.data == instance.client.0.to_le_bytes());
                    assert_eq!(late.next(), None, "seed {seed}");
                }
            }
        }
        w.cuts.clear();
        w.run(20_000);
        for watcher in watchers {
            let mut told: Vec<_> = w.clients[watcher].gone.iter().map(|(instance, _)| *instance).collect();
            told.sort_unstable();
            dead.sort_unstable();
            assert_eq!(told, dead, "seed {seed}");
        }
    }
}

#[test]
fn a_peer_is_asked_of_an_instance_once_for_all_who_watch_it() {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let whom = Watch { instance: w.flow(200, 100, Incarnation(1)).id.src, node: "b" };
    for (id, asked) in [(100, 1), (101, 0)] {
        let conn = w.client(7, &register(id));
        w.say(conn, |out| (0..2).for_each(|_| put::watch(out, &whom)));
        let watch = |f: Frame<'_>| matches!(f, Frame::Control { body: Control::Watch { .. }, .. });
        assert_eq!(w.peer_hears(|f| watch(f).then_some(())).len(), asked, "{id}");
    }
}

#[test]
fn i7_so_many_instances_are_watched_for_peers() {
    let mut w = ByHand::with(|config| config.grace = Span::from_millis(5000));
    w.link_up(&[]);
    // Until the grace is over, any of them may come back.
    for n in 0..=limits::MAX_WATCHED as u64 {
        w.control(&Control::Watch { client: ClientId(300), incarnation: Incarnation(n + 1) });
    }
    w.datagrams();
    for _ in 0..10 {
        w.now = w.now + Span::from_millis(200);
        w.engine.handle_timeout(w.now);
    }
    let gone = |f: Frame<'_>| match f {
        Frame::Control { body: Control::Gone { incarnation, .. }, .. } => Some(incarnation.0),
        _ => None,
    };
    let told = w.peer_hears(gone);
    assert_eq!((told.len(), told.last()), (limits::MAX_WATCHED, Some(&(limits::MAX_WATCHED as u64))));
}
