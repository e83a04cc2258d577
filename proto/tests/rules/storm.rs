//! On a bad network no more is sent than what is lost asks for.

use std::{cell::RefCell, rc::Rc};

use msg_proto::{
    counters::Counter,
    engine::Recovery,
    ids::DatagramNumber,
    session::SendFlags,
    wire::{DatagramBuilder, Frame, Header, Skip},
};

use super::{Fate, Options, Random, World, world::address};

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

/// A frame of twelve bytes names 65,536 numbers: a datagram full of them must not keep the daemon for milliseconds.
#[test]
fn a_datagram_of_skips_is_left_when_it_asks_for_too_much() {
    for (skips, is_read) in [(10, true), (50, false)] {
        let mut w = World::new();
        let (a, b) = (w.client(0, 100, 1000, 3), w.client(1, 200, 1000, 3));
        w.run(50);
        let seen = Rc::new(RefCell::new(Vec::new()));
        let datagrams = seen.clone();
        w.network = Box::new(move |from, datagram| {
            datagrams.borrow_mut().push((from, datagram.to_vec()));
            Fate::Drop
        });
        w.send(a, 200, b"x", b"").unwrap();
        w.drain();
        let (_, datagram) = seen.borrow().iter().find(|(from, _)| *from == 0).expect("it was sent").clone();
        let frames = super::frames(&datagram);
        let flow = frames.iter().find_map(|f| if let Frame::Flow(flow) = f { Some(*flow) } else { None });
        let data = frames.iter().find_map(|f| if let Frame::Data(data) = f { Some(*data) } else { None });
        let (flow, data) = (flow.expect("a flow"), data.expect("a message"));
        let (header, _) = Header::parse(&datagram).expect("its own");
        let header = Header { number: DatagramNumber(header.number.0 + 1), ..header };
        let mut forged = Vec::new();
        let mut builder = DatagramBuilder::new(&mut forged, header, 1200);
        assert!(builder.put_flow(&flow, 0));
        for i in 0..skips {
            assert!(builder.put_skip(&Skip { seq: data.seq.plus(1 + i), count: 65_536 }));
        }
        assert!(builder.put_data(&data));
        assert!(builder.finish() <= 1200);
        let now = w.clock(1);
        w.engines[1].handle_datagram(now, 0, address(0), &forged);
        w.drain();
        assert_eq!(w.clients[b].taken.len(), usize::from(is_read), "{skips} skips");
    }
}
