//! When a datagram is lost (RFC 9002): round-trip estimate, packet and time threshold, probe time-out.

use std::collections::VecDeque;

use super::{
    congestion::{Congestion, Delivered, Snapshot},
    received::MAX_ACK_DELAY,
    redundancy::Redundancy,
    sent::{Item, Sent},
};
use crate::{
    units::{Span, Time},
    wire::LinkAck,
};

/// Loss detection of one association.
#[derive(Debug)]
pub(crate) struct Recovery {
    pub(crate) sent: Sent,
    rtt: Option<Rtt>,
    largest_acked: Option<u64>,
    /// When the oldest datagram that later ones overtook counts as lost (RFC 9002, section 6.1.2).
    loss_at: Option<Time>,
    /// When the last datagram that wants an acknowledgement left.
    last_sent: Option<Time>,
    probes: u32,
    pub(crate) congestion: Congestion,
    pub(crate) redundancy: Redundancy,
    reordering: Reordering,
    /// Datagrams up to this size are carried by every path.
    small: usize,
}

/// How far the network reorders, learnt from datagrams that were held lost and then acknowledged (as RFC 9002, section
/// 6.1 allows, and RFC 8985, section 3.3.2 does it for TCP).
#[derive(Debug, Default)]
struct Reordering {
    /// Datagrams lately held lost, and when they had left.
    lost: VecDeque<(u64, Time)>,
    /// More than this late, beyond the round trip, is lost.
    window: Span,
    /// When the window last grew, or shrank.
    changed_at: Time,
}

impl Reordering {
    /// A datagram that others overtook is held lost.
    fn remember(&mut self, number: u64, at: Time) {
        if self.lost.len() >= REMEMBERED_LOSSES {
            self.lost.pop_front();
        }
        self.lost.push_back((number, at));
    }
}

/// The round-trip estimate (RFC 9002, section 5).
#[derive(Clone, Copy, Debug)]
struct Rtt {
    smoothed: Span,
    deviation: Span,
    least: Span,
    latest: Span,
}

/// What became of datagrams: what they carried.
#[derive(Debug, Default)]
pub(crate) struct Fates {
    pub(crate) acked: Vec<Item>,
    pub(crate) lost: Vec<Item>,
    pub(crate) datagrams_lost: u64,
    pub(crate) probes: u64,
    /// Datagrams of a size that every path carries, and larger ones; probes of the size do not count.
    pub(crate) small_acked: u32,
    pub(crate) large_acked: u32,
    pub(crate) large_lost: u32,
}

impl Recovery {
    pub(crate) fn new(peer_window: usize, small: usize, now: Time) -> Self {
        Self {
            sent: Sent::default(),
            rtt: None,
            largest_acked: None,
            loss_at: None,
            last_sent: None,
            probes: 0,
            congestion: Congestion::new((peer_window / 4).max(MIN_WINDOW), now),
            redundancy: Redundancy::default(),
            reordering: Reordering::default(),
            small,
        }
    }

    /// A datagram has left; 0 bytes: one that wants no acknowledgement.
    pub(crate) fn record_sent(&mut self, number: u64, now: Time, bytes: usize) {
        let snapshot = match bytes {
            0 => Snapshot::default(),
            _ => self.congestion.record_sent(self.sent.in_flight(), now),
        };
        self.sent.record(number, now, bytes, snapshot);
        if bytes > 0 {
            self.last_sent = Some(now);
        }
    }

    /// It carries messages, which leave at the link's rate.
    pub(crate) fn record_paced(&mut self, now: Time, bytes: usize) {
        self.congestion.record_paced(bytes, now);
    }

    /// Whether the link takes one datagram more.
    pub(crate) fn has_room(&mut self, now: Time) -> bool {
        self.congestion.has_room(self.sent.in_flight(), now)
    }

    /// What is overdue: had anything behind it been acknowledged, it would count as lost (RFC 9002, section 6.1.2).
    pub(crate) fn overdue(&self, now: Time) -> impl Iterator<Item = Item> + '_ {
        self.sent.out_since(now.minus(self.loss_delay()), OVERDUE_DATAGRAMS)
    }

    /// Nothing more is there to be sent.
    pub(crate) fn record_idle(&mut self) {
        self.congestion.record_idle(self.sent.in_flight());
    }

    /// Whether nothing was heard of what is out for so long that its size may be why.
    pub(crate) const fn is_cautious(&self) -> bool {
        self.probes >= CAUTIOUS_PROBES
    }

    /// The smoothed round trip and its deviation.
    pub(crate) fn rtt(&self) -> Option<(Span, Span)> {
        self.rtt.map(|r| (r.smoothed, r.deviation))
    }

    /// A round trip was measured.
    pub(crate) fn record_rtt(&mut self, sample: Span, ack_delay: Span) {
        let sample = Ord::max(sample, Span(1));
        self.rtt = Some(match self.rtt {
            None => Rtt { smoothed: sample, deviation: sample.div(2), least: sample, latest: sample },
            Some(r) => {
                let least = r.least.min(sample);
                let adjusted = Span(sample.0 - ack_delay.0.min(sample.0.saturating_sub(least.0)));
                let error = Span(r.smoothed.0.abs_diff(adjusted.0));
                Rtt {
                    smoothed: Span((r.smoothed.0 * 7 + adjusted.0) / 8),
                    deviation: Span((r.deviation.0 * 3 + error.0) / 4),
                    least,
                    latest: sample,
                }
            }
        });
    }

    /// The peer says which datagrams have come.
    pub(crate) fn handle_ack(&mut self, ack: &LinkAck<'_>, now: Time, fates: &mut Fates) {
        let known = self.sent.numbers();
        if ack.largest >= known.end {
            return;
        }
        let (mut bytes, mut datagrams, mut last) = (0, 0, None);
        for (low, high) in ack.ranges() {
            if high < known.start {
                self.record_spurious(low, high, now);
                break;
            }
            self.record_spurious(low, high, now);
            for number in low.max(known.start)..=high {
                let Some(settled) = self.sent.settle(number, |item| fates.acked.push(item)) else { continue };
                self.probes = 0;
                bytes += settled.bytes;
                datagrams += 1;
                if last.is_none_or(|(highest, _)| highest < number) {
                    let delivered = Delivered { snapshot: settled.snapshot, sent_at: settled.at };
                    last = Some((number, delivered));
                }
                if settled.bytes > self.small {
                    fates.large_acked += 1;
                } else {
                    fates.small_acked += 1;
                }
                if number == ack.largest {
                    self.record_rtt(now.since(settled.at), ack.delay);
                }
            }
        }
        self.largest_acked = self.largest_acked.max(Some(ack.largest));
        self.detect_lost(now, fates);
        if let Some((_, last)) = last {
            let rtt = self.rtt().unwrap_or((INITIAL_RTT, Span::ZERO));
            self.congestion.record_acked(bytes, datagrams, last, rtt, self.sent.in_flight(), now);
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub(crate) fn timeout(&self) -> Option<Time> {
        if self.sent.in_flight() == 0 {
            return None;
        }
        let probe = self.last_sent.map(|at| at + self.probe_timeout());
        self.loss_at.or(probe)
    }

    /// Its time may have come.
    pub(crate) fn handle_timeout(&mut self, now: Time, fates: &mut Fates) {
        if self.timeout().is_none_or(|at| at > now) {
            return;
        }
        if self.loss_at.is_some() {
            self.detect_lost(now, fates);
            return;
        }
        // A probe (RFC 9002, section 6.2.4): what the oldest datagrams carried goes out again.
        fates.probes += 1;
        self.last_sent = Some(now);
        let before = fates.lost.len();
        self.lose_oldest(PROBED_DATAGRAMS, fates);
        let is_mtu_probe = |item: &Item| matches!(item, Item::MtuProbe { .. });
        if fates.lost.len() > before && fates.lost[before..].iter().all(is_mtu_probe) {
            // Where nothing else was out, nothing is known but that the path does not carry that size.
            return;
        }
        self.probes += 1;
        if self.probes == OUTAGE_PROBES {
            self.congestion.record_outage(now);
        }
        if self.probes >= OUTAGE_PROBES {
            // What has been out through several probes will not be acknowledged: it must not keep the timer's copies
            // (R4) in.
            self.lose_oldest(usize::MAX, fates);
        }
    }

    fn lose_oldest(&mut self, count: usize, fates: &mut Fates) {
        let end = self.sent.numbers().end;
        for _ in 0..count {
            let Some((number, _)) = self.sent.next_open(0, end) else { break };
            self.lose(number, fates);
        }
        self.sent.retire();
    }

    fn detect_lost(&mut self, now: Time, fates: &mut Fates) {
        self.loss_at = None;
        let Some(largest) = self.largest_acked else { return };
        let delay = self.loss_delay();
        let mut from = 0;
        while let Some((number, at)) = self.sent.next_open(from, largest) {
            // Where the network reorders, only time tells.
            let is_overtaken = self.reordering.window == Span::ZERO && number + PACKET_THRESHOLD <= largest;
            if is_overtaken || at + delay <= now {
                self.lose(number, fates);
                self.reordering.remember(number, at);
            } else {
                self.loss_at = Some(at + delay);
                break;
            }
            from = number + 1;
        }
        self.sent.retire();
    }

    fn lose(&mut self, number: u64, fates: &mut Fates) {
        let before = fates.lost.len();
        if let Some(settled) = self.sent.settle(number, |item| fates.lost.push(item)) {
            fates.datagrams_lost += 1;
            if !matches!(fates.lost.get(before), Some(Item::MtuProbe { .. })) {
                self.congestion.record_lost(settled.bytes, 1);
                self.redundancy.record_lost(settled.bytes);
                fates.large_lost += u32::from(settled.bytes > self.small);
            }
        }
    }

    /// Datagrams that were held lost have come after all: the next ones are given as long as these took,
    /// up to one round trip more.
    fn record_spurious(&mut self, low: u64, high: u64, now: Time) {
        let (least, smoothed) = self.rtt.map_or((INITIAL_RTT, INITIAL_RTT), |r| (r.least, r.smoothed));
        let r = &mut self.reordering;
        let mut late = None;
        r.lost.retain(|(number, at)| {
            let is_acked = (low..=high).contains(number);
            if is_acked {
                late = late.max(Some(now.since(*at)));
            }
            !is_acked
        });
        if let Some(late) = late {
            let window = Span(late.0.saturating_sub(least.0)).max(GRANULARITY).min(smoothed.max(GRANULARITY));
            r.window = r.window.max(window);
            r.changed_at = now;
        } else if r.window > Span::ZERO && now.since(r.changed_at) > REORDERING_MEMORY {
            r.window = if r.window > GRANULARITY { r.window.div(2) } else { Span::ZERO };
            r.changed_at = now;
        }
    }

    /// RFC 9002, section 6.1.2.
    fn loss_delay(&self) -> Span {
        let rtt = self.rtt.map_or(INITIAL_RTT, |r| r.smoothed.max(r.latest));
        Span(rtt.0 + rtt.0 / 8).max(GRANULARITY) + self.reordering.window
    }

    /// RFC 9002, section 6.2.1.
    fn probe_timeout(&self) -> Span {
        let (smoothed, deviation) = self.rtt().unwrap_or((INITIAL_RTT, INITIAL_RTT.div(2)));
        let timeout = smoothed + deviation.times(4).max(GRANULARITY) + MAX_ACK_DELAY;
        timeout.times(1 << self.probes.min(MAX_PROBE_BACKOFF))
    }
}

/// Later datagrams acknowledged before one counts as lost (RFC 9002, section 6.1.1).
const PACKET_THRESHOLD: u64 = 3;
/// Timers finer than this are not kept.
const GRANULARITY: Span = Span(100);
/// Before the first sample; heartbeats bring one with the association.
const INITIAL_RTT: Span = Span::from_millis(50);
/// Datagrams held lost that are remembered, to see whether they were.
const REMEMBERED_LOSSES: usize = 512;
/// Without a datagram that was wrongly held lost, the reordering window halves after this.
const REORDERING_MEMORY: Span = Span::from_millis(5000);
const PROBED_DATAGRAMS: usize = 2;
const MAX_PROBE_BACKOFF: u32 = 6;
/// Datagrams that are looked through for what is overdue.
const OVERDUE_DATAGRAMS: usize = 8;
/// After so many probes without an answer datagrams are as small as every path carries them.
const CAUTIOUS_PROBES: u32 = 2;
/// After so many what was known of the network counts no more (RFC 9002, section 7.6).
const OUTAGE_PROBES: u32 = 4;
/// A peer that tells less still gets this much.
const MIN_WINDOW: usize = 64 << 10;

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;
