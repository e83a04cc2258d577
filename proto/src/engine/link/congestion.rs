//! How much a link may send: a rate and a window from what the network delivers, as BBR has it
//! (draft-ietf-ccwg-bbr), not from what it loses: random loss is no congestion.

use super::received::MAX_ACK_DELAY;
use crate::units::{Span, Time};

/// The congestion control of one association.
#[derive(Debug)]
pub(crate) struct Congestion {
    mode: Mode,
    /// The most that the peer's socket holds.
    limit: usize,
    /// Bytes that may be out.
    window: usize,
    /// When a datagram may leave, at the rate that is kept.
    pace_at: Time,
    /// Something waits for that.
    is_paced: bool,
    /// Bytes that were acknowledged, and when the last were.
    delivered: u64,
    delivered_at: Time,
    /// When the datagram that the last sample began with left.
    first_sent_at: Time,
    /// Up to here samples say what clients wanted to send, not what the network can carry.
    limited_until: u64,
    bandwidth: Bandwidth,
    least: Option<(Span, Time)>,
    /// The round trip as it varies, but for what queues.
    usual: Span,
    /// A round ends once what is out at its beginning has been delivered.
    round_end: u64,
    round: Round,
    random_loss: RandomLoss,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// The rate is not known: it doubles from round to round.
    Startup { best: u64, rounds: u8 },
    /// What that piled up goes down.
    Drain,
    /// A little more, as much less, then what is known; from when on.
    Cruise { phase: usize, since: Time },
    /// Little is out, so that the round trip is seen bare.
    ProbeRtt { until: Option<Time> },
}

/// What a datagram remembers of the moment at which it left.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Snapshot {
    delivered: u64,
    delivered_at: Time,
    first_sent_at: Time,
    is_limited: bool,
}

/// A datagram that was acknowledged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivered {
    pub(crate) snapshot: Snapshot,
    pub(crate) sent_at: Time,
}

#[derive(Clone, Copy, Debug, Default)]
struct Round {
    acked: usize,
    lost: usize,
    datagrams: u32,
    has_sample: bool,
}

/// The highest rate of the last rounds in which clients wanted to send more, in bytes a second.
#[derive(Debug, Default)]
struct Bandwidth {
    rounds: [u64; 10],
    current: usize,
}

impl Bandwidth {
    fn max(&self) -> u64 {
        self.rounds.iter().copied().max().unwrap_or(0)
    }

    fn record(&mut self, rate: u64) {
        let slot = &mut self.rounds[self.current];
        *slot = (*slot).max(rate);
    }

    const fn next_round(&mut self) {
        self.current = (self.current + 1) % self.rounds.len();
        self.rounds[self.current] = 0;
    }
}

/// What the network loses whatever is sent: the least share of the last rounds. A queue that overflows loses nothing in the
/// rounds in which less is sent.
#[derive(Debug, Default)]
struct RandomLoss {
    permille: [u16; 8],
    current: usize,
}

impl RandomLoss {
    fn record(&mut self, round: &Round) {
        let permille = round.lost * 1000 / (round.lost + round.acked).max(1);
        self.permille[self.current] = u16::try_from(permille).unwrap_or(1000);
        self.current = (self.current + 1) % self.permille.len();
    }

    /// The share that is sent in vain, at most three in ten.
    fn permille(&self) -> u64 {
        u64::from(self.permille.iter().copied().min().unwrap_or(0).min(300))
    }
}

impl Congestion {
    pub(crate) fn new(limit: usize, now: Time) -> Self {
        Self {
            mode: Mode::Startup { best: 0, rounds: 0 },
            limit,
            window: INITIAL_WINDOW.min(limit),
            pace_at: now,
            is_paced: false,
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            limited_until: 0,
            bandwidth: Bandwidth::default(),
            least: None,
            usual: Span::ZERO,
            round_end: 0,
            round: Round::default(),
            random_loss: RandomLoss::default(),
        }
    }

    /// Whether the link takes one datagram more. The window may be overshot by that one: asking for room for the
    /// largest would leave a link with large datagrams waiting for every acknowledgement.
    pub(crate) fn has_room(&mut self, in_flight: usize, now: Time) -> bool {
        let has_room = in_flight < self.window;
        self.is_paced = has_room && self.pace_at > now + BURST;
        has_room && !self.is_paced
    }

    /// When what was refused for its rate may leave.
    pub(crate) fn timeout(&self) -> Option<Time> {
        self.is_paced.then_some(self.pace_at)
    }

    /// Its time may have come. Returns whether something may leave now.
    pub(crate) fn handle_timeout(&mut self, now: Time) -> bool {
        let is_due = self.timeout().is_some_and(|at| at <= now);
        self.is_paced &= !is_due;
        is_due
    }

    /// Bytes that may be out.
    #[cfg(test)]
    pub(crate) const fn window(&self) -> usize {
        self.window
    }

    /// Bytes a second that datagrams leave at.
    pub(crate) fn rate(&self) -> u64 {
        let known = self.bandwidth.max() * self.gain() / 100;
        match self.mode {
            Mode::Startup { .. } => known.max(INITIAL_RATE),
            _ => known.max(LEAST_RATE),
        }
    }

    /// A datagram leaves.
    pub(crate) const fn record_sent(&mut self, in_flight: usize, now: Time) -> Snapshot {
        if in_flight == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Snapshot {
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            is_limited: self.delivered <= self.limited_until,
        }
    }

    /// What leaves had to wait for its rate (RFC 9002, section 7.7). The rest has not, acknowledgements above all: if it were charged for,
    /// a rate that was measured when there was little else to send would keep messages waiting for as long as it flows.
    pub(crate) fn record_paced(&mut self, bytes: usize, now: Time) {
        // What was not used lately may be made up for, so that a timer that comes late costs nothing.
        let from = self.pace_at.max(Time(now.0.saturating_sub(CREDIT.0)));
        self.pace_at = from + time_for(bytes, self.rate());
    }

    /// Nothing more is there to be sent: what is measured until it has been delivered is no limit of the network's.
    pub(crate) fn record_idle(&mut self, in_flight: usize) {
        if in_flight < self.window {
            self.limited_until = self.delivered + in_flight as u64;
        }
    }

    /// Datagrams were acknowledged: so many bytes, the last of them sent as `last` says. `rtt`: the smoothed round trip and
    /// its deviation.
    pub(crate) fn record_acked(
        &mut self,
        bytes: usize,
        datagrams: u32,
        last: Delivered,
        rtt: (Span, Span),
        in_flight: usize,
        now: Time,
    ) {
        self.delivered += bytes as u64;
        self.delivered_at = now;
        self.first_sent_at = self.first_sent_at.max(last.sent_at);
        self.round.acked += bytes;
        self.round.datagrams += datagrams;
        self.record_rate(last, now);
        self.record_round_trip(now.since(last.sent_at), rtt, now);
        if last.snapshot.delivered >= self.round_end {
            self.end_round();
        }
        self.steer(in_flight, now);
        self.set_window(bytes);
    }

    /// Datagrams were lost.
    pub(crate) const fn record_lost(&mut self, bytes: usize, datagrams: u32) {
        self.round.lost += bytes;
        self.round.datagrams += datagrams;
    }

    /// Nothing has come through for long (persistent congestion, RFC 9002, section 7.6): it begins anew.
    pub(crate) fn record_outage(&mut self, now: Time) {
        let delivered = self.delivered;
        *self = Self::new(self.limit, now);
        self.delivered = delivered;
        self.round_end = delivered;
        self.limited_until = delivered;
    }

    fn record_rate(&mut self, last: Delivered, now: Time) {
        let snapshot = last.snapshot;
        let sending = last.sent_at.since(snapshot.first_sent_at);
        let interval = sending.max(now.since(snapshot.delivered_at));
        if interval == Span::ZERO || self.least.is_some_and(|(least, _)| interval < least) {
            return;
        }
        let bytes = self.delivered - snapshot.delivered;
        let delivered = bytes.saturating_mul(1_000_000) / interval.0;
        // What is lost at random has gone through the narrowest place all the same.
        let rate = delivered * 1000 / (1000 - self.random_loss.permille());
        if !snapshot.is_limited {
            self.round.has_sample = true;
        }
        if !snapshot.is_limited || rate > self.bandwidth.max() {
            self.bandwidth.record(rate);
        }
    }

    fn record_round_trip(&mut self, sample: Span, (smoothed, deviation): (Span, Span), now: Time) {
        let sample = sample.max(Span(1));
        match self.least {
            Some((least, _)) if sample > least => {}
            _ => self.least = Some((sample, now)),
        }
        // A queue that stands makes a longer round trip, one that does not deviate; jitter makes one that does.
        let least = self.least.map_or(sample, |(least, _)| least);
        self.usual = smoothed.min(least + deviation.times(4)).max(least);
    }

    fn end_round(&mut self) {
        self.round_end = self.delivered;
        if self.round.datagrams < ROUND_DATAGRAMS && self.round.lost > 0 {
            return;
        }
        let round = std::mem::take(&mut self.round);
        if round.datagrams >= ROUND_DATAGRAMS {
            self.random_loss.record(&round);
        }
        if !round.has_sample {
            return;
        }
        let rate = self.bandwidth.max();
        if let Mode::Startup { best, rounds } = &mut self.mode {
            if rate >= *best / 4 * 5 {
                (*best, *rounds) = (rate, 0);
            } else {
                *rounds += 1;
                if *rounds >= STARTUP_ROUNDS {
                    self.mode = Mode::Drain;
                }
            }
        }
        self.bandwidth.next_round();
    }

    fn steer(&mut self, in_flight: usize, now: Time) {
        let Some((least, seen_at)) = self.least else { return };
        match self.mode {
            Mode::Startup { .. } => {}
            Mode::Drain => {
                if in_flight <= self.carried(1) {
                    self.mode = Mode::Cruise { phase: 2, since: now };
                }
            }
            Mode::Cruise { phase, since } => {
                let is_drained = phase == 1 && in_flight <= self.carried(1);
                if is_drained || now.since(since) >= least.max(LEAST_PHASE) {
                    self.mode = Mode::Cruise { phase: (phase + 1) % GAINS.len(), since: now };
                }
            }
            Mode::ProbeRtt { until: None } => {
                if in_flight <= self.window {
                    self.mode = Mode::ProbeRtt { until: Some(now + least.times(2).max(PROBE_RTT)) };
                }
            }
            Mode::ProbeRtt { until: Some(until) } => {
                if now >= until {
                    self.mode = Mode::Cruise { phase: 2, since: now };
                }
            }
        }
        if now.since(seen_at) > ROUND_TRIP_MEMORY {
            // What comes next is measured with little in the way.
            self.least = Some((least.times(4), now));
            if !matches!(self.mode, Mode::Startup { .. }) {
                self.mode = Mode::ProbeRtt { until: None };
            }
        }
    }

    fn set_window(&mut self, acked: usize) {
        let target = match self.mode {
            Mode::Startup { .. } => {
                (self.carried(3) + self.slack()).max(INITIAL_WINDOW).min(self.window + acked)
            }
            Mode::ProbeRtt { .. } => self.carried(1) / 2,
            _ => self.carried(2) + self.slack(),
        };
        self.window = target.max(LEAST_WINDOW).min(self.limit);
    }

    /// What the path holds when it is full and nothing queues, so many times.
    fn carried(&self, times: usize) -> usize {
        let bytes = self.bandwidth.max().saturating_mul(self.usual.0) / 1_000_000;
        usize::try_from(bytes).unwrap_or(usize::MAX).saturating_mul(times)
    }

    /// Room for acknowledgements that the peer holds back, and for datagrams that go out together.
    fn slack(&self) -> usize {
        let held = self.bandwidth.max().saturating_mul(MAX_ACK_DELAY.0) / 1_000_000;
        usize::try_from(held).unwrap_or(usize::MAX).saturating_add(3 * BATCH)
    }

    fn gain(&self) -> u64 {
        match self.mode {
            Mode::Startup { .. } => 289,
            Mode::Drain => 35,
            Mode::Cruise { phase, .. } => GAINS[phase],
            Mode::ProbeRtt { .. } => 100,
        }
    }
}

fn time_for(bytes: usize, rate: u64) -> Span {
    Span((bytes as u64).saturating_mul(1_000_000) / rate.max(1))
}

/// Percent of the known rate, from round trip to round trip.
const GAINS: [u64; 8] = [125, 75, 100, 100, 100, 100, 100, 100];
/// What may be out before anything is known.
const INITIAL_WINDOW: usize = 64 << 10;
/// And the rate at which that leaves, in bytes a second.
const INITIAL_RATE: u64 = 64_000_000;
/// Four of the smallest datagrams.
const LEAST_WINDOW: usize = 4800;
const LEAST_RATE: u64 = 100_000;
/// Datagrams that may go out together.
const BATCH: usize = 4800;
/// What may leave ahead of its time: wake-ups are no finer.
const BURST: Span = Span::from_millis(1);
/// What a late timer may make up for.
const CREDIT: Span = Span::from_millis(2);
/// Rounds without a quarter more that end the start.
const STARTUP_ROUNDS: u8 = 3;
/// A round with fewer says nothing about loss.
const ROUND_DATAGRAMS: u32 = 20;
const LEAST_PHASE: Span = Span::from_millis(2);
/// After this the least round trip is measured anew, for this long.
const ROUND_TRIP_MEMORY: Span = Span::from_millis(10_000);
const PROBE_RTT: Span = Span::from_millis(20);

#[cfg(test)]
#[path = "congestion_laws.rs"]
mod laws;
#[cfg(test)]
#[path = "congestion_tests.rs"]
mod tests;
