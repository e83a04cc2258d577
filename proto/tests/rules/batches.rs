//! What a client brings for a peer leaves as soon as it fills a transmission, while the rest is read. And what comes together comes to
//! the same as what comes one by one.

use msg_proto::{
    counters::Counter,
    engine::{ClientRule, EngineConfig},
    ids::{Channel, ClientId, ConnId, Incarnation, MsgId, Seq},
    limits,
    local::{Addressee, DaemonFrame, Submit, put, split},
    units::Time,
    wire::{Data, DatagramBuilder, Fragment, Frame, Frames, Header},
};

use super::by_hand::{ByHand, frames, register, submit};

/// What an engine has come to: the messages that left, by number, and how often it left off.
#[derive(Debug, Default, PartialEq, Eq)]
struct Course {
    left: Vec<u32>,
    pauses: Vec<usize>,
}

impl Course {
    fn transmit(&mut self, w: &mut ByHand) -> usize {
        let mut out = Vec::new();
        let Some(transmit) = w.engine.poll_transmit(w.now, &mut out, 64) else { return 0 };
        for datagram in out.chunks(transmit.segment) {
            let (header, frames) = Header::parse(datagram).expect("our own");
            let data = Frames::new(header.kind, frames).map(Result::unwrap).filter_map(|frame| match frame {
                Frame::Data(data) => Some(data.msgid.0),
                _ => None,
            });
            self.left.extend(data);
        }
        out.len()
    }

    /// As the daemon does it.
    fn read(&mut self, w: &mut ByHand, conn: ConnId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = w.engine.handle_client_batch(w.now, conn, rest);
            assert!(taken > 0, "it goes on");
            rest = &rest[taken..];
            if !rest.is_empty() {
                let len = self.transmit(w);
                self.pauses.push(len);
            }
            assert_eq!(w.engine.check_invariants(), Ok(()));
        }
    }
}

/// Messages 2 and so on.
fn stream(dst: u32, count: u32, now: Time) -> Vec<u8> {
    let mut stream = Vec::new();
    for n in (2..).take(count as usize) {
        put::submit(&mut stream, &submit(dst, n, now, &[7; 256]));
    }
    stream
}

/// A client that has sent a message, and has been told to whom those of its flow go.
fn world(dst: u32) -> (ByHand, ConnId) {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    w.client(0, &register(300));
    let conn = w.client(0, &register(100));
    let now = w.now;
    w.say(conn, |out| put::submit(out, &submit(dst, 1, now, b"first")));
    w.hear(conn);
    w.datagrams();
    (w, conn)
}

#[test]
fn a_full_transmission_leaves_before_the_rest_is_read() {
    let (mut w, conn) = world(200);
    let bytes = stream(200, 600, w.now);
    let mut course = Course::default();
    // Frames end where they like, in what is read.
    for part in bytes.chunks(100_001) {
        course.read(&mut w, conn, part);
    }
    assert_eq!(course.pauses.len(), 2, "600 messages are two transmissions, and a rest");
    assert!(course.pauses[0] > limits::MAX_MTU - limits::MIN_MTU, "a full one: {course:?}");
    while course.transmit(&mut w) > 0 {}
    let window: Vec<u32> = (2..).take(course.left.len()).collect();
    assert!(course.left == window && window.len() > 200, "in order, as far as the window goes: {course:?}");
}

/// 900 messages to a client, read at once.
fn read_900(dst: u32) -> (ByHand, Course) {
    let (mut w, conn) = world(dst);
    let bytes = stream(dst, 900, w.now);
    let mut course = Course::default();
    course.read(&mut w, conn, &bytes);
    (w, course)
}

#[test]
fn a_link_that_takes_nothing_holds_up_no_reading() {
    // Far more than the window of a link whose peer says nothing.
    let (w, course) = read_900(200);
    assert_eq!(course.pauses.len(), 3);
    assert_eq!(w.engine.status(w.now).clients[0].chain_depth, 901);
}

#[test]
fn what_is_for_this_node_is_read_through() {
    let (_, course) = read_900(300);
    assert_eq!(course, Course::default());
}

#[test]
fn what_was_gathered_elsewhere_holds_up_no_frame() {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let conn = w.client(0, &register(100));
    let bytes = stream(200, 400, w.now);
    let mut course = Course::default();
    course.read(&mut w, conn, &bytes);
    assert_eq!(course, Course::default(), "its library is told first to whom they go");
    w.hear(conn);
    // They all wait for the link now.
    let mut frame = Vec::new();
    put::submit(&mut frame, &submit(200, 402, w.now, b"behind them"));
    let (head, tail) = frame.split_at(20);
    for (part, stored) in [(head, 400), (tail, 401)] {
        course.read(&mut w, conn, part);
        assert_eq!(w.engine.chain_depth(), stored);
    }
}

/// What a client is given, and its sender is told, of messages that come from a peer: `together`, or each in a datagram of its own, as
/// a fragment that is all of it, which is looked at singly. What was given is taken now and then: a library has room for less.
fn given(
    numbers: &[u32],
    sizes: &[usize],
    together: bool,
    handle: impl Fn(&mut ByHand, ConnId),
) -> (Vec<u8>, Vec<u32>) {
    let mut w = ByHand::new();
    w.link_up(&[200]);
    let (conn, incarnation) = w.try_client(7, &register(100));
    let flow = w.flow(200, 100, incarnation.expect("it is free"));
    w.datagrams();
    handle(&mut w, conn);
    w.hear(conn);
    let payload = [7; 60_000];
    let put = |b: &mut DatagramBuilder<'_>, n: u32| {
        let (msgid, seq, call) = (MsgId(n), Seq(n), None);
        let payload = &payload[..sizes[n as usize % sizes.len()]];
        let total = u32::try_from(payload.len()).expect("small");
        match together {
            true => b.put_data(&Data { msgid, seq, at_least_once: false, call, payload }),
            false => b.put_fragment(&Fragment {
                msgid,
                seq,
                at_least_once: false,
                call,
                offset: 0,
                total,
                bytes: payload,
            }),
        }
    };
    let (mut heard, mut acked, mut upto) = (Vec::new(), Vec::new(), 0);
    for (some, n) in numbers.chunks(4).zip(1..) {
        for some in some.chunks(if together { 4 } else { 1 }) {
            w.peer_says(|b| {
                assert!(b.put_flow(&flow, 0));
                some.iter().for_each(|n| assert!(put(b, *n)));
            });
        }
        let bytes = w.hear(conn);
        for frame in frames(&bytes) {
            if let DaemonFrame::Deliver(d) = frame {
                upto = d.number;
            }
        }
        if upto > 0 && (n % 40 == 0 || 4 * n >= numbers.len()) {
            w.say(conn, |out| put::taken(out, upto));
        }
        acked.extend(w.peer_hears(|frame| match frame {
            Frame::Ack(ack) => {
                Some(ack.runs().flat_map(|run| run.msgid.0..run.msgid.0 + run.count).collect::<Vec<_>>())
            }
            _ => None,
        }));
        heard.extend(bytes);
        assert_eq!(w.engine.check_invariants(), Ok(()));
    }
    let mut acked = acked.concat();
    acked.sort_unstable();
    (heard, acked)
}

#[test]
fn what_comes_together_is_given_as_what_comes_one_by_one() {
    let in_order: Vec<u32> = (1..400).collect();
    let repeated: Vec<u32> = (1..300).flat_map(|n| [n, n / 2 + 1]).collect();
    let swapped: Vec<u32> = (0..200).flat_map(|n| [2 * n + 2, 2 * n + 1]).collect();
    let with_gaps: Vec<u32> = (1..400).filter(|n| n % 7 != 0).chain((1..57).map(|n| 7 * n)).collect();
    let too_far: Vec<u32> =
        (1..9).chain([limits::SEQ_SPAN - 1, limits::SEQ_SPAN, limits::SEQ_SPAN + 1, 9, 10]).collect();
    for numbers in [in_order, repeated, swapped, with_gaps, too_far] {
        for sizes in [&[1][..], &[10_000, 300]] {
            let alone = given(&numbers, sizes, false, |_, _| {});
            assert!(!alone.0.is_empty() && !alone.1.is_empty());
            assert_eq!(given(&numbers, sizes, true, |_, _| {}), alone, "{numbers:?}");
        }
    }
    // A floor that never moves.
    let (heard, _) = given(&(1..limits::SEQ_SPAN + 9).collect::<Vec<_>>(), &[1], true, |_, _| {});
    assert_eq!(frames(&heard).len(), limits::SEQ_SPAN as usize);
}

#[test]
fn who_takes_no_more_is_given_nothing_of_what_comes_together() {
    let numbers: Vec<u32> = (1..40).collect();
    let leave = |w: &mut ByHand, conn| w.say(conn, put::drained);
    let (heard, acked) = given(&numbers, &[8], true, leave);
    assert_eq!((frames(&heard).len(), acked), (0, vec![]));
    assert_eq!(given(&numbers, &[8], false, leave), (heard, vec![]));
}

/// What an engine does with a client's stream, that comes at once or frame by frame: what its peer and the client hear, and what is
/// left of the chain.
fn carried(
    stream: &[u8],
    at_once: bool,
    change: impl Fn(&mut EngineConfig),
) -> (Vec<Vec<u8>>, Vec<u8>, usize, u64) {
    let mut w = ByHand::with(change);
    w.link_up(&[200, 201]);
    w.client(0, &register(300));
    let (conn, _) = w.try_client(0, &register(100));
    for (n, dst, channel) in [
        (1, 200, Channel::Ordered),
        (2, 201, Channel::Ordered),
        (3, 300, Channel::Ordered),
        (4, 200, Channel::Unordered),
    ] {
        let now = w.now;
        w.say(conn, |out| {
            put::submit(out, &Submit { seq: Seq(1), channel, ..submit(dst, n, now, b"first") })
        });
        w.hear(conn);
    }
    w.datagrams();
    let mut rest = stream;
    while let Ok(Some((_, len))) = split(rest) {
        let len = if at_once { rest.len() } else { len };
        w.engine.handle_client_bytes(w.now, conn, &rest[..len]);
        rest = &rest[len..];
    }
    assert_eq!(w.engine.check_invariants(), Ok(()));
    let (datagrams, heard) = (w.datagrams(), w.hear(conn));
    (datagrams, heard, w.engine.chain_depth(), w.engine.counters().value(Counter::MessagesSubmitted))
}

#[test]
fn what_is_sent_at_once_goes_as_what_is_sent_one_by_one() {
    let now = ByHand::new().now;
    // Each change in the midst of messages that have none.
    type Change = fn(u32, &mut Submit<'_>);
    let changes: [(&str, Change); 12] = [
        ("plain", |_, _| ()),
        ("to two peers' clients and one of this node", |n, m| {
            m.dst = ClientId([200, 201, 200, 300][n as usize / 3 % 4]);
            m.seq = Seq(1000 + n);
        }),
        ("unordered among ordered", |n, m| {
            m.channel = if n % 5 == 0 { Channel::Unordered } else { Channel::Ordered }
        }),
        ("at least once", |n, m| m.at_least_once = n % 3 == 0),
        ("calls", |n, m| m.is_call = n % 4 == 0),
        ("calls to one instance", |n, m| {
            (m.is_call, m.channel) = (true, Channel::Unordered);
            let node = ["b", "nobody"][n as usize / 3 % 2];
            m.to = (n % 3 > 0).then_some(Addressee { incarnation: Incarnation(1), node });
        }),
        ("user data", |n, m| m.user = &[9; 64][..n as usize % 65]),
        ("numbers left out", |n, m| (m.msgid, m.seq) = (MsgId(n + n / 9), Seq(n + n / 7))),
        ("a number again", |n, m| m.seq = Seq(if n == 50 { 40 } else { n })),
        ("a msgid again", |n, m| m.msgid = MsgId(if n == 50 { 40 } else { n })),
        ("a number too far", |n, m| m.seq = Seq(if n < 50 { n } else { n + limits::SEQ_SPAN })),
        ("a msgid too far", |n, m| m.msgid = MsgId(if n < 50 { n } else { n + limits::MSGID_SPAN })),
    ];
    let payload = [7; 70_000];
    for (what, change) in changes {
        for sizes in [&[20, 256][..], &[1000, 0, 60_000, 70_000]] {
            let mut stream = Vec::new();
            for n in 10..110 {
                let mut message = submit(200, n, now, &payload[..sizes[n as usize % sizes.len()]]);
                change(n, &mut message);
                put::submit(&mut stream, &message);
            }
            // The last is for who has more room; the chain of 40 is full before the end.
            for max_stored in [40, 1000] {
                for max_message_bytes in [65_000, 1 << 20] {
                    let limit = |config: &mut EngineConfig| {
                        config.chain.max_stored = max_stored;
                        config.limits.max_message_bytes = max_message_bytes;
                        let may_send_to = Some(vec![ClientId(200), ClientId(300)]);
                        config.clients =
                            vec![ClientRule { id: ClientId(100), uid: None, gid: None, may_send_to }];
                    };
                    let one_by_one = carried(&stream, false, limit);
                    assert!(one_by_one.2 >= 20, "{what}: {}", one_by_one.2);
                    assert_eq!(carried(&stream, true, limit), one_by_one, "{what}");
                }
            }
        }
    }
}
