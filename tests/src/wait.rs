//! Waiting for a condition, with a deadline: the only way in which these tests wait.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use msg_proto::units::{Span, Time};
use msgd::clock;

/// How long a condition may take to come about on a busy machine before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Looks at a condition again and again until it holds.
///
/// # Panics
///
/// It does not come about in [`PATIENCE`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_some(what, || condition().then_some(()));
}

/// Looks again and again until there is something to return.
///
/// # Panics
///
/// There is nothing in [`PATIENCE`].
pub fn until_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::now() + Span::from(PATIENCE);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock::now() < deadline, "not within {PATIENCE:?}: {what}");
        // Between two looks; a condition that held would not have come here.
        thread::park_timeout(GAP);
    }
}

/// Asserts that a condition holds for the whole of a time: that something does not happen.
///
/// # Panics
///
/// It does not hold at some look.
pub fn throughout(what: &str, span: Duration, mut condition: impl FnMut() -> bool) {
    let end = clock::now() + Span::from(span);
    while clock::now() < end {
        assert!(condition(), "does not hold any more: {what}");
        thread::park_timeout(GAP);
    }
}

/// Tells other threads to stop when it is dropped: at the end of a test, and when an assertion fails.
#[derive(Debug)]
pub struct StopOnDrop<'a>(pub &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Milliseconds since, with fractions.
#[must_use]
pub fn ms_since(begin: Time) -> f64 {
    Duration::from(clock::now().since(begin)).as_secs_f64() * 1e3
}

const GAP: Duration = Duration::from_millis(5);
