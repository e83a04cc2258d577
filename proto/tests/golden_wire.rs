//! The bytes between daemons, written down. They never change: a new layout is a new version with bytes of its own.
//!
//! Each case is held against both directions: the builder writes these bytes, and the reader makes the same value
//! of them. The frames' numbers are those of the table in `SPEC.md`, section 3.2.

use msg_proto::{
    control::{Control, Departure, Hello, VersionRange},
    ids::{Channel, ClientId, DatagramNumber, FlowId, Incarnation, Instance, MsgId, Seq, SessionId},
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
    wire::{
        AckRun, CallMark, Data, DatagramBuilder, Flow, Fragment, Frame, Frames, HEADER_BYTES, Header,
        Heartbeat, Kind, NackEntry, Skip,
    },
};

/// Flow of all cases: 100 to 200, `src` incarnation 1122334455667788, `dst` incarnation a1.
const FLOW: FlowId = FlowId {
    src: Instance { client: ClientId(100), incarnation: Incarnation(0x1122_3344_5566_7788) },
    dst: Instance { client: ClientId(200), incarnation: Incarnation(0xa1) },
    channel: Channel::Ordered,
};
const UNORDERED: FlowId = FlowId { channel: Channel::Unordered, ..FLOW };
const FLOW_HEX: &str = "64000000 c8000000 8877665544332211 a100000000000000";

const TIME: Time = Time(0x0102_0304_0506_0708);
const TIME_HEX: &str = "0807060504030201";

/// Sequence number -2, in a field.
const SEQ: Seq = Seq(u32::MAX - 1);

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|p| str::from_utf8(p).expect("ASCII"));
    pairs.map(|p| u8::from_str_radix(p, 16).expect("two hexadecimal digits")).collect()
}

fn frames_header() -> Header {
    Header {
        version: 1,
        kind: Kind::Frames,
        speaks: VersionRange { lowest: 1, highest: 1 },
        session: SessionId(0x0fee_ddcc_bbaa_9988),
        number: DatagramNumber(0x0102_0304),
    }
}

fn hello_header() -> Header {
    Header { kind: Kind::Hello, session: SessionId::NONE, number: DatagramNumber(0), ..frames_header() }
}

/// `put` writes exactly the frame `bytes`, whose type is listed as `name`; the one frame read back is returned to
/// `check`.
#[track_caller]
fn golden(
    name: &str,
    bytes: &str,
    put: impl FnOnce(&mut DatagramBuilder<'_>),
    check: impl FnOnce(Frame<'_>),
) {
    let bytes = hex(bytes);
    let row = format!("| {} | {name} |", bytes[0]);
    assert!(include_str!("../SPEC.md").contains(&row), "SPEC.md, section 3.2, has no row {row}");

    let mut out = Vec::new();
    let mut datagram = DatagramBuilder::new(&mut out, frames_header(), 1200);
    let needs_flow = matches!(name, "DATA" | "FRAGMENT" | "SKIP");
    let mut start = HEADER_BYTES;
    if needs_flow {
        assert!(datagram.put_flow(&flow(FLOW), 0));
        start = datagram.len();
    }
    put(&mut datagram);
    let _len = datagram.finish();
    assert_eq!(out[start..], bytes, "{name} as written");

    let context = out[HEADER_BYTES..start].to_vec();
    let literal = [context, bytes].concat();
    let mut frames = Frames::new(Kind::Frames, &literal);
    if needs_flow {
        assert!(matches!(frames.next(), Some(Ok(Frame::Flow(_)))));
    }
    check(frames.next().expect("a frame").expect(name));
    assert_eq!(frames.next(), None, "{name} is one frame");
}

fn flow(id: FlowId) -> Flow {
    Flow { id, send_time: TIME, interval: Span::from_millis(1000), floor: Seq(u32::MAX - 2), presence: 5 }
}

// From here on: never changed.

#[test]
fn padding() {
    golden(
        "PADDING",
        "00 00 0300 000000",
        |d| d.put_padding(HEADER_BYTES + 7),
        |frame| assert_eq!(frame, Frame::Padding),
    );
}

#[test]
fn heartbeat() {
    for (flags, wants_reply) in [("00", false), ("01", true)] {
        let heartbeat = Heartbeat { wants_reply, clock: TIME, echo: Time(0xff), held: Span(0x0010_0001) };
        golden(
            "HEARTBEAT",
            &format!("02 {flags} 1400 {TIME_HEX} ff00000000000000 01001000"),
            |d| assert!(d.put_heartbeat(&heartbeat)),
            |frame| assert_eq!(frame, Frame::Heartbeat(heartbeat)),
        );
    }
}

#[test]
fn flow_context() {
    for (flags, id) in [("00", FLOW), ("01", UNORDERED)] {
        golden(
            "FLOW",
            &format!("03 {flags} 2c00 {FLOW_HEX} {TIME_HEX} e8030000 fdffffff 05000000"),
            |d| assert!(d.put_flow(&flow(id), 0)),
            |frame| assert_eq!(frame, Frame::Flow(flow(id))),
        );
    }
}

/// Flags, bytes of age, and what they say.
const MESSAGES: [(&str, usize, bool, Option<CallMark>, &str); 5] = [
    ("00", 0, false, None, ""),
    ("02", 0, true, None, ""),
    ("04", 4, false, Some(CallMark { age: Span::from_millis(0x0102), is_addressed: false }), "02010000"),
    ("06", 4, true, Some(CallMark { age: Span::ZERO, is_addressed: false }), "00000000"),
    ("0c", 4, false, Some(CallMark { age: Span::from_millis(0x0102), is_addressed: true }), "02010000"),
];

#[test]
fn data() {
    for (flags, len, at_least_once, call, age) in MESSAGES {
        let data = Data { msgid: MsgId(7), seq: SEQ, at_least_once, call, payload: b"hello" };
        golden(
            "DATA",
            &format!("04 {flags} {:02x}00 07000000 feffffff {age} 68656c6c6f", 13 + len),
            |d| assert!(d.put_data(&data)),
            |frame| assert_eq!(frame, Frame::Data(data)),
        );
    }
}

#[test]
fn fragment() {
    for (flags, len, at_least_once, call, age) in MESSAGES {
        let (msgid, offset, total, bytes) = (MsgId(7), 1024, 1029, b"hello");
        let fragment = Fragment { msgid, seq: SEQ, at_least_once, call, offset, total, bytes };
        golden(
            "FRAGMENT",
            &format!("05 {flags} {:02x}00 07000000 feffffff 00040000 05040000 {age} 68656c6c6f", 21 + len),
            |d| assert!(d.put_fragment(&fragment)),
            |frame| assert_eq!(frame, Frame::Fragment(fragment)),
        );
    }
}

#[test]
fn skip() {
    let skip = Skip { seq: SEQ, count: 3 };
    golden(
        "SKIP",
        "06 00 0800 feffffff 03000000",
        |d| assert!(d.put_skip(&skip)),
        |frame| assert_eq!(frame, Frame::Skip(skip)),
    );
}

#[test]
fn ack() {
    let runs = [
        AckRun { msgid: MsgId(7), seq: SEQ, count: 4 },
        AckRun { msgid: MsgId(12), seq: Seq(3), count: 65_536 },
    ];
    for (flags, id) in [("00", FLOW), ("01", UNORDERED)] {
        golden(
            "ACK",
            &format!(
                "07 {flags} 3800 {FLOW_HEX} {TIME_HEX} 07000000 feffffff 04000000 0c000000 03000000 00000100"
            ),
            |d| assert_eq!(d.put_ack(&id, TIME, &runs), 2),
            |frame| {
                let Frame::Ack(ack) = frame else { panic!("{frame:?}") };
                assert_eq!((ack.flow, ack.send_time), (id, TIME));
                assert_eq!(ack.runs().collect::<Vec<_>>(), runs);
            },
        );
    }
}

#[test]
fn nack() {
    let entries: Vec<_> = (1..=8)
        .map(|n| NackEntry {
            msgid: MsgId(n),
            seq: SEQ.plus(n),
            verdict: Verdict {
                reason: Reason::ALL[n as usize - 1],
                certainty: if n % 2 == 0 { Certainty::Unknown } else { Certainty::NotStarted },
            },
        })
        .collect();
    for (flags, id) in [("00", FLOW), ("01", UNORDERED)] {
        golden(
            "NACK",
            &format!(
                "08 {flags} 8000 {FLOW_HEX} {TIME_HEX}
                 01000000 ffffffff 01 00 0000   02000000 00000000 02 01 0000
                 03000000 01000000 03 00 0000   04000000 02000000 04 01 0000
                 05000000 03000000 05 00 0000   06000000 04000000 06 01 0000
                 07000000 05000000 07 00 0000   08000000 06000000 08 01 0000"
            ),
            |d| assert_eq!(d.put_nack(&id, TIME, &entries), 8),
            |frame| {
                let Frame::Nack(nack) = frame else { panic!("{frame:?}") };
                assert_eq!((nack.flow, nack.send_time), (id, TIME));
                assert_eq!(nack.entries().collect::<Vec<_>>(), entries);
            },
        );
    }
}

#[test]
fn partial() {
    for (flags, id) in [("00", FLOW), ("01", UNORDERED)] {
        golden(
            "PARTIAL",
            &format!("09 {flags} 2a00 {FLOW_HEX} {TIME_HEX} 07000000 feffffff 0580"),
            |d| assert!(d.put_partial(&id, TIME, MsgId(7), SEQ, &[0x05, 0x80])),
            |frame| {
                let Frame::Partial(p) = frame else { panic!("{frame:?}") };
                assert_eq!((p.flow, p.send_time, p.msgid, p.seq), (id, TIME, MsgId(7), SEQ));
                assert_eq!(p.bitmap, [0x05, 0x80]);
            },
        );
    }
}

#[test]
fn control() {
    let (client, incarnation) = (ClientId(100), Incarnation(0x1122_3344_5566_7788));
    let withdraw = |cause| Control::Withdraw { client, incarnation, cause };
    for (bytes, body) in [
        (
            "0a 00 1900 0e010000 00000000 64000000 8877665544332211 09 e8030000",
            Control::Announce { client, incarnation, priority: 9, uid: 1000 },
        ),
        ("0a 00 1800 0e010000 01000000 64000000 8877665544332211 00000000", withdraw(Departure::Left)),
        ("0a 00 1800 0e010000 01000000 64000000 8877665544332211 01000000", withdraw(Departure::Died)),
        ("0a 00 1800 0e010000 01000000 64000000 8877665544332211 02000000", withdraw(Departure::GoingAway)),
        ("0a 00 0800 0e010000 02000000", Control::Synced),
        ("0a 00 1400 0e010000 03000000 64000000 8877665544332211", Control::Watch { client, incarnation }),
        ("0a 00 1400 0e010000 04000000 64000000 8877665544332211", Control::Gone { client, incarnation }),
    ] {
        golden(
            "CONTROL",
            bytes,
            |d| assert!(d.put_control(0x010e, &body)),
            |frame| assert_eq!(frame, Frame::Control { seq: 0x010e, body: body.clone() }),
        );
    }
}

#[test]
fn control_ack() {
    golden(
        "CONTROL_ACK",
        "0b 00 0400 0f010000",
        |d| assert!(d.put_control_ack(0x010f)),
        |frame| assert_eq!(frame, Frame::ControlAck { next: 0x010f }),
    );
}

#[test]
fn link_ack() {
    let ranges = [(998, 1000), (990, 995), (100, 100)];
    golden(
        "LINK_ACK",
        "0c 00 2400 e803000000000000 fa000000 03000000 00001000  02000000 06000000  79030000 01000000",
        |d| assert!(d.put_link_ack(Span(250), 1 << 20, ranges)),
        |frame| {
            let Frame::LinkAck(ack) = frame else { panic!("{frame:?}") };
            assert_eq!((ack.largest, ack.delay, ack.first, ack.window), (1000, Span(250), 3, 1 << 20));
            assert_eq!(ack.ranges().collect::<Vec<_>>(), ranges);
        },
    );
}

#[test]
fn goodbye() {
    golden("GOODBYE", "0d 00 0000", |d| assert!(d.put_goodbye()), |frame| assert_eq!(frame, Frame::Goodbye));
}

#[test]
fn ping() {
    golden("PING", "0e 00 0000", |d| assert!(d.put_ping()), |frame| assert_eq!(frame, Frame::Ping));
}

#[test]
fn a_hello_datagram() {
    assert!(include_str!("../SPEC.md").contains("| 1 | HELLO |"));
    let hello = Hello {
        node: "vm-a".to_owned(),
        session: SessionId(0x8877_6655_4433_2211),
        echo: SessionId(0x0fee_ddcc_bbaa_9988),
        start: 0x0a,
        clock: TIME,
        max_message_bytes: 1 << 20,
        receive_window: 0x0003_4000,
    };
    let mut literal = hex("6d64 01 01 01 01 0000 be016157 0000000000000000 0000000000000000
         01 00 3400  0400000000000000 766d2d61 1122334455667788 8899aabbccddee0f
                     0a00000000000000 0807060504030201 00001000 00400300
         00 00 e800");
    literal.resize(320, 0);
    let mut out = Vec::new();
    let mut datagram = DatagramBuilder::new(&mut out, hello_header(), 1200);
    assert!(datagram.put_hello(&hello));
    assert_eq!(datagram.finish(), 320);
    assert_eq!(out, literal);
    let (header, frames) = Header::parse(&literal).expect("a datagram");
    assert_eq!(header, hello_header());
    let frames: Vec<_> = Frames::new(header.kind, frames).collect();
    assert_eq!(frames, [Ok(Frame::Hello(hello)), Ok(Frame::Padding)]);
}

#[test]
fn a_datagram_of_frames() {
    let literal = hex("6d64 01 02 01 01 0000 ce2d4afd 8899aabbccddee0f 0403020100000000
         03 00 2c00 64000000 c8000000 8877665544332211 a100000000000000
                    0807060504030201 e8030000 fdffffff 05000000
         04 00 0d00 07000000 feffffff 68656c6c6f
         0d 00 0000");
    let data = Data { msgid: MsgId(7), seq: SEQ, at_least_once: false, call: None, payload: b"hello" };
    let mut out = Vec::new();
    let mut datagram = DatagramBuilder::new(&mut out, frames_header(), 1200);
    assert!(datagram.put_flow(&flow(FLOW), 0) && datagram.put_data(&data) && datagram.put_goodbye());
    assert_eq!(datagram.finish(), literal.len());
    assert_eq!(out, literal);
    let (header, frames) = Header::parse(&literal).expect("a datagram");
    assert_eq!(header, frames_header());
    let frames: Vec<_> = Frames::new(header.kind, frames).collect();
    assert_eq!(frames, [Ok(Frame::Flow(flow(FLOW))), Ok(Frame::Data(data)), Ok(Frame::Goodbye)]);
}

/// Known answers: the check value of the CRC catalogue, and RFC 3720, appendix B.4.
#[test]
fn crc32c() {
    assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    assert_eq!(crc32c::crc32c(&[0; 32]), 0x8a91_36aa);
    assert_eq!(crc32c::crc32c(&[0xff; 32]), 0x62a8_ab43);
    let rising: Vec<u8> = (0..32).collect();
    assert_eq!(crc32c::crc32c(&rising), 0x46dd_794e);
    let falling: Vec<u8> = (0..32).rev().collect();
    assert_eq!(crc32c::crc32c(&falling), 0x113f_db5c);
}
