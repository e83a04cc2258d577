//! The library's clock: the only file of it that reads one.

use msg_proto::units::Time;
use rustix::time::{ClockId, clock_gettime};

/// Now, on `CLOCK_BOOTTIME`: the clock of the node's daemon, which goes on while the machine sleeps.
pub(crate) fn now() -> Time {
    let t = clock_gettime(ClockId::Boottime);
    let (s, ns) = (u64::try_from(t.tv_sec).unwrap_or(0), u64::try_from(t.tv_nsec).unwrap_or(0));
    Time(s.saturating_mul(1_000_000).saturating_add(ns / 1000))
}
