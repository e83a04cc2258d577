//! The control against a path of one narrow place: a rate, a round trip, a queue, random loss.

use std::collections::VecDeque;

use super::*;

const SIZE: usize = 1200;

struct Path {
    /// Bytes a second that pass.
    rate: u64,
    round_trip: Span,
    /// Bytes that wait at most.
    queue: u64,
    loss_percent: u64,
    /// Up to so much more on the way.
    jitter: Span,
}

#[derive(Default, Debug)]
struct Outcome {
    /// Bytes a second that arrived, from the second second on.
    goodput: u64,
    /// The longest wait in the queue, from the second second on.
    longest: Span,
    overflown: u64,
    sent: u64,
}

/// A datagram on its way: when its acknowledgement comes, or when its loss is seen.
struct OnItsWay {
    at: Time,
    is_lost: bool,
    delivered: Delivered,
}

/// Sends as much as it may for `seconds`.
fn run(path: &Path, seconds: u64, c: &mut Congestion) -> Outcome {
    let (mut now, end) = (Time(0), Time(seconds * 1_000_000));
    let mut way: VecDeque<OnItsWay> = VecDeque::new();
    let (mut in_flight, mut narrow_free, mut random) = (0, Time(0), 12_345_u64);
    let mut outcome = Outcome::default();
    let (mut smoothed, mut deviation) = (path.round_trip, path.round_trip.div(2));
    while now < end {
        let is_settled = now >= Time(2_000_000);
        while way.front().is_some_and(|d| d.at <= now) {
            let Some(d) = way.pop_front() else { break };
            in_flight -= SIZE;
            if d.is_lost {
                c.record_lost(SIZE, 1);
            } else {
                let sample = now.since(d.delivered.sent_at);
                deviation = Span((deviation.0 * 3 + smoothed.0.abs_diff(sample.0)) / 4);
                smoothed = Span((smoothed.0 * 7 + sample.0) / 8);
                c.record_acked(SIZE, 1, d.delivered, (smoothed, deviation), in_flight, now);
                outcome.goodput += if is_settled { SIZE as u64 } else { 0 };
            }
        }
        while c.has_room(in_flight, now) {
            c.record_paced(SIZE, now);
            let snapshot = c.record_sent(in_flight, now);
            in_flight += SIZE;
            outcome.sent += 1;
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let waits = narrow_free.since(now);
            let overflows = waits.0 * path.rate / 1_000_000 > path.queue;
            if !overflows {
                narrow_free = narrow_free.max(now) + time_for(SIZE, path.rate);
                if is_settled {
                    outcome.longest = outcome.longest.max(waits);
                }
            }
            outcome.overflown += u64::from(overflows);
            let at = now + waits + path.round_trip + Span((random >> 40) % (path.jitter.0 + 1));
            let is_lost = overflows || (random >> 33) % 100 < path.loss_percent;
            let delivered = Delivered { snapshot, sent_at: now };
            let place = way.partition_point(|d| d.at <= at);
            way.insert(place, OnItsWay { at, is_lost, delivered });
        }
        let next = [way.front().map(|d| d.at), c.timeout()].into_iter().flatten().min();
        // Timers wake up within a millisecond.
        now = next.unwrap_or(end).max(now + Span(100));
        let _is_due = c.handle_timeout(now);
    }
    outcome.goodput /= seconds - 2;
    outcome
}

fn path(rate: u64, round_trip_ms: u64) -> Path {
    let carried = rate * round_trip_ms / 1000;
    Path {
        rate,
        round_trip: Span::from_millis(round_trip_ms),
        queue: 4 * carried + 200_000,
        loss_percent: 0,
        jitter: Span::ZERO,
    }
}

#[test]
fn a_path_is_filled_and_its_queue_is_not() {
    for (rate, round_trip) in [(1_000_000, 20), (10_000_000, 2), (100_000_000, 1), (12_500_000, 50)] {
        let path = path(rate, round_trip);
        let outcome = run(&path, 5, &mut Congestion::new(8 << 20, Time(0)));
        assert!(outcome.goodput > rate / 100 * 85, "{rate}: {outcome:?}");
        let bound = path.round_trip.times(2) + Span::from_millis(20);
        assert!(outcome.longest < bound, "{rate}: {outcome:?}");
    }
}

#[test]
fn random_loss_is_no_congestion() {
    for loss in [1, 5, 20] {
        let path = Path { loss_percent: loss, ..path(20_000_000, 4) };
        let outcome = run(&path, 5, &mut Congestion::new(8 << 20, Time(0)));
        let possible = path.rate / 100 * (100 - loss);
        assert!(outcome.goodput > possible / 100 * 80, "{loss} %: {outcome:?} of {possible}");
    }
}

#[test]
fn jitter_is_no_queue() {
    for loss_percent in [0, 10] {
        let path = Path {
            round_trip: Span(200),
            jitter: Span::from_millis(8),
            loss_percent,
            queue: 1_000_000,
            ..path(50_000_000, 1)
        };
        let outcome = run(&path, 5, &mut Congestion::new(1 << 20, Time(0)));
        assert!(outcome.goodput > path.rate / 100 * 65, "{loss_percent} %: {outcome:?}");
    }
}

#[test]
fn a_short_queue_is_not_flooded() {
    let path = Path { queue: 20_000, ..path(10_000_000, 10) };
    let outcome = run(&path, 10, &mut Congestion::new(8 << 20, Time(0)));
    assert!(outcome.overflown * 10 < outcome.sent, "{outcome:?}");
    assert!(outcome.goodput > path.rate / 100 * 70, "{outcome:?}");
}

#[test]
fn a_path_that_becomes_faster_or_slower_is_noticed() {
    let mut c = Congestion::new(8 << 20, Time(0));
    let slow = run(&path(2_000_000, 10), 5, &mut c);
    c = Congestion { pace_at: Time(0), delivered_at: Time(0), first_sent_at: Time(0), ..c };
    c.least = c.least.map(|(least, _)| (least, Time(0)));
    c.mode = Mode::Cruise { phase: 0, since: Time(0) };
    let fast = run(&path(20_000_000, 10), 10, &mut c);
    assert!(slow.goodput < 2_010_000 && fast.goodput > 12_000_000, "{slow:?} {fast:?}");
}

#[test]
fn what_the_peers_socket_holds_is_never_passed() {
    let path = path(1_000_000_000, 10);
    let mut c = Congestion::new(100_000, Time(0));
    let outcome = run(&path, 3, &mut c);
    assert!(c.window() <= 100_000);
    assert!(outcome.goodput < 12_000_000, "a window each round trip: {outcome:?}");
}

#[test]
fn light_traffic_never_waits() {
    let mut c = Congestion::new(1 << 20, Time(0));
    for n in 0..10_000_u64 {
        let now = Time(n * 500);
        assert!(c.has_room(0, now), "{n}");
        c.record_paced(300, now);
        let snapshot = c.record_sent(0, now);
        c.record_idle(300);
        let sent_at = now;
        let rtt = (Span(200), Span(10));
        c.record_acked(300, 1, Delivered { snapshot, sent_at }, rtt, 0, now + Span(200));
    }
    assert!(matches!(c.mode, Mode::Startup { .. }), "nothing was learnt of the network's limit");
}

#[test]
fn an_outage_begins_it_anew() {
    let mut c = Congestion::new(1 << 20, Time(0));
    run(&path(50_000_000, 2), 3, &mut c);
    c.record_outage(Time(3_000_000));
    assert_eq!(c.window(), INITIAL_WINDOW);
    assert!(c.has_room(0, Time(3_000_000)));
}
