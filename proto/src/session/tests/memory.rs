//! I7: all that a session holds is bounded, and counted.

use super::*;
use crate::{
    ids::Instance,
    local::{Failed, PresentInstance},
    session::{
        event::Notice, in_flows::InFlow, lives::Taker, out_flows::OutFlow, presence::PresenceEvent,
        unresolved::Entry,
    },
};

/// So many that a buffer which doubles is exactly full.
const MANY: u32 = 1024;

/// What a part of the session grows by; the whole grows as much.
fn grown(s: &mut Session, part: impl Fn(&Session) -> usize, act: impl FnOnce(&mut Session)) -> usize {
    let before = (s.memory_bytes(), part(s));
    act(s);
    let after = (s.memory_bytes(), part(s));
    assert_eq!(after.0 - before.0, after.1 - before.1, "the whole grows as its part does");
    after.1 - before.1
}

/// A figure is right if it is at least what is held, and not much more.
fn assert_about(bytes: usize, held: usize, what: &str) {
    assert!((held..=held + held / 10 + 600).contains(&bytes), "{what}: {bytes} of {held}");
}

fn instance(n: u32) -> Instance {
    Instance { client: ClientId(n + 1000), ..SRC }
}

fn present(n: u64) -> PresentInstance {
    PresentInstance { incarnation: Incarnation(n + 1), priority: 0 }
}

#[test]
fn i7_flows_are_counted() {
    let mut s = registered();
    let bytes = grown(
        &mut s,
        |s| s.deliveries.memory_bytes(),
        |s| {
            for number in 1..=MANY {
                let d = Deliver { src: instance(number), ..delivery(u64::from(number), 1) };
                feed(s, Time(0), |out| put::deliver(out, &d));
                assert!(s.poll_message(Time(0)).is_some());
            }
        },
    );
    // A slot, a place in the index, and a set of one word, for which four are allocated.
    let each = size_of::<InFlow>() + size_of::<((Instance, Channel), usize)>() + 4 * 8;
    assert_about(bytes, MANY as usize * each, "flows that come in");

    s.handle_disconnected(Time(0));
    let parts = |s: &Session| s.out_flows.memory_bytes() + s.unresolved.memory_bytes();
    let before = s.out_flows.memory_bytes();
    grown(&mut s, parts, |s| {
        for n in 0..1000 {
            s.send(Time(0), ClientId(n), b"x", b"", SendFlags::default()).expect("room");
        }
    });
    let slots = 1024 * size_of::<OutFlow>();
    let index = 1000 * size_of::<((ClientId, Channel), usize)>();
    assert_about(s.out_flows.memory_bytes() - before, slots + index, "flows that go out");
}

#[test]
fn i7_messages_are_counted_while_they_are_unresolved_and_their_buffers_afterwards() {
    let mut s = registered();
    s.handle_disconnected(Time(0));
    let parts = |s: &Session| s.out_flows.memory_bytes() + s.unresolved.memory_bytes();
    grown(&mut s, parts, |s| {
        for _ in 0..1000 {
            s.send(Time(0), DST, &[1; 900], b"", SendFlags::default()).expect("room");
        }
    });
    let ring = 1024 * (size_of::<Entry>() + size_of::<u32>());
    assert_about(s.unresolved.memory_bytes(), ring + 1000 * 900, "messages");
    let before = s.memory_bytes();
    pass(&mut s, Time(60_000_000));
    assert_eq!(s.unresolved(), 0);
    assert_about(s.unresolved.memory_bytes(), ring + 1000 * 900, "buffers to use again");
    // Room for four was there before.
    let failures = 1020 * size_of::<Notice>();
    assert_about(s.memory_bytes() - before, failures, "failures that nobody polls");
}

#[test]
fn i7_one_message_that_waits_costs_little_however_many_end_behind_it() {
    let mut s = registered();
    s.send(Time(0), DST, b"waits", b"", SendFlags::default()).expect("room");
    for _ in 0..150_000 {
        let msgid = s.send(Time(0), ClientId(7), &[1; 100], b"", SendFlags::default()).expect("room");
        write_all(&mut s);
        feed(&mut s, Time(0), |out| put::resolved(out, &[(msgid, 1)]));
    }
    assert!(s.unresolved.memory_bytes() < 2 << 20, "{}", s.unresolved.memory_bytes());
}

#[test]
fn i7_outcomes_of_calls_are_counted() {
    let mut s = registered();
    s.handle_disconnected(Time(0));
    for _ in 0..1000 {
        s.send_call(Time(0), DST, b"", SendFlags::default()).expect("room");
    }
    let before = s.memory_bytes() - s.unresolved.memory_bytes();
    pass(&mut s, Time(60_000_000));
    let now = s.memory_bytes() - s.unresolved.memory_bytes();
    assert_about(now - before, 1024 * size_of::<(MsgId, CallOutcome)>(), "outcomes of calls");
}

#[test]
fn i7_subscriptions_are_counted() {
    let mut s = registered();
    for n in 0..100 {
        s.subscribe(Time(0), ClientId(n)).expect("room");
    }
    let part = |s: &Session| s.subscriptions.memory_bytes();
    let entry = size_of::<PresentInstance>();
    let ten: Vec<_> = (0..10).map(present).collect();
    let bytes = grown(&mut s, part, |s| {
        for n in 0..100 {
            feed(s, Time(0), |out| put::presence(out, ClientId(n), false, &ten));
        }
    });
    // Sixteen are allocated for ten.
    assert!((100 * 10 * entry..100 * (16 * entry + 64)).contains(&bytes), "what waits: {bytes}");
    while s.poll_presence().is_some() {}
    let known = 100 * 10 * entry;
    assert_about(s.subscriptions.memory_bytes(), known + 16 * size_of::<PresenceEvent>(), "what is known");
    let all: Vec<_> = (0..limits::MAX_PRESENT as u64).map(present).collect();
    let bytes = grown(&mut s, part, |s| {
        feed(s, Time(0), |out| put::presence(out, ClientId(0), false, &all));
        assert!(s.poll_presence().is_some());
    });
    let events = (512 - 16) * size_of::<PresenceEvent>();
    assert_about(bytes, events + (512 - 10) * entry, "events that wait");
}

#[test]
fn i7_watches_are_counted_and_limited() {
    let mut s = registered();
    let part = |s: &Session| s.lives.memory_bytes();
    s.handle_disconnected(Time(0));
    let taker = |n: u32| Taker { instance: instance(n), node: "vm-b".into() };
    let bytes = grown(&mut s, part, |s| {
        for n in 0..MANY {
            s.watch(Time(0), &taker(n));
            s.watch(Time(0), &taker(n));
        }
    });
    let each = size_of::<Taker>() + limits::MAX_NODE_NAME_BYTES;
    assert_about(bytes, MANY as usize * each, "what is watched");
    s.handle_connected(Time(0));
    write_all(&mut s);
    feed(&mut s, Time(0), |out| put::registered(out, &grant(1)));
    for n in 0..MANY {
        feed(&mut s, Time(0), |out| put::gone(out, instance(n)));
    }
    assert_about(s.lives.memory_bytes(), MANY as usize * size_of::<(Instance, u64)>(), "who is gone");
    // What was not told yet counts against the limit, too.
    let most = u32::try_from(limits::MAX_WATCHES).expect("small");
    for n in MANY..2 * most {
        s.watch(Time(0), &taker(n));
    }
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    let bytes = write_all(&mut s);
    let watches = frames(&bytes).iter().filter(|f| matches!(f, ClientFrame::Watch(_))).count();
    assert_eq!(watches, limits::MAX_WATCHES - MANY as usize);
    let mut gone = 0;
    while s.poll_gone().is_some() {
        gone += 1;
    }
    assert_eq!(gone, MANY);
}

#[test]
fn i7_a_stream_that_never_runs_dry_needs_no_more_than_what_waits() {
    let mut s = registered();
    for _ in 0..20 {
        s.send(Time(0), DST, &[1; 1000], b"", SendFlags::default()).expect("room");
    }
    let mut passed = 0;
    while passed < 8 << 20 {
        let msgid = s.send(Time(0), DST, &[1; 1000], b"", SendFlags::default()).expect("room");
        // The daemon reads as much as comes, and has an outcome for the oldest.
        let n = s.output().len().min(s.output_len() - 20_000);
        s.consume_output(Time(0), n);
        passed += n;
        let failed = Failed {
            msgid: MsgId(msgid.0 - 20),
            dst: DST,
            tries: 1,
            verdict: verdict(Reason::NoAnswer, Certainty::Unknown),
            user: b"",
        };
        feed(&mut s, Time(0), |out| put::failed(out, &failed));
        while s.poll_event(Time(0)).is_some() {}
    }
    assert!(s.output.memory_bytes() < 400_000, "{}", s.output.memory_bytes());
}

/// Writes all that waits, and has these messages end.
fn write_and_end(s: &mut Session, ended: &[MsgId]) {
    while s.output_len() > 0 {
        let n = s.output().len();
        s.consume_output(Time(0), n);
    }
    for id in ended {
        feed(s, Time(0), |out| put::resolved(out, &[(*id, 1)]));
    }
    while s.poll_event(Time(0)).is_some() {}
}

/// Messages to a slow instance stay, among large ones that are taken at once.
#[test]
fn i7_what_stays_does_not_keep_the_room_of_larger_ones_that_went() {
    let fast = SendFlags { unordered: true, ..SendFlags::default() };
    for (stays, goes) in [(40_000, 1 << 20), (1, 1 << 20), (1, 60_000), (1, 30_000)] {
        let mut s = registered();
        for _ in 0..150 {
            s.send(Time(0), DST, &vec![1; stays], b"", SendFlags::default()).expect("room");
            let large = s.send(Time(0), DST, &vec![2; goes], b"", fast).expect("room");
            write_and_end(&mut s, &[large]);
            let most = (6 << 20) + 4 * s.unresolved_bytes();
            assert!(s.memory_bytes() < most, "{stays} beside {goes}: {} of {most}", s.memory_bytes());
        }
    }
}

/// What is sent while the output is full is copied. A small message does not keep the buffer that a larger one had.
#[test]
fn i7_what_stays_does_not_keep_the_buffers_of_larger_ones_that_went() {
    let fast = SendFlags { unordered: true, ..SendFlags::default() };
    let mut s = registered();
    for _ in 0..200 {
        let large =
            [64 << 10, 900_000].map(|len| s.send(Time(0), DST, &vec![2; len], b"", fast).expect("room"));
        write_and_end(&mut s, &large);
        s.send(Time(0), DST, &[1], b"", SendFlags::default()).expect("room");
        write_and_end(&mut s, &[]);
        assert!(s.memory_bytes() < 6 << 20, "{}", s.memory_bytes());
    }
}
