//! What a link carries for one client with 1,000 messages under way, on a network that loses.

use msg_proto::units::Span;

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

#[test]
fn random_loss_costs_little() {
    let [clear, one, five, twenty] = [0, 1, 5, 20].map(taken_per_second);
    assert!(one * 2 > clear && five * 4 > clear && twenty * 15 > clear, "{clear} {one} {five} {twenty}");
}
