use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::{
    engine::{
        Engine,
        tests::{client, engine},
    },
    ids::{Channel, ClientId, MsgId, Seq},
    local::put,
    units::{Span, Time},
};

const NOW: Time = Time(1_000_000);

/// A node alone: what its clients send stays in the chain.
fn node() -> Engine {
    let mut engine = engine(1, 1);
    engine.config.chain.max_stored = 1000;
    engine
}

fn submit<'a>(n: u32, is_call: bool, user: &'a [u8], payload: &'a [u8]) -> Submit<'a> {
    Submit {
        dst: ClientId(900),
        msgid: MsgId(n),
        seq: Seq(n),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call,
        to: None,
        send_time: NOW,
        user,
        payload,
    }
}

/// As the daemon does it.
fn bring(engine: &mut Engine, conn: ConnId, bytes: &mut impl Iterator<Item = u8>, most: usize) -> usize {
    let space = engine.read_space();
    assert!(space.len() >= LEAST_READ);
    let n = space.iter_mut().take(most).zip(bytes).map(|(to, byte)| *to = byte).count();
    let mut is_more = engine.handle_client_read(NOW, conn, n);
    while is_more {
        is_more = engine.handle_client_read(NOW, conn, 0);
    }
    while let Some(conn) = engine.poll_writable() {
        let len = engine.output(conn).len();
        engine.consume_output(NOW, conn, len);
    }
    n
}

#[derive(Clone, Debug)]
enum Op {
    Send { client: u32, user: u32, payload: u32 },
    GiveUp { client: u32 },
    Bring { client: u32, most: usize },
    Leave { client: u32 },
}

fn op() -> impl Strategy<Value = Op> {
    let client = 0..3_u32;
    let payload = prop_oneof![
        4 => 0..300_u32,
        2 => 300..20_000_u32,
        1 => Just(65_536 + 10),
        1 => Just(262_144 + 10),
    ];
    let most = prop_oneof![1..40_usize, 40..5000_usize, Just(LEAST_READ), Just(usize::MAX)];
    prop_oneof![
        6 => (client.clone(), 0..=64_u32, payload)
            .prop_map(|(client, user, payload)| Op::Send { client, user, payload }),
        2 => client.clone().prop_map(|client| Op::GiveUp { client }),
        12 => (client.clone(), most).prop_map(|(client, most)| Op::Bring { client, most }),
        1 => client.prop_map(|client| Op::Leave { client }),
    ]
}

/// What a client has written and the daemon has not read, and what it has sent in all.
#[derive(Default)]
struct Writer {
    stream: VecDeque<u8>,
    next: u32,
}

proptest! {
    #[test]
    fn whoever_is_read_when_each_message_is_what_was_sent(ops in proptest::collection::vec(op(), 1..80)) {
        let mut engine = node();
        let mut conns: Vec<_> = (0..3).map(|n| client(&mut engine, NOW, 100 + n)).collect();
        let mut writers: Vec<_> = (0..3).map(|_| Writer { next: 1, ..Writer::default() }).collect();
        // By client and msgid: user data and payload.
        let mut sent = BTreeMap::<(u32, u32), (Vec<u8>, Vec<u8>)>::new();
        let mut life = 100;
        let all = (0..3).map(|client| Op::Bring { client, most: usize::MAX }).cycle().take(60);
        for op in ops.into_iter().chain(all) {
            match op {
                Op::Send { client, user, payload } => {
                    let w = &mut writers[client as usize];
                    let (n, mut frame) = (w.next, Vec::new());
                    let fill = |len: u32, more: u32| (0..len).map(move |i| (i * 7 + n + more).to_le_bytes()[0]);
                    let (user, payload): (Vec<_>, Vec<_>) = (fill(user, 1).collect(), fill(payload, 2).collect());
                    put::submit(&mut frame, &submit(n, false, &user, &payload));
                    sent.insert((life + client, n), (user, payload));
                    w.stream.extend(frame);
                    w.next += 1;
                }
                Op::GiveUp { client } => {
                    let w = &mut writers[client as usize];
                    let mut frame = Vec::new();
                    put::given_up(&mut frame, MsgId(w.next / 2));
                    w.stream.extend(frame);
                }
                Op::Bring { client, most } => {
                    let stream = std::mem::take(&mut writers[client as usize].stream);
                    let mut stream = stream.into_iter();
                    bring(&mut engine, conns[client as usize], &mut stream, most);
                    writers[client as usize].stream = stream.collect();
                }
                Op::Leave { client: n } => {
                    // What it has written is lost with it, but what was read goes on.
                    engine.handle_disconnect(NOW, conns[n as usize]);
                    life += 10;
                    for (i, w) in (0..).zip(&mut writers) {
                        if i != n {
                            engine.handle_disconnect(NOW, conns[i as usize]);
                        }
                        conns[i as usize] = client(&mut engine, NOW, life + i);
                        *w = Writer { next: 1, ..Writer::default() };
                    }
                }
            }
            prop_assert_eq!(engine.check_invariants(), Ok(()));
        }
        let mut found = BTreeMap::new();
        for (_, entry) in engine.chain.entries.iter() {
            let whose = engine.clients[entry.client].instance.client.0;
            let reads = &engine.chain.reads;
            let (user, payload) = (entry.user(reads).to_vec(), entry.payload(reads).to_vec());
            prop_assert_eq!(entry.payload_len(), payload.len());
            let is_its = sent.get(&(whose, entry.msgid.0)) == Some(&(user, payload));
            prop_assert!(is_its, "{} of {}", entry.msgid.0, whose);
            found.insert((whose, entry.msgid.0), ());
        }
        // The last lives wrote all of theirs.
        for client in 0..3 {
            let last = (life + client, writers[client as usize].next - 1);
            prop_assert!(last.1 == 0 || found.contains_key(&last) || writers[client as usize].next / 2 >= last.1);
        }
    }
}

#[test]
fn a_message_stays_where_it_was_read_and_its_room_is_used_again() {
    let mut engine = node();
    let conn = client(&mut engine, NOW, 100);
    assert_eq!(engine.read_space().len(), SEGMENT_BYTES);
    let mut stream = Vec::new();
    put::submit(&mut stream, &submit(1, false, b"user", &[7; 1000]));
    bring(&mut engine, conn, &mut stream.into_iter(), usize::MAX);
    let (_, entry) = engine.chain.entries.iter().next().expect("it is in the chain");
    assert!(matches!(entry.bytes, Bytes::Read { .. }));
    assert!(engine.read_space().len() < SEGMENT_BYTES);

    let mut stream = Vec::new();
    put::given_up(&mut stream, MsgId(1));
    bring(&mut engine, conn, &mut stream.into_iter(), usize::MAX);
    assert_eq!((engine.chain.entries.len(), engine.read_space().len()), (0, SEGMENT_BYTES));
}

/// Of a message in two hundred the outcome takes long: each would keep a segment.
#[test]
fn messages_that_stay_do_not_keep_the_room_of_those_that_went() {
    const STUCK: u32 = 200;
    const ALL: u32 = 30_000;
    let mut engine = node();
    let conn = client(&mut engine, NOW, 100);
    let payload = |n: u32| vec![n.to_le_bytes()[0]; 1500];
    for n in 1..=ALL {
        let mut stream = Vec::new();
        put::submit(&mut stream, &submit(n, true, &n.to_le_bytes(), &payload(n)));
        if n > 3 && (n - 3) % STUCK != 0 {
            put::withdraw(&mut stream, MsgId(n - 3));
        }
        bring(&mut engine, conn, &mut stream.into_iter(), usize::MAX);
        let reads = &engine.chain.reads;
        let most = SPARE_BYTES + 2 * reads.charged + (FREE_SEGMENTS + 1) * SEGMENT_BYTES;
        assert!(reads.memory_bytes() <= most, "{} of {most}", reads.memory_bytes());
    }
    assert_eq!(engine.check_invariants(), Ok(()));
    assert_eq!(engine.chain.entries.len(), ((ALL - 3) / STUCK + 3) as usize);
    for (_, entry) in engine.chain.entries.iter() {
        let n = entry.msgid.0;
        assert_eq!(entry.user(&engine.chain.reads), n.to_le_bytes());
        assert_eq!(entry.payload(&engine.chain.reads), payload(n));
    }
    let own = engine.chain.entries.iter().filter(|(_, entry)| matches!(entry.bytes, Bytes::Own(_))).count();
    assert!(own > 100, "{own} have memory of their own");
    // A burst leaves no more than it is worth.
    assert!(engine.chain.reads.memory_bytes() <= SPARE_BYTES + (FREE_SEGMENTS + 2) * SEGMENT_BYTES);
}

/// Clients' messages, of which only small ones are left; then nothing is read any more.
#[test]
fn a_quiet_daemon_gives_back_the_room_of_what_went() {
    const EACH: u32 = 30;
    let mut engine = node();
    let (mut sent, mut withdrawn) = (Vec::new(), Vec::new());
    for n in 0..EACH {
        put::submit(&mut sent, &submit(2 * n + 1, true, b"stays", &[7; 10]));
        put::submit(&mut sent, &submit(2 * n + 2, true, b"goes", &[7; 200_000]));
        put::withdraw(&mut withdrawn, MsgId(2 * n + 2));
    }
    let conns: Vec<_> = (100..105).map(|number| client(&mut engine, NOW, number)).collect();
    for stream in [sent, withdrawn] {
        for conn in &conns {
            let mut stream = stream.iter().copied();
            while bring(&mut engine, *conn, &mut stream, usize::MAX) > 0 {}
        }
    }
    assert_eq!(engine.chain.entries.len(), 5 * EACH as usize);
    let most = |reads: &Reads| SPARE_BYTES + 2 * reads.charged + (FREE_SEGMENTS + 1) * SEGMENT_BYTES;
    let held = engine.chain.reads.memory_bytes();
    assert!(held > 20 << 20 && held > most(&engine.chain.reads), "{held}");

    let mut now = NOW;
    for _ in 0..100 {
        assert_eq!(engine.check_invariants(), Ok(()));
        let Some(at) = engine.condense_at else { break };
        now = engine.poll_timeout().expect("it is a timer");
        assert!(now <= engine.clock.to_raw(at));
        let (before, moved) = (engine.chain.reads.memory_bytes(), engine.chain.reads.free.len());
        engine.handle_timeout(now);
        let freed = engine.chain.reads.free.len() - moved;
        let freed = freed + (before - engine.chain.reads.memory_bytes()) / SEGMENT_BYTES;
        assert!(freed <= 16, "{freed} at once");
    }
    assert_eq!(engine.condense_at, None);
    assert!(now.since(NOW) < Span::from_millis(1000), "{:?}", now.since(NOW));
    let held = engine.chain.reads.memory_bytes();
    assert!(held <= most(&engine.chain.reads), "{held}");
    for (_, entry) in engine.chain.entries.iter() {
        assert_eq!(
            (entry.user(&engine.chain.reads), entry.payload(&engine.chain.reads)),
            (&b"stays"[..], &[7; 10][..])
        );
    }
}
