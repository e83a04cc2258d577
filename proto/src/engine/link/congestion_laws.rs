//! The control's laws, one by one: what it measures, and what follows for the rate and the window.

use super::*;

const MS: u64 = 1000;

/// A control that knows its path: this rate, and this round trip.
fn settled(rate: u64, round_trip: Span) -> Congestion {
    let mut c = Congestion::new(100 << 20, Time(0));
    c.bandwidth.record(rate);
    c.least = Some((round_trip, Time(0)));
    c.usual = round_trip;
    c.mode = Mode::Cruise { phase: 2, since: Time(0) };
    c
}

/// A datagram that left with so much delivered, and whose measurement began at those times.
fn delivered(sent_at: u64, delivered: u64, first_sent_at: u64, delivered_at: u64) -> Delivered {
    let snapshot = Snapshot {
        delivered,
        delivered_at: Time(delivered_at),
        first_sent_at: Time(first_sent_at),
        is_limited: false,
    };
    Delivered { snapshot, sent_at: Time(sent_at) }
}

#[test]
fn the_window_is_overshot_by_no_more_than_one_datagram() {
    let mut c = Congestion::new(1 << 20, Time(0));
    assert_eq!(c.window(), INITIAL_WINDOW);
    assert!(c.has_room(INITIAL_WINDOW - 1, Time(0)));
    assert!(!c.has_room(INITIAL_WINDOW, Time(0)));
    assert_eq!(c.timeout(), None, "an acknowledgement makes room, and no timer");
    assert_eq!(Congestion::new(5000, Time(0)).window(), 5000, "the peer's socket holds no more");
}

#[test]
fn datagrams_leave_at_the_rate_but_for_a_burst() {
    let mut c = settled(10_000_000, Span::from_millis(10));
    let now = Time(1_000_000);
    let mut sent = 0_u64;
    // What does not wait for the rate uses none of it up.
    (0..1000).for_each(|_| _ = c.record_sent(1, now));
    while c.has_room(0, now) {
        c.record_paced(1000, now);
        sent += 1;
    }
    // 100 us each; two milliseconds are made up for, and one may leave ahead of its time.
    assert_eq!(sent, (CREDIT.0 + BURST.0) / 100 + 1);
    let at = c.timeout().expect("it waits for its time");
    assert_eq!(at, now + BURST + Span(100));
    assert!(!c.handle_timeout(Time(at.0 - 1)));
    assert_eq!(c.timeout(), Some(at));
    assert!(c.handle_timeout(at));
    assert_eq!(c.timeout(), None);
    assert!(!c.handle_timeout(at), "once");
    assert!(c.has_room(0, Time(at.0 - BURST.0)) && !c.has_room(0, Time(at.0 - BURST.0 - 1)));
}

#[test]
fn each_mode_has_its_rate_and_its_window() {
    let mut c = settled(10_000_000, Span::from_millis(10));
    let (carried, slack) = (100_000, 10_000 + 3 * BATCH);
    let mut of = |mode| {
        c.mode = mode;
        c.window = 50_000;
        c.set_window(1000);
        (c.rate(), c.window())
    };
    let cruise = |phase| Mode::Cruise { phase, since: Time(0) };
    assert_eq!(of(cruise(0)), (12_500_000, 2 * carried + slack));
    assert_eq!(of(cruise(1)), (7_500_000, 2 * carried + slack));
    for phase in 2..8 {
        assert_eq!(of(cruise(phase)), (10_000_000, 2 * carried + slack));
    }
    assert_eq!(of(Mode::Drain), (3_500_000, 2 * carried + slack));
    assert_eq!(of(Mode::ProbeRtt { until: None }), (10_000_000, carried / 2));
    // At the start the window grows by what was acknowledged, and the rate is never below that of the beginning.
    let start = Mode::Startup { best: 0, rounds: 0 };
    assert_eq!(of(start), (INITIAL_RATE, 51_000));
    c.bandwidth.record(100_000_000);
    assert_eq!(c.rate(), 289_000_000);
    (c.usual, c.window) = (Span::from_millis(1), 10 << 20);
    c.set_window(1000);
    assert_eq!(c.window(), 3 * carried + 100_000 + 3 * BATCH, "three times what the path carries, and some");
}

#[test]
fn a_path_of_which_nothing_good_is_known_is_still_used() {
    let mut c = settled(0, Span::from_millis(10));
    assert_eq!(c.rate(), LEAST_RATE);
    c.mode = Mode::ProbeRtt { until: None };
    c.set_window(0);
    assert_eq!(c.window(), LEAST_WINDOW);
    let mut fast = settled(u64::MAX / 1000, Span::from_millis(10));
    fast.set_window(0);
    assert_eq!(fast.window(), 100 << 20, "and never more than the peer's socket holds");
}

#[test]
fn a_rate_is_what_was_delivered_in_the_longer_of_two_times() {
    let rate_of = |d: Delivered, total: u64, now: u64| {
        let mut c = Congestion::new(1 << 20, Time(0));
        c.delivered = total;
        c.record_rate(d, Time(now));
        c.bandwidth.max()
    };
    // 10,000 bytes: sent within 2 ms, acknowledged within 5 ms.
    assert_eq!(rate_of(delivered(7 * MS, 90_000, 5 * MS, 5 * MS), 100_000, 10 * MS), 2_000_000);
    // Sent within 5 ms, acknowledged within 2 ms: acknowledgements that come together say nothing.
    assert_eq!(rate_of(delivered(8 * MS, 90_000, 3 * MS, 8 * MS), 100_000, 10 * MS), 2_000_000);
    assert_eq!(rate_of(delivered(10 * MS, 90_000, 10 * MS, 10 * MS), 100_000, 10 * MS), 0);
}

#[test]
fn a_rate_measured_in_less_than_a_round_trip_says_nothing() {
    for (least, rate) in [(2 * MS, 5_000_000), (2 * MS + 1, 0)] {
        let mut c = Congestion::new(1 << 20, Time(0));
        c.least = Some((Span(least), Time(0)));
        c.delivered = 10_000;
        c.record_rate(delivered(MS, 0, 0, 0), Time(2 * MS));
        assert_eq!(c.bandwidth.max(), rate);
    }
}

#[test]
fn what_clients_did_not_want_to_send_does_not_lower_the_rate() {
    let mut c = Congestion::new(1 << 20, Time(0));
    c.delivered = 10_000;
    let mut sample = delivered(MS, 0, 0, 0);
    sample.snapshot.is_limited = true;
    c.record_rate(sample, Time(2 * MS));
    assert_eq!((c.bandwidth.max(), c.round.has_sample), (5_000_000, false), "more than was known counts");
    c.bandwidth.next_round();
    c.record_rate(sample, Time(4 * MS));
    assert_eq!(c.bandwidth.rounds[c.bandwidth.current], 0, "less says nothing");
    sample.snapshot.is_limited = false;
    c.record_rate(sample, Time(4 * MS));
    assert_eq!((c.bandwidth.rounds[c.bandwidth.current], c.round.has_sample), (2_500_000, true));
}

#[test]
fn what_is_sent_while_nothing_waits_is_marked_until_it_is_delivered() {
    let mut c = Congestion::new(1 << 20, Time(0));
    c.delivered = 5000;
    c.record_idle(INITIAL_WINDOW);
    assert!(!c.record_sent(1, Time(1)).is_limited, "the window was full: that is the network's limit");
    c.record_idle(2000);
    let marked = |c: &mut Congestion| c.record_sent(1, Time(1)).is_limited;
    assert!(marked(&mut c));
    c.delivered = 7000;
    assert!(marked(&mut c));
    c.delivered = 7001;
    assert!(!marked(&mut c));
}

#[test]
fn a_measurement_begins_anew_when_nothing_is_out() {
    let mut c = Congestion::new(1 << 20, Time(0));
    let first = c.record_sent(0, Time(9 * MS));
    assert_eq!((first.first_sent_at, first.delivered_at), (Time(9 * MS), Time(9 * MS)));
    let second = c.record_sent(1000, Time(10 * MS));
    assert_eq!((second.first_sent_at, second.delivered_at), (Time(9 * MS), Time(9 * MS)));
    let rtt = (Span::from_millis(2), Span(0));
    c.record_acked(1000, 1, Delivered { snapshot: first, sent_at: Time(9 * MS) }, rtt, 1000, Time(11 * MS));
    let third = c.record_sent(1000, Time(12 * MS));
    assert_eq!(third.delivered, 1000);
    assert_eq!((third.first_sent_at, third.delivered_at), (Time(9 * MS), Time(11 * MS)));
}

#[test]
fn the_highest_rate_of_ten_rounds_counts() {
    let mut bandwidth = Bandwidth::default();
    bandwidth.record(100);
    bandwidth.record(70);
    for round in 0..10 {
        assert_eq!(bandwidth.max(), 100, "{round}");
        bandwidth.next_round();
        bandwidth.record(50 + round);
    }
    assert_eq!(bandwidth.max(), 59);
}

#[test]
fn the_least_loss_of_eight_rounds_is_random() {
    let mut loss = RandomLoss::default();
    let round = |lost, acked| Round { acked, lost, ..Round::default() };
    for n in 0..8 {
        assert_eq!(loss.permille(), 0, "{n}");
        loss.record(&round(100, 900));
    }
    assert_eq!(loss.permille(), 100);
    loss.record(&round(5, 95));
    assert_eq!(loss.permille(), 50);
    (0..8).for_each(|_| loss.record(&round(1000, 0)));
    assert_eq!(loss.permille(), 300, "no more than that is believed");
    loss.record(&round(0, 0));
    assert_eq!(loss.permille(), 0);
}

#[test]
fn what_is_lost_at_random_has_used_the_rate_too() {
    let mut c = Congestion::new(1 << 20, Time(0));
    (0..8).for_each(|_| c.random_loss.record(&Round { acked: 800, lost: 200, ..Round::default() }));
    c.delivered = 8000;
    c.record_rate(delivered(MS, 0, 0, 0), Time(MS));
    assert_eq!(c.bandwidth.max(), 10_000_000);
}

#[test]
fn a_round_with_few_datagrams_says_nothing_of_loss() {
    let full = |c: &Congestion| c.random_loss.current;
    let mut c = Congestion::new(1 << 20, Time(0));
    c.round = Round { acked: 1000, lost: 100, datagrams: ROUND_DATAGRAMS - 1, has_sample: true };
    c.end_round();
    assert_eq!((full(&c), c.round.datagrams), (0, ROUND_DATAGRAMS - 1), "the next ones are added");
    c.record_lost(100, 1);
    c.delivered = 77;
    c.end_round();
    assert_eq!((full(&c), c.round.datagrams, c.round_end), (1, 0, 77));
    assert_eq!(c.random_loss.permille[0], 166);
    // Where nothing was lost, the round ends however few there were.
    c.round = Round { acked: 1000, lost: 0, datagrams: 1, has_sample: true };
    c.end_round();
    assert_eq!((full(&c), c.round.datagrams), (1, 0));
}

#[test]
fn the_start_ends_with_three_rounds_without_a_quarter_more() {
    let mut c = Congestion::new(1 << 20, Time(0));
    let mut round = |rate: u64, has_sample: bool| {
        c.bandwidth.record(rate);
        c.round.has_sample = has_sample;
        c.end_round();
        c.mode
    };
    let start = |best, rounds| Mode::Startup { best, rounds };
    assert_eq!(round(1000, true), start(1000, 0));
    assert_eq!(round(1250, true), start(1250, 0));
    assert_eq!(round(1500, true), start(1250, 1));
    assert_eq!(round(1500, false), start(1250, 1), "clients did not want more");
    assert_eq!(round(1559, true), start(1250, 2));
    assert_eq!(round(1560, true), start(1560, 0));
    for rounds in 1..3 {
        assert_eq!(round(0, true), start(1560, rounds));
    }
    assert_eq!(round(0, true), Mode::Drain);
}

#[test]
fn a_queue_is_told_from_jitter() {
    let usual = |smoothed: u64, deviation: u64| {
        let mut c = Congestion::new(1 << 20, Time(0));
        c.least = Some((Span(1000), Time(0)));
        c.record_round_trip(Span(5000), (Span(smoothed), Span(deviation)), Time(7));
        assert_eq!(c.least, Some((Span(1000), Time(0))), "a longer one is not the least");
        c.usual.0
    };
    assert_eq!(usual(3000, 10), 1040, "it is longer, and does not vary: a queue");
    assert_eq!(usual(3000, 600), 3000, "it varies");
    assert_eq!(usual(500, 600), 1000);
    let mut c = Congestion::new(1 << 20, Time(0));
    for (sample, at) in [(900, 1), (900, 2), (800, 3), (0, 4)] {
        c.record_round_trip(Span(sample), (Span(900), Span(0)), Time(at));
        assert_eq!(c.least, Some((Span(sample.max(1)), Time(at))));
    }
}

/// Which mode follows, with so much out, at a time.
fn steered(mode: Mode, in_flight: usize, now: u64) -> Mode {
    let mut c = settled(10_000_000, Span::from_millis(10));
    (c.mode, c.window) = (mode, 60_000);
    c.steer(in_flight, Time(now));
    c.mode
}

#[test]
fn the_modes_follow_one_another() {
    let cruise = |phase, since| Mode::Cruise { phase, since: Time(since) };
    // What the start has piled up goes down to what the path carries.
    assert_eq!(steered(Mode::Drain, 100_001, 50), Mode::Drain);
    assert_eq!(steered(Mode::Drain, 100_000, 50), cruise(2, 50));
    // A phase lasts a round trip; the one that drains ends once that is done.
    assert_eq!(steered(cruise(0, 5), 0, 10 * MS + 4), cruise(0, 5));
    assert_eq!(steered(cruise(0, 5), 0, 10 * MS + 5), cruise(1, 10 * MS + 5));
    assert_eq!(steered(cruise(1, 5), 100_001, MS), cruise(1, 5));
    assert_eq!(steered(cruise(1, 5), 100_000, MS), cruise(2, MS));
    assert_eq!(steered(cruise(7, 5), 100_001, 20 * MS), cruise(0, 20 * MS));
    // The bare round trip is measured while little is out, for two of it and no shorter than 20 ms.
    let bare = |until: Option<u64>| Mode::ProbeRtt { until: until.map(Time) };
    assert_eq!(steered(bare(None), 60_001, 7), bare(None));
    assert_eq!(steered(bare(None), 60_000, 7), bare(Some(20 * MS + 7)));
    assert_eq!(steered(bare(Some(99)), 0, 98), bare(Some(99)));
    assert_eq!(steered(bare(Some(99)), 0, 99), cruise(2, 99));
    let mut long = settled(10_000_000, Span::from_millis(15));
    long.mode = bare(None);
    long.steer(0, Time(0));
    assert_eq!(long.mode, bare(Some(30 * MS)));
    // On a short path, wake-ups are no finer.
    let mut short = settled(10_000_000, Span(50));
    short.mode = cruise(2, 0);
    short.steer(0, Time(LEAST_PHASE.0 - 1));
    assert_eq!(short.mode, cruise(2, 0));
    short.steer(0, Time(LEAST_PHASE.0));
    assert_eq!(short.mode, cruise(3, LEAST_PHASE.0));
}

#[test]
fn the_round_trip_is_measured_anew_after_10_s() {
    let start = Mode::Startup { best: 0, rounds: 0 };
    for (mode, next) in [(Mode::Drain, Mode::ProbeRtt { until: None }), (start, start)] {
        let mut c = settled(10_000_000, Span::from_millis(10));
        c.mode = mode;
        c.steer(1 << 20, Time(10_000 * MS));
        assert_eq!((c.mode, c.least), (mode, Some((Span::from_millis(10), Time(0)))));
        c.steer(1 << 20, Time(10_000 * MS + 1));
        assert_eq!((c.mode, c.least), (next, Some((Span::from_millis(40), Time(10_000 * MS + 1)))));
    }
}

#[test]
fn an_outage_forgets_the_path_and_not_what_is_out() {
    let mut c = settled(10_000_000, Span::from_millis(10));
    c.delivered = 5000;
    let out = c.record_sent(1, Time(MS));
    c.record_outage(Time(9 * MS));
    assert_eq!((c.bandwidth.max(), c.window(), c.rate()), (0, INITIAL_WINDOW, INITIAL_RATE));
    assert!(c.record_sent(1, Time(9 * MS)).is_limited, "what was delivered by then says nothing");
    let rtt = (Span::from_millis(9), Span(0));
    c.record_acked(1000, 1, Delivered { snapshot: out, sent_at: Time(MS) }, rtt, 0, Time(10 * MS));
    assert_eq!(c.delivered, 6000);
}

#[test]
fn a_round_ends_once_what_was_out_at_its_beginning_is_delivered() {
    let mut c = Congestion::new(1 << 20, Time(0));
    let rtt = (Span::from_millis(1), Span(0));
    let mut acked = |snapshot_delivered: u64, now: u64| {
        let d = delivered(now - MS, snapshot_delivered, now - MS, now - MS);
        c.record_acked(1000, 2, d, rtt, 0, Time(now));
        (c.round_end, c.round.datagrams, c.round.acked)
    };
    assert_eq!(acked(0, 2 * MS), (1000, 0, 0), "the first");
    assert_eq!(acked(999, 3 * MS), (1000, 2, 1000), "it left before the round began");
    assert_eq!(acked(999, 4 * MS), (1000, 4, 2000));
    assert_eq!(acked(1000, 5 * MS), (4000, 0, 0));
}
