//! What is taken in one go is what is taken one by one.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    local::{CallOrigin, PresentInstance},
    session::Delivery,
};

/// What stands in the stream.
#[derive(Clone, Copy, Debug)]
struct Part {
    src: u32,
    channel: Channel,
    seq: u32,
    floor: u32,
    is_stale: bool,
    round: u32,
    is_call: bool,
    is_presence: bool,
    len: usize,
}

/// Mostly the next of one flow.
fn parts() -> impl Strategy<Value = Vec<Part>> {
    let odd = |odds: u32| (0..odds).prop_map(|n| n == 0);
    let part = (odd(6), odd(6), odd(6), odd(30), odd(8), odd(12), odd(20), 0..600_usize);
    vec(part, 1..60).prop_map(|parts| {
        let mut next = 100;
        let part = |(other, unordered, again, stale, round, call, is_presence, len)| {
            next += 1;
            Part {
                src: if other { 8 } else { 7 },
                channel: if unordered { Channel::Unordered } else { Channel::Ordered },
                // Again, or one that is below the floor, or too far beyond it.
                seq: [next, next - 3, 60, next + limits::SEQ_SPAN - 2][if again { 1 + len % 3 } else { 0 }],
                floor: if again && len % 3 == 2 { next } else { next - 20 },
                is_stale: stale,
                round: u32::from(round),
                is_call: call,
                is_presence,
                len,
            }
        };
        parts.into_iter().map(part).collect()
    })
}

const NOW: Time = Time(5_000_000);

fn stream(parts: &[Part]) -> Vec<u8> {
    let (mut out, payload) = (Vec::new(), [7; 600]);
    for (part, number) in parts.iter().zip(1..) {
        if part.is_presence {
            let incarnation = Incarnation(number);
            let instance = PresentInstance { incarnation, priority: 0 };
            put::presence(&mut out, ClientId(9), false, &[instance]);
        }
        let origin = CallOrigin { sent_at: Time(1), uid: 5, node: "vm-b", is_addressed: false };
        let deliver = Deliver {
            src: Instance { client: ClientId(part.src), ..SRC },
            channel: part.channel,
            floor: Seq(part.floor.min(part.seq)),
            send_time: if part.is_stale { Time(1) } else { NOW.minus(INTERVAL) },
            round: part.round,
            call: part.is_call.then_some(origin),
            payload: &payload[..part.len],
            ..delivery(number, part.seq)
        };
        put::deliver(&mut out, &deliver);
    }
    out
}

/// What a driver is told, and what it writes, that asks for messages `in_runs` first, each of so many at most.
fn told(stream: &[u8], in_runs: Option<usize>) -> (Vec<String>, Vec<u8>, SessionCounters) {
    let mut s = registered();
    s.subscribe(NOW, ClientId(9)).expect("few");
    write_all(&mut s);
    let mut told = Vec::new();
    for part in stream.chunks(5000) {
        assert_eq!(s.handle_bytes(NOW, part), part.len());
        loop {
            if let Some(most) = in_runs {
                let mut taken = 0;
                s.take_messages(NOW, |message| {
                    told.push(format!("{:?}", Delivery::Message(*message)));
                    taken += 1;
                    taken < most
                });
                assert!(taken <= most);
            }
            if let Some(delivery) = s.poll_delivery(NOW) {
                told.push(format!("{delivery:?}"));
            } else if let Some(event) = s.poll_presence() {
                told.push(format!("{event:?}"));
            } else {
                break;
            }
        }
    }
    (told, write_all(&mut s), s.counters())
}

proptest! {
    #[test]
    fn messages_are_taken_in_runs_as_one_by_one(parts in parts(), most in 1..9_usize) {
        let stream = stream(&parts);
        let one_by_one = told(&stream, None);
        prop_assert!(!one_by_one.1.is_empty());
        prop_assert_eq!(told(&stream, Some(most)), one_by_one);
    }
}

#[test]
fn what_is_not_to_be_taken_yet_is_taken_in_no_run() {
    let mut out = Vec::new();
    put::deliver(&mut out, &delivery(1, 1));
    put::deliver(&mut out, &delivery(2, 2));
    let mut s = Session::new(SessionConfig { ack: AckMode::OnHandled, ..config() }, MsgId(1), Seq(1));
    s.handle_connected(Time(0));
    feed(&mut s, Time(0), |out| put::registered(out, &grant(1)));
    feed(&mut s, Time(0), |bytes| bytes.extend_from_slice(&out));
    s.take_messages(Time(0), |_| panic!("one at a time"));
    assert!(matches!(s.poll_delivery(Time(0)), Some(Delivery::Message(_))));
    s.take_messages(Time(0), |_| panic!("it is being handled"));

    let mut s = registered();
    feed(&mut s, Time(0), |bytes| bytes.extend_from_slice(&out));
    s.drain(Time(0));
    s.take_messages(Time(0), |_| panic!("it takes no more"));
    assert!(!s.has_messages());

    // Who is there comes before what they sent.
    let mut s = registered();
    s.subscribe(Time(0), ClientId(9)).expect("few");
    let instance = PresentInstance { incarnation: Incarnation(1), priority: 0 };
    feed(&mut s, Time(0), |out| put::presence(out, ClientId(9), false, &[instance]));
    feed(&mut s, Time(0), |bytes| bytes.extend_from_slice(&out));
    s.take_messages(Time(0), |_| panic!("a change of presence came before it"));
    while s.poll_presence().is_some() {}
    let mut taken = Vec::new();
    s.take_messages(Time(0), |message| {
        taken.push(message.msgid.0);
        true
    });
    assert_eq!(taken, [1, 2]);
}
