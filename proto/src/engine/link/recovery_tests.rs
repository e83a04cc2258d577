//! When datagrams are lost, and what is made of it.

use super::*;
use crate::{
    ids::{DatagramNumber, SessionId},
    wire::{DatagramBuilder, Frame, Frames, HEADER_BYTES, Header, Kind, VERSIONS},
};

fn recovery(datagrams: u32) -> Recovery {
    let mut r = Recovery::new(1 << 20, 1200, Time(0));
    for n in 0..datagrams {
        r.sent.push_item(Item::Control { seq: n });
        r.record_sent(u64::from(n), Time(u64::from(n) * 100), 1000);
    }
    r
}

fn ack(r: &mut Recovery, ranges: &[(u64, u64)], now: u64) -> (Vec<u32>, Vec<u32>) {
    let fates = fates_of(r, ranges, now);
    (seqs(&fates.acked), seqs(&fates.lost))
}

fn fates_of(r: &mut Recovery, ranges: &[(u64, u64)], now: u64) -> Fates {
    let mut bytes = Vec::new();
    let header = Header {
        version: 1,
        kind: Kind::Frames,
        speaks: VERSIONS,
        session: SessionId(1),
        number: DatagramNumber(0),
    };
    let mut b = DatagramBuilder::new(&mut bytes, header, 1200);
    assert!(b.put_link_ack(Span(0), 0, ranges.iter().copied()));
    let _len = b.finish();
    let mut fates = Fates::default();
    for frame in Frames::new(Kind::Frames, &bytes[HEADER_BYTES..]) {
        if let Ok(Frame::LinkAck(ack)) = frame {
            r.handle_ack(&ack, Time(now), &mut fates);
        }
    }
    fates
}

fn seqs(items: &[Item]) -> Vec<u32> {
    items.iter().filter_map(|i| if let Item::Control { seq } = i { Some(*seq) } else { None }).collect()
}

#[test]
fn three_later_ones_make_a_loss() {
    let mut r = recovery(6);
    assert_eq!(ack(&mut r, &[(0, 0),], 1000), (vec![0], vec![]));
    assert_eq!(ack(&mut r, &[(3, 3), (0, 0)], 1100), (vec![3], vec![]));
    assert_eq!(ack(&mut r, &[(3, 4), (0, 0)], 1100), (vec![4], vec![1]));
    assert!(r.timeout().is_some());
    assert_eq!(r.sent.in_flight(), 2000);
}

#[test]
fn time_makes_a_loss_too() {
    let mut r = recovery(2);
    assert_eq!(ack(&mut r, &[(1, 1)], 2000), (vec![1], vec![]));
    let at = r.timeout().unwrap();
    let mut fates = Fates::default();
    r.handle_timeout(Time(at.0 - 1), &mut fates);
    assert!(fates.lost.is_empty());
    r.handle_timeout(at, &mut fates);
    assert_eq!(seqs(&fates.lost), [0]);
    assert_eq!(r.timeout(), None);
}

#[test]
fn where_the_network_reorders_only_time_makes_a_loss() {
    let mut r = recovery(12);
    assert_eq!(ack(&mut r, &[(3, 3)], 2000), (vec![3], vec![0]));
    assert_eq!(ack(&mut r, &[(0, 0)], 2500).0, [0_u32; 0], "it was held lost, and has come");
    assert_eq!(ack(&mut r, &[(11, 11)], 2600).1, [0_u32; 0], "eight later ones do not make a loss any more");
    let mut fates = Fates::default();
    r.handle_timeout(r.timeout().unwrap(), &mut fates);
    assert_eq!(seqs(&fates.lost)[0], 1, "time does");
}

#[test]
fn what_was_learnt_of_reordering_fades() {
    let mut r = recovery(12);
    ack(&mut r, &[(3, 3)], 30_000);
    ack(&mut r, &[(0, 0)], 90_000);
    let window = r.reordering.window;
    assert!(window > GRANULARITY, "{window:?}");
    let after = |n: u64| 90_000 + n * (REORDERING_MEMORY.0 + 1);
    ack(&mut r, &[(11, 11)], after(1) - 1);
    assert_eq!(r.reordering.window, window, "not yet");
    ack(&mut r, &[(11, 11)], after(1));
    assert_eq!(r.reordering.window, window.div(2));
    for n in 2..30 {
        ack(&mut r, &[(11, 11)], after(n));
    }
    assert_eq!(r.reordering.window, Span::ZERO);
}

#[test]
fn every_probe_counts() {
    let mut r = recovery(9);
    let mut fates = Fates::default();
    for n in 1..=3 {
        r.handle_timeout(r.timeout().unwrap(), &mut fates);
        assert_eq!((fates.probes, r.probes), (u64::from(n), n));
    }
}

#[test]
fn silence_makes_a_probe_and_backs_off() {
    let mut r = recovery(5);
    let first = r.timeout().unwrap();
    let mut fates = Fates::default();
    r.handle_timeout(first, &mut fates);
    assert_eq!(seqs(&fates.lost), [0, 1]);
    let second = r.timeout().unwrap();
    assert!(second.since(first) >= first.since(Time(400)).times(2));
    assert_eq!(ack(&mut r, &[(4, 4)], second.0), (vec![4], vec![]));
    assert_eq!(r.sent.in_flight(), 2000, "2 and 3 wait for the time threshold");
}

#[test]
fn an_ack_of_what_was_never_sent_is_ignored() {
    let mut r = recovery(2);
    assert_eq!(ack(&mut r, &[(0, 5)], 100), (vec![], vec![]));
    assert_eq!(r.sent.in_flight(), 2000);
}

fn rtt(r: &Recovery) -> (u64, u64) {
    let (smoothed, deviation) = r.rtt().expect("a sample");
    (smoothed.0, deviation.0)
}

#[test]
fn the_round_trip_is_estimated_as_rfc_9002_does() {
    let mut r = recovery(0);
    assert_eq!(r.rtt(), None);
    r.record_rtt(Span(8000), Span(5000));
    assert_eq!(rtt(&r), (8000, 4000), "the first counts as it is");
    r.record_rtt(Span(16_000), Span::ZERO);
    assert_eq!(rtt(&r), (9000, 5000));
    // The peer says how long it held the acknowledgement back; the estimate never goes below what was seen.
    r.record_rtt(Span(12_000), Span(3000));
    assert_eq!(rtt(&r), (9000, 3750));
    r.record_rtt(Span(10_000), Span(9000));
    assert_eq!(rtt(&r), (8875, 3062));
    r.record_rtt(Span(4000), Span(100));
    assert_eq!(rtt(&r), (8265, 3515), "nothing is taken off a new least");
    r.record_rtt(Span(0), Span::ZERO);
    assert!(r.rtt.is_some_and(|r| r.least == Span(1)), "no round trip takes no time");
}

#[test]
fn only_the_largest_of_an_acknowledgement_is_a_sample() {
    let mut r = recovery(3);
    ack(&mut r, &[(0, 1)], 1000);
    assert_eq!(rtt(&r), (900, 450));
    ack(&mut r, &[(0, 1)], 9000);
    assert_eq!(rtt(&r), (900, 450), "it was known");
}

#[test]
fn a_datagram_that_wants_no_answer_is_not_waited_for() {
    let mut r = recovery(0);
    r.record_sent(0, Time(500), 0);
    assert_eq!((r.timeout(), r.sent.in_flight()), (None, 0));
    r.record_sent(1, Time(1000), 700);
    let at = r.timeout().expect("it is waited for");
    r.record_sent(2, Time(5000), 0);
    assert_eq!(r.timeout(), Some(at), "what wants no answer puts nothing off");
    // What left before it says nothing of the round trip.
    assert_eq!(ack(&mut r, &[(0, 2)], 9000), (vec![], vec![]));
    assert_eq!((r.rtt(), r.timeout(), r.sent.in_flight()), (None, None, 0));
}

#[test]
fn a_probe_comes_after_the_round_trip_four_deviations_and_the_peers_delay() {
    let mut r = recovery(1);
    assert_eq!(r.timeout(), Some(Time(0) + INITIAL_RTT + INITIAL_RTT.times(2) + MAX_ACK_DELAY));
    r.record_rtt(Span(8000), Span::ZERO);
    assert_eq!(r.timeout(), Some(Time(8000 + 16_000) + MAX_ACK_DELAY));
    for _ in 0..100 {
        r.record_rtt(Span(8000), Span::ZERO);
    }
    assert_eq!(r.timeout(), Some(Time(8000) + GRANULARITY + MAX_ACK_DELAY), "timers are no finer");
}

#[test]
fn probes_back_off_up_to_64_times() {
    let mut r = recovery(0);
    let first = r.probe_timeout();
    for (probes, times) in [(1, 2), (2, 4), (6, 64), (7, 64), (40, 64)] {
        r.probes = probes;
        assert_eq!(r.probe_timeout(), first.times(times));
    }
}

#[test]
fn what_later_ones_overtook_is_lost_after_nine_eighths_of_a_round_trip() {
    for (smoothed, latest) in [(8000, 8000), (2000, 8000), (8000, 2000)] {
        let mut r = recovery(1);
        r.record_sent(1, Time(0), 1000);
        let (least, deviation) = (Span(1), Span(1));
        ack(&mut r, &[(1, 1)], 300);
        r.rtt = Some(Rtt { smoothed: Span(smoothed), deviation, least, latest: Span(latest) });
        let mut fates = Fates::default();
        r.detect_lost(Time(8999), &mut fates);
        assert_eq!((seqs(&fates.lost), r.timeout()), (vec![], Some(Time(9000))));
        r.detect_lost(Time(9000), &mut fates);
        assert_eq!((seqs(&fates.lost), fates.datagrams_lost), (vec![0], 1));
    }
}

#[test]
fn losses_are_told_by_size() {
    let mut r = Recovery::new(1 << 20, 1200, Time(0));
    for (n, size) in [1200, 1201, 1200, 9000, 1201, 1000, 1000, 1000].into_iter().enumerate() {
        r.record_sent(n as u64, Time(0), size);
    }
    let fates = fates_of(&mut r, &[(7, 7), (0, 1)], 100);
    assert_eq!((fates.small_acked, fates.large_acked), (2, 1));
    assert_eq!((fates.large_lost, fates.datagrams_lost), (2, 3), "2, 3 and 4");
}

#[test]
fn a_lost_probe_of_the_size_is_no_congestion_and_no_black_hole() {
    let mut r = Recovery::new(1 << 20, 1200, Time(0));
    r.sent.push_item(Item::MtuProbe { path: 0, size: 9000 });
    r.record_sent(0, Time(0), 9000);
    let mut fates = Fates::default();
    r.handle_timeout(r.timeout().unwrap(), &mut fates);
    assert_eq!((fates.lost.len(), fates.datagrams_lost, fates.large_lost), (1, 1, 0));
    assert_eq!((fates.probes, r.probes), (1, 0), "nothing is known but that the path does not carry it");
    // With something else beside it, it is a probe like others.
    r.sent.push_item(Item::MtuProbe { path: 0, size: 9000 });
    r.record_sent(1, Time(1_000_000), 9000);
    r.sent.push_item(Item::Control { seq: 7 });
    r.record_sent(2, Time(1_000_000), 100);
    r.handle_timeout(r.timeout().unwrap(), &mut fates);
    assert_eq!((seqs(&fates.lost), r.probes), (vec![7], 1));
}

#[test]
fn through_several_probes_without_an_answer_it_becomes_careful_and_gives_up() {
    let mut r = recovery(20);
    let mut fates = Fates::default();
    for probes in 1..OUTAGE_PROBES {
        r.handle_timeout(r.timeout().unwrap(), &mut fates);
        assert_eq!(r.is_cautious(), probes >= CAUTIOUS_PROBES);
        assert_eq!(fates.lost.len(), PROBED_DATAGRAMS * probes as usize);
    }
    r.handle_timeout(r.timeout().unwrap(), &mut fates);
    assert_eq!((fates.lost.len(), r.sent.in_flight(), r.timeout()), (20, 0, None), "all goes out again");
    r.record_sent(20, Time(100_000_000), 100);
    r.handle_timeout(Time(200_000_000), &mut fates);
    assert!(r.is_cautious());
    r.record_sent(21, Time(200_000_000), 100);
    ack(&mut r, &[(21, 21)], 200_000_100);
    assert!(!r.is_cautious(), "an answer, and all is as before");
}

#[test]
fn what_was_wrongly_held_lost_widens_what_is_waited_for() {
    let window = |late: u64, smoothed: u64, least: u64| {
        let mut r = recovery(0);
        let (smoothed, least) = (Span(smoothed), Span(least));
        r.rtt = Some(Rtt { smoothed, deviation: Span(1), least, latest: smoothed });
        r.reordering.remember(5, Time(1000));
        r.record_spurious(6, 9, Time(1000 + late));
        assert_eq!(r.reordering.window, Span::ZERO, "another one's");
        r.record_spurious(5, 5, Time(1000 + late));
        assert!(r.reordering.lost.is_empty());
        r.reordering.window.0
    };
    assert_eq!(window(1500, 1000, 800), 700, "as much later than the fastest");
    assert_eq!(window(9000, 1000, 800), 1000, "up to a round trip more");
    assert_eq!(window(810, 1000, 800), GRANULARITY.0);
    assert_eq!(window(900, 10, 800), GRANULARITY.0);
}

#[test]
fn so_many_losses_are_remembered_and_no_more() {
    let mut reordering = Reordering::default();
    for n in 0..=REMEMBERED_LOSSES as u64 {
        reordering.remember(n, Time(n));
    }
    assert_eq!(reordering.lost.len(), REMEMBERED_LOSSES);
    assert_eq!(reordering.lost.front(), Some(&(1, Time(1))));
}

#[test]
fn a_peer_with_a_small_socket_still_gets_a_little() {
    assert_eq!(Recovery::new(0, 1200, Time(0)).congestion.window(), MIN_WINDOW);
    let mut r = Recovery::new(usize::MAX, 1200, Time(0));
    r.record_sent(0, Time(0), MIN_WINDOW - 1);
    assert!(r.has_room(Time(1_000_000)));
    r.record_sent(1, Time(0), 1);
    assert!(!r.has_room(Time(1_000_000)));
}

#[test]
fn a_probe_counts_also_where_nothing_goes_out_again() {
    let mut r = recovery(0);
    r.record_sent(0, Time(0), 100);
    let mut fates = Fates::default();
    r.handle_timeout(r.timeout().unwrap(), &mut fates);
    assert_eq!((fates.lost.len(), fates.datagrams_lost, r.probes), (0, 1, 1));
}

#[test]
fn the_rate_is_measured_by_the_last_datagram_that_came() {
    let mut r = Recovery::new(1 << 20, 1200, Time(0));
    r.record_sent(0, Time(0), 100_000);
    r.record_sent(1, Time(0), 100_000);
    ack(&mut r, &[(0, 0)], 1000);
    let one = r.congestion.rate();
    // Of the two that come at once, the first has waited for longer than what was delivered meanwhile took.
    r.record_sent(2, Time(1000), 100_000);
    ack(&mut r, &[(0, 2)], 2000);
    assert_eq!(r.congestion.rate(), 2 * one);
}

#[test]
fn what_is_sent_now_and_then_does_not_make_a_link_slow() {
    let mut r = Recovery::new(1 << 20, 1200, Time(0));
    r.record_sent(0, Time(0), 100_000);
    ack(&mut r, &[(0, 0)], 1000);
    let rate = r.congestion.rate();
    for n in 1..50 {
        r.record_idle();
        r.record_sent(n, Time(n * 100_000), 100);
        ack(&mut r, &[(n, n)], n * 100_000 + 1000);
    }
    assert_eq!(r.congestion.rate(), rate);
}

#[test]
fn what_asks_for_no_acknowledgement_measures_no_round_trip() {
    for (bytes, is_measured) in [(0, false), (1, true)] {
        let mut r = recovery(1);
        r.record_sent(1, Time(100), bytes);
        ack(&mut r, &[(0, 1)], 1000);
        assert_eq!(r.rtt().is_some(), is_measured);
    }
}
