//! The lossy phase: two clients on two nodes, each on a thread of its own, send to each other at the same time.

use std::{
    sync::{
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use super::{
    Clock,
    lane::{Lane, take_next},
    ledger::Received,
    payload::Flow,
};
use crate::ctl::{
    error::CtlError,
    latencies::{Latencies, latencies},
};

/// Messages that one side sends before it looks at what has come.
const SENDS_PER_TURN: u64 = 64;

/// Messages that one side takes before it sends again.
const TAKES_PER_TURN: u64 = 1024;

/// How long a side waits when it has nothing to do.
const IDLE: Duration = Duration::from_millis(5);

/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(50);

/// What the two sides and the display share.
#[derive(Default)]
struct Shared {
    /// Outcomes known, of both sides.
    outcomes: AtomicU64,
    /// Sides that know all their outcomes.
    finished: AtomicUsize,
}

/// One end of the traffic.
struct Side<'a> {
    /// What it sends.
    lane: Lane,
    /// What it receives.
    incoming: Flow,
    received: Vec<Received>,
    latencies: Latencies,
    shared: &'a Shared,
    clock: &'a Clock,
}

/// Sends `messages` in each of the two lanes, which lead to each other's clients, and gives them back with all
/// latencies. `show` is told now and then how many outcomes are known.
pub(super) fn run(
    lanes: [Lane; 2],
    messages: u64,
    clock: &Clock,
    mut show: impl FnMut(u64),
) -> Result<([Lane; 2], Latencies), CtlError> {
    let shared = Shared::default();
    let (told, results) = mpsc::channel();
    let mut ends: [Option<Side<'_>>; 2] = [None, None];
    let flows = [lanes[0].ledger.flow, lanes[1].ledger.flow];
    thread::scope(|scope| {
        for (i, lane) in lanes.into_iter().enumerate() {
            let (told, shared, incoming) = (told.clone(), &shared, flows[1 - i]);
            scope.spawn(move || {
                let (received, latencies) = (Vec::new(), latencies());
                let mut side = Side { lane, incoming, received, latencies, shared, clock };
                let result = side.run(messages);
                // The display is gone only when the other side has failed.
                told.send((i, result.map(|()| side))).ok();
            });
        }
        drop(told);
        loop {
            match results.recv_timeout(TICK) {
                Ok((i, side)) => ends[i] = Some(side.inspect_err(|_| clock.stop.raise())?),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok::<(), CtlError>(()),
            }
            show(shared.outcomes.load(Ordering::Relaxed));
        }
    })?;
    let [Some(a), Some(b)] = ends else {
        return Err(CtlError::Demo("a thread of the traffic broke off".to_owned()));
    };
    let mut latencies = a.latencies;
    latencies.add(&b.latencies).expect("both have the same bounds");
    let (mut there, mut back) = (a.lane, b.lane);
    there.ledger.received = b.received;
    back.ledger.received = a.received;
    Ok(([there, back], latencies))
}

impl Side<'_> {
    fn run(&mut self, messages: u64) -> Result<(), CtlError> {
        let (mut told, mut finished) = (0, false);
        loop {
            self.clock.check(|| {
                let (from, sent) = (self.lane.ledger.flow.from, self.lane.ledger.sent.len());
                let unresolved = self.lane.port.unresolved();
                format!("{from} has sent {sent} of {messages}, {unresolved} of them without an outcome")
            })?;
            let sent = self.send_some(messages)?;
            let taken = self.take_some()?;
            self.lane.port.wait(if sent + taken > 0 { Duration::ZERO } else { IDLE })?;
            self.lane.enter_failures();
            let known = self.lane.outcomes();
            self.shared.outcomes.fetch_add(known.saturating_sub(told), Ordering::Relaxed);
            told = known;
            if !finished && known == messages && self.lane.port.flush(Duration::ZERO)? {
                self.lane.enter_failures();
                finished = true;
                self.shared.finished.fetch_add(1, Ordering::AcqRel);
            }
            if taken == 0 && self.shared.finished.load(Ordering::Acquire) == 2 {
                return Ok(());
            }
        }
    }

    fn send_some(&mut self, messages: u64) -> Result<u64, CtlError> {
        let mut count = 0;
        while count < SENDS_PER_TURN && (self.lane.ledger.sent.len() as u64) < messages {
            if !self.lane.send_next()? {
                break;
            }
            count += 1;
        }
        Ok(count)
    }

    fn take_some(&mut self) -> Result<u64, CtlError> {
        let mut count = 0;
        while count < TAKES_PER_TURN {
            let Some((received, latency)) = take_next(&self.lane.port, &self.incoming)? else { break };
            self.received.push(received);
            if let Some(latency) = latency {
                self.latencies.saturating_record(latency.0);
            }
            count += 1;
        }
        Ok(count)
    }
}
