//! The bytes of the local socket, written down. They never change: a new layout is a new version with bytes of its
//! own.
//!
//! Each case is held against both directions: `put` writes these bytes, and parsing makes the same value of them.
//! The frames' numbers are those of the table in `SPEC.md`, section 4.1.

use msg_proto::{
    control::{Arrival, LocalNack, LocalRule, Register, Registered, VersionRange},
    ids::{Channel, ClientId, Incarnation, Instance, MsgId, Seq},
    local::{
        Addressee, Bound, CallOrigin, ClientFrame, DaemonFrame, Deliver, DrainCause, Failed, FlowTaken,
        PresentInstance, Progress, RawFrame, Submit, Watch, put, split,
    },
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
};

const SRC: Instance = Instance { client: ClientId(100), incarnation: Incarnation(0x1122_3344_5566_7788) };

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|p| str::from_utf8(p).expect("ASCII"));
    pairs.map(|p| u8::from_str_radix(p, 16).expect("two hexadecimal digits")).collect()
}

/// `put` writes exactly `literal`, whose type is listed as `name`; the frame is returned to `check`.
#[track_caller]
fn golden(name: &str, literal: &str, put: impl FnOnce(&mut Vec<u8>), check: impl FnOnce(RawFrame<'_>)) {
    let literal = hex(literal);
    let row = format!("| {} | {name} |", literal[4]);
    assert!(include_str!("../SPEC.md").contains(&row), "SPEC.md, section 4.1, has no row {row}");
    let mut out = vec![0xee];
    put(&mut out);
    assert_eq!(out[1..], literal, "{name} as written");
    let (raw, len) = split(&literal).expect("a head").expect("whole");
    assert_eq!(len, literal.len());
    check(raw);
}

#[track_caller]
fn client(name: &str, literal: &str, put: impl FnOnce(&mut Vec<u8>), value: &ClientFrame<'_>) {
    golden(name, literal, put, |raw| assert_eq!(ClientFrame::parse(raw).as_ref(), Ok(value)));
}

#[track_caller]
fn daemon(name: &str, literal: &str, put: impl FnOnce(&mut Vec<u8>), value: &DaemonFrame<'_>) {
    golden(name, literal, put, |raw| assert_eq!(DaemonFrame::parse(raw).as_ref(), Ok(value)));
}

// From here on: never changed.

#[test]
fn register() {
    let body = Register {
        versions: VersionRange { lowest: 1, highest: 2 },
        client: ClientId(100),
        incarnation: Incarnation(0x1122_3344_5566_7788),
        interval_ms: 1000,
        times: Some(10),
        max_stored: 0x0102,
        priority: 9,
        arrival: Arrival::Takeover,
        name: "bgpd".to_owned(),
    };
    client(
        "REGISTER",
        "31000000 01 00 0000  01 02 64000000 8877665544332211 e8030000 01 0a 02010000 09 02000000 0400000000000000 62677064",
        |out| put::register(out, &body),
        &ClientFrame::Register(body.clone()),
    );
    let new = Register { incarnation: Incarnation::NONE, interval_ms: 0, times: None, max_stored: 0, ..body };
    client(
        "REGISTER",
        "30000000 01 00 0000  01 02 64000000 0000000000000000 00000000 00 00000000 09 02000000 0400000000000000 62677064",
        |out| put::register(out, &new),
        &ClientFrame::Register(new.clone()),
    );
}

#[test]
fn flow_taken() {
    for (flags, channel) in [("00", Channel::Ordered), ("01", Channel::Unordered)] {
        let taken = FlowTaken {
            src: SRC,
            channel,
            floor: Seq(u32::MAX - 2),
            progress: Progress::Taken,
            bitmap: &[0x05, 0x80],
        };
        client(
            "FLOW_TAKEN",
            &format!("1a000000 02 {flags} 0000  64000000 fdffffff 8877665544332211 0580"),
            |out| put::flow_taken(out, &taken),
            &ClientFrame::FlowTaken(taken),
        );
    }
    let begun = FlowTaken {
        src: SRC,
        channel: Channel::Unordered,
        floor: Seq(7),
        progress: Progress::Begun,
        bitmap: &[1],
    };
    client(
        "FLOW_TAKEN",
        "19000000 02 03 0000  64000000 07000000 8877665544332211 01",
        |out| put::flow_taken(out, &begun),
        &ClientFrame::FlowTaken(begun),
    );
}

#[test]
fn ready() {
    client("READY", "08000000 03 00 0000", put::ready, &ClientFrame::Ready);
}

#[test]
fn submit() {
    for (flags, channel, at_least_once, is_call) in [
        ("00", Channel::Ordered, false, false),
        ("01", Channel::Unordered, false, false),
        ("02", Channel::Ordered, true, false),
        ("03", Channel::Unordered, true, false),
        ("04", Channel::Ordered, false, true),
        ("07", Channel::Unordered, true, true),
    ] {
        let submit = Submit {
            dst: ClientId(200),
            msgid: MsgId(7),
            seq: Seq(u32::MAX - 1),
            channel,
            at_least_once,
            is_call,
            to: None,
            send_time: Time(0x0102_0304_0506_0708),
            user: b"me",
            payload: b"hello",
        };
        client(
            "SUBMIT",
            &format!(
                "27000000 04 {flags} 0000  c8000000 07000000 feffffff 02 000000 0807060504030201 6d65 68656c6c6f"
            ),
            |out| put::submit(out, &submit),
            &ClientFrame::Submit(submit),
        );
    }
}

#[test]
fn submit_to_one_instance() {
    let submit = Submit {
        dst: ClientId(200),
        msgid: MsgId(7),
        seq: Seq(u32::MAX - 1),
        channel: Channel::Unordered,
        at_least_once: false,
        is_call: true,
        to: Some(Addressee { incarnation: SRC.incarnation, node: "vm-b" }),
        send_time: Time(0x0102_0304_0506_0708),
        user: b"me",
        payload: b"hello",
    };
    client(
        "SUBMIT",
        "33000000 04 0d 0000  c8000000 07000000 feffffff 02 04 0000 0807060504030201
         8877665544332211 766d2d62 6d65 68656c6c6f",
        |out| put::submit(out, &submit),
        &ClientFrame::Submit(submit),
    );
}

#[test]
fn withdraw() {
    let msgid = MsgId(u32::MAX - 1);
    client(
        "WITHDRAW",
        "0c000000 08 00 0000  feffffff",
        |out| put::withdraw(out, msgid),
        &ClientFrame::Withdraw { msgid },
    );
    client(
        "GIVEN_UP",
        "0c000000 0d 00 0000  feffffff",
        |out| put::given_up(out, msgid),
        &ClientFrame::GivenUp { upto: msgid },
    );
}

#[test]
fn taken_and_stale() {
    let upto = 0x0102_0304_0506_0708;
    client(
        "TAKEN",
        "10000000 05 00 0000 0807060504030201",
        |out| put::taken(out, upto),
        &ClientFrame::Taken { upto },
    );
    client(
        "STALE",
        "10000000 06 00 0000 0807060504030201",
        |out| put::stale(out, upto),
        &ClientFrame::Stale { number: upto },
    );
}

#[test]
fn goodbyes() {
    client("GOODBYE", "08000000 07 00 0000", put::client_goodbye, &ClientFrame::Goodbye);
    daemon("GOODBYE", "08000000 46 00 0000", put::daemon_goodbye, &DaemonFrame::Goodbye);
}

#[test]
fn registered() {
    let body = Registered {
        version: 1,
        node: "vm-a".to_owned(),
        start: 0x0a,
        incarnation: Incarnation(0x1122_3344_5566_7788),
        interval_ms: 1000,
        times: 10,
        max_stored: 0x03e8,
        max_stored_bytes: 8 << 20,
        max_message_bytes: 1 << 20,
    };
    daemon(
        "REGISTERED",
        "3a000000 41 00 0000  01 0400000000000000 766d2d61 0a00000000000000 8877665544332211
                              e8030000 0a e8030000 0000800000000000 00001000",
        |out| put::registered(out, &body),
        &DaemonFrame::Registered(body.clone()),
    );
}

#[test]
fn deliver() {
    let (sent_at, is_addressed) = (Time(0x0102_0304_0506_0702), false);
    let origin = CallOrigin { sent_at, uid: 1000, node: "vm-a", is_addressed };
    let addressed = CallOrigin { is_addressed: true, ..origin };
    let origin_bytes = "0207060504030201 e8030000 04 000000 766d2d61";
    for (len, flags, channel, call, origin) in [
        ("3d", "00", Channel::Ordered, None, ""),
        ("3d", "01", Channel::Unordered, None, ""),
        ("51", "04", Channel::Ordered, Some(origin), origin_bytes),
        ("51", "05", Channel::Unordered, Some(origin), origin_bytes),
        ("51", "0d", Channel::Unordered, Some(addressed), origin_bytes),
    ] {
        let deliver = Deliver {
            number: 0x0a,
            src: SRC,
            msgid: MsgId(7),
            seq: Seq(u32::MAX - 1),
            floor: Seq(u32::MAX - 2),
            channel,
            send_time: Time(0x0102_0304_0506_0708),
            interval: Span::from_millis(1000),
            round: 3,
            call,
            payload: b"hello",
        };
        daemon(
            "DELIVER",
            &format!(
                "{len}000000 42 {flags} 0000  0a00000000000000 64000000 07000000 8877665544332211
                 feffffff fdffffff 0807060504030201 e8030000 03000000 {origin} 68656c6c6f"
            ),
            |out| put::deliver(out, &deliver),
            &DaemonFrame::Deliver(deliver),
        );
    }
}

#[test]
fn resolved() {
    let runs = [(MsgId(u32::MAX), 3), (MsgId(9), 1)];
    golden(
        "RESOLVED",
        "18000000 43 00 0000  ffffffff 03000000  09000000 01000000",
        |out| put::resolved(out, &runs),
        |raw| {
            let Ok(DaemonFrame::Resolved(resolved)) = DaemonFrame::parse(raw) else { panic!("{raw:?}") };
            assert_eq!(resolved.runs().collect::<Vec<_>>(), runs);
        },
    );
}

#[test]
fn failed() {
    let reasons = [
        ("01", Reason::NoRoute),
        ("02", Reason::NoAnswer),
        ("03", Reason::Refused),
        ("04", Reason::GoingAway),
        ("05", Reason::ReceiverGone),
        ("06", Reason::QueueFull),
        ("07", Reason::TooLarge),
        ("08", Reason::Cancelled),
    ];
    assert_eq!(reasons.map(|(_, reason)| reason), Reason::ALL);
    for (reason_hex, reason) in reasons {
        for (certainty_hex, certainty) in [("00", Certainty::NotStarted), ("01", Certainty::Unknown)] {
            let verdict = Verdict { reason, certainty };
            let failed = Failed { msgid: MsgId(7), dst: ClientId(200), tries: 11, verdict, user: b"me" };
            daemon(
                "FAILED",
                &format!(
                    "1a000000 44 00 0000  07000000 c8000000 0b000000 {reason_hex} {certainty_hex} 0000 6d65"
                ),
                |out| put::failed(out, &failed),
                &DaemonFrame::Failed(failed),
            );
        }
    }
}

#[test]
fn nack() {
    for (rule_hex, rule) in [
        ("00", LocalRule::Malformed),
        ("01", LocalRule::Version),
        ("02", LocalRule::ClientIdTaken),
        ("03", LocalRule::NotAllowed),
        ("04", LocalRule::TooManyClients),
        ("05", LocalRule::RegisterTimeout),
        ("06", LocalRule::OutOfTurn),
        ("07", LocalRule::BadSequence),
        ("08", LocalRule::Quota),
        ("09", LocalRule::Superseded),
    ] {
        let body = LocalNack { rule, text: "why".to_owned() };
        daemon(
            "NACK",
            &format!("17000000 45 00 0000  {rule_hex}000000 0300000000000000 776879"),
            |out| put::nack(out, &body),
            &DaemonFrame::Nack(body.clone()),
        );
    }
}

#[test]
fn arrivals() {
    for (hex, arrival) in
        [("00", Arrival::Alone), ("01", Arrival::Beside), ("02", Arrival::Takeover), ("03", Arrival::Leaving)]
    {
        let body = Register {
            versions: VersionRange { lowest: 1, highest: 1 },
            client: ClientId(100),
            incarnation: Incarnation(7),
            interval_ms: 0,
            times: None,
            max_stored: 0,
            priority: 0,
            arrival,
            name: String::new(),
        };
        client(
            "REGISTER",
            &format!(
                "2c000000 01 00 0000  01 01 64000000 0700000000000000 00000000 00 00000000 00 {hex}000000
                 0000000000000000"
            ),
            |out| put::register(out, &body),
            &ClientFrame::Register(body.clone()),
        );
    }
}

#[test]
fn bound() {
    for (flags, channel) in [("00", Channel::Ordered), ("01", Channel::Unordered)] {
        let bound = Bound { dst: SRC, channel, upto: Seq(u32::MAX - 2), node: "vm-b" };
        client(
            "FLOW_BOUND",
            &format!("1c000000 09 {flags} 0000  64000000 fdffffff 8877665544332211 766d2d62"),
            |out| put::flow_bound(out, &bound),
            &ClientFrame::FlowBound(bound),
        );
        let bound = Bound { upto: Seq(0), ..bound };
        daemon(
            "BOUND",
            &format!("1c000000 47 {flags} 0000  64000000 00000000 8877665544332211 766d2d62"),
            |out| put::bound(out, &bound),
            &DaemonFrame::Bound(bound),
        );
        let (dst, channel) = (bound.dst.client, bound.channel);
        daemon(
            "UNBOUND",
            &format!("0c000000 4b {flags} 0000  64000000"),
            |out| put::unbound(out, dst, channel),
            &DaemonFrame::Unbound { dst, channel },
        );
    }
}

#[test]
fn drains() {
    client("DRAINED", "08000000 0a 00 0000", put::drained, &ClientFrame::Drained);
    for (cause, value) in [("00", DrainCause::Superseded), ("01", DrainCause::Asked)] {
        daemon(
            "DRAIN",
            &format!("0c000000 48 00 0000 {cause}000000"),
            |out| put::drain(out, value),
            &DaemonFrame::Drain(value),
        );
    }
}

#[test]
fn lives() {
    client(
        "WATCH",
        "1c000000 0c 00 0000  64000000 00000000 8877665544332211  766d2d62",
        |out| put::watch(out, &Watch { instance: SRC, node: "vm-b" }),
        &ClientFrame::Watch(Watch { instance: SRC, node: "vm-b" }),
    );
    daemon(
        "GONE",
        "18000000 4a 00 0000  64000000 00000000 8877665544332211",
        |out| put::gone(out, SRC),
        &DaemonFrame::Gone(SRC),
    );
}

#[test]
fn presences() {
    let subscribe = ClientFrame::Subscribe { client: ClientId(200) };
    client("SUBSCRIBE", "0c000000 0b 00 0000 c8000000", |out| put::subscribe(out, ClientId(200)), &subscribe);
    let instances = [
        PresentInstance { incarnation: SRC.incarnation, priority: 9 },
        PresentInstance { incarnation: Incarnation(1), priority: 0 },
    ];
    for (flags, is_partial) in [("00", false), ("01", true)] {
        golden(
            "PRESENCE",
            &format!(
                "2c000000 49 {flags} 0000  c8000000 8877665544332211 0900000000000000 0100000000000000
                 0000000000000000"
            ),
            |out| put::presence(out, ClientId(200), is_partial, &instances),
            |raw| {
                let Ok(DaemonFrame::Presence(p)) = DaemonFrame::parse(raw) else { panic!("{raw:?}") };
                assert_eq!((p.client, p.is_partial), (ClientId(200), is_partial));
                assert_eq!(p.instances().collect::<Vec<_>>(), instances);
            },
        );
    }
}
