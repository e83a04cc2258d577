//! One test for each rule R1..R9 and invariant, in virtual time, on two engines with their clients' sessions.

mod address;
mod batches;
mod by_hand;
mod calls;
mod datagrams;
mod deploy;
mod fair;
mod faults;
mod forgotten;
mod gone;
mod goodput;
mod hellos;
mod instances;
mod leaving;
mod lives;
mod path_mtu;
mod peer_frames;
mod peers;
mod redundancy;
mod registration;
mod reload;
mod restored;
mod returns;
mod splices;
mod storm;
mod told;
mod waiting;
mod world;

use msg_proto::{
    counters::Counter,
    engine::Recovery,
    limits,
    outcome::{Certainty, Reason, Verdict},
    session::{SendError, SendFlags},
    wire::{Frame, Frames, Header},
};
use world::{Fate, Options, Random, World, clear, cut, cut_from};

const UNKNOWN: Certainty = Certainty::Unknown;
const NOT_STARTED: Certainty = Certainty::NotStarted;

fn verdict(reason: Reason, certainty: Certainty) -> Verdict {
    Verdict { reason, certainty }
}

fn frames(datagram: &[u8]) -> Vec<Frame<'_>> {
    let (header, frames) = Header::parse(datagram).expect("our own datagram");
    Frames::new(header.kind, frames).map(Result::unwrap).collect()
}

#[test]
fn messages_go_both_ways_and_on_one_node_in_any_start_up_order() {
    let mut w = World::new();
    let a = w.client(0, 100, 0, 3);
    w.send(a, 200, b"early", b"").unwrap();
    w.send(a, 101, b"local, early", b"").unwrap();
    w.run(300);
    let b = w.client(1, 200, 0, 3);
    let c = w.client(0, 101, 0, 3);
    w.run(10);
    w.send(b, 100, b"back", b"").unwrap();
    w.send(c, 100, b"local back", b"").unwrap();
    w.run(10);
    assert_eq!(w.payloads(b), [b"early"]);
    assert_eq!(w.payloads(c), [b"local, early"]);
    assert_eq!(w.clients[a].taken.len(), 2);
    for client in [a, b, c] {
        assert_eq!(w.clients[client].session.unresolved(), 0);
        assert!(w.clients[client].failed.is_empty());
    }
    assert_eq!(w.counter(0, Counter::MessagesAcked) + w.counter(1, Counter::MessagesAcked), 4);
}

#[test]
fn r1_a_copy_carries_clientid_msgid_and_send_time_in_the_receivers_clock() {
    let mut w = World::new();
    let (a, _b) = (w.client(0, 100, 200, 3), w.client(1, 200, 200, 3));
    w.run(50);
    w.send(a, 200, b"x", b"user").unwrap();
    w.drain();
    let (_, (_, _, bytes)) = w.wire.last_key_value().unwrap();
    let frames = frames(bytes);
    let flow =
        frames.iter().find_map(|f| if let Frame::Flow(flow) = f { Some(*flow) } else { None }).unwrap();
    let data =
        frames.iter().find_map(|f| if let Frame::Data(data) = f { Some(*data) } else { None }).unwrap();
    assert_eq!((flow.id.src.client.0, data.msgid.0, data.payload), (100, 1, &b"x"[..]));
    let theirs = w.clock(1).0;
    assert!(
        flow.send_time.0 <= theirs && theirs - flow.send_time.0 < 1_000,
        "early by at most the delay and the drift"
    );
}

#[test]
fn r2_a_scan_comes_every_half_interval_and_touches_only_what_is_due() {
    let mut w = World::new();
    let a = w.client(0, 100, 100, 200);
    for _ in 0..100 {
        w.send(a, 999, b"nobody", b"").unwrap();
    }
    w.run(49);
    let before = w.counter(0, Counter::Scans);
    w.run(1001);
    assert_eq!(w.counter(0, Counter::Scans) - before, 21);
    let looked_at = w.counter(0, Counter::ScannedEntries);
    assert_eq!(looked_at, 100 * 10, "each entry once an interval, from the first on");
}

#[test]
fn r2_an_empty_chain_is_not_scanned_and_an_idle_engine_sleeps() {
    let mut w = World::new();
    let (a, _b) = (w.client(0, 100, 100, 4), w.client(1, 200, 100, 4));
    w.run(20);
    w.send(a, 200, b"x", b"").unwrap();
    w.run(200);
    let (scans, sent) = (w.counter(0, Counter::Scans), w.counter(0, Counter::DatagramsSent));
    w.run(60_000);
    assert_eq!(w.counter(0, Counter::Scans), scans);
    let sent = w.counter(0, Counter::DatagramsSent) - sent;
    assert!((55..=65).contains(&sent), "one heartbeat a second: {sent}");
}

#[test]
fn r3_the_1001st_message_is_refused() {
    let mut w = World::new();
    let a = w.client(0, 100, 0, 3);
    w.run(20);
    for i in 0..1000 {
        assert!(w.send(a, 200, b"x", b"").is_ok(), "{i}");
    }
    assert_eq!(w.send(a, 200, b"x", b""), Err(SendError::WouldBlock));
    w.run(10);
    assert_eq!(w.engines[0].chain_depth(), 1000);
    assert_eq!(w.send(a, 200, b"x", b""), Err(SendError::WouldBlock));
}

#[test]
fn r4_no_answer_within_interval_sends_again_with_a_new_send_time() {
    let mut w = World::with(&Options { recovery: Recovery::TimerOnly, ..Options::default() });
    let (a, b) = (w.client(0, 100, 100, 10), w.client(1, 200, 100, 10));
    w.run(20);
    let stamps = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = stamps.clone();
    w.network = Box::new(move |from, datagram| {
        for frame in frames(datagram) {
            if let Frame::Flow(flow) = frame
                && from == 0
            {
                seen.borrow_mut().push(flow.send_time.0);
                return if seen.borrow().len() < 3 { Fate::Drop } else { Fate::Arrive(vec![100]) };
            }
        }
        Fate::Arrive(vec![100])
    });
    w.send(a, 200, b"x", b"").unwrap();
    w.run(99);
    assert_eq!(stamps.borrow().len(), 1);
    w.run(300);
    assert_eq!(w.payloads(b), [b"x"]);
    assert_eq!(w.counter(0, Counter::Retransmits), 2);
    let stamps = stamps.borrow();
    assert!(stamps[1] >= stamps[0] + 99_000 && stamps[2] >= stamps[1] + 99_000, "{stamps:?}");
}

#[test]
fn r5_a_one_way_cut_gives_each_send_its_callback_in_time() {
    for recovery in [Recovery::Adaptive, Recovery::TimerOnly] {
        let mut w = World::with(&Options { recovery, ..Options::default() });
        let (a, b) = (w.client(0, 100, 100, 4), w.client(1, 200, 100, 4));
        w.run(20);
        w.network = cut_from(0);
        let mut sent = Vec::new();
        let mut random = Random(1);
        for i in 0..50_u64 {
            let user = [u8::try_from(i).unwrap(); 64];
            let msgid = w.send(a, 200, &i.to_le_bytes(), &user).unwrap();
            sent.push((msgid, w.now, user));
            let ms = random.next(9);
            w.run(ms);
        }
        w.run(1000);
        let failed = &w.clients[a].failed;
        assert_eq!(failed.len(), 50);
        for ((failure, at), (msgid, sent_at, user)) in failed.iter().zip(&sent) {
            assert_eq!(failure.msgid, *msgid);
            assert_eq!(failure.user.as_bytes(), user);
            assert_eq!(failure.verdict, verdict(Reason::NoAnswer, UNKNOWN));
            assert!(failure.tries >= 5, "{failure:?}");
            let took = at - sent_at;
            assert!((500_000..=560_000).contains(&took), "{took}");
        }
        w.network = clear();
        w.run(20_000);
        assert!(w.clients[b].taken.is_empty(), "I4");
        w.send(a, 200, b"healed", b"").unwrap();
        w.run(100);
        assert_eq!(w.payloads(b), [b"healed"], "and the flow goes on");
    }
}

#[test]
fn r5_what_never_left_is_not_started() {
    let mut w = World::new();
    let a = w.client(0, 100, 100, 2);
    w.run(20);
    w.send(a, 777, b"x", b"nobody").unwrap();
    w.run(400);
    assert_eq!(w.clients[a].failed[0].0.verdict, verdict(Reason::NoRoute, NOT_STARTED));
    assert_eq!(w.clients[a].failed[0].0.tries, 0);
}

#[test]
fn r6_a_copy_that_is_older_than_its_interval_is_dropped() {
    let mut w = World::with(&Options { recovery: Recovery::TimerOnly, ..Options::default() });
    let (a, b) = (w.client(0, 100, 100, 1), w.client(1, 200, 100, 1));
    w.run(20);
    w.network = Box::new(|from, datagram| {
        let is_data = frames(datagram).iter().any(|f| matches!(f, Frame::Data(_)));
        Fate::Arrive(vec![if from == 0 && is_data { 100_001 } else { 100 }])
    });
    w.send(a, 200, b"late", b"").unwrap();
    w.run(2000);
    assert!(w.clients[b].taken.is_empty());
    assert_eq!(w.counter(1, Counter::StaleMessagesDropped), 2);
    assert_eq!(w.clients[a].failed.len(), 1);
}

#[test]
fn r6_the_library_judges_once_more() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 100, 1), w.client(1, 200, 100, 1));
    w.run(20);
    w.clients[b].is_stopped = true;
    w.send(a, 200, b"stands in the socket", b"").unwrap();
    w.run(1000);
    assert_eq!(w.clients[a].failed[0].0.verdict.certainty, UNKNOWN);
    w.clients[b].is_stopped = false;
    w.run(100);
    assert!(w.clients[b].taken.is_empty(), "I4");
    assert_eq!(w.counter(1, Counter::StaleDeliveriesDropped), 1);
    w.send(a, 200, b"next", b"").unwrap();
    w.run(100);
    assert_eq!(w.payloads(b), [b"next"]);
}

#[test]
fn r7_the_ack_carries_clientid_and_msgid_and_comes_at_once() {
    let mut w = World::new();
    let (a, _b) = (w.client(0, 100, 100, 1), w.client(1, 200, 100, 1));
    w.run(20);
    let runs = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let seen = runs.clone();
    w.network = Box::new(move |_, datagram| {
        for frame in frames(datagram) {
            if let Frame::Ack(ack) = frame {
                seen.borrow_mut().extend(ack.runs().map(|r| (ack.flow.src.client.0, r.msgid.0, r.count)));
            }
        }
        Fate::Arrive(vec![100])
    });
    for _ in 0..3 {
        w.send(a, 200, b"x", b"").unwrap();
    }
    w.run(1);
    assert_eq!(*runs.borrow(), [(100, 1, 3)]);
    let acked: Vec<u32> = w.clients[a].acked.iter().map(|(msgid, _)| *msgid).collect();
    assert_eq!(acked, [1, 2, 3]);
}

#[test]
fn r8_a_duplicate_is_acknowledged_again_and_handed_over_once() {
    let mut w = World::with(&Options { recovery: Recovery::TimerOnly, ..Options::default() });
    let (a, b) = (w.client(0, 100, 100, 10), w.client(1, 200, 100, 10));
    w.run(20);
    let mut acks = 0;
    w.network = Box::new(move |_, datagram| {
        let has_ack = frames(datagram).iter().any(|f| matches!(f, Frame::Ack(_)));
        acks += u32::from(has_ack);
        if has_ack && acks < 3 { Fate::Drop } else { Fate::Arrive(vec![100, 300]) }
    });
    w.send(a, 200, b"once", b"").unwrap();
    w.run(1000);
    assert_eq!(w.payloads(b), [b"once"]);
    assert_eq!(w.clients[a].acked.len(), 1);
    assert_eq!(w.counter(1, Counter::Duplicates), 2, "two retransmissions");
    assert!(w.counter(1, Counter::ReplayedDatagrams) > 0, "and doubled datagrams do not even come so far");
}

#[test]
fn r9_a_stale_ack_is_dropped() {
    let mut w = World::with(&Options { recovery: Recovery::TimerOnly, ..Options::default() });
    let (a, b) = (w.client(0, 100, 100, 2), w.client(1, 200, 100, 2));
    w.run(20);
    w.network = Box::new(|_, datagram| {
        let has_ack = frames(datagram).iter().any(|f| matches!(f, Frame::Ack(_)));
        Fate::Arrive(vec![if has_ack { 100_500 } else { 100 }])
    });
    w.send(a, 200, b"x", b"").unwrap();
    w.run(1000);
    assert_eq!(w.payloads(b), [b"x"]);
    assert!(w.counter(0, Counter::StaleAcksDropped) >= 2);
    assert_eq!(w.clients[a].failed[0].0.verdict, verdict(Reason::NoAnswer, UNKNOWN));
}

#[test]
fn i5_order_is_kept_under_loss_doubling_and_reordering_and_unordered_waits_for_none() {
    for recovery in [Recovery::Adaptive, Recovery::TimerOnly] {
        let mut w = World::with(&Options { recovery, ..Options::default() });
        let (a, b) = (w.client(0, 100, 50, 20), w.client(1, 200, 50, 20));
        w.run(20);
        let mut random = Random(42);
        w.network = Box::new(move |_, _| {
            if random.next(100) < 20 {
                return Fate::Drop;
            }
            let copies = 1 + usize::from(random.next(100) < 10);
            Fate::Arrive((0..copies).map(|_| 100 + random.next(3_000)).collect())
        });
        let unordered = SendFlags { unordered: true, at_least_once: false };
        for i in 0..400_u32 {
            let flags = if i % 4 == 3 { unordered } else { SendFlags::default() };
            w.send_with(a, 200, &i.to_le_bytes(), b"", flags).unwrap();
            w.run(1);
        }
        w.run(3000);
        let got: Vec<u32> =
            w.payloads(b).iter().map(|p| u32::from_le_bytes(p[..4].try_into().unwrap())).collect();
        let ordered: Vec<u32> = got.iter().copied().filter(|i| i % 4 != 3).collect();
        assert_eq!(ordered, (0..400).filter(|i| i % 4 != 3).collect::<Vec<_>>());
        let mut all = got;
        all.sort_unstable();
        assert_eq!(all, (0..400).collect::<Vec<_>>());
        assert!(w.clients[a].failed.is_empty());
    }
}

#[test]
fn fragments_are_lost_and_resent_alone() {
    for recovery in [Recovery::Adaptive, Recovery::TimerOnly] {
        let mut w = World::with(&Options { recovery, ..Options::default() });
        let (a, b) = (w.client(0, 100, 50, 20), w.client(1, 200, 50, 20));
        w.run(20);
        let message: Vec<u8> = (0..40_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        let sent = std::rc::Rc::new(std::cell::RefCell::new(std::collections::BTreeMap::<u32, u32>::new()));
        let seen = sent.clone();
        w.network = Box::new(move |_, datagram| {
            for frame in frames(datagram) {
                if let Frame::Fragment(f) = frame {
                    let mut seen = seen.borrow_mut();
                    let times = seen.entry(f.offset).or_insert(0);
                    *times += 1;
                    if *times == 1 && (f.offset == 3 * 1024 || f.offset == 39 * 1024) {
                        return Fate::Drop;
                    }
                }
            }
            Fate::Arrive(vec![100])
        });
        w.send(a, 200, &message, b"").unwrap();
        w.send(a, 200, b"", b"").unwrap();
        w.run(500);
        assert_eq!(w.payloads(b), [message, vec![]]);
        let sent = sent.borrow();
        let again: Vec<u32> = sent.iter().filter(|(_, n)| **n > 1).map(|(offset, _)| offset / 1024).collect();
        assert_eq!(again, [3, 39], "{recovery:?}");
    }
}

#[test]
fn a_message_of_a_mebibyte_arrives_and_one_byte_more_is_refused() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 200, 5), w.client(1, 200, 200, 5));
    w.run(20);
    let message: Vec<u8> =
        (0..limits::MAX_MESSAGE_BYTES).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
    w.send(a, 200, &message, b"").unwrap();
    assert_eq!(
        w.send(a, 200, &[&message[..], &[0]].concat(), b""),
        Err(SendError::TooLarge { limit: 1 << 20 })
    );
    assert!(matches!(w.send(a, 200, b"x", &[0; 65]), Err(SendError::UserDataTooLong { limit: 64 })));
    w.run(500);
    assert!(w.payloads(b) == [message]);
}

#[test]
fn half_a_message_expires_by_r6() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 50, 1), w.client(1, 200, 50, 1));
    w.run(20);
    w.network = Box::new(|_, datagram| {
        let is_first = |f: &Frame<'_>| matches!(f, Frame::Fragment(f) if f.offset == 0);
        if frames(datagram).iter().any(is_first) { Fate::Drop } else { Fate::Arrive(vec![100]) }
    });
    w.send(a, 200, &[7; 5000], b"").unwrap();
    w.run(40);
    assert!(w.engines[1].status(w.clock(1)).clients[0].queue_bytes >= 5000);
    w.network = cut();
    w.run(1000);
    assert_eq!(w.engines[1].status(w.clock(1)).clients[0].queue_bytes, 0);
    assert_eq!(w.counter(1, Counter::ReassembliesExpired), 1);
    assert!(w.clients[b].taken.is_empty());
    assert_eq!(w.clients[a].failed.len(), 1);
}

#[test]
fn clocks_that_differ_by_a_day_and_by_signs_do_no_harm() {
    let day = 86_400_000_000;
    for clocks in [[5, 5 + day], [5 + 40 * day, 77], [1, u64::MAX / 2]].map(Vec::from) {
        let mut w = World::with(&Options { clocks, ..Options::default() });
        let (a, b) = (w.client(0, 100, 20, 3), w.client(1, 200, 20, 3));
        w.run(20);
        for i in 0..100_u8 {
            w.send(a, 200, &[i], b"").unwrap();
            w.send(b, 100, &[i], b"").unwrap();
            w.run(5);
        }
        w.run(200);
        assert_eq!((w.clients[a].taken.len(), w.clients[b].taken.len()), (100, 100));
        assert_eq!(w.counter(0, Counter::FutureStamps) + w.counter(1, Counter::StaleMessagesDropped), 0);
    }
}

#[test]
fn i7_a_receiver_that_does_not_read_costs_only_itself() {
    let options = Options { client_queue_bytes: limits::MIN_CLIENT_QUEUE_BYTES, ..Options::default() };
    let mut w = World::with(&options);
    let (a, b, c) = (w.client(0, 100, 100, 100), w.client(1, 200, 100, 100), w.client(1, 201, 100, 100));
    w.run(20);
    w.clients[b].is_stopped = true;
    let big = vec![1; 10_000];
    let mut accepted = 0;
    while w.send(a, 200, &big, b"").is_ok() {
        accepted += 1;
        w.drain();
    }
    assert_eq!(accepted, 2 * limits::MAX_MESSAGE_BYTES / (10_000 + 64), "bytes are bounded at the sender");
    let other = w.client(0, 101, 100, 5);
    for i in 0..50_u8 {
        w.send(other, 201, &[i], b"").unwrap();
        w.send(other, 200, &[i], b"").unwrap();
    }
    w.run(300);
    assert_eq!(w.clients[c].taken.len(), 50);
    let queue = w.engines[1].status(w.clock(1)).clients[0].queue_bytes;
    assert!(queue <= limits::MIN_CLIENT_QUEUE_BYTES as u64, "{queue}");
    w.clients[b].is_stopped = false;
    w.run(2000);
    assert_eq!(w.clients[a].acked.len(), accepted, "a full queue is back-pressure, not a failure");
    assert!(w.payloads(b).iter().filter(|p| p.len() > 1).all(|p| *p == big));
}
