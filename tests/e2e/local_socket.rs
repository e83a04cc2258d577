//! What bad input on the clients' socket gets: a word that names the rule, and the end of that connection alone.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::Path,
    slice,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use msg::{Certainty, ClientId, ConnectError, Incarnation, LocalNack, LocalRule, MsgId, Reason, Verdict};
use msg_proto::{
    control::{Register, VersionRange},
    ids::{Channel, Instance, Seq},
    limits::{MAX_LOCAL_FRAME_BYTES, REGISTER_TIMEOUT_MS},
    local::{DaemonFrame, FlowTaken, Progress, Submit, VERSIONS, put, split},
};
use msg_tests::{
    client_process::{ClientProcess, ClientSpec},
    node::{Node, NodeSpec},
    party::Party,
    promise, report, wait,
};
use msgd::clock;

/// Sends bytes to the clients' socket, and reads until the daemon ends the connection: what its last word was.
fn refusal(socket: &Path, bytes: &[u8]) -> Option<LocalNack> {
    let mut stream = UnixStream::connect(socket).expect("connected");
    // The daemon may have ended it before all is written.
    stream.write_all(bytes).ok();
    last_word(&mut stream)
}

/// Reads until the end; the last frame, if it is a NACK.
fn last_word(stream: &mut UnixStream) -> Option<LocalNack> {
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("a time-out");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // Some of what was sent was not read.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("not ended: {error}"),
        _ => {}
    }
    let (mut rest, mut last) = (answer.as_slice(), None);
    while let Some((frame, len)) = split(rest).expect("frames") {
        last = match DaemonFrame::parse(frame).expect("a frame") {
            DaemonFrame::Nack(nack) => Some(nack),
            _ => None,
        };
        rest = &rest[len..];
    }
    last
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes);
    bytes
}

fn register_as(id: u32, versions: VersionRange) -> Vec<u8> {
    let register = Register {
        versions,
        client: ClientId(id),
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: 0,
        priority: 0,
        arrival: msg_proto::control::Arrival::Alone,
        name: "raw".to_owned(),
    };
    written(|out| put::register(out, &register))
}

fn submit(msgid: u32, seq: u32) -> Vec<u8> {
    let submit = Submit {
        dst: ClientId(999),
        msgid: MsgId(msgid),
        seq: Seq(seq),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call: false,
        to: None,
        send_time: clock::now(),
        user: &[7; 64],
        payload: b"x",
    };
    written(|out| put::submit(out, &submit))
}

fn flow_taken() -> Vec<u8> {
    let src = Instance { client: ClientId(1), incarnation: Incarnation(1) };
    let taken =
        FlowTaken { src, channel: Channel::Ordered, floor: Seq(1), progress: Progress::Taken, bitmap: &[1] };
    written(|out| put::flow_taken(out, &taken))
}

/// A frame with that byte set.
fn with(mut frame: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    frame[at] = value;
    frame
}

/// What breaks which rule, and a word of what is said of it.
fn offences() -> Vec<(&'static str, Vec<u8>, LocalRule, &'static str)> {
    use LocalRule::{BadSequence, Malformed, OutOfTurn, Version};
    let ready = written(put::ready);
    let register = || register_as(50, VERSIONS);
    let up = || [register(), ready.clone()].concat();
    let then = |frames: &[Vec<u8>]| [up(), frames.concat()].concat();
    let head = |len: usize, kind: u8| {
        let [a, b, c, d] = u32::try_from(len).expect("small").to_le_bytes();
        vec![a, b, c, d, kind, 0, 0, 0]
    };
    vec![
        ("garbage", vec![0xff; 100_000], Malformed, "frame length"),
        ("a length of 0", vec![0; 64], Malformed, "frame length"),
        ("too short a length", head(7, 1), Malformed, "frame length"),
        ("too long a length", head(MAX_LOCAL_FRAME_BYTES + 1, 4), Malformed, "frame length"),
        ("a reserved byte", with(ready.clone(), 6, 1), Malformed, "bytes 6 and 7"),
        ("an unknown type", head(8, 99), Malformed, "type"),
        ("a daemon's frame", then(&[head(8, 66)]), Malformed, "type"),
        ("a flag of REGISTER", with(register(), 5, 1), Malformed, "flag"),
        ("a flag of READY", [register(), with(ready.clone(), 5, 1)].concat(), Malformed, "flag"),
        ("a flag of SUBMIT", then(&[with(submit(1, 1), 5, 16)]), Malformed, "flag"),
        ("a plain message for one instance", then(&[with(submit(1, 1), 5, 8)]), Malformed, "INSTANCE"),
        ("65 bytes of user data", then(&[with(submit(1, 1), 20, 65)]), Malformed, "64 bytes"),
        ("another version", register_as(50, VersionRange { lowest: 9, highest: 9 }), Version, "9..9"),
        ("SUBMIT first", submit(1, 1), OutOfTurn, "REGISTER"),
        ("READY first", ready.clone(), OutOfTurn, "REGISTER"),
        ("REGISTER twice", [register(), register()].concat(), OutOfTurn, "READY"),
        ("SUBMIT before READY", [register(), submit(1, 1)].concat(), OutOfTurn, "FLOW_TAKEN"),
        ("FLOW_TAKEN after READY", then(&[flow_taken()]), OutOfTurn, "after READY"),
        ("READY twice", then(slice::from_ref(&ready)), OutOfTurn, "after READY"),
        ("msgid going backwards", then(&[submit(5, 1), submit(4, 2)]), BadSequence, "msgid"),
        ("seq going backwards", then(&[submit(1, 5), submit(2, 4)]), BadSequence, "sequence"),
        ("TAKEN of nothing", then(&[written(|out| put::taken(out, 7))]), BadSequence, "TAKEN"),
        ("STALE of nothing", then(&[written(|out| put::stale(out, 7))]), BadSequence, "STALE"),
    ]
}

#[test]
fn each_broken_rule_is_named_and_ends_that_connection_alone() {
    let seed = report::seed("local socket", 20_261_010);
    let node = Node::start(&NodeSpec::new("a"));
    let sender = Party::join(100, node.client(100), seed, 4..=2_000);
    let receiver = Party::join(200, node.client(200), seed, 4..=2_000);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                sender.send(200, 10);
                sender.flush();
            }
        });
        let _stop = wait::StopOnDrop(&stop);
        for (what, bytes, rule, word) in offences() {
            let before = node.counter("malformed_local_frames");
            let nack = refusal(&node.socket(), &bytes).unwrap_or_else(|| panic!("{what}: no NACK"));
            assert_eq!(nack.rule, rule, "{what}: {}", nack.text);
            assert!(nack.text.contains(word), "{what}: {}", nack.text);
            // A REGISTER that is well formed, and refused, is no malformed frame.
            let counted = u64::from(rule != LocalRule::Version);
            assert_eq!(node.counter("malformed_local_frames"), before + counted, "{what}");
            wait::until("it is gone", || node.status().clients.len() == 2);
        }
    });
    let outcomes = promise::check(&sender, &receiver);
    report::line(format_args!("local socket: {} offences; meanwhile {outcomes}", offences().len()));
    assert!(outcomes.failures() == 0 && outcomes.taken > 0, "{outcomes}");
}

#[test]
fn what_a_client_sends_beyond_its_quota_fails_and_is_no_offence() {
    let node = Node::start(&NodeSpec::new("a"));
    let mut stream = UnixStream::connect(node.socket()).expect("connected");
    stream.set_read_timeout(Some(wait::PATIENCE)).expect("a time-out");
    let many: Vec<u8> = (1..=1_001).flat_map(|n| submit(n, n)).collect();
    let bytes = [register_as(50, VERSIONS), written(put::ready), many].concat();
    stream.write_all(&bytes).expect("written");
    // After REGISTERED the first word is of the message that had no room.
    let (mut answer, mut buffer, mut failed) = (Vec::new(), [0; 4_096], None);
    while failed.is_none() {
        let len = stream.read(&mut buffer).expect("an answer");
        assert!(len > 0, "the connection ended");
        answer.extend_from_slice(&buffer[..len]);
        let mut rest = answer.as_slice();
        while let Some((frame, len)) = split(rest).expect("frames") {
            if let DaemonFrame::Failed(failure) = DaemonFrame::parse(frame).expect("a frame") {
                failed = failed.or(Some((failure.msgid, failure.verdict, failure.user.to_vec())));
            }
            rest = &rest[len..];
        }
    }
    let verdict = Verdict { reason: Reason::QueueFull, certainty: Certainty::NotStarted };
    assert_eq!(failed, Some((MsgId(1_001), verdict, vec![7; 64])));
    assert_eq!(node.counter("chain_depth"), 1_000);
}

#[test]
fn a_clientid_that_is_taken_names_its_owner() {
    let node = Node::start(&NodeSpec::new("a"));
    let owner = ClientProcess::start(ClientSpec::new(node.socket(), 100, 1, (4, 4)));
    match node.client(100).connect() {
        Err(ConnectError::Refused { nack, .. }) => {
            assert_eq!(nack.rule, LocalRule::ClientIdTaken);
            let uid = rustix::process::getuid().as_raw();
            let expected = format!("clientid 100 is registered by pid {}, uid {uid}", owner.pid());
            assert_eq!(nack.text, expected);
        }
        other => panic!("{other:?}"),
    }
    drop(owner);
    wait::until("it is free", || node.status().clients.is_empty());
    drop(node.client(100).connect().expect("registered"));
}

#[test]
fn who_does_not_register_in_time_is_told_so() {
    let seed = report::seed("silent connections", 20_261_011);
    let node = Node::start(&NodeSpec::new("a"));
    let bystander = Party::join(100, node.client(100), seed, 4..=100);
    let begin = clock::now();
    let mut silent = UnixStream::connect(node.socket()).expect("connected");
    let mut slow = UnixStream::connect(node.socket()).expect("connected");
    slow.set_read_timeout(Some(Duration::from_secs(1))).expect("a time-out");
    // One byte a second of what would be a REGISTER.
    let mut first = [0];
    for byte in register_as(50, VERSIONS) {
        slow.write_all(&[byte]).expect("open");
        match slow.read_exact(&mut first) {
            Ok(()) => break,
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    let waited = wait::ms_since(begin);
    let nack = last_word(&mut silent).expect("a NACK");
    assert_eq!(nack.rule, LocalRule::RegisterTimeout, "{}", nack.text);
    report::line(format_args!("silent connections: ended after {waited:.0} ms"));
    assert!((REGISTER_TIMEOUT_MS as f64..REGISTER_TIMEOUT_MS as f64 + 5_000.0).contains(&waited));
    assert_eq!(node.counter("refused_connections"), 2);
    // Who has registered may be silent for as long as it likes.
    assert_eq!(node.status().clients.len(), 1);
    bystander.send(100, 1);
    bystander.wait_for_taken(1);
}
