//! On a bad network no more is sent than what is lost asks for.

use msg_proto::{counters::Counter, engine::Recovery, session::SendFlags};

use super::{Fate, Options, Random, World};

/// Fragments fill datagrams of every size that a run of them comes to: none goes out with a FLOW and nothing behind it.
#[test]
fn large_messages_on_a_bad_network_make_no_storm() {
    for recovery in [Recovery::TimerOnly, Recovery::Adaptive] {
        let mut w = World::with(&Options { recovery, ..Options::default() });
        let (a, b) = (w.client(0, 100, 200, 10), w.client(1, 200, 200, 10));
        w.run(50);
        let mut random = Random(5);
        w.network = Box::new(move |_, _| match random.next(10) {
            0 => Fate::Drop,
            _ => Fate::Arrive(vec![100 + random.next(4000)]),
        });
        let mut sizes = Random(6);
        for _ in 0..1000 {
            let size = usize::try_from(4 + sizes.next(9000)).expect("small");
            let flags = SendFlags { unordered: true, ..SendFlags::default() };
            w.send_with(a, 200, &vec![7; size], b"", flags).unwrap();
        }
        w.run(3000);
        assert_eq!((w.clients[b].taken.len(), w.clients[a].failed.len()), (1000, 0), "{recovery:?}");
        let sent = w.counter(0, Counter::DatagramsSent);
        assert!(sent < 15_000, "{recovery:?}: {sent} datagrams for 4.5 MB");
    }
}
