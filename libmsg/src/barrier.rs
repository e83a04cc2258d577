//! Fences that one thread has all the threads of the process pass: membarrier(2).

use std::sync::{
    OnceLock,
    atomic::{Ordering, fence},
};

use msg_proto::units::Span;
use rustix::{
    io::Errno,
    thread::{MembarrierCommand, membarrier, sched_yield},
};

use crate::clock;

/// Whether [`fence_all`] can be called. The first time it takes until each CPU has been elsewhere, some 10 ms in a process that
/// has threads: it is called where a client connects.
pub(crate) fn is_available() -> bool {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    // ThreadSanitizer does not know it for what it is.
    *REGISTERED.get_or_init(|| !cfg!(msg_tsan) && register().is_ok())
}

/// Each thread of this process has passed a fence between the call and the return. Returns whether the kernel did it.
pub(crate) fn fence_all() -> bool {
    fence(Ordering::SeqCst);
    // A fork may have to say anew that it wants it.
    let fenced = expedited().or_else(|_| register().and_then(|()| expedited()));
    if fenced.is_err() {
        // It was forbidden since (seccomp(2)). No store that was made before stands in a CPU's buffer for as long.
        let until = clock::now() + LONG;
        while clock::now() < until {
            sched_yield();
        }
    }
    fence(Ordering::SeqCst);
    fenced.is_ok()
}

fn register() -> Result<(), Errno> {
    membarrier(MembarrierCommand::RegisterPrivateExpedited)
}

fn expedited() -> Result<(), Errno> {
    membarrier(MembarrierCommand::PrivateExpedited)
}

const LONG: Span = Span::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_available_fences_from_each_thread() {
        if is_available() {
            assert!(fence_all() && std::thread::spawn(fence_all).join().unwrap());
        }
    }
}
