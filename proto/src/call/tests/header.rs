//! The bytes of the call layer, for ever.

use proptest::prelude::*;

use super::{PROCEDURE, XID};
use crate::{
    call::{
        CallFailure, CallFrame, MalformedCall, Procedure, REPLY_HEAD, REQUEST_HEAD, Why, Xid, put_cancel,
        put_reply, put_request,
    },
    outcome::Certainty,
    units::Span,
};

fn golden(hex: &str, put: impl FnOnce(&mut Vec<u8>), frame: CallFrame<'_>) {
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
        .collect();
    let mut out = Vec::new();
    put(&mut out);
    assert_eq!(out, bytes, "{frame:?}");
    assert_eq!(CallFrame::parse(&out), Ok(frame));
    for len in 0..REPLY_HEAD {
        assert_eq!(CallFrame::parse(&bytes[..len]), Err(MalformedCall));
    }
}

#[test]
fn request() {
    for (flags, is_repeat, at_least_once) in
        [("00", false, false), ("01", true, false), ("02", false, true), ("03", true, true)]
    {
        let timeout = Span(0x0a0b_0c0d);
        let (procedure, xid, body) = (PROCEDURE, XID, &b"hello"[..]);
        golden(
            &format!("01 {flags} 00 00 07000000 0807060504030201 0d0c0b0a00000000 68656c6c6f"),
            |out| {
                put_request(out, (PROCEDURE, XID), is_repeat, at_least_once, timeout);
                assert_eq!(out.len(), REQUEST_HEAD);
                out.extend_from_slice(b"hello");
            },
            CallFrame::Request { procedure, xid, is_repeat, at_least_once, timeout, body },
        );
    }
}

#[test]
fn reply() {
    let fail = |certainty, why| Err(CallFailure { certainty, why });
    let (not_started, unknown) = (Certainty::NotStarted, Certainty::Unknown);
    for (bytes, answer) in [
        ("02 00 00 00 07000000 0807060504030201 68656c6c6f", Ok(&b"hello"[..])),
        ("02 00 00 00 07000000 0807060504030201", Ok(&b""[..])),
        ("02 01 01 00 07000000 0807060504030201", fail(not_started, Why::Deadline)),
        ("02 01 02 00 07000000 0807060504030201", fail(not_started, Why::Cancelled)),
        ("02 01 03 00 07000000 0807060504030201", fail(not_started, Why::NoProcedure)),
        ("02 01 04 00 07000000 0807060504030201", fail(not_started, Why::Busy)),
        ("02 01 05 00 07000000 0807060504030201", fail(not_started, Why::XidReused)),
        ("02 02 06 00 07000000 0807060504030201", fail(unknown, Why::ReplyLost)),
        ("02 02 07 00 07000000 0807060504030201", fail(unknown, Why::NoReply)),
    ] {
        let (procedure, xid) = (PROCEDURE, XID);
        golden(
            bytes,
            |out| put_reply(out, PROCEDURE, XID, answer),
            CallFrame::Reply { procedure, xid, answer },
        );
    }
}

#[test]
fn cancel() {
    let (procedure, xid) = (PROCEDURE, XID);
    golden(
        "03 00 00 00 07000000 0807060504030201",
        |out| put_cancel(out, PROCEDURE, XID),
        CallFrame::Cancel { procedure, xid },
    );
}

#[test]
fn what_is_out_of_range_is_refused() {
    let with = |kind: u8, a: u8, b: u8, zero: u8, rest: &[u8]| {
        let message = [&[kind, a, b, zero][..], &[0; 12], rest].concat();
        CallFrame::parse(&message).is_ok()
    };
    assert!(with(1, 3, 0, 0, &[0; 8]));
    assert!(!with(1, 4, 0, 0, &[0; 8]), "an unknown flag");
    assert!(!with(1, 0, 1, 0, &[0; 8]));
    assert!(!with(1, 0, 0, 1, &[0; 8]));
    assert!(!with(1, 0, 0, 0, &[0; 7]), "cut");
    assert!(!with(2, 0, 1, 0, &[]), "a reply with a reason");
    assert!(!with(2, 1, 0, 0, &[]), "a failure without one");
    assert!(!with(2, 1, 8, 0, &[]), "an unknown one");
    assert!(!with(2, 3, 1, 0, &[]), "an unknown certainty");
    assert!(!with(2, 1, 1, 0, &[7]), "a failure with a body");
    assert!(!with(3, 0, 0, 0, &[7]));
    assert!(!with(3, 1, 0, 0, &[]));
    assert!(!with(0, 0, 0, 0, &[]));
    assert!(!with(4, 0, 0, 0, &[]));
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(message in proptest::collection::vec(any::<u8>(), 0..64)) {
        let mut again = Vec::new();
        match CallFrame::parse(&message) {
            Err(MalformedCall) => return Ok(()),
            Ok(CallFrame::Request { procedure, xid, is_repeat, at_least_once, timeout, body }) => {
                put_request(&mut again, (procedure, xid), is_repeat, at_least_once, timeout);
                again.extend_from_slice(body);
            }
            Ok(CallFrame::Reply { procedure, xid, answer }) => put_reply(&mut again, procedure, xid, answer),
            Ok(CallFrame::Cancel { procedure, xid }) => put_cancel(&mut again, procedure, xid),
        }
        prop_assert_eq!(again, message);
    }

    #[test]
    fn what_is_written_is_read(
        ids in any::<(u32, u64)>(),
        flags in any::<(bool, bool)>(),
        timeout in any::<u64>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let (procedure, xid, body) = (Procedure(ids.0), Xid(ids.1), &*bytes);
        let ((is_repeat, at_least_once), timeout) = (flags, Span(timeout));
        let mut out = Vec::new();
        put_request(&mut out, (procedure, xid), is_repeat, at_least_once, timeout);
        out.extend_from_slice(body);
        let frame = CallFrame::Request { procedure, xid, is_repeat, at_least_once, timeout, body };
        prop_assert_eq!(CallFrame::parse(&out), Ok(frame));
    }
}
