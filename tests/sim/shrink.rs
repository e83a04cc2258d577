//! The smallest scenario that still fails, found cheaply: kinds of faults off one by one, less time, fewer clients
//! and nodes.

use super::{
    check::{Invariant, Log},
    options::{Fault, Options},
    run::run_once,
};

/// Options under which the seed still breaks the same invariant.
#[must_use]
pub fn shrink(seed: u64, options: &Options, invariant: Invariant, at: u64) -> Options {
    let fails =
        |o: &Options| run_once(seed, o, Log::default()).violation.filter(|v| v.invariant == invariant);
    let mut best = *options;
    let mut at = at;
    // Without what comes after it.
    let seconds = at / 1_000_000 + 1;
    if seconds < best.seconds {
        let tried = Options { seconds, ..best };
        if fails(&tried).is_some() {
            best = tried;
        }
    }
    for fault in Fault::ALL {
        let tried = Options { without: best.without.with(*fault), ..best };
        if let Some(violation) = fails(&tried) {
            (best, at) = (tried, violation.at);
        }
    }
    for clients in 1..4 {
        let tried = Options { clients: Some(clients), ..best };
        if let Some(violation) = fails(&tried) {
            (best, at) = (tried, violation.at);
            break;
        }
    }
    let tried = Options { seconds: at / 1_000_000 + 1, ..best };
    if tried.seconds < best.seconds && fails(&tried).is_some() {
        best = tried;
    }
    best
}
