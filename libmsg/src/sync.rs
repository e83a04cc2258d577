//! std's mutex and condition variable, without poisoning: what they guard here is consistent whenever anything can panic.
//!
//! ThreadSanitizer sees what is compiled for it, and that leaves out what std does when a lock is contended. So
//! `sanitize.sh` sets `msg_tsan`, with which a contended lock is tried again and again, in code that is compiled here.

use std::{
    sync::{Condvar, Mutex, MutexGuard},
    time::Duration,
};

#[cfg(not(msg_tsan))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Gives the lock back until something has changed, or the time is over, or for no reason. `None`: no limit.
#[cfg(not(msg_tsan))]
pub(crate) fn wait<'a, T>(
    changed: &Condvar,
    _: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    timeout: Option<Duration>,
) -> MutexGuard<'a, T> {
    use std::sync::PoisonError;

    match timeout {
        Some(timeout) => changed.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0,
        None => changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
    }
}

#[cfg(msg_tsan)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    use std::{sync::TryLockError, thread};

    loop {
        match mutex.try_lock() {
            Ok(guard) => return guard,
            Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => thread::yield_now(),
        }
    }
}

#[cfg(msg_tsan)]
pub(crate) fn wait<'a, T>(
    _: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    _: Option<Duration>,
) -> MutexGuard<'a, T> {
    drop(guard);
    std::thread::park_timeout(Duration::from_millis(1));
    lock(mutex)
}
