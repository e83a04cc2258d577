use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{super::unresolved::Unresolved, *};
use crate::ids::{Channel, ClientId, Seq};

fn message<'a>(n: u32, user: &'a [u8], payload: &'a [u8]) -> NewEntry<'a> {
    NewEntry {
        dst: ClientId(7),
        seq: Seq(n),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call: false,
        to: None,
        sent_at: Time(1),
        sent_raw: Time(1),
        start_at: 0,
        user,
        payload,
    }
}

fn fill(n: u32, len: u32) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + n).to_le_bytes()[0]).collect()
}

impl Output {
    fn alone_bytes(&self) -> usize {
        self.segments.iter().filter(|s| s.is_alone).map(|s| s.bytes.capacity()).sum()
    }

    /// Each segment knows its messages, and what waits is what it says.
    fn check(&self, unresolved: &Unresolved) {
        let mut found = vec![(0, 0); self.segments.len()];
        for (_, entry) in unresolved.iter().filter(|(_, e)| e.kept().is_somewhere()) {
            let of = &mut found[entry.kept().segment as usize];
            *of = (of.0 + 1, of.1 + charge(0, entry.kept().len()));
        }
        let known: Vec<_> = self.segments.iter().map(|s| (s.messages, s.charged)).collect();
        assert_eq!(known, found);
        let together = self.segments.iter().filter(|s| !s.is_alone).map(|s| s.charged).sum::<usize>();
        assert_eq!(self.charged, together);
        assert_eq!(self.alone, self.segments.iter().filter(|s| s.is_alone).count());
        assert!(self.bare.iter().all(|i| {
            let s = &self.segments[*i as usize];
            s.bytes.capacity() == 0 && !s.is_alone && !self.free.contains(i) && *i != self.current
        }));
        let of = |i: &u32| self.segments[*i as usize].bytes.len();
        let waits = self.queue.iter().map(of).sum::<usize>() + of(&self.current) - self.head;
        assert_eq!(self.len(), waits);
        assert!(self.free.iter().all(|i| *i != self.current && !self.queue.contains(i) && of(i) == 0));
        assert!(self.len() == 0 || !self.bytes().is_empty(), "its first part is not nothing");
        assert_eq!(self.parts().map(<[u8]>::len).sum::<usize>(), self.len());
        assert_eq!(self.parts().next().unwrap_or_default(), self.bytes());
    }
}

#[derive(Clone, Debug)]
enum Op {
    Send {
        user: u32,
        payload: u32,
        is_now: bool,
    },
    /// One that waited is written.
    Submit,
    Frames(usize),
    Write(usize),
    End(u32),
    /// The stream is gone, and all that has no outcome is written to the next.
    Anew,
}

fn op() -> impl Strategy<Value = Op> {
    let payload = prop_oneof![4 => 0..300_u32, 3 => 300..20_000_u32, 1 => Just(100_000)];
    let most = prop_oneof![1..40_usize, 40..50_000_usize, Just(usize::MAX)];
    prop_oneof![
        8 => (0..=64_u32, payload, any::<bool>())
            .prop_map(|(user, payload, is_now)| Op::Send { user, payload, is_now }),
        4 => Just(Op::Submit),
        1 => (1..100_usize).prop_map(Op::Frames),
        6 => most.prop_map(Op::Write),
        6 => (0..40_u32).prop_map(Op::End),
        1 => Just(Op::Anew),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_what_was_put_in_and_what_stays_is_what_was_sent(
        ops in proptest::collection::vec(op(), 1..300),
    ) {
        let (mut out, mut unresolved) = (Output::new(), Unresolved::new(MsgId(1)));
        let (mut stream, mut sent) = (VecDeque::new(), BTreeMap::new());
        let mut waiting = BTreeSet::new();
        let mut written = 0;
        for op in ops {
            match op {
                Op::Send { user, payload, is_now } => {
                    let msgid = unresolved.next_msgid();
                    let (user, payload) = (fill(msgid.0, user), fill(msgid.0 + 1, payload));
                    let new = message(msgid.0, &user, &payload);
                    if is_now {
                        let mut frame = Vec::new();
                        put_submit(&mut frame, msgid, Time(1), &new);
                        prop_assert_eq!(out.position(), written + stream.len() as u64);
                        stream.extend(frame);
                        out.submit(msgid, Time(1), &new);
                    } else {
                        waiting.insert(msgid.0);
                    }
                    unresolved.push(&new, is_now.then_some(&mut out));
                    sent.insert(msgid.0, (user, payload));
                    for _ in 0..10 {
                        unresolved.condense(&mut out);
                    }
                    prop_assert!(!out.is_sparse());
                    let spare = SPARE_BYTES + (FREE_SEGMENTS + 2) * SEGMENT_BYTES;
                    let most = 2 * (spare + 2 * out.charged + out.len());
                    prop_assert!(out.memory_bytes() <= most + out.alone_bytes(), "{} of {}", out.memory_bytes(), most);
                }
                Op::Submit => {
                    let Some(msgid) = waiting.pop_first().map(MsgId) else { continue };
                    let (_, entry) = unresolved.next_mut(msgid).expect("it is unresolved");
                    out.submit_again(msgid, Time(3), entry);
                    let (user, payload) = &sent[&msgid.0];
                    let mut frame = Vec::new();
                    put_submit(&mut frame, msgid, Time(3), &message(msgid.0, user, payload));
                    stream.extend(frame);
                }
                Op::Frames(len) => {
                    out.frames().extend(vec![9; len]);
                    stream.extend(vec![9; len]);
                }
                Op::Write(most) => {
                    let n = most.min(out.bytes().len());
                    let bytes: Vec<_> = stream.drain(..n).collect();
                    prop_assert!(out.bytes()[..n] == bytes[..]);
                    out.consume(n);
                    written += n as u64;
                }
                Op::End(nth) => {
                    let msgid = sent.keys().nth(nth as usize % sent.len().max(1)).map(|n| MsgId(*n));
                    let Some(msgid) = msgid else { continue };
                    let (user, _) = sent.remove(&msgid.0).expect("it was sent");
                    waiting.remove(&msgid.0);
                    let ended = unresolved.remove(msgid, &mut out).expect("it is unresolved");
                    prop_assert_eq!(ended.user.as_bytes(), &user[..]);
                }
                Op::Anew => {
                    out.clear();
                    stream.clear();
                    waiting.clear();
                    let mut next = MsgId(1);
                    while let Some((msgid, entry)) = unresolved.next_mut(next) {
                        out.submit_again(msgid, Time(2), entry);
                        let (user, payload) = &sent[&msgid.0];
                        let mut frame = Vec::new();
                        put_submit(&mut frame, msgid, Time(2), &message(msgid.0, user, payload));
                        stream.extend(frame);
                        next = msgid.next();
                    }
                }
            }
            prop_assert_eq!((out.len(), out.consumed()), (stream.len(), written));
            out.check(&unresolved);
        }
        for (msgid, entry) in unresolved.iter() {
            let (user, payload) = &sent[&msgid.0];
            let found = entry.as_sent(&out);
            prop_assert!(found.user == &user[..] && found.payload == &payload[..]);
        }
    }
}

#[test]
fn a_message_stays_where_it_was_written_and_its_room_is_used_again() {
    let (mut out, mut unresolved) = (Output::new(), Unresolved::new(MsgId(1)));
    for n in 1..2000 {
        let payload = fill(n, 1000);
        let new = message(n, &[], &payload);
        out.submit(MsgId(n), Time(1), &new);
        unresolved.push(&new, Some(&mut out));
        if out.len() > CHUNK_BYTES {
            out.consume(out.len());
            assert_eq!(out.len(), 0, "what is written at a time is in one piece");
        }
        if n > 100 {
            let ended = MsgId(n - 100);
            assert!(unresolved.find(ended).is_some_and(|entry| entry.kept().is_somewhere()));
            unresolved.remove(ended, &mut out);
        }
    }
    assert!(out.segments.len() < 5, "{} segments", out.segments.len());
    assert!(out.memory_bytes() < 5 * 2 * SEGMENT_BYTES);
}

/// Of a message in two hundred the outcome takes long: each would keep a segment.
#[test]
fn messages_that_stay_do_not_keep_the_room_of_those_that_went() {
    // Alone, and beside large ones that stay.
    for large in [0, 300] {
        let (mut out, mut unresolved) = (Output::new(), Unresolved::new(MsgId(1)));
        for n in 1..=large {
            unresolved.push(&message(n, b"", &fill(n, 5000)), None);
            let (msgid, entry) = unresolved.next_mut(MsgId(n)).expect("unresolved");
            out.submit_again(msgid, Time(1), entry);
            out.consume(out.len());
        }
        stay(large, &mut out, &mut unresolved);
        let alone = out.segments.iter().filter(|s| s.is_alone).count();
        assert_eq!(alone, large as usize);
    }
}

fn stay(behind: u32, out: &mut Output, unresolved: &mut Unresolved) {
    const STUCK: u32 = 200;
    const ALL: u32 = 30_000;
    for n in 1..=ALL {
        let (user, payload) = (n.to_le_bytes(), fill(n, 1500));
        let new = message(n, &user, &payload);
        out.submit(MsgId(behind + n), Time(1), &new);
        unresolved.push(&new, Some(out));
        if out.is_sparse() {
            unresolved.condense(out);
        }
        if n % 20 == 0 {
            out.consume(out.bytes().len());
        }
        if n > 3 && (n - 3) % STUCK != 0 {
            unresolved.remove(MsgId(behind + n - 3), out);
        }
        let most = 2 * (SPARE_BYTES + 2 * out.charged + (FREE_SEGMENTS + 2) * SEGMENT_BYTES);
        let memory = out.memory_bytes() - out.alone_bytes();
        assert!(memory <= most, "{memory} of {most}");
    }
    assert_eq!(unresolved.len(), ((ALL - 3) / STUCK + 3 + behind) as usize);
    for (msgid, entry) in unresolved.iter().skip(behind as usize) {
        let (n, sent) = (msgid.0 - behind, entry.as_sent(out));
        assert_eq!((sent.user, sent.payload), (&n.to_le_bytes()[..], &fill(n, 1500)[..]));
    }
    let own = unresolved.iter().filter(|(_, entry)| !entry.kept().is_somewhere()).count();
    assert!(own > 100, "{own} have memory of their own");
}

#[test]
fn an_output_without_a_backlog_keeps_little_room() {
    let mut out = Output::new();
    for _ in 0..100 {
        out.frames().resize(SEGMENT_BYTES, 7);
    }
    out.frames().resize(4 << 20, 7);
    while out.len() > 0 {
        out.consume(out.bytes().len());
    }
    assert!(out.memory_bytes() <= (FREE_SEGMENTS + 1) * 2 * SEGMENT_BYTES, "{}", out.memory_bytes());
}

#[test]
fn a_large_message_that_waited_is_written_and_stays_where_it_is() {
    let (mut out, mut unresolved) = (Output::new(), Unresolved::new(MsgId(1)));
    let (small, large) = (fill(1, 4095 - 4), fill(2, 4096 - 4));
    for (n, payload) in [(1, &small), (2, &large), (3, &large)] {
        unresolved.push(&message(n, b"user", payload), None);
    }
    let address = |unresolved: &Unresolved, out: &Output, n| {
        let entry = unresolved.find(MsgId(n)).expect("unresolved");
        entry.as_sent(out).payload.as_ptr()
    };
    let before = [1, 2, 3].map(|n| address(&unresolved, &out, n));
    let mut wanted = Vec::new();
    out.frames().extend(b"frame");
    for (n, payload) in [(1, &small), (2, &large), (3, &large)] {
        let (_, entry) = unresolved.next_mut(MsgId(n)).expect("unresolved");
        out.submit_again(MsgId(n), Time(9), entry);
        put_submit(&mut wanted, MsgId(n), Time(9), &message(n, b"user", payload));
    }
    out.check(&unresolved);
    assert_eq!(out.parts().count(), 3, "the two are parts");
    assert_eq!(out.parts().collect::<Vec<_>>().concat(), [&b"frame"[..], &wanted].concat());
    let after = [1, 2, 3].map(|n| address(&unresolved, &out, n));
    assert_eq!(before, after);

    // One that ends while it waits to be written is written all the same; of one that is written the memory is used again.
    unresolved.remove(MsgId(2), &mut out);
    out.consume(5 + wanted.len() - 10);
    unresolved.remove(MsgId(3), &mut out);
    assert_eq!(out.bytes(), &wanted[wanted.len() - 10..]);
    out.consume(10);
    out.check(&unresolved);
    assert_eq!((out.alone, out.bare.len()), (0, 2));

    unresolved.push(&message(4, b"user", &large), None);
    let (_, entry) = unresolved.next_mut(MsgId(4)).expect("unresolved");
    out.submit_again(MsgId(4), Time(9), entry);
    let at = address(&unresolved, &out, 4);
    out.consume(out.len());
    // To the next stream it is written from there, too, with the time that it has by then.
    out.clear();
    let (_, entry) = unresolved.next_mut(MsgId(4)).expect("unresolved");
    out.submit_again(MsgId(4), Time(10), entry);
    let mut wanted = Vec::new();
    put_submit(&mut wanted, MsgId(4), Time(10), &message(4, b"user", &large));
    assert_eq!((out.bytes(), address(&unresolved, &out, 4)), (&wanted[..], at));
    out.consume(out.len());
    unresolved.remove(MsgId(4), &mut out);
    unresolved.push(&message(5, b"user", &large), None);
    assert_eq!(address(&unresolved, &out, 5), at);
    out.check(&unresolved);
}
