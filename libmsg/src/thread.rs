//! Threads, told apart without a word to std or the kernel.

use std::{
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

/// A thread, as long as it lives. Asking std which it is would allocate, for ever in a thread that is not std's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Thread(usize);

thread_local! {
    /// Its address is the thread's own.
    static PLACE: u8 = const { 0 };
}

impl Thread {
    #[inline]
    pub(crate) fn here() -> Self {
        PLACE.with(|place| Self(ptr::from_ref(place).addr()))
    }
}

/// The one thread that has been chosen for something, or another one that was begun in its place after it had ended.
#[derive(Debug)]
pub(crate) struct OnceThread(AtomicUsize);

impl OnceThread {
    pub(crate) const fn new() -> Self {
        Self(AtomicUsize::new(NONE))
    }

    #[inline]
    pub(crate) fn is(&self, thread: Thread) -> bool {
        self.0.load(Ordering::Relaxed) == thread.0
    }

    /// Whether it is this one, which it becomes if none is chosen. For one thread at a time.
    pub(crate) fn set(&self, thread: Thread) -> bool {
        if self.0.load(Ordering::Relaxed) == NONE {
            self.0.store(thread.0, Ordering::Relaxed);
        }
        self.is(thread)
    }
}

/// Nobody's place.
const NONE: usize = 0;
