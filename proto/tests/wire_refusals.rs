//! What a daemon refuses to read from another, and refuses to write.

use msg_proto::{
    control::Hello,
    ids::{DatagramNumber, SessionId},
    limits,
    units::{Span, Time},
    wire::{DatagramBuilder, Frame, Frames, HEADER_BYTES, Header, Kind, VERSIONS, WireError},
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
    let mut out = Vec::new();
    let mut datagram = DatagramBuilder::new(&mut out, header(Kind::Hello), 1200);
    datagram.put_hello(&hello("vm-a"));
    let _len = datagram.finish();
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
