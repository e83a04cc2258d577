//! The daemon's clocks; nothing else reads them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use msg_proto::units::{Span, Time};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// `CLOCK_BOOTTIME`: it goes on while the VM is suspended, so that what grew old meanwhile is seen to be old.
#[must_use]
pub fn now() -> Time {
    Time(micros(clock_gettime(ClockId::Boottime)))
}

/// Wall time. It decides nothing: incarnations grow with it from start to start.
#[must_use]
pub fn wall_micros() -> u64 {
    // Through libc, unlike the other clock: so a test can have this one differ between two daemons.
    #[expect(clippy::disallowed_methods, reason = "this is the one file that reads the clock")]
    let now = SystemTime::now();
    Span::from(now.duration_since(UNIX_EPOCH).unwrap_or_default()).0
}

/// `CLOCK_MONOTONIC`, which a service manager compares with its own: when a reload began.
#[must_use]
pub(crate) fn monotonic_micros() -> u64 {
    micros(clock_gettime(ClockId::Monotonic))
}

/// How long to wait for an instant: zero if it has come.
#[must_use]
pub fn until(deadline: Time, now: Time) -> Duration {
    deadline.since(now).into()
}

fn micros(time: Timespec) -> u64 {
    let duration = Duration::try_from(time).unwrap_or_default();
    Span::from(duration).0
}
