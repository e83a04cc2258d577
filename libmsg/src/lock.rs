//! The lock of a client, and waiting for a change behind it.
//!
//! Most clients are used by one thread, or nearly so, and for that thread a mutex costs more than what it guards: each of its
//! atomic operations waits until the bytes that were copied before it are in the cache. So the lock is *biased* (Dice, Moir and
//! Scherer, "Quickly Reacquirable Locks", 2003): the first thread that takes it [`RUN`] times in a row is favoured, and then takes
//! and releases it by plain loads and stores (Dice, Huang and Yang, "Asymmetric Dekker Synchronization"):
//!
//! ```text
//! the favoured thread                another one, which has the mutex
//!   held = true                        biased = false
//!   (fence for the compiler)           membarrier(2)
//!   biased? it has the lock            held? waits until it is released
//! ```
//!
//! Of the two, at least one sees what the other has stored: membarrier(2) is a fence for the CPUs, in the place where the
//! favoured thread has none. Then the lock is a mutex for all, until the favoured thread has had it [`RUN`] times in a row again.
//! So threads that take turns pay for a mutex, and for a barrier at most every [`RUN`]th time.
//!
//! No other thread is ever favoured: one that was could still be about to store `held`. Where the kernel has no membarrier(2),
//! nobody is.

use std::{
    cell::UnsafeCell,
    fmt,
    marker::PhantomData,
    mem,
    ops::{Deref, DerefMut},
    panic::{RefUnwindSafe, UnwindSafe},
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering, compiler_fence},
    },
    time::Duration,
};

use crate::{
    barrier, sync,
    thread::{OnceThread, Thread},
};

/// How often a thread takes the lock, and no other meanwhile, before it is favoured.
const RUN: u32 = 1000;

/// A mutex that is biased towards one thread. It is not poisoned: the state that it guards is consistent at every point where
/// foreign code could panic, as callbacks run unlocked.
pub(crate) struct Lock<T> {
    /// Whether the favoured thread takes it by `held`. Only who has `queue` changes it.
    biased: AtomicBool,
    /// The favoured thread has it, or is about to look whether it may.
    held: AtomicBool,
    favoured: OnceThread,
    queue: Mutex<Queue>,
    /// For who waits until `held` is false.
    gate: Mutex<()>,
    released: Condvar,
    run: u32,
    value: UnsafeCell<T>,
}

/// What those know that take the mutex.
#[derive(Debug)]
struct Queue {
    /// Who had it last, and how often in a row.
    last: Option<Thread>,
    times: u32,
    can_bias: bool,
}

/// Has the lock until it is dropped, in the thread that took it.
pub(crate) struct Guard<'a, T> {
    lock: &'a Lock<T>,
    /// `None`: by `held`.
    queue: Option<MutexGuard<'a, Queue>>,
    /// As shareable as what it gives access to.
    value: PhantomData<&'a mut T>,
}

// SAFETY: the value goes from thread to thread, and never to two at once.
unsafe impl<T: Send> Sync for Lock<T> {}

/// As a mutex is, for the reason given at [`Lock`].
impl<T> UnwindSafe for Lock<T> {}
impl<T> RefUnwindSafe for Lock<T> {}

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::with_run(value, RUN)
    }

    fn with_run(value: T, run: u32) -> Self {
        Self {
            biased: AtomicBool::new(false),
            held: AtomicBool::new(false),
            favoured: OnceThread::new(),
            queue: Mutex::new(Queue { last: None, times: 0, can_bias: barrier::is_available() }),
            gate: Mutex::new(()),
            released: Condvar::new(),
            run,
            value: UnsafeCell::new(value),
        }
    }

    #[inline]
    pub(crate) fn lock(&self) -> Guard<'_, T> {
        if self.biased.load(Ordering::Relaxed) && self.is_favoured() && self.try_hold() {
            return self.guard(None);
        }
        self.lock_queue()
    }

    /// Whether this thread is the favoured one. Once it is, it is for ever.
    #[inline]
    pub(crate) fn is_favoured(&self) -> bool {
        self.favoured.is(Thread::here())
    }

    #[inline]
    const fn guard<'a>(&'a self, queue: Option<MutexGuard<'a, Queue>>) -> Guard<'a, T> {
        Guard { lock: self, queue, value: PhantomData }
    }

    /// Only for the favoured thread.
    #[inline]
    fn try_hold(&self) -> bool {
        if self.held.load(Ordering::Relaxed) {
            // Nobody else says so.
            reentered();
        }
        self.held.store(true, Ordering::Relaxed);
        // The CPU's part of it is in the other thread's barrier.
        compiler_fence(Ordering::SeqCst);
        // Acquire: what others did while they had it comes first.
        let may = self.biased.load(Ordering::Acquire);
        if !may {
            self.release();
        }
        may
    }

    #[inline]
    fn release(&self) {
        self.held.store(false, Ordering::Release);
        compiler_fence(Ordering::SeqCst);
        if !self.biased.load(Ordering::Relaxed) {
            self.wake();
        }
    }

    /// Somebody waits for `held`, or did.
    #[cold]
    fn wake(&self) {
        // Who saw it true did so with the gate, and sleeps by now.
        drop(sync::lock(&self.gate));
        self.released.notify_all();
    }

    #[inline(never)]
    fn lock_queue(&self) -> Guard<'_, T> {
        self.enter(sync::lock(&self.queue))
    }

    fn enter<'a>(&'a self, mut queue: MutexGuard<'a, Queue>) -> Guard<'a, T> {
        if self.biased.load(Ordering::Relaxed) {
            self.revoke(&mut queue);
        }
        let here = Thread::here();
        if queue.last.replace(here) != Some(here) {
            queue.times = 0;
        }
        queue.times += 1;
        if queue.times < self.run || !queue.can_bias || !self.favoured.set(here) {
            return self.guard(Some(queue));
        }
        queue.times = 0;
        self.held.store(true, Ordering::Relaxed);
        self.biased.store(true, Ordering::Release);
        self.guard(None)
    }

    /// Takes the bias away, and waits until the favoured thread has released the lock.
    #[cold]
    fn revoke(&self, queue: &mut Queue) {
        self.biased.store(false, Ordering::Relaxed);
        queue.can_bias = barrier::fence_all();
        let mut gate = sync::lock(&self.gate);
        // Acquire: what it did with it comes first.
        while self.held.load(Ordering::Acquire) {
            gate = sync::wait(&self.released, &self.gate, gate, None);
        }
    }

    /// Gives the lock back until something has changed, or the time is over, or for no reason. `None`: no limit. Who changes
    /// something has the lock then.
    pub(crate) fn wait<'a>(
        &'a self,
        changed: &Condvar,
        mut guard: Guard<'a, T>,
        timeout: Option<Duration>,
    ) -> Guard<'a, T> {
        let queue = match guard.queue.take() {
            Some(queue) => queue,
            None => {
                let Some(queue) = sync::try_lock(&self.queue) else {
                    drop(guard);
                    return self.lock();
                };
                // Nobody else waits: as if another had come and taken the bias away.
                self.biased.store(false, Ordering::Relaxed);
                self.held.store(false, Ordering::Relaxed);
                queue
            }
        };
        mem::forget(guard);
        self.enter(sync::wait(changed, &self.queue, queue, timeout))
    }
}

/// A mutex would wait for ever; two guards would be worse.
#[cold]
#[track_caller]
fn reentered() -> ! {
    panic!("a call of a client that this thread is in a call of already, as from a signal handler")
}

impl<T> Drop for Guard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        if self.queue.is_none() {
            self.lock.release();
        }
    }
}

impl<T> Deref for Guard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: this thread has the lock, and no other reference to the value lives as long as this one.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T> DerefMut for Guard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and `self` is borrowed for as long.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T> fmt::Debug for Lock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lock").field("biased", &self.biased).field("held", &self.held).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
