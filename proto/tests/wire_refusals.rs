//! What a daemon refuses to read from another, and refuses to write.

use msg_proto::{
    control::Hello,
    ids::{Channel, ClientId, DatagramNumber, FlowId, Incarnation, Instance, MsgId, Seq, SessionId},
    limits,
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
    wire::{
        AckRun, CallMark, Data, DatagramBuilder, Flow, Fragment, Frame, Frames, HEADER_BYTES, Header, Kind,
        NackEntry, Skip, VERSIONS, WireError,
    },
};

fn header(kind: Kind) -> Header {
    let (session, number) = if kind == Kind::Hello { (0, 0) } else { (7, 9) };
    Header { version: 1, kind, speaks: VERSIONS, session: SessionId(session), number: DatagramNumber(number) }
}

fn hello(node: &str) -> Hello {
    Hello {
        node: node.to_owned(),
        session: SessionId(7),
        echo: SessionId::NONE,
        start: 1,
        clock: Time(2),
        max_message_bytes: 3,
        receive_window: 4,
    }
}

/// The frames of a datagram, up to and with the first error.
fn frames(kind: Kind, body: &[u8]) -> Vec<Result<Frame<'_>, WireError>> {
    Frames::new(kind, body).collect()
}

/// The head and the body of a frame.
fn raw(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).expect("short").to_le_bytes();
    [&[kind, flags, len[0], len[1]][..], body].concat()
}

#[test]
fn a_hello_datagram_holds_one_hello_and_padding() {
    let out = datagram(Kind::Hello, 1200, |d| assert!(d.put_hello(&hello("vm-a"))));
    let body = &out[HEADER_BYTES..];
    assert_eq!(frames(Kind::Hello, body), [Ok(Frame::Hello(hello("vm-a"))), Ok(Frame::Padding)]);
    assert_eq!(frames(Kind::Frames, body), [Err(WireError::Malformed)], "no HELLO in a session");

    let goodbye = raw(13, 0, &[]);
    assert_eq!(frames(Kind::Frames, &goodbye), [Ok(Frame::Goodbye)]);
    assert_eq!(frames(Kind::Hello, &goodbye), [Err(WireError::Malformed)], "no session in a hello");
    let then = |tail: &[u8]| frames(Kind::Hello, &[body, tail].concat()).pop().map(|f| f.is_err());
    assert_eq!(then(&goodbye), Some(true), "nothing of a session behind a HELLO");
    assert_eq!(then(body), Some(true), "nor a second one");
    assert_eq!(frames(Kind::Hello, &raw(0, 0, &[])), [Err(WireError::Malformed)], "the HELLO comes first");
}

#[test]
fn what_belongs_to_a_flow_comes_behind_it() {
    let whole = datagram(Kind::Frames, 1400, |d| {
        assert!(d.put_flow(&flow(), 100));
        assert!(d.put_data(&Data {
            msgid: MsgId(1),
            seq: Seq(6),
            at_least_once: false,
            call: None,
            payload: b"x"
        }));
        assert!(d.put_skip(&Skip { seq: Seq(7), count: 1 }));
        let part = Fragment {
            msgid: MsgId(2),
            seq: Seq(8),
            at_least_once: false,
            call: None,
            offset: 0,
            total: 2000,
            bytes: &[1; 1024],
        };
        assert!(d.put_fragment(&part));
    });
    let mut body = &whole[HEADER_BYTES..];
    assert!(frames(Kind::Frames, body).iter().all(Result::is_ok));
    let mut alone = 0;
    while body.len() >= 4 {
        let len = 4 + usize::from(u16::from_le_bytes([body[2], body[3]]));
        let len = len.min(body.len());
        if matches!(frames(Kind::Frames, body).first(), Some(Err(WireError::Malformed))) {
            alone += 1;
        }
        body = &body[len..];
    }
    assert_eq!(alone, 3, "DATA, SKIP, FRAGMENT");
}

/// The ranges that the other side reads where these were written.
fn link_ack(ranges: &[(u64, u64)]) -> Option<Vec<(u64, u64)>> {
    let mut out = Vec::new();
    let mut datagram = DatagramBuilder::new(&mut out, header(Kind::Frames), 1200);
    if !datagram.put_link_ack(Span(5), 6, ranges.iter().copied()) {
        return None;
    }
    let _len = datagram.finish();
    match Frames::new(Kind::Frames, &out[HEADER_BYTES..]).next() {
        Some(Ok(Frame::LinkAck(ack))) => Some(ack.ranges().collect()),
        other => panic!("not a LINK_ACK: {other:?}"),
    }
}

#[test]
fn a_link_ack_holds_no_more_ranges_than_are_read() {
    let many: Vec<_> = (0..100).rev().map(|n| (n * 10, n * 10 + 3)).collect();
    assert_eq!(link_ack(&many).expect("written"), many[..limits::MAX_ACK_RANGES]);
}

#[test]
fn a_link_ack_never_says_more_than_what_arrived() {
    let far = u64::from(u32::MAX);
    assert_eq!(
        link_ack(&[(0, u64::MAX)]),
        Some(vec![(u64::MAX - far + 1, u64::MAX)]),
        "counted as far as it goes"
    );
    assert_eq!(link_ack(&[(5 * far, 5 * far), (0, 2)]), Some(vec![(5 * far, 5 * far)]), "a gap too wide");
    let widest = vec![(far + 10, far + 10), (9, 9)];
    assert_eq!(link_ack(&widest), Some(widest), "the widest gap");
    assert_eq!(link_ack(&[(10, 12), (9, 9), (0, 0)]), Some(vec![(10, 12), (9, 9), (0, 0)]), "a gap of none");
    assert_eq!(link_ack(&[(10, 12), (11, 11)]), Some(vec![(10, 12)]), "overlapping");
    assert_eq!(link_ack(&[(10, 12), (20, 21)]), Some(vec![(10, 12)]), "rising");
    assert_eq!(link_ack(&[(10, 12), (7, 6)]), Some(vec![(10, 12)]), "upside down");
    assert_eq!(link_ack(&[(12, 10)]), None, "upside down at once");
    assert_eq!(link_ack(&[]), None);
}

/// The datagram that `put` writes within `size` bytes.
fn datagram(kind: Kind, size: usize, put: impl FnOnce(&mut DatagramBuilder<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut datagram = DatagramBuilder::new(&mut out, header(kind), size);
    put(&mut datagram);
    let _len = datagram.finish();
    out
}

#[test]
fn a_hello_has_one_size_or_is_not_written() {
    for len in [1, limits::MAX_NODE_NAME_BYTES] {
        let out = datagram(Kind::Hello, 1200, |d| assert!(d.put_hello(&hello(&"n".repeat(len)))));
        assert_eq!(out.len(), limits::HELLO_DATAGRAM_BYTES);
    }
    let too_long = "n".repeat(limits::MAX_NODE_NAME_BYTES + 1);
    let out = datagram(Kind::Hello, 1200, |d| assert!(!d.put_hello(&hello(&too_long))));
    assert_eq!(out.len(), HEADER_BYTES, "nothing was written");
    let size = limits::HELLO_DATAGRAM_BYTES;
    let _fits = datagram(Kind::Hello, size, |d| assert!(d.put_hello(&hello("vm-a"))));
    let _does_not = datagram(Kind::Hello, size - 1, |d| assert!(!d.put_hello(&hello("vm-a"))));
    let _twice = datagram(Kind::Hello, 1200, |d| {
        assert!(d.put_hello(&hello("vm-a")));
        assert!(!d.put_hello(&hello("vm-a")));
    });
}

#[test]
fn padding_stays_within_the_datagram() {
    for (size, wanted, len) in [
        (1200, 1200, 1200),
        (1200, 1500, 1200),
        (1200, 700, 700),
        (1200, 10, HEADER_BYTES),
        (1200, HEADER_BYTES + 3, HEADER_BYTES),
        (HEADER_BYTES + 3, 1200, HEADER_BYTES),
        (usize::MAX / 2, usize::MAX, limits::MAX_MTU),
    ] {
        let out = datagram(Kind::Frames, size, |d| d.put_padding(wanted));
        assert_eq!(out.len(), len, "{wanted} within {size}");
        assert!(frames(Kind::Frames, &out[HEADER_BYTES..]).iter().all(Result::is_ok));
    }
}

#[test]
fn no_frame_is_longer_than_its_length_says() {
    let flow = flow();
    let payload = vec![7; 70_000];
    let fits = DatagramBuilder::max_data(100_000);
    assert_eq!(fits, DatagramBuilder::max_data(limits::MAX_MTU));
    let put = |len: usize| {
        datagram(Kind::Frames, 100_000, |d| {
            assert!(d.put_flow(&flow, 0));
            let data = Data {
                msgid: MsgId(1),
                seq: Seq(2),
                at_least_once: false,
                call: Some(NO_AGE),
                payload: &payload[..len],
            };
            assert_eq!(d.put_data(&data), len <= fits);
        })
    };
    assert_eq!(put(fits).len(), limits::MAX_MTU);
    for len in [fits, fits + 1, 65_535, 65_536, 70_000] {
        let out = put(len);
        let read = frames(Kind::Frames, &out[HEADER_BYTES..]);
        assert!(read.iter().all(Result::is_ok));
        assert_eq!(read.len(), if len <= fits { 2 } else { 1 });
    }
    assert_eq!(DatagramBuilder::max_data(0), 0);
}

fn flow() -> Flow {
    let of =
        |client, incarnation| Instance { client: ClientId(client), incarnation: Incarnation(incarnation) };
    Flow {
        id: FlowId { src: of(1, 2), dst: of(3, 4), channel: Channel::Ordered },
        send_time: Time(5),
        interval: Span::from_millis(1000),
        floor: Seq(6),
        presence: 7,
    }
}

/// Whether a lone frame is read, in a datagram of that kind.
fn reads(datagram: Kind, frame: &[u8]) -> bool {
    frames(datagram, frame).iter().all(Result::is_ok)
}

#[test]
fn a_hello_names_its_node_and_its_session() {
    let read = |name_len: usize, session: u64| {
        let name = vec![b'n'; name_len];
        let len = u64::try_from(name_len).expect("short").to_le_bytes();
        let body = [&len[..], &name, &session.to_le_bytes(), &[0; 32]].concat();
        reads(Kind::Hello, &raw(1, 0, &body))
    };
    assert!(read(1, 7));
    assert!(read(limits::MAX_NODE_NAME_BYTES, 7));
    assert!(!read(limits::MAX_NODE_NAME_BYTES + 1, 7), "too long a name");
    assert!(!read(0, 7), "no name");
    assert!(!read(1, 0), "session 0 is nobody's");
}

#[test]
fn the_control_stream_begins_at_1_and_speaks_of_somebody() {
    let control = |seq: u32, variant: u32, rest: &[u8]| {
        let body = [&seq.to_le_bytes()[..], &variant.to_le_bytes(), rest].concat();
        reads(Kind::Frames, &raw(10, 0, &body))
    };
    let somebody = [1, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
    let nobody = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let with = |who: &[u8; 12], tail: &[u8]| [&who[..], tail].concat();
    assert!(control(1, 0, &with(&somebody, &[3, 232, 3, 0, 0])));
    assert!(!control(0, 0, &with(&somebody, &[3, 232, 3, 0, 0])), "step 0");
    assert!(!control(1, 0, &with(&nobody, &[3, 232, 3, 0, 0])), "an announcement of nobody");
    assert!(control(1, 1, &with(&somebody, &[2, 0, 0, 0])));
    assert!(!control(1, 1, &with(&nobody, &[2, 0, 0, 0])), "a withdrawal of nobody");
    assert!(!control(1, 1, &with(&somebody, &[3, 0, 0, 0])), "an unknown cause");
    assert!(control(1, 2, &[]));
    assert!(!control(1, 3, &[]), "an unknown step");

    assert!(reads(Kind::Frames, &raw(11, 0, &[1, 0, 0, 0])));
    assert!(!reads(Kind::Frames, &raw(11, 0, &[0; 4])), "nobody waits for step 0");
}

#[test]
fn a_link_ack_never_passes_below_0() {
    let reads = |largest: u64, first: u32, ranges: &[(u32, u32)]| {
        let mut body = [&largest.to_le_bytes()[..], &[0; 4], &first.to_le_bytes(), &[0; 4]].concat();
        for (gap, count) in ranges {
            body.extend_from_slice(&gap.to_le_bytes());
            body.extend_from_slice(&count.to_le_bytes());
        }
        reads(Kind::Frames, &raw(12, 0, &body))
    };
    assert!(reads(0, 1, &[]));
    assert!(reads(9, 10, &[]));
    assert!(!reads(9, 11, &[]));
    assert!(!reads(9, 0, &[]), "a range of none");
    assert!(!reads(9, u32::MAX, &[]));
    assert!(reads(u64::MAX, u32::MAX, &[(u32::MAX, u32::MAX)]));
    assert!(reads(9, 5, &[(0, 5)]), "4 to 0");
    assert!(!reads(9, 5, &[(0, 6)]));
    assert!(!reads(9, 5, &[(0, 0)]), "a range of none");
    assert!(reads(9, 5, &[(4, 1)]), "0 alone");
    assert!(!reads(9, 5, &[(5, 1)]));
    assert!(!reads(9, 5, &[(u32::MAX, u32::MAX)]));
    assert!(reads(900, 1, &[(0, 1); limits::MAX_ACK_RANGES - 1]));
    assert!(!reads(900, 1, &[(0, 1); limits::MAX_ACK_RANGES]), "too many");
}

/// A datagram with `edit`ed bytes and a checksum that is right.
fn edited(datagram: &[u8], edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = datagram.to_vec();
    edit(&mut out);
    out[8..12].fill(0);
    let checksum = crc32c::crc32c(&out);
    out[8..12].copy_from_slice(&checksum.to_le_bytes());
    out
}

#[test]
fn a_head_is_read_only_as_it_is_written() {
    let frames = datagram(Kind::Frames, 1200, |d| assert!(d.put_goodbye()));
    let hello = datagram(Kind::Hello, 1200, |d| assert!(d.put_hello(&hello("n"))));
    let set = |base: &[u8], at: usize, value: u8| {
        Header::parse(&edited(base, |b| b[at] = value)).map(|(header, _)| header.kind)
    };
    assert_eq!(set(&frames, 4, 1), Ok(Kind::Frames));
    assert_eq!(set(&frames, 5, 9), Ok(Kind::Frames), "it may speak what we do not");
    assert_eq!(set(&frames, 0, b'x'), Err(WireError::NotOurs));
    assert_eq!(set(&frames, 2, 0), Err(WireError::Version(VERSIONS)));
    assert_eq!(set(&frames, 2, 2), Err(WireError::Version(VERSIONS)));
    assert_eq!(set(&frames, 3, 0), Err(WireError::Malformed), "kind");
    assert_eq!(set(&frames, 3, 3), Err(WireError::Malformed), "kind");
    assert_eq!(set(&frames, 3, 1), Err(WireError::Malformed), "a hello with a session");
    assert_eq!(set(&hello, 3, 2), Err(WireError::Malformed), "frames without one");
    assert_eq!(set(&hello, 20, 1), Err(WireError::Malformed), "a hello with a number");
    assert_eq!(set(&frames, 4, 2), Err(WireError::Malformed), "an empty range");
    assert_eq!(set(&frames, 5, 0), Err(WireError::Malformed), "an empty range");
    let later = edited(&frames, |b| b[4..6].copy_from_slice(&[2, 3]));
    let later = Header::parse(&later).map(|_| ());
    assert_eq!(later, Err(WireError::Malformed), "a version that its sender does not speak");
    assert_eq!(set(&frames, 6, 1), Err(WireError::Malformed), "reserved");
    assert_eq!(set(&frames, 7, 1), Err(WireError::Malformed), "reserved");
    for len in 0..HEADER_BYTES {
        assert_eq!(Header::parse(&frames[..len]).map(|_| ()), Err(WireError::NotOurs), "{len} bytes");
    }
    assert!(Header::parse(&edited(&frames, |b| b.truncate(HEADER_BYTES))).is_ok(), "a head alone");
}

/// The frame that `put` writes behind a FLOW.
fn frame(put: impl FnOnce(&mut DatagramBuilder<'_>)) -> Vec<u8> {
    let mut start = 0;
    let out = datagram(Kind::Frames, limits::MAX_MTU, |d| {
        assert!(d.put_flow(&flow(), 0));
        start = d.len();
        put(d);
    });
    out[start..].to_vec()
}

/// Whether a frame is read behind a FLOW, with a `u32` of its body at `at` set to `value`.
fn reads_with(frame: &[u8], at: usize, value: u32) -> bool {
    let mut bytes = [&raw_flow(), frame].concat();
    let at = raw_flow().len() + 4 + at;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    reads(Kind::Frames, &bytes)
}

fn raw_flow() -> Vec<u8> {
    datagram(Kind::Frames, 1200, |d| assert!(d.put_flow(&flow(), 0)))[HEADER_BYTES..].to_vec()
}

#[test]
fn counts_and_places_are_in_range() {
    let skip = frame(|d| assert!(d.put_skip(&Skip { seq: Seq(1), count: 1 })));
    let run = AckRun { msgid: MsgId(1), seq: Seq(1), count: 1 };
    let ack = frame(|d| assert_eq!(d.put_ack(&flow().id, Time(1), &[run, run]), 2));
    for (frame, at) in [(&skip, 4), (&ack, 40), (&ack, 52)] {
        for count in [1, limits::SEQ_SPAN] {
            assert!(reads_with(frame, at, count), "{count}");
        }
        for count in [0, limits::SEQ_SPAN + 1, u32::MAX] {
            assert!(!reads_with(frame, at, count), "{count}");
        }
    }
    let interval = raw_flow();
    for (at, who) in [(8, "src"), (16, "dst")] {
        assert!(reads_with(&interval, at, 9) && !reads_with(&interval, at, 0), "incarnation 0 of {who}");
    }
    for (ms, allowed) in [(9, false), (10, true), (600_000, true), (600_001, false), (0, false)] {
        assert_eq!(reads_with(&interval, 32, ms), allowed, "{ms} ms");
    }
}

#[test]
fn fragments_are_whole_units_or_the_end() {
    let most = u32::try_from(limits::MAX_MESSAGE_BYTES).expect("a message's size");
    let reads = |len: usize, offset: u32, total: u32| {
        let body = [&[0; 8][..], &offset.to_le_bytes(), &total.to_le_bytes(), &vec![7; len]].concat();
        reads(Kind::Frames, &[raw_flow(), raw(5, 0, &body)].concat())
    };
    assert!(reads(1024, 0, 4000));
    assert!(reads(2048, 1024, 4000));
    assert!(reads(928, 3072, 4000), "the end");
    assert!(reads(4000, 0, 4000), "all of it");
    assert!(reads(1024, most - 1024, most), "the end of the largest");
    assert!(!reads(927, 3072, 4000), "short of the end");
    assert!(!reads(929, 3072, 4000), "beyond the end");
    assert!(!reads(1023, 0, 4000), "part of a unit");
    assert!(!reads(1024, 1, 4000), "between units");
    assert!(!reads(3999, 1, 4000), "between units, to the end");
    assert!(!reads(0, 0, 4000), "nothing");
    assert!(!reads(0, 3072, 3072), "nothing, at the end");
    assert!(!reads(1024, 0, 1023), "more than the message");
    assert!(!reads(1024, most, most), "beyond the message");
    assert!(!reads(1024, most, most + 1024), "beyond the largest");
    assert!(!reads(1024, 0, most + 1), "beyond the largest");
    assert!(!reads(1024, u32::MAX - 1023, u32::MAX));
}

#[test]
fn reserved_bytes_lengths_and_flags() {
    let verdict = Verdict { reason: Reason::NoRoute, certainty: Certainty::NotStarted };
    let entry = NackEntry { msgid: MsgId(1), seq: Seq(1), verdict };
    let nack = frame(|d| assert_eq!(d.put_nack(&flow().id, Time(1), &[entry]), 1));
    for (value, allowed) in [
        (0x0000_0001, true),
        (0x0000_0108, true),
        (0x0000_0000, false),
        (0x0000_0009, false),
        (0x0000_0201, false),
        (0x0001_0001, false),
        (0x0100_0001, false),
    ] {
        assert_eq!(reads_with(&nack, 40, value), allowed, "reason, certainty, reserved {value:08x}");
    }
    let context =
        [0u8, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let partial =
        |bytes: usize| reads(Kind::Frames, &raw(9, 0, &[&context[..], &[0; 8], &vec![1; bytes]].concat()));
    let most = limits::MAX_FRAGMENT_UNITS / 8;
    assert_eq!([0, 1, most, most + 1].map(partial), [false, true, true, false]);
    assert!(!reads(Kind::Frames, &raw(7, 0, &context)), "an ACK of nothing");
    assert!(!reads(Kind::Frames, &raw(8, 0, &context)), "a NACK of nothing");
    assert!(reads(Kind::Frames, &raw(0, 0, &[0; 9])));
    assert!(!reads(Kind::Frames, &raw(0, 0, &[0, 0, 1])), "padding is zero");
    assert!(reads(Kind::Frames, &raw(2, 0, &[0; 20])));
    for len in [0, 19, 21] {
        assert!(!reads(Kind::Frames, &raw(2, 0, &vec![0; len])), "a HEARTBEAT of {len} bytes");
    }
    assert!(!reads(Kind::Frames, &raw(13, 0, &[0])), "a GOODBYE of one byte");
    assert!(!reads(Kind::Frames, &raw(14, 0, &[0])), "a PING of one byte");
    assert!(!reads(Kind::Frames, &raw(11, 0, &[1, 0, 0, 0, 0])), "a CONTROL_ACK of 5 bytes");
    assert!(!reads(Kind::Frames, &raw(10, 0, &[1, 0, 0, 0, 2, 0, 0, 0, 0])), "a byte behind SYNCED");
    for kind in 15..=u8::MAX {
        assert!(!reads(Kind::Frames, &raw(kind, 0, &[])), "type {kind}");
    }
    for (kind, flags) in
        [(0, 0), (2, 1), (3, 1), (4, 2), (5, 2), (6, 0), (7, 1), (8, 1), (9, 1), (10, 0), (13, 0), (14, 0)]
    {
        for bit in (0..8).map(|n| 1u8 << n).filter(|bit| flags & bit == 0) {
            let good: Vec<u8> = match kind {
                0 | 13 | 14 => Vec::new(),
                2 => vec![0; 20],
                3 => raw_flow()[4..].to_vec(),
                4 => vec![0; 8],
                5 => [&[0; 12][..], &[1, 0, 0, 0], b"x"].concat(),
                6 => vec![1, 0, 0, 0, 1, 0, 0, 0],
                7 => [&context[..], &[1, 0, 0, 0].repeat(3)].concat(),
                8 => nack[4..].to_vec(),
                9 => [&context[..], &[0; 8], &[1]].concat(),
                _ => vec![1, 0, 0, 0, 2, 0, 0, 0],
            };
            let with = |flags| reads(Kind::Frames, &[raw_flow(), raw(kind, flags, &good)].concat());
            assert!(with(0) && with(flags), "type {kind}");
            assert!(!with(bit) && !with(flags | bit), "type {kind}, flag {bit}");
        }
    }
}

/// What a daemon must not write shows itself where it is written, not as a malformed datagram at the peer.
#[cfg(debug_assertions)]
mod written {
    use super::*;

    #[test]
    #[should_panic(expected = "the other side would refuse")]
    fn a_message_without_its_flow() {
        let data = Data { msgid: MsgId(1), seq: Seq(2), at_least_once: false, call: None, payload: b"" };
        let _out = datagram(Kind::Frames, 1200, |d| assert!(d.put_data(&data)));
    }

    #[test]
    #[should_panic(expected = "the other side would refuse")]
    fn a_flow_to_nobody() {
        let mut flow = flow();
        flow.id.dst.incarnation = Incarnation::NONE;
        let _out = datagram(Kind::Frames, 1200, |d| assert!(d.put_flow(&flow, 0)));
    }

    #[test]
    #[should_panic(expected = "the other side would refuse")]
    fn an_interval_below_the_shortest() {
        let flow = Flow { interval: Span::from_millis(9), ..flow() };
        let _out = datagram(Kind::Frames, 1200, |d| assert!(d.put_flow(&flow, 0)));
    }

    #[test]
    #[should_panic(expected = "the other side would refuse")]
    fn a_hello_in_a_session() {
        let _out = datagram(Kind::Frames, 1200, |d| assert!(d.put_hello(&hello("n"))));
    }
}

const NO_AGE: CallMark = CallMark { age: Span::ZERO, is_addressed: false };
