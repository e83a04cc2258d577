//! Tables of what was measured, and all of it as JSON.

use std::{collections::BTreeMap, fmt::Write as _};

use clap::ValueEnum as _;
use serde_json::{Value, json};

use crate::{
    args::Work,
    measure::{Case, Figures},
};

/// Every measurement, in the order in which the systems were named.
#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) cases: BTreeMap<Case, Vec<(String, Vec<Figures>)>>,
}

impl Results {
    pub(crate) fn add(&mut self, case: Case, system: &str, figures: Figures) {
        let systems = self.cases.entry(case).or_default();
        match systems.iter_mut().find(|(name, _)| name == system) {
            Some((_, runs)) => runs.push(figures),
            None => systems.push((system.to_owned(), vec![figures])),
        }
    }

    /// The median of a figure.
    pub(crate) fn median(&self, case: Case, system: &str, figure: &str) -> Option<f64> {
        let (_, runs) = self.cases.get(&case)?.iter().find(|(name, _)| name == system)?;
        median(runs.iter().filter_map(|run| run.get(figure).copied()).collect())
    }

    /// The median, over the runs, of how many times that of another system a figure was in the same round.
    fn ratio(&self, case: Case, (system, other): (&str, &str), figure: &str) -> Option<f64> {
        let systems = self.cases.get(&case)?;
        let runs = |name: &str| systems.iter().find(|(system, _)| system == name).map(|(_, runs)| runs);
        let pairs = runs(system)?.iter().zip(runs(other)?);
        let ratios = pairs.filter_map(|(mine, theirs)| Some(mine.get(figure)? / theirs.get(figure)?));
        median(ratios.filter(|ratio| ratio.is_finite()).collect())
    }

    /// A table for each case.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (case, systems) in &self.cases {
            let mut rows = vec![head(*case)];
            for (system, runs) in systems {
                let mut row = vec![system.clone()];
                let columns = columns(case.work).iter();
                row.extend(columns.map(|(_, figure)| number(self.median(*case, system, figure))));
                row.push(runs.len().to_string());
                rows.push(row);
            }
            writeln!(text, "\n{}", title(*case)).expect("a String takes it");
            text.push_str(&aligned(&rows));
            text.push_str(&self.ratios(*case));
        }
        text
    }

    /// The first system beside the others.
    fn ratios(&self, case: Case) -> String {
        let Some([(first, _), others @ ..]) = self.cases.get(&case).map(Vec::as_slice) else {
            return String::new();
        };
        let mut text = String::new();
        for (other, _) in others {
            let figures = columns(case.work).iter().filter_map(|(name, figure)| {
                let ratio = self.ratio(case, (first, other), figure)?;
                Some(format!("{name} {}", number(Some(ratio))))
            });
            let figures: Vec<_> = figures.collect();
            if !figures.is_empty() {
                writeln!(text, "  {first} / {other}: {}", figures.join(", ")).expect("a String takes it");
            }
        }
        text
    }

    /// All figures of all runs.
    pub(crate) fn json(&self) -> Value {
        let cases = self.cases.iter().flat_map(|(case, systems)| {
            systems.iter().map(move |(system, runs)| {
                json!({
                    "system": system,
                    "work": work_name(case.work),
                    "loss_percent": case.loss,
                    "size": case.size,
                    "runs": runs,
                })
            })
        });
        Value::Array(cases.collect())
    }
}

/// What a case is called.
pub(crate) fn title(case: Case) -> String {
    let Case { work, loss, size } = case;
    let name = work_name(work);
    match work {
        Work::PingPong | Work::OneWay => format!("{name}, {size} bytes"),
        Work::Loss | Work::Paced => format!("{name}, {size} bytes, {loss} % lost each way"),
        _ => name,
    }
}

pub(crate) fn work_name(work: Work) -> String {
    work.to_possible_value().map_or_else(String::new, |work| work.get_name().to_owned())
}

/// What is shown of a work.
const fn columns(work: Work) -> &'static [(&'static str, &'static str)] {
    match work {
        Work::PingPong => {
            &[("P50 us", "p50_us"), ("P99 us", "p99_us"), ("P99.9 us", "p99.9_us"), ("CPU us/MSG", "cpu_us")]
        }
        Work::OneWay => &[("MSG/s", "per_second"), ("MB/s", "mb_per_second"), ("CPU us/MSG", "cpu_us")],
        Work::Loss => {
            &[("MSG/s", "per_second"), ("CPU us/MSG", "cpu_us"), ("DELIVERED %", "delivered_percent")]
        }
        Work::Paced => &[
            ("P50 us", "p50_us"),
            ("P99 us", "p99_us"),
            ("P99.9 us", "p99.9_us"),
            ("CPU us/MSG", "cpu_us"),
            ("DELIVERED %", "delivered_percent"),
        ],
        Work::Idle => &[
            ("WAKE-UPS/s", "wake_ups_per_second"),
            ("DATAGRAMS SENT/s", "datagrams_per_second"),
            ("CPU %", "cpu_percent"),
            ("RSS MiB", "resident_mib"),
            ("KiB/CLIENT", "kib_per_client"),
        ],
        Work::Start => &[("P50 ms", "p50_ms"), ("MAX ms", "max_ms")],
        Work::Scan => &[("10: ns/SCAN", "few_ns"), ("ALL: ns/SCAN", "many_ns"), ("ENTRIES", "entries")],
        Work::Slow => &[
            ("P50 us", "p50_us"),
            ("P99 us", "p99_us"),
            ("ONE STOPPED: P50 us", "stopped_p50_us"),
            ("P99 us", "stopped_p99_us"),
        ],
    }
}

fn head(case: Case) -> Vec<String> {
    let names = columns(case.work).iter().map(|(name, _)| *name);
    ["SYSTEM"].into_iter().chain(names).chain(["RUNS"]).map(str::to_owned).collect()
}

/// The first column to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
            0 => format!("{cell:width$}"),
            _ => format!("{cell:>width$}"),
        });
        writeln!(text, "  {}", cells.collect::<Vec<_>>().join("  ")).expect("a String takes it");
    }
    text
}

/// Three or more digits.
fn number(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(value) if value >= 1000.0 => thousands(format!("{value:.0}")),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value < 0.1 => format!("{value:.4}"),
        Some(value) => format!("{value:.2}"),
    }
}

fn thousands(digits: String) -> String {
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
