//! Messages of every size, over datagrams of two sizes.

use std::{thread, time::Duration};

use msg::{ClientId, SendError, UserBuf};
use msg_proto::limits::MAX_MESSAGE_BYTES;
use msg_tests::{
    node::{Node, NodeSpec, join_by_relay},
    pattern::Random,
    report, wait,
};
use msgd::{
    clock,
    relay::{Faults, Share},
};

/// Sizes around every border: nothing, one byte, one datagram, one unit, many, all.
const SIZES: [usize; 20] = [
    0,
    1,
    3,
    1_023,
    1_024,
    1_025,
    1_080,
    1_120,
    1_160,
    1_200,
    2_048,
    8_900,
    8_950,
    9_000,
    9_216,
    65_535,
    65_536,
    300_001,
    MAX_MESSAGE_BYTES - 1,
    MAX_MESSAGE_BYTES,
];

#[test]
fn every_size_passes_in_datagrams_of_1200_bytes() {
    every_size_passes(1_200);
}

#[test]
fn every_size_passes_in_datagrams_of_9000_bytes() {
    every_size_passes(9_000);
}

fn every_size_passes(mtu: usize) {
    let seed = report::seed("fragments", 20_260_404);
    let spec = |name| NodeSpec::new(name).node(&format!("mtu = {mtu}")).chain("interval_ms = 1000");
    let (mut a, mut b) = (spec("a"), spec("b"));
    let relay = join_by_relay(&mut a, &mut b, seed);
    relay.set_both(Faults { loss: Share::percent(3), ..Faults::NONE });
    let (a, b) = (Node::start(&a), Node::start(&b));
    let sender = a.client(100).connect().expect("registered");
    let receiver = b.client(200).connect().expect("registered");
    let mut random = Random(seed);
    let messages = SIZES.map(|size| random.bytes(size));
    let begin = clock::now();
    thread::scope(|scope| {
        scope.spawn(|| {
            for message in &messages {
                let received = receiver.recv(wait::PATIENCE).expect("registered");
                let received = received.unwrap_or_else(|| panic!("a message of {} bytes", message.len()));
                assert!(
                    received.data == *message,
                    "a message of {} bytes came as one of {}",
                    message.len(),
                    received.data.len()
                );
            }
        });
        for message in &messages {
            sender.send(ClientId(200), message, UserBuf::EMPTY).expect("sent");
        }
        sender.flush(wait::PATIENCE).expect("all have ended");
    });
    assert_eq!((sender.counters().acked, sender.counters().failed), (SIZES.len() as u64, 0));
    let too_large = vec![0; MAX_MESSAGE_BYTES + 1];
    let refused = sender.send(ClientId(200), &too_large, UserBuf::EMPTY);
    assert_eq!(refused, Err(SendError::TooLarge { limit: MAX_MESSAGE_BYTES }));
    assert_eq!(receiver.recv(Duration::ZERO).expect("registered"), None);
    report::line(format_args!(
        "fragments, mtu {mtu}: {} sizes in {:.0} ms, {} datagrams, {} fast retransmits, {} retransmits",
        SIZES.len(),
        wait::ms_since(begin),
        a.counter("datagrams_sent"),
        a.counter("fast_retransmits"),
        a.counter("retransmits"),
    ));
}
