//! What the two ends of the local socket refuse to read, and what they say of it.

use msg_proto::{
    control::{LocalNack, LocalRule, Register, Registered, VersionRange},
    ids::{Channel, ClientId, Incarnation, Instance, MsgId, Seq},
    limits,
    local::{
        ClientFrame, DaemonFrame, Deliver, FlowTaken, LocalError, Progress, RawFrame, Submit, put, split,
    },
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
};

/// The only frame in `bytes`.
fn only(bytes: &[u8]) -> RawFrame<'_> {
    let (raw, len) = split(bytes).expect("a head").expect("whole");
    assert_eq!(len, bytes.len());
    raw
}

/// What is said of a client's frame.
fn client_error(bytes: &[u8]) -> Option<&'static str> {
    ClientFrame::parse(only(bytes)).err().map(|LocalError(text)| text)
}

/// What is said of a daemon's frame.
fn daemon_error(bytes: &[u8]) -> Option<&'static str> {
    DaemonFrame::parse(only(bytes)).err().map(|LocalError(text)| text)
}

fn written(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out);
    out
}

fn submit<'a>(user: &'a [u8], payload: &'a [u8]) -> Submit<'a> {
    Submit {
        dst: ClientId(1),
        msgid: MsgId(2),
        seq: Seq(3),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call: false,
        to: None,
        send_time: Time(4),
        user,
        payload,
    }
}

fn deliver(payload: &[u8]) -> Deliver<'_> {
    Deliver {
        number: 1,
        src: Instance { client: ClientId(2), incarnation: Incarnation(3) },
        msgid: MsgId(4),
        seq: Seq(5),
        floor: Seq(5),
        channel: Channel::Ordered,
        send_time: Time(6),
        interval: Span::from_millis(1000),
        round: 0,
        call: None,
        payload,
    }
}

fn register() -> Register {
    Register {
        versions: VersionRange { lowest: 1, highest: 1 },
        client: ClientId(1),
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: 0,
        priority: 0,
        arrival: msg_proto::control::Arrival::Alone,
        name: String::new(),
    }
}

fn registered() -> Registered {
    Registered {
        version: 1,
        node: "n".to_owned(),
        start: 1,
        incarnation: Incarnation(2),
        interval_ms: 1000,
        times: 10,
        max_stored: 1000,
        max_stored_bytes: 1 << 20,
        max_message_bytes: 1 << 20,
    }
}

/// A number as the texts write it: 65,536.
fn grouped(n: usize) -> String {
    let digits = n.to_string();
    let groups = digits.as_bytes().rchunks(3).rev();
    groups.map(|g| String::from_utf8_lossy(g)).collect::<Vec<_>>().join(",")
}

#[test]
fn messages_and_user_data_have_a_largest_size() {
    let message = vec![7; limits::MAX_MESSAGE_BYTES + 1];
    let user = [8; limits::MAX_USER_BYTES + 1];
    let largest = submit(&user[1..], &message[1..]);
    assert_eq!(client_error(&written(|out| put::submit(out, &largest))), None);
    let says = grouped(limits::MAX_MESSAGE_BYTES);
    let error = client_error(&written(|out| put::submit(out, &submit(b"", &message)))).expect("too large");
    assert!(error.contains(&says), "{error}");
    let error = client_error(&written(|out| put::submit(out, &submit(&user, b"")))).expect("too large");
    assert!(error.contains(&grouped(limits::MAX_USER_BYTES)), "{error}");

    assert_eq!(daemon_error(&written(|out| put::deliver(out, &deliver(&message[1..])))), None);
    let error = daemon_error(&written(|out| put::deliver(out, &deliver(&message)))).expect("too large");
    assert!(error.contains(&says), "{error}");
}

#[test]
fn a_submit_frame_is_whole() {
    let good = written(|out| put::submit(out, &submit(b"user", b"payload")));
    for (at, value) in [(21, 1), (22, 1), (23, 1)] {
        let mut bad = good.clone();
        bad[at] = value;
        assert!(client_error(&bad).is_some(), "byte {at} is zero");
    }
    let mut short = written(|out| put::submit(out, &submit(b"user", b"")));
    short[20] = 5;
    assert_eq!(client_error(&short), Some("user data: longer than the frame"));
    assert!(ClientFrame::parse(RawFrame { body: &only(&good).body[..23], ..only(&good) }).is_err());
}

#[test]
fn intervals_and_incarnations_of_nobody() {
    let delivered = |edit: fn(&mut Deliver<'_>)| {
        let mut d = deliver(b"");
        edit(&mut d);
        daemon_error(&written(|out| put::deliver(out, &d)))
    };
    let most = u64::from(limits::MAX_INTERVAL_MS);
    assert_eq!(most, 600_000);
    assert_eq!(delivered(|d| d.interval = Span::from_millis(u64::from(limits::MAX_INTERVAL_MS))), None);
    assert_eq!(delivered(|d| d.interval = Span::from_millis(u64::from(limits::MIN_INTERVAL_MS))), None);
    let error = delivered(|d| d.interval = Span::from_millis(600_001)).expect("too long");
    assert!(
        error.contains(&grouped(600_000)) && error.contains(&limits::MIN_INTERVAL_MS.to_string()),
        "{error}"
    );
    assert!(delivered(|d| d.interval = Span::from_millis(9)).is_some());
    assert!(delivered(|d| d.src.incarnation = Incarnation::NONE).is_some());
    assert!(delivered(|d| d.number = 0).is_some());

    let registered_as = |edit: fn(&mut Registered)| {
        let mut r = registered();
        edit(&mut r);
        daemon_error(&written(|out| put::registered(out, &r)))
    };
    assert_eq!(registered_as(|_| ()), None);
    assert!(registered_as(|r| r.interval_ms = 0).is_some());
    assert!(registered_as(|r| r.incarnation = Incarnation::NONE).is_some());
}

#[test]
fn a_registration_stays_within_the_limits() {
    let with = |edit: fn(&mut Register)| {
        let mut r = register();
        edit(&mut r);
        client_error(&written(|out| put::register(out, &r)))
    };
    assert_eq!(with(|_| ()), None);
    assert_eq!(with(|r| r.interval_ms = limits::MIN_INTERVAL_MS), None);
    assert!(with(|r| r.interval_ms = limits::MIN_INTERVAL_MS - 1).is_some());
    assert!(with(|r| r.interval_ms = limits::MAX_INTERVAL_MS + 1).is_some());
    assert_eq!(with(|r| r.max_stored = limits::MAX_STORED_CEILING), None);
    let error = with(|r| r.max_stored = limits::MAX_STORED_CEILING + 1).expect("too many");
    assert!(error.contains(&grouped(limits::MAX_STORED_CEILING as usize)), "{error}");
    assert_eq!(with(|r| r.name = "n".repeat(limits::MAX_CLIENT_NAME_BYTES)), None);
    let error = with(|r| r.name = "n".repeat(limits::MAX_CLIENT_NAME_BYTES + 1)).expect("too long");
    assert!(error.contains(&grouped(limits::MAX_CLIENT_NAME_BYTES)), "{error}");
}

#[test]
fn flow_reports_have_a_largest_bitmap() {
    let bitmap = vec![1; limits::SEQ_SPAN as usize / 8 + 1];
    let report = |incarnation, bitmap: &[u8]| {
        let src = Instance { client: ClientId(1), incarnation: Incarnation(incarnation) };
        let taken =
            FlowTaken { src, channel: Channel::Ordered, floor: Seq(2), progress: Progress::Taken, bitmap };
        client_error(&written(|out| put::flow_taken(out, &taken)))
    };
    assert_eq!(report(1, &bitmap[1..]), None);
    assert_eq!(report(1, b""), None);
    assert!(report(0, b"").is_some());
    let error = report(1, &bitmap).expect("too long");
    assert!(error.contains(&grouped(limits::SEQ_SPAN as usize / 8)), "{error}");
}

#[test]
fn outcomes_are_in_range() {
    let resolved =
        |count| daemon_error(&written(|out| put::resolved(out, &[(MsgId(1), 1), (MsgId(9), count)])));
    assert_eq!(resolved(limits::MSGID_SPAN), None);
    assert!(resolved(0).is_some());
    let error = resolved(limits::MSGID_SPAN + 1).expect("too many");
    assert!(error.contains(&grouped(limits::MSGID_SPAN as usize)), "{error}");
    assert!(daemon_error(&[8, 0, 0, 0, 67, 0, 0, 0]).is_some(), "RESOLVED of nothing");
    assert!(daemon_error(&[12, 0, 0, 0, 67, 0, 0, 0, 1, 2, 3, 4]).is_some(), "RESOLVED of half a run");

    let failed = |at: usize, value: u8, user: &[u8]| {
        let verdict = Verdict { reason: Reason::NoRoute, certainty: Certainty::NotStarted };
        let failed = msg_proto::local::Failed { msgid: MsgId(1), dst: ClientId(2), tries: 3, verdict, user };
        let mut out = written(|out| put::failed(out, &failed));
        out[at] = value;
        daemon_error(&out)
    };
    assert_eq!(failed(20, 8, &[9; limits::MAX_USER_BYTES]), None);
    assert!(failed(20, 8, &[9; limits::MAX_USER_BYTES + 1]).is_some());
    assert!(failed(20, 0, b"").is_some(), "no such reason");
    assert!(failed(20, 9, b"").is_some(), "no such reason");
    assert!(failed(21, 2, b"").is_some(), "no such certainty");
    assert!(failed(22, 1, b"").is_some(), "byte 14 of the body is zero");
    assert!(failed(23, 1, b"").is_some(), "byte 15 of the body is zero");
}

#[test]
fn heads_flags_and_types() {
    let head = |len: usize, kind: u8, flags: u8, zero: u8| {
        let len = u32::try_from(len).expect("a length").to_le_bytes();
        [len[0], len[1], len[2], len[3], kind, flags, zero, 0]
    };
    let most = limits::MAX_LOCAL_FRAME_BYTES;
    for len in [8, 9, most] {
        assert!(split(&head(len, 3, 0, 0)).is_ok(), "{len}");
    }
    for len in [0, 7, most + 1, u32::MAX as usize] {
        let LocalError(text) = split(&head(len, 3, 0, 0)).expect_err("out of range");
        assert!(text.contains(&grouped(most)), "{text}");
    }
    assert!(split(&head(8, 3, 0, 1)).is_err());
    for len in 0..8 {
        assert_eq!(split(&head(8, 3, 0, 0)[..len]), Ok(None), "{len} bytes");
    }
    for kind in 0..=u8::MAX {
        let bytes = head(8, kind, 0, 0);
        assert_eq!(client_error(&bytes).is_none(), [3, 7, 10].contains(&kind), "client, type {kind}, empty");
        assert_eq!(daemon_error(&bytes).is_none(), kind == 70, "daemon, type {kind}, empty");
        assert!(client_error(&head(8, kind, 16, 0)).is_some(), "client, type {kind}, unknown flag");
        assert!(daemon_error(&head(8, kind, 2, 0)).is_some(), "daemon, type {kind}, unknown flag");
    }
    let long = [9, 0, 0, 0, 3, 0, 0, 0, 0];
    assert!(client_error(&long).is_some(), "READY has no body");
}

#[test]
fn frames_about_instances() {
    let bound = |fields: [u8; 16], node: &[u8], kind: u8| {
        let len = u8::try_from(24 + node.len()).expect("short");
        [&[len, 0, 0, 0, kind, 0, 0, 0][..], &fields, node].concat()
    };
    let fields = [1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    assert!(daemon_error(&bound(fields, b"n", 71)).is_none());
    assert!(daemon_error(&bound(fields, &[b'n'; 65], 71)).is_some(), "a name of 65 bytes");
    assert!(daemon_error(&bound(fields, &[0xff], 71)).is_some(), "not UTF-8");
    let mut upto = fields;
    upto[4] = 1;
    assert!(daemon_error(&bound(upto, b"n", 71)).is_some(), "from a daemon it is zero");
    assert!(client_error(&bound(upto, b"n", 9)).is_none());
    let mut nobody = fields;
    nobody[8] = 0;
    assert!(client_error(&bound(nobody, b"n", 9)).is_some(), "incarnation 0");
    for cause in 0..4 {
        let error = daemon_error(&[12, 0, 0, 0, 72, 0, 0, 0, cause, 0, 0, 0]);
        assert_eq!(error.is_none(), cause < 2, "cause {cause}");
    }
    let presence = |entry: [u8; 16]| [&[28, 0, 0, 0, 73, 0, 0, 0, 200, 0, 0, 0][..], &entry].concat();
    assert!(daemon_error(&presence([1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0])).is_none());
    assert!(
        daemon_error(&presence([0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0])).is_some(),
        "incarnation 0"
    );
    assert!(daemon_error(&presence([1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 1])).is_some(), "not zero");
    assert!(daemon_error(&[13, 0, 0, 0, 73, 0, 0, 0, 200, 0, 0, 0, 1]).is_some(), "a part of an entry");
}

#[test]
fn a_message_for_one_instance_is_unordered_and_of_the_call_layer() {
    let frame = |flags: u8, node_len: u8, incarnation: u8, node: &[u8]| {
        let len = u8::try_from(40 + node.len()).expect("short");
        let head = [len, 0, 0, 0, 4, flags, 0, 0, 200, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, node_len, 0, 0];
        [&head[..], &[0; 8], &[incarnation, 0, 0, 0, 0, 0, 0, 0], node].concat()
    };
    for flags in 0..16 {
        let error = client_error(&frame(flags, 1, 7, b"n"));
        assert_eq!(error.is_none(), flags == 13, "flags {flags}");
    }
    assert!(client_error(&frame(5, 0, 7, b"n")).is_none(), "without it these bytes are the message");
    assert!(client_error(&frame(13, 1, 0, b"n")).is_some(), "incarnation 0");
    assert!(client_error(&frame(13, 65, 7, &[b'n'; 65])).is_some(), "a name of 65 bytes");
    assert!(client_error(&frame(13, 2, 7, b"n")).is_some(), "longer than the frame");
    assert!(client_error(&frame(13, 1, 7, &[0xff])).is_some(), "not UTF-8");
    let bytes = frame(13, 1, 7, b"n");
    let short = [&[32, 0, 0, 0][..], &bytes[4..32]].concat();
    assert!(client_error(&short).is_some(), "no incarnation at all");
}

#[test]
fn a_msgid_is_four_bytes_and_takes_no_flag() {
    for kind in [8, 13] {
        let frame = |len: u8, flags: u8| {
            let head = [len, 0, 0, 0, kind, flags, 0, 0];
            client_error(&[&head[..], &vec![1; usize::from(len) - 8]].concat())
        };
        assert_eq!(frame(12, 0), None);
        for (len, flags) in [(8, 0), (11, 0), (13, 0), (12, 1)] {
            assert!(frame(len, flags).is_some(), "type {kind}, {len} bytes, flags {flags}");
        }
    }
}

#[test]
fn frames_about_the_end_of_instances() {
    let frame = |fields: [u8; 16], rest: &[u8], kind: u8| {
        let len = u8::try_from(24 + rest.len()).expect("short");
        [&[len, 0, 0, 0, kind, 0, 0, 0][..], &fields, rest].concat()
    };
    let fields = [1, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
    assert!(client_error(&frame(fields, b"n", 12)).is_none());
    assert!(daemon_error(&frame(fields, b"", 74)).is_none());
    assert!(client_error(&frame(fields, &[b'n'; 65], 12)).is_some(), "a name of 65 bytes");
    assert!(client_error(&frame(fields, &[0xff], 12)).is_some(), "not UTF-8");
    assert!(daemon_error(&frame(fields, b"n", 74)).is_some(), "GONE says no node");
    let unbound = |len: u8, flags: u8| {
        let frame = [len, 0, 0, 0, 75, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
        daemon_error(&frame[..usize::from(len)])
    };
    assert_eq!([(12, 0), (12, 1)].map(|(len, flags)| unbound(len, flags)), [None, None]);
    for (len, flags) in [(8, 0), (11, 0), (13, 0), (16, 0), (12, 2)] {
        assert!(unbound(len, flags).is_some(), "{len} bytes, flags {flags}");
    }
    for (at, value) in [(4, 1), (8, 0)] {
        let mut wrong = fields;
        wrong[at] = value;
        assert!(client_error(&frame(wrong, b"n", 12)).is_some(), "byte {at}");
        assert!(daemon_error(&frame(wrong, b"", 74)).is_some(), "byte {at}");
    }
}

#[test]
fn a_nack_of_any_text_arrives() {
    for text in ["why".to_owned(), format!("x{}", "\u{fc}".repeat(600)), "x".repeat(5000)] {
        let nack = LocalNack { rule: LocalRule::Quota, text: text.clone() };
        let out = written(|out| put::nack(out, &nack));
        let Ok(DaemonFrame::Nack(read)) = DaemonFrame::parse(only(&out)) else {
            panic!("{} bytes", text.len())
        };
        assert_eq!(read.rule, LocalRule::Quota);
        assert!(text.starts_with(&read.text));
        assert!(read.text.len() >= text.len().min(limits::MAX_NACK_TEXT_BYTES - 3));
        assert!(read.text.len() <= limits::MAX_NACK_TEXT_BYTES);
    }
}
