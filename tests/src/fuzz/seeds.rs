//! Where a fuzzer starts: a few valid inputs of each kind, in the bytes that the golden tests have written down.
//!
//! They stand in `tests/fuzz/seeds`, where `corpora.rs` holds them against this.

use msg_proto::{
    call::{self, CallFailure, Why, Xid},
    control::{Control, Departure, Hello, LocalNack, LocalRule, Register},
    ids::{Channel, ClientId, FlowId, Incarnation, Instance, MsgId, Seq, SessionId},
    local::{Addressee, CallOrigin, Deliver, DrainCause, Failed, FlowTaken, Progress, Submit, Watch, put},
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
    wire::{
        AckRun, CallMark, Data, DatagramBuilder, Flow, Fragment, HEADER_BYTES, Header, Heartbeat, Kind,
        NackEntry, Skip,
    },
};

use super::{
    call::{PROCEDURE, heard},
    engine::{op, register},
    session::granted,
    wire,
};

/// An input to start from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seed {
    /// Which entry point.
    pub target: &'static str,
    /// Its file's name.
    pub name: &'static str,
    /// The input.
    pub bytes: Vec<u8>,
}

/// All of them.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    let groups: [(&'static str, Inputs); 8] = [
        ("wire_datagram", datagrams()),
        ("control_bodies", bodies()),
        ("local_client_frames", client_streams()),
        ("local_daemon_frames", daemon_streams()),
        ("call_messages", call_steps()),
        ("config", configs()),
        ("status_http", requests()),
        ("engine", scripts()),
    ];
    let named = |(target, inputs): (&'static str, Inputs)| {
        inputs.into_iter().map(move |(name, bytes)| Seed { target, name, bytes })
    };
    groups.into_iter().flat_map(named).collect()
}

/// Names and bytes.
type Inputs = Vec<(&'static str, Vec<u8>)>;

const SRC: Instance = Instance { client: ClientId(100), incarnation: Incarnation(0x1122_3344_5566_7788) };
const DST: Instance = Instance { client: ClientId(200), incarnation: Incarnation(0xa1) };
const FLOW: FlowId = FlowId { src: SRC, dst: DST, channel: Channel::Ordered };
const TIME: Time = Time(1 << 40);
const VERDICT: Verdict = Verdict { reason: Reason::NoAnswer, certainty: Certainty::Unknown };

fn hello() -> Hello {
    Hello {
        node: "vm-a".to_owned(),
        session: SessionId(0x0102),
        echo: SessionId::NONE,
        start: 3,
        clock: TIME,
        max_message_bytes: 1 << 20,
        receive_window: 1 << 22,
    }
}

fn datagrams() -> Inputs {
    let header = Header {
        kind: Kind::Frames,
        session: SessionId(7),
        ..Header::parse(&wire::hello_datagram(&hello())).expect("a hello").0
    };
    let write = |put: &dyn Fn(&mut DatagramBuilder<'_>) -> bool| {
        let mut out = Vec::new();
        let mut datagram = DatagramBuilder::new(&mut out, header, 1200);
        assert!(put(&mut datagram), "a seed fits");
        let _len = datagram.finish();
        out
    };
    let flow =
        Flow { id: FLOW, send_time: TIME, interval: Span::from_millis(1000), floor: Seq(1), presence: 1 };
    let messages = write(&|d| {
        d.put_flow(&flow, 0)
            && d.put_data(&Data {
                msgid: MsgId(1),
                seq: Seq(1),
                at_least_once: false,
                call: None,
                payload: b"one",
            })
            && d.put_data(&Data {
                msgid: MsgId(2),
                seq: Seq(2),
                at_least_once: true,
                call: None,
                payload: b"",
            })
            && d.put_data(&Data {
                msgid: MsgId(3),
                seq: Seq(8),
                at_least_once: false,
                call: Some(CallMark { age: Span::from_millis(9), is_addressed: true }),
                payload: b"for one",
            })
            && d.put_skip(&Skip { seq: Seq(3), count: 4 })
    });
    let parts = write(&|d| {
        let (msgid, seq, at_least_once) = (MsgId(1), Seq(1), false);
        let fragment =
            Fragment { msgid, seq, at_least_once, call: None, offset: 1024, total: 1030, bytes: b"abcdef" };
        d.put_flow(&flow, 0)
            && d.put_fragment(&fragment)
            && d.put_partial(&FLOW, TIME, MsgId(1), Seq(1), &[0x05, 0x80])
    });
    let answers = write(&|d| {
        let run = AckRun { msgid: MsgId(1), seq: Seq(1), count: 2 };
        let entry = NackEntry { msgid: MsgId(3), seq: Seq(3), verdict: VERDICT };
        d.put_ack(&FLOW, TIME, &[run, run]) == 2
            && d.put_nack(&FLOW, TIME, &[entry]) == 1
            && d.put_link_ack(Span(100), 1 << 20, [(90, 100), (5, 7)])
    });
    let links = write(&|d| {
        let (client, incarnation) = (ClientId(100), Incarnation(1));
        d.put_heartbeat(&Heartbeat { wants_reply: true, clock: TIME, echo: TIME, held: Span(9) })
            && d.put_control(1, &Control::Announce { client, incarnation, priority: 1, uid: 1000 })
            && d.put_control(2, &Control::Withdraw { client, incarnation, cause: Departure::Died })
            && d.put_control(3, &Control::Synced)
            && d.put_control(4, &Control::Watch { client, incarnation })
            && d.put_control(5, &Control::Gone { client, incarnation })
            && d.put_control_ack(4)
            && d.put_goodbye()
    });
    vec![
        ("hello", wire::hello_datagram(&hello())),
        ("messages", messages),
        ("parts", parts),
        ("answers", answers),
        ("links", links),
    ]
}

fn bodies() -> Inputs {
    let local = |which: u8, write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        [&[which], &out[msg_proto::local::HEAD_BYTES..]].concat()
    };
    let datagram = wire::hello_datagram(&hello());
    let len = usize::from(u16::from_le_bytes([datagram[HEADER_BYTES + 2], datagram[HEADER_BYTES + 3]]));
    let body = &datagram[HEADER_BYTES + 4..][..len];
    let announce =
        [&[1_u8, 1, 0, 0, 0][..], &[0; 4], &[100, 0, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0], &[9]].concat();
    let back = Register { incarnation: Incarnation(9), times: Some(3), ..register(100) };
    let nack = LocalNack { rule: LocalRule::Quota, text: "too many".to_owned() };
    vec![
        ("hello", [&[0], body].concat()),
        ("announce", announce),
        ("register", local(2, &|out| put::register(out, &back))),
        ("registered", local(3, &|out| put::registered(out, &granted()))),
        ("nack", local(4, &|out| put::nack(out, &nack))),
    ]
}

fn client_streams() -> Inputs {
    let submit = |n: u32, dst: u32| Submit {
        dst: ClientId(dst),
        msgid: MsgId(n),
        seq: Seq(n),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call: false,
        to: None,
        send_time: TIME,
        user: b"user",
        payload: b"payload",
    };
    let mut back = vec![0];
    put::register(&mut back, &Register { incarnation: Incarnation(9), interval_ms: 50, ..register(100) });
    put::flow_taken(
        &mut back,
        &FlowTaken {
            src: DST,
            channel: Channel::Ordered,
            floor: Seq(3),
            progress: Progress::Taken,
            bitmap: &[5],
        },
    );
    put::ready(&mut back);
    put::submit(&mut back, &submit(1, 200));
    // To itself: it is delivered, and taken.
    let mut itself = vec![0x21];
    put::submit(&mut itself, &submit(1, 100));
    put::submit(&mut itself, &submit(2, 100));
    put::taken(&mut itself, 1);
    put::stale(&mut itself, 2);
    put::taken(&mut itself, 2);
    put::client_goodbye(&mut itself);
    // What it calls itself: watched, answered to this instance only, also when it is drained.
    let mut calls = vec![0x21];
    let own = Instance { client: ClientId(100), incarnation: Incarnation(1) };
    put::watch(&mut calls, &Watch { instance: own, node: "a" });
    put::watch(&mut calls, &Watch { instance: DST, node: "nowhere" });
    let to = Some(Addressee { incarnation: own.incarnation, node: "a" });
    put::submit(
        &mut calls,
        &Submit { channel: Channel::Unordered, is_call: true, to, user: b"", ..submit(1, 100) },
    );
    put::submit(&mut calls, &submit(2, 100));
    put::given_up(&mut calls, MsgId(1));
    put::drained(&mut calls);
    put::taken(&mut calls, 2);
    vec![("back", back), ("itself", itself), ("calls", calls)]
}

fn daemon_streams() -> Inputs {
    let deliver = |number: u64, seq: u32| Deliver {
        number,
        src: DST,
        msgid: MsgId(seq),
        seq: Seq(seq),
        floor: Seq(1),
        channel: Channel::Ordered,
        send_time: TIME,
        interval: Span::from_millis(1000),
        round: 0,
        call: None,
        payload: b"data",
    };
    let mut usual = vec![0xfd];
    put::deliver(&mut usual, &deliver(1, 1));
    put::deliver(&mut usual, &deliver(2, 3));
    put::resolved(&mut usual, &[(MsgId(1), 2)]);
    let failed = Failed { msgid: MsgId(3), dst: ClientId(200), tries: 2, verdict: VERDICT, user: b"user" };
    put::failed(&mut usual, &failed);
    put::daemon_goodbye(&mut usual);
    let mut refused = vec![2];
    put::registered(&mut refused, &granted());
    put::nack(&mut refused, &LocalNack { rule: LocalRule::Superseded, text: "a newer one".to_owned() });
    let mut calls = vec![0xfd];
    let origin = |is_addressed| Some(CallOrigin { sent_at: TIME, uid: 1000, node: "b", is_addressed });
    let unordered = |number: u64| Deliver { channel: Channel::Unordered, ..deliver(number, 1) };
    put::deliver(&mut calls, &Deliver { call: origin(false), ..deliver(1, 1) });
    put::drain(&mut calls, DrainCause::Superseded);
    put::deliver(&mut calls, &deliver(2, 2));
    put::deliver(&mut calls, &Deliver { call: origin(true), ..unordered(3) });
    put::gone(&mut calls, DST);
    put::gone(&mut calls, SRC);
    put::unbound(&mut calls, DST.client, Channel::Unordered);
    vec![("usual", usual), ("refused", refused), ("calls", calls)]
}

fn call_steps() -> Inputs {
    let second = Span::from_millis(1000);
    let message = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        out
    };
    let request = |xid, is_repeat, body: &[u8]| {
        let mut out =
            message(&|out| call::put_request(out, (PROCEDURE, Xid(xid)), is_repeat, is_repeat, second));
        out.extend_from_slice(body);
        out
    };
    let reply = |xid, answer| message(&|out| call::put_reply(out, PROCEDURE, Xid(xid), answer));
    let busy = CallFailure { certainty: Certainty::NotStarted, why: Why::Busy };
    let cancel = message(&|out| call::put_cancel(out, PROCEDURE, Xid(9)));
    let (acked, failed, gone, later) = (4_u8, 5_u8, 6_u8, 7_u8);
    let step = |op: u8, which: u8| vec![which << 4 | op];
    vec![
        (
            "replies",
            [heard(0, &reply(1, Ok(b"one"))), step(acked, 1), heard(0, &reply(2, Err(busy)))].concat(),
        ),
        (
            "served",
            [heard(0, &request(9, false, b"x")), heard(1, &request(9, true, b"x")), step(later, 4)].concat(),
        ),
        (
            "reused",
            [heard(0, &request(9, false, b"x")), heard(0, &request(9, false, b"y")), heard(0, &cancel)]
                .concat(),
        ),
        ("gone", [step(acked, 0), step(acked, 1), step(gone, 0), step(gone, 1), step(failed, 3)].concat()),
    ]
}

fn configs() -> Inputs {
    let full = "[node]\nname = \"vm-a\"\nlisten = [\"127.0.0.1:7400\"]\nruntime_dir = \"/run/msgd\"\nmtu = 1200\n\
                [chain]\ninterval_ms = 1000\ntimes = 10\nmax_stored = 1000\nadaptive = true\n\
                [limits]\nmax_message_bytes = 1048576\nmax_clients = 1024\nclient_queue_bytes = 8388608\n\
                [security]\nmode = \"none\"\nallow_plaintext = false\n\
                [[peer]]\nname = \"vm-b\"\naddresses = [\"127.0.0.1:7401\"]\n\
                [[client]]\nid = 100\nuser = \"root\"\nmay_send_to = [200]\n";
    let odd =
        "node = { listen = ['[::1]:7400'] }\npeer = [{ name = 'b', addresses = [] }]\nchain.times = 0x_f\n";
    vec![("full", full.into()), ("odd", odd.into())]
}

fn requests() -> Inputs {
    vec![
        ("status", b"GET /v1/status HTTP/1.1\r\nHost: msgd\r\n\r\n".to_vec()),
        (
            "chain",
            b"GET /v1/chain?client=100&limit=10 HTTP/1.1\r\nHost: msgd\r\nAccept: */*\r\n\r\n".to_vec(),
        ),
        ("post", b"POST /v1/status HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}".to_vec()),
    ]
}

/// See `engine/script.rs` for what the bytes say.
fn scripts() -> Inputs {
    // Node 0 is `a` with client 100 in its first place, node 1 is `b` with 200.
    let (a, b) = (0, 1);
    let exchange = [op::EXCHANGE, 0];
    let send = |node, size, dst| [op::SEND, node, 0x20, size, dst];
    let pass = |much| [op::PASS, 0, much];
    let cat = |parts: &[&[u8]]| parts.concat();
    vec![
        ("both_ways", cat(&[&[0], &send(a, 2, 4), &send(b, 5, 0), &exchange, &pass(4), &exchange])),
        (
            "lossy",
            cat(&[&[0], &send(a, 6, 4), &[op::WIRE, 0, 5, 0, 1, 2, 3, 9], &pass(6), &exchange, &pass(6)]),
        ),
        (
            "restart",
            cat(&[&[1], &send(a, 2, 4), &[op::RESTART, b], &pass(5), &exchange, &pass(7), &exchange]),
        ),
        (
            "stopped",
            cat(&[&[0], &[op::STOP, b], &send(a, 3, 4), &exchange, &pass(6), &[op::STOP, b], &exchange]),
        ),
        (
            "raw",
            cat(&[
                &[0, op::CONNECT_RAW, 2],
                &[op::CLIENT_FRAME, 2, 0, 1, 0],
                &[op::CLIENT_FRAME, 2, 1, 0, 0],
                &[op::CLIENT_FRAME, 2, 2, 4, 1, 3, 1, 2, 3],
                &exchange,
                &[op::CLIENT_GARBAGE, 2, 4, 8, 0, 0, 0],
                &[op::DISCONNECT, 2],
            ]),
        ),
        (
            "peer",
            cat(&[
                &[0, op::PEER_FRAMES, b, 1, 0, 5, 1, 0, 0, 4, 1, 3, 97, 98, 99],
                &[op::PEER_FRAMES, b, 2, 0, 5, 1, 3, 6, 0, 2, 3, 1, 1, 1, 1, 1, 8, 9, 1, 1],
                &[op::PEER_GARBAGE, b, 4, 3, 4, 13, 0, 0, 0],
                &[op::HELLO, b, 0, 9],
                &exchange,
            ]),
        ),
        (
            "clocks",
            cat(&[&[0], &send(a, 2, 4), &[op::CLOCK, b, 0, 25, op::CLOCK, a, 1, 22], &exchange, &pass(7)]),
        ),
        (
            "leaving",
            cat(&[&[0], &send(a, 2, 4), &[op::SHUTDOWN, b], &exchange, &[op::CONNECT_LIBRARY, 3], &exchange]),
        ),
    ]
}
