//! What the demo found: a short table, or one JSON document.

use std::io::{self, Write};

use msg_proto::{status::StatusDocument, units::Time};
use serde::Serialize;

use super::{TAKEOVER, ledger::Ledger};
use crate::ctl::latencies::Latencies;
use crate::{
    ctl::{
        table::{Align::Left, Align::Right, Table, escaped_bytes},
        verdicts::{self, FailedBy},
    },
    relay::{Direction, Relay, RelayCounts},
};

/// All that the demo found.
#[derive(Serialize, Debug)]
pub(super) struct Report {
    pub(super) promise_kept: bool,
    pub(super) violations: u64,
    pub(super) first_violations: Vec<String>,
    pub(super) seed: u64,
    pub(super) loss_percent: String,
    pub(super) elapsed_ms: u64,
    pub(super) takeovers: usize,
    pub(super) flows: Vec<FlowReport>,
    pub(super) failed_by: Vec<FailedBy>,
    pub(super) network: [RelayCounts; 2],
    pub(super) daemons: Daemons,
    pub(super) latency_us: LatencyReport,
}

/// One flow.
#[derive(Serialize, Debug)]
pub(super) struct FlowReport {
    phase: &'static str,
    from: u32,
    to: u32,
    sent: usize,
    acked: u64,
    failed: usize,
    received: usize,
    /// From the send to the callback: the shortest and the longest, in milliseconds.
    failure_after_ms: Option<[u64; 2]>,
    /// When an outcome was due at the latest, in milliseconds after the send.
    due_ms: u64,
    /// The user bytes that the first failure brought back.
    first_user_buff: Option<String>,
}

/// The two daemons' counters together.
#[derive(Serialize, Debug)]
pub(super) struct Daemons {
    retransmits: u64,
    fast_retransmits: u64,
    redundant_copies: u64,
    duplicates: u64,
    stale_messages_dropped: u64,
    stale_acks_dropped: u64,
    checksum_errors: u64,
}

/// From the send to the receipt, in the lossy phase.
#[derive(Serialize, Debug)]
pub(super) struct LatencyReport {
    p50: u64,
    p99: u64,
    max: u64,
}

impl FlowReport {
    pub(super) fn new(phase: &'static str, ledger: &Ledger) -> Self {
        let sent_at = |user: &[u8]| -> Option<Time> {
            let index = usize::try_from(ledger.flow.index_of_user_bytes(user)?).ok()?;
            ledger.sent.get(index).map(|(_, at)| *at)
        };
        let after = ledger.failed.iter().filter_map(|f| Some(f.at.since(sent_at(&f.user)?).as_millis()));
        Self {
            phase,
            from: ledger.flow.from,
            to: ledger.flow.to,
            sent: ledger.sent.len(),
            acked: ledger.acked,
            failed: ledger.failed.len(),
            received: ledger.received.len(),
            failure_after_ms: after.clone().min().zip(after.max()).map(|(min, max)| [min, max]),
            due_ms: ledger.due.as_millis(),
            first_user_buff: ledger.failed.first().map(|f| escaped_bytes(&f.user)),
        }
    }
}

impl Daemons {
    pub(super) fn new(statuses: &[StatusDocument; 2]) -> Self {
        let sum = |name: &str| statuses.iter().filter_map(|s| s.counters.get(name)).sum();
        Self {
            retransmits: sum("retransmits"),
            fast_retransmits: sum("fast_retransmits"),
            redundant_copies: sum("redundant_copies"),
            duplicates: sum("duplicates"),
            stale_messages_dropped: sum("stale_messages_dropped"),
            stale_acks_dropped: sum("stale_acks_dropped"),
            checksum_errors: sum("checksum_errors"),
        }
    }
}

impl LatencyReport {
    pub(super) fn new(latencies: &Latencies) -> Self {
        Self {
            p50: latencies.value_at_quantile(0.5),
            p99: latencies.value_at_quantile(0.99),
            max: latencies.max(),
        }
    }
}

/// What the relay did in both directions.
pub(super) fn network(relay: &Relay) -> [RelayCounts; 2] {
    Direction::BOTH.map(|direction| relay.counts(direction))
}

impl Report {
    /// For people.
    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        self.flow_table().write(out, "")?;
        writeln!(out)?;
        verdicts::write(&self.failed_by, out)?;
        self.write_failures(out)?;
        self.write_takeovers(out)?;
        writeln!(out)?;
        self.write_network(out)?;
        if self.promise_kept {
            return writeln!(
                out,
                "\nThe promise was kept, in {}.{} s: every message had one outcome; what was acked was received once, in order and \
                 unchanged; what had failed never came later.",
                self.elapsed_ms / 1000,
                self.elapsed_ms % 1000 / 100,
            );
        }
        writeln!(out, "\nTHE PROMISE WAS BROKEN, {} times:", self.violations)?;
        self.first_violations.iter().try_for_each(|line| writeln!(out, "  {line}"))
    }

    fn flow_table(&self) -> Table {
        let mut table = Table::new(&[
            ("PHASE", Left),
            ("FROM", Right),
            ("TO", Right),
            ("SENT", Right),
            ("ACKED", Right),
            ("FAILED", Right),
            ("RECEIVED", Right),
        ]);
        for f in &self.flows {
            table.row([
                f.phase.to_owned(),
                f.from.to_string(),
                f.to.to_string(),
                f.sent.to_string(),
                f.acked.to_string(),
                f.failed.to_string(),
                f.received.to_string(),
            ]);
        }
        table
    }

    fn write_failures(&self, out: &mut dyn Write) -> io::Result<()> {
        for f in &self.flows {
            if let (Some([min, max]), Some(user)) = (f.failure_after_ms, &f.first_user_buff) {
                let (from, to, due) = (f.from, f.to, f.due_ms);
                writeln!(
                    out,
                    "{from} to {to}: failures after {min} to {max} ms, due within {due} ms; user data \"{user}\""
                )?;
            }
        }
        Ok(())
    }

    fn write_takeovers(&self, out: &mut dyn Write) -> io::Result<()> {
        for f in self.flows.iter().filter(|f| f.phase == TAKEOVER) {
            let (to, takeovers) = (f.to, self.takeovers);
            let lost = f.acked.saturating_sub(f.received as u64);
            writeln!(out, "{to}: replaced {takeovers} times by a takeover while messages came; {lost} lost")?;
        }
        Ok(())
    }

    fn write_network(&self, out: &mut dyn Write) -> io::Result<()> {
        let Daemons { retransmits, fast_retransmits, redundant_copies, duplicates, .. } = &self.daemons;
        let Daemons { stale_messages_dropped, stale_acks_dropped, checksum_errors, .. } = &self.daemons;
        let sum = |count: fn(&RelayCounts) -> u64| self.network.iter().map(count).sum::<u64>();
        let ms = |us: u64| format!("{}.{:02} ms", us / 1000, us % 1000 / 10);
        let mut table = Table::new(&[("", Left), ("", Right), ("", Left)]);
        let mut row = |what: &str, value: String, note: String| table.row([what.to_owned(), value, note]);
        let received = sum(|c| c.received);
        let (lost, doubled, corrupted) = (sum(|c| c.lost), sum(|c| c.duplicated), sum(|c| c.corrupted));
        let cut = sum(|c| c.cut);
        let done = format!("{lost} lost, {doubled} doubled, {corrupted} corrupted, {cut} cut off");
        row("datagrams", received.to_string(), done);
        let sent_again = retransmits + fast_retransmits;
        row(
            "retransmitted",
            sent_again.to_string(),
            format!("{fast_retransmits} of them ahead of the timer"),
        );
        row("sent along", redundant_copies.to_string(), "with other messages, when overdue".to_owned());
        row("duplicates", duplicates.to_string(), "not handed over twice".to_owned());
        let stale = stale_messages_dropped + stale_acks_dropped;
        row(
            "stale",
            stale.to_string(),
            format!("{stale_messages_dropped} messages, {stale_acks_dropped} acks"),
        );
        row("corrupted", checksum_errors.to_string(), "found by their checksum".to_owned());
        let latency = &self.latency_us;
        row("latency p50", ms(latency.p50), String::new());
        row("latency p99", ms(latency.p99), format!("longest {}", ms(latency.max)));
        table.write(out, "")
    }
}
