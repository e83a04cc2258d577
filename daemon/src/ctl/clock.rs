//! The clock of `msgctl` and of the relay: the daemons' own, so that ages and send times can be compared.

use msg_proto::units::Time;
use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME`, now.
#[must_use]
pub fn now() -> Time {
    let t = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
    Time(seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000))
}
