//! The results as a picture: a panel for each case, a bar for each system.

use std::fmt::Write as _;

use crate::{
    args::Work,
    measure::Case,
    report::{Results, title},
};

/// What a panel shows: bars of one figure, or marks of several on one logarithmic axis.
enum Panel {
    Rate,
    Latency,
}

/// Draws everything that was measured of two sides.
pub(crate) fn draw(results: &Results, command: &str) -> String {
    let cases: Vec<Case> = results.cases.keys().copied().filter(|case| panel(case.work).is_some()).collect();
    let mut body = String::new();
    let (mut y, mut row_height) = (TOP, 0);
    for (index, case) in cases.iter().enumerate() {
        let column = index % COLUMNS;
        if column == 0 {
            y += row_height;
            row_height = 0;
        }
        let height = draw_panel(&mut body, results, *case, (LEFT + column * PANEL_WIDTH, y));
        row_height = row_height.max(height);
    }
    let (width, height) = (LEFT + COLUMNS.min(cases.len().max(1)) * PANEL_WIDTH, y + row_height + TOP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(&mut svg, (LEFT, TOP - 12), "start", "#555", command);
    svg.push_str(&body);
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, results: &Results, case: Case, (x, y): (usize, usize)) -> usize {
    let systems: Vec<&str> =
        results.cases.get(&case).into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    let what = match panel(case.work) {
        Some(Panel::Latency) => "microseconds: p50, p99, p99.9",
        _ => "messages a second",
    };
    text(svg, (x, y + 16), "start", "#000", &format!("{} ({what})", title(case)));
    for (row, system) in systems.iter().enumerate() {
        let middle = y + 36 + row * ROW;
        text(svg, (x + NAMES - 6, middle + 4), "end", "#000", system);
        match panel(case.work) {
            Some(Panel::Latency) => draw_marks(svg, results, case, system, (x + NAMES, middle)),
            _ => draw_bar(svg, results, case, (system, &systems), (x + NAMES, middle)),
        }
    }
    36 + systems.len() * ROW + 14
}

fn draw_bar(
    svg: &mut String,
    results: &Results,
    case: Case,
    (system, all): (&str, &[&str]),
    (x, middle): (usize, usize),
) {
    let value = |system: &str| results.median(case, system, "per_second").unwrap_or(0.0);
    let most = all.iter().map(|system| value(system)).fold(1.0, f64::max);
    let width = BARS * value(system) / most;
    writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{}\" width=\"{width:.1}\" height=\"14\" fill=\"{}\"/>",
        middle - 7,
        colour(system)
    )
    .expect("a String takes it");
    let rate = value(system);
    let rate = if rate >= 1e6 { format!("{:.2} M", rate / 1e6) } else { format!("{:.1} k", rate / 1e3) };
    let at = format!("{:.0}", x as f64 + width + 5.0).parse().unwrap_or(x);
    text(svg, (at, middle + 4), "start", "#333", &rate);
}

/// A line from the median to the last percentile, on an axis from 10 us to 10 s.
fn draw_marks(svg: &mut String, results: &Results, case: Case, system: &str, (x, middle): (usize, usize)) {
    let at = |us: f64| x as f64 + BARS * ((us.max(10.0).log10() - 1.0) / 6.0).min(1.0);
    let values: Vec<f64> = ["p50_us", "p99_us", "p99.9_us"]
        .iter()
        .filter_map(|figure| results.median(case, system, figure))
        .collect();
    let [p50, p99, last] = values[..] else { return };
    let (colour, from, to) = (colour(system), at(p50), at(last));
    writeln!(
        svg,
        "<line x1=\"{from:.1}\" y1=\"{middle}\" x2=\"{to:.1}\" y2=\"{middle}\" stroke=\"{colour}\" stroke-width=\"3\"/>"
    )
    .expect("a String takes it");
    for (value, radius) in [(p50, 5), (p99, 4), (last, 3)] {
        writeln!(svg, "<circle cx=\"{:.1}\" cy=\"{middle}\" r=\"{radius}\" fill=\"{colour}\"/>", at(value))
            .expect("a String takes it");
    }
    let place = format!("{:.0}", to + 9.0).parse().unwrap_or(x);
    text(svg, (place, middle + 4), "start", "#333", &format!("{p50:.0}, {p99:.0}, {last:.0}"));
}

fn text(svg: &mut String, (x, y): (usize, usize), anchor: &str, colour: &str, what: &str) {
    let what = what.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{what}</text>")
        .expect("a String takes it");
}

const fn panel(work: Work) -> Option<Panel> {
    match work {
        Work::PingPong | Work::Paced => Some(Panel::Latency),
        Work::OneWay | Work::Loss => Some(Panel::Rate),
        _ => None,
    }
}

/// msgd stands out; the bare chain is what no system of its shape can exceed.
fn colour(system: &str) -> &'static str {
    match system {
        name if name.starts_with("msgd") => "#1f6fb4",
        name if name.starts_with("chain") => "#b0b0b0",
        _ => "#e08a2c",
    }
}

const COLUMNS: usize = 2;
const LEFT: usize = 20;
const TOP: usize = 36;
const NAMES: usize = 90;
const BARS: f64 = 260.0;
const PANEL_WIDTH: usize = 480;
const ROW: usize = 22;
