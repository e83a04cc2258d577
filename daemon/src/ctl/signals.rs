//! Ctrl-C and its like: a flag that long commands look at, so that they end in order.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rustix::event::Timespec;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

/// How often a waiting command looks at the flag.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// Whether a signal has asked to stop.
#[derive(Clone, Debug)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From here on SIGINT, SIGTERM and SIGHUP raise the flag; the second one ends the process as usual.
    pub(super) fn on_signals() -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // Registered first, so that the first signal finds the flag still down.
            flag::register_conditional_default(signal, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
        }
        Ok(Self(stop))
    }

    pub(super) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits that long, or until a signal comes.
    pub(super) fn sleep(&self, time: Duration) {
        let tv_sec = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let time = Timespec { tv_sec, tv_nsec: i64::from(time.subsec_nanos()) };
        // Interrupted is as good as over.
        if !self.is_raised() && rustix::event::poll(&mut [], Some(&time)).is_err() {}
    }

    pub(super) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
