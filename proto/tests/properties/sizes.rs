//! What a frame is said to take is what it takes, and what does not fit is not written.

use msg_proto::{
    ids::{Channel, ClientId, FlowId, Incarnation, Instance, MsgId, Seq},
    limits::{FRAGMENT_UNIT, MAX_MTU},
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
    wire::{
        AckRun, CallMark, Data, DatagramBuilder, Flow, Fragment, HEADER_BYTES, Heartbeat, Kind, NackEntry,
        Skip,
    },
};

use super::datagrams::build;

const INSTANCE: Instance = Instance { client: ClientId(1), incarnation: Incarnation(1) };
const FLOW: Flow = Flow {
    id: FlowId { src: INSTANCE, dst: INSTANCE, channel: Channel::Ordered },
    send_time: Time(1),
    interval: Span::from_millis(100),
    floor: Seq(1),
    presence: 0,
};

fn data(payload: &[u8]) -> Data<'_> {
    Data { msgid: MsgId(1), seq: Seq(1), at_least_once: false, call: None, payload }
}

/// How many bytes a datagram of one FLOW and what `put` writes has beyond its header and that FLOW.
fn taken(put: impl FnOnce(&mut DatagramBuilder<'_>)) -> usize {
    let datagram = build(Kind::Frames, MAX_MTU, |d| {
        assert!(d.put_flow(&FLOW, 0));
        put(d);
    });
    datagram.len() - HEADER_BYTES - DatagramBuilder::flow_bytes()
}

#[test]
fn frames_take_what_they_are_said_to_take() {
    assert_eq!(taken(|_| {}), 0);
    for len in [0, 1, 500, 1024] {
        let bytes = vec![7; len];
        let plain = data(&bytes);
        let call = Data { call: Some(NO_AGE), ..plain };
        assert_eq!(taken(|d| assert!(d.put_data(&plain))), DatagramBuilder::data_bytes(len));
        let needed = DatagramBuilder::data_bytes(len) + DatagramBuilder::age_bytes(true);
        assert_eq!(taken(|d| assert!(d.put_data(&call))), needed);
    }
    for len in [1, FRAGMENT_UNIT, 2 * FRAGMENT_UNIT] {
        let bytes = vec![7; len];
        let total = u32::try_from(len).expect("small");
        let fragment = Fragment {
            msgid: MsgId(1),
            seq: Seq(1),
            at_least_once: false,
            call: None,
            offset: 0,
            total,
            bytes: &bytes,
        };
        assert_eq!(taken(|d| assert!(d.put_fragment(&fragment))), DatagramBuilder::fragment_bytes(len));
        let call = Fragment { call: Some(NO_AGE), ..fragment };
        let needed = DatagramBuilder::fragment_bytes(len) + DatagramBuilder::age_bytes(true);
        assert_eq!(taken(|d| assert!(d.put_fragment(&call))), needed);
    }
    let skip = Skip { seq: Seq(1), count: 1 };
    assert_eq!(taken(|d| assert!(d.put_skip(&skip))), DatagramBuilder::skip_bytes());
}

#[test]
fn a_flow_is_written_only_where_what_is_to_follow_fits() {
    for (then, fits) in [(0, true), (99, true), (100, true), (101, false), (1000, false)] {
        let size = HEADER_BYTES + DatagramBuilder::flow_bytes() + 100;
        build(Kind::Frames, size, |d| {
            assert_eq!(d.put_flow(&FLOW, then), fits, "{then}");
            assert_eq!(d.is_empty(), !fits);
        });
    }
}

#[test]
fn the_largest_payload_fits_and_no_larger_one() {
    for size in [1200, 9000, MAX_MTU] {
        let payload = vec![7; DatagramBuilder::max_data(size) + 1];
        build(Kind::Frames, size, |d| {
            assert!(d.put_flow(&FLOW, 0));
            let call = |payload| Data { call: Some(NO_AGE), ..data(payload) };
            assert!(!d.put_data(&call(&payload)));
            assert!(d.put_data(&call(&payload[1..])));
            assert_eq!(d.remaining(), 0);
        });
    }
    assert_eq!(DatagramBuilder::max_data(0), 0);
    assert_eq!(DatagramBuilder::max_data(usize::MAX), DatagramBuilder::max_data(MAX_MTU));
}

#[test]
fn what_fits_exactly_is_written_and_one_byte_less_is_not_enough() {
    let room = HEADER_BYTES + DatagramBuilder::flow_bytes();
    let bytes = [7; 64];
    let fragment = Fragment {
        msgid: MsgId(1),
        seq: Seq(1),
        at_least_once: false,
        call: None,
        offset: 0,
        total: 64,
        bytes: &bytes,
    };
    let skip = Skip { seq: Seq(1), count: 1 };
    type Put<'a> = Box<dyn Fn(&mut DatagramBuilder<'_>) -> bool + 'a>;
    let heartbeat = Heartbeat { wants_reply: false, clock: Time(1), echo: Time(1), held: Span(1) };
    let run = AckRun { msgid: MsgId(1), seq: Seq(1), count: 1 };
    let verdict = Verdict { reason: Reason::NoAnswer, certainty: Certainty::Unknown };
    let entry = NackEntry { msgid: MsgId(1), seq: Seq(1), verdict };
    let call = Some(NO_AGE);
    let aged = DatagramBuilder::age_bytes(true);
    let puts: [(usize, Put<'_>); 13] = [
        (DatagramBuilder::data_bytes(64) + aged, Box::new(|d| d.put_data(&Data { call, ..data(&bytes) }))),
        (
            DatagramBuilder::fragment_bytes(64) + aged,
            Box::new(|d| d.put_fragment(&Fragment { call, ..fragment })),
        ),
        (DatagramBuilder::data_bytes(64), Box::new(|d| d.put_data(&data(&bytes)))),
        (DatagramBuilder::fragment_bytes(64), Box::new(|d| d.put_fragment(&fragment))),
        (DatagramBuilder::skip_bytes(), Box::new(|d| d.put_skip(&skip))),
        (8, Box::new(|d| d.put_control_ack(1))),
        (4, Box::new(|d| d.put_goodbye())),
        (4, Box::new(|d| d.put_ping())),
        (4 + 20, Box::new(|d| d.put_heartbeat(&heartbeat))),
        (4 + 20, Box::new(|d| d.put_link_ack(Span(1), 1, [(1, 2)]))),
        (4 + 32 + 12, Box::new(|d| d.put_ack(&FLOW.id, Time(1), &[run]) == 1)),
        (4 + 32 + 12, Box::new(|d| d.put_nack(&FLOW.id, Time(1), &[entry]) == 1)),
        (4 + 32 + 8 + 2, Box::new(|d| d.put_partial(&FLOW.id, Time(1), MsgId(1), Seq(1), &[1, 2]))),
    ];
    for (index, (len, put)) in puts.iter().enumerate() {
        for (size, fits) in [(room + len - 1, false), (room + len, true)] {
            build(Kind::Frames, size, |d| {
                assert!(d.put_flow(&FLOW, 0));
                assert_eq!(put(d), fits, "case {index}");
                assert_eq!(d.remaining() == 0, fits);
            });
        }
    }
}

#[test]
fn room_for_fragments_is_counted_in_whole_units() {
    for (units, more) in [(0, 0), (0, FRAGMENT_UNIT - 1), (1, 0), (1, FRAGMENT_UNIT - 1), (2, 0), (7, 5)] {
        for is_call in [false, true] {
            let head = DatagramBuilder::fragment_bytes(0) + DatagramBuilder::age_bytes(is_call);
            let room = head + units * FRAGMENT_UNIT + more;
            build(Kind::Frames, HEADER_BYTES + DatagramBuilder::flow_bytes() + room, |d| {
                assert!(d.put_flow(&FLOW, 0));
                assert_eq!(d.fragment_room(is_call), units * FRAGMENT_UNIT, "{units} units and {more} bytes");
            });
        }
    }
}

const NO_AGE: CallMark = CallMark { age: Span::ZERO, is_addressed: false };
