//! What a link carries for one client with 1,000 messages under way, on a network that loses.

use msg_proto::{counters::Counter, units::Span};

use super::{Fate, Random, World};

/// Messages that are taken in a second of virtual time, with 100 us on the way and so many datagrams of a hundred lost in
/// either direction.
fn taken_per_second(loss_percent: u64) -> usize {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 10), w.client(1, 200, 1000, 10));
    w.run(50);
    let mut random = Random(loss_percent + 1);
    w.network = Box::new(move |_, _| match random.next(100) < loss_percent {
        true => Fate::Drop,
        false => Fate::Arrive(vec![100]),
    });
    let before = w.clients[b].taken.len();
    let end = w.now + Span::from_millis(200).0;
    while w.now < end {
        while w.send(a, 200, &[7; 256], b"").is_ok() {}
        w.run_micros(50);
    }
    let taken = w.clients[b].taken.len() - before;
    taken * 5
}

/// Bytes of a daemon's datagrams while its client sends a message every half a millisecond, after a second of that with so many
/// datagrams of a hundred lost in either direction.
fn bytes_after_loss(loss_percent: u64) -> u64 {
    let mut w = World::new();
    let (a, _) = (w.client(0, 100, 1000, 10), w.client(1, 200, 1000, 10));
    w.run(50);
    let paced = |w: &mut World, count: u32| {
        for _ in 0..count {
            w.send(a, 200, &[7; 256], b"").expect("there is room");
            w.run_micros(500);
        }
    };
    let mut random = Random(loss_percent + 1);
    w.network = Box::new(move |_, _| match random.next(100) < loss_percent {
        true => Fate::Drop,
        false => Fate::Arrive(vec![30]),
    });
    paced(&mut w, 2000);
    w.network = Box::new(|_, _| Fate::Arrive(vec![30]));
    paced(&mut w, 200);
    let before = w.counter(0, Counter::BytesSent);
    paced(&mut w, 200);
    w.counter(0, Counter::BytesSent) - before
}

#[test]
fn what_was_lost_is_not_told_for_ever() {
    assert_eq!(bytes_after_loss(5), bytes_after_loss(0));
}

#[test]
fn random_loss_costs_little() {
    let [clear, one, five, twenty] = [0, 1, 5, 20].map(taken_per_second);
    assert!(one * 2 > clear && five * 4 > clear && twenty * 15 > clear, "{clear} {one} {five} {twenty}");
}
