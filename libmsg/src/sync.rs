//! std's mutex and condition variable, without poisoning: what they guard here is consistent whenever anything can panic.
//!
//! ThreadSanitizer sees what is compiled for it, and that leaves out what std does when a lock is contended. So
//! `sanitize.sh` sets `msg_tsan`, with which a contended lock is tried again and again, in code that is compiled here.

use std::{
    sync::{Condvar, Mutex, MutexGuard, TryLockError},
    time::Duration,
};

#[cfg(not(msg_tsan))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// `None` if another thread has it.
pub(crate) fn try_lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
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
    loop {
        if let Some(guard) = try_lock(mutex) {
            return guard;
        }
        std::thread::yield_now();
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
