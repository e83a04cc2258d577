//! Figures and seeds, printed past the test harness's capture: a run shows them whether it fails or not.

use std::{
    env, fmt,
    io::{self, Write as _},
};

/// Prints a line.
pub fn line(text: impl fmt::Display) {
    // Nobody may be reading; that is no failure of what is tested.
    if writeln!(io::stderr(), "  {text}").is_err() {}
}

/// Says that something was not tested, and why.
pub fn skipped(what: impl fmt::Display, why: impl fmt::Display) {
    line(format_args!("SKIPPED: {what}, because {why}"));
}

/// The seed of a test: `$MSG_TEST_SEED` if that is a number, else `usual`. Printed.
#[must_use]
pub fn seed(test: &str, usual: u64) -> u64 {
    let asked = env::var("MSG_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = asked.unwrap_or(usual);
    line(format_args!("{test}: seed {seed} (MSG_TEST_SEED chooses another)"));
    seed
}

/// Minimum, median and maximum.
#[must_use]
pub fn spread(values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.first(), sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(min), Some(median), Some(max)) => {
            format!("min {min:.1} ms, median {median:.1} ms, max {max:.1} ms")
        }
        _ => "nothing measured".to_owned(),
    }
}
