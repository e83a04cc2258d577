//! What waits at the receiver: for its other fragments, for what comes before it, for a process that stands still.

use msg_proto::{
    control::Register,
    counters::Counter,
    engine::Recovery,
    ids::{MsgId, Seq},
    limits,
    local::{DaemonFrame, Submit, put},
    units::Span,
    wire::Frame,
};

use super::{
    by_hand::{self, ByHand, register, submit},
    frames,
    world::{Fate, Options, Random, World, clear, cut},
};

#[test]
fn r6_what_waits_at_the_receiver_is_there_when_the_next_copy_refreshes_it() {
    let mut w = World::with(&Options { recovery: Recovery::TimerOnly, ..Options::default() });
    let (a, b) = (w.client(0, 100, 200, 3), w.client(1, 200, 200, 3));
    w.run(20);
    let mut count = 0;
    w.network = Box::new(move |from, datagram| {
        let carries = |f: &Frame<'_>| matches!(f, Frame::Data(_) | Frame::Fragment(_));
        let has_message = from == 0 && frames(datagram).iter().any(carries);
        count += usize::from(has_message);
        // The first message is lost once, and one fragment of the second.
        if has_message && [1, 3].contains(&count) { Fate::Drop } else { Fate::Arrive(vec![100]) }
    });
    // Scans come every 100 ms from here on, 1 ms before anything below is due.
    w.send(a, 999, b"nobody", b"").unwrap();
    w.run(1);
    let large: Vec<u8> = (0..8 * 1024_u32).map(|i| i.to_le_bytes()[0]).collect();
    for payload in [&[7; 1000], &large[..], &[8; 1000]] {
        w.send(a, 200, payload, b"").unwrap();
    }
    w.run(298);
    assert!(w.clients[b].taken.is_empty());
    w.run(2);
    assert!(w.payloads(b) == [vec![7; 1000], large, vec![8; 1000]], "with one retransmission");
    assert_eq!(w.counter(1, Counter::StaleMessagesDropped) + w.counter(1, Counter::ReassembliesExpired), 0);
}

#[test]
fn i7_a_queue_full_of_what_waits_has_room_for_what_it_waits_for() {
    let options = Options { client_queue_bytes: limits::MIN_CLIENT_QUEUE_BYTES, ..Options::default() };
    let mut w = World::with(&options);
    let senders = [100, 101].map(|id| w.client(0, id, 200, 20));
    let b = w.client(1, 200, 200, 20);
    w.run(20);
    w.network = Box::new(|_, datagram| {
        let is_first = |f: &Frame<'_>| matches!(f, Frame::Fragment(fragment) if fragment.msgid.0 == 1);
        if frames(datagram).iter().any(is_first) { Fate::Drop } else { Fate::Arrive(vec![100]) }
    });
    for sender in senders {
        for _ in 0..400 {
            w.send(sender, 200, &[1; 4000], b"").unwrap();
        }
    }
    w.run(1000);
    assert!(w.clients[b].taken.is_empty() && w.counter(1, Counter::QueueFullRefusals) > 0);
    w.network = clear();
    w.run(2000);
    for sender in senders {
        assert_eq!((w.clients[sender].acked.len(), w.clients[sender].failed.len()), (400, 0));
    }
}

#[test]
fn i7_a_process_that_stood_still_with_a_full_window_is_given_all_of_it_again() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 200, 20), w.client(1, 200, 200, 20));
    w.run(20);
    w.clients[b].is_stopped = true;
    for _ in 0..300 {
        w.send(a, 200, &[1; 4000], b"").unwrap();
    }
    w.run(1000);
    w.clients[b].is_stopped = false;
    w.run(1000);
    assert_eq!((w.clients[a].acked.len(), w.clients[a].failed.len()), (300, 0));
    assert!(w.counter(1, Counter::StaleDeliveriesDropped) > 0, "what its window held had gone stale");
}

#[test]
fn what_went_stale_behind_a_missing_one_is_refreshed_ahead_of_the_timer() {
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 200, 20), w.client(1, 200, 200, 20));
    w.run(20);
    w.network = Box::new(|_, datagram| {
        let is_first = |f: &Frame<'_>| matches!(f, Frame::Fragment(fragment) if fragment.msgid.0 == 1);
        if frames(datagram).iter().any(is_first) { Fate::Drop } else { Fate::Arrive(vec![100]) }
    });
    for _ in 0..300 {
        w.send(a, 200, &[1; 4000], b"").unwrap();
    }
    w.run(1000);
    assert!(w.clients[b].taken.is_empty());
    let mut random = Random(3);
    w.network =
        Box::new(
            move |_, _| {
                if random.next(10) == 0 { Fate::Drop } else { Fate::Arrive(vec![100 + random.next(4000)]) }
            },
        );
    // One scan, whatever of it is lost: not one scan for each stretch between two losses.
    w.run(400);
    assert_eq!(w.clients[b].taken.len(), 300);
}

#[test]
fn i4_what_a_library_gave_up_while_its_daemon_stood_still_is_not_sent_again() {
    for to in [0, 1] {
        let mut w = World::new();
        let (a, b) = (w.client(0, 100, 200, 3), w.client(to, 200, 200, 3));
        w.run(20);
        w.network = cut();
        w.clients[b].is_stopped = true;
        w.send(a, 200, b"x", b"").unwrap();
        w.run(10);
        // All that the library waits: 4.5 intervals and 10 ms, and while a daemon hangs half of one and 500 ms more.
        // For the daemon, the time in which it did not run has not passed.
        w.now += 1_510_000;
        (w.network, w.clients[b].is_stopped) = (clear(), false);
        w.run(2_000);
        assert_eq!(w.payloads(b).len(), 0, "to node {to}");
        assert_eq!(w.clients[a].failed.len(), 1);
    }
}

#[test]
fn i7_what_a_library_gave_up_while_its_daemon_stood_still_takes_no_room() {
    let mut w = ByHand::new();
    let conn = w.client(7, &Register { max_stored: 2, ..register(100) });
    let begin = w.now;
    // The sequence goes on: as far as it may from what the library has.
    let later = |n: u32, ahead: u32| Submit { seq: Seq(n + ahead), ..submit(200, n, begin, b"x") };
    w.say(conn, |out| (1..=2).for_each(|n| put::submit(out, &submit(200, n, begin, b"x"))));
    w.now = w.now + Span::from_millis(60_000);
    w.say(conn, |out| {
        put::given_up(out, MsgId(2));
        put::submit(out, &later(3, limits::SEQ_SPAN - 1));
    });
    let bytes = w.hear(conn);
    let said = by_hand::frames(&bytes);
    assert!(!said.iter().any(|f| matches!(f, DaemonFrame::Failed(_))), "{said:?}");
    assert_eq!(w.engine.counters().value(Counter::FailedNotStarted), 2);
    assert_eq!(w.engine.chain_depth(), 1, "the third one has all its time");
}

#[test]
fn who_finds_the_window_full_has_its_turn_when_there_is_room() {
    let mut w = World::new();
    let (hog, other) = (w.client(0, 100, 1000, 5), w.client(0, 101, 1000, 5));
    let receiver = w.client(1, 200, 1000, 5);
    w.run(50);
    w.clients[receiver].is_stopped = true;
    for _ in 0..600 {
        w.send(hog, 200, &[1; 1000], b"").unwrap();
    }
    w.run(100);
    w.send(other, 200, &[2; 1000], b"").unwrap();
    w.run(100);
    assert!(w.payloads(receiver).is_empty());
    w.clients[receiver].is_stopped = false;
    w.run(10);
    assert_eq!(w.clients[other].acked.len(), 1, "it does not wait for its next copy");
}
