//! What a daemon refuses to read from another, and refuses to write.

use msg_proto::{
    control::Hello,
    ids::{DatagramNumber, SessionId},
    units::Time,
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
