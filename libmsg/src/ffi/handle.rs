//! `msg_client`: a client, and what tells it from everything else that a pointer may point to.

use std::{
    ffi::c_int,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use super::Code;
use crate::Client;

/// What a `msg_client *` points to.
///
/// Telling a closed one is best effort: its memory is the allocator's by then. So it is small, which lets the allocator
/// keep it at hand, and the mark stands behind the words that allocators write into what is freed.
#[repr(C)]
#[derive(Debug)]
pub struct Handle {
    allocators: [u64; 2],
    mark: AtomicU64,
    /// Calls that are in progress: those of the thread that the client's lock favours, which alone counts there and needs no
    /// atomic operation for it...
    favoured: AtomicU32,
    /// ... and those of all others.
    calls: AtomicU32,
    client: Box<Client>,
}

const OPEN: u64 = u64::from_le_bytes(*b"msg.open");
const CLOSED: u64 = u64::from_le_bytes(*b"msg.gone");

/// One call in progress.
#[derive(Debug)]
pub(super) struct Call<'a> {
    handle: &'a Handle,
    is_favoured: bool,
}

impl Handle {
    pub(super) fn give(client: Client) -> *mut Self {
        Box::into_raw(Box::new(Self {
            allocators: [0; 2],
            mark: AtomicU64::new(OPEN),
            favoured: AtomicU32::new(0),
            calls: AtomicU32::new(0),
            client: Box::new(client),
        }))
    }

    /// Begins a call.
    ///
    /// # Safety
    ///
    /// `handle` is null or came from [`give`](Self::give), and is not closed while the call lasts. What was closed before
    /// is recognised as long as its memory is readable and not in use for something that looks alike.
    pub(super) unsafe fn enter<'a>(handle: *const Self) -> Result<Call<'a>, Code> {
        let open =
            NonNull::new(handle.cast_mut()).filter(|handle| handle.is_aligned()).ok_or(Code::Handle)?;
        // SAFETY: not null, aligned, and the caller's promise.
        let open = unsafe { open.as_ref() };
        if open.mark.load(Ordering::Acquire) != OPEN {
            return Err(Code::Handle);
        }
        if open.client.is_forked() {
            return Err(Code::Forked);
        }
        let is_favoured = open.client.is_favoured();
        if is_favoured {
            open.favoured.store(open.favoured.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            open.calls.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Call { handle: open, is_favoured })
    }

    /// Closes the client: the goodbye, then the memory.
    ///
    /// # Safety
    ///
    /// As for [`enter`](Self::enter); no call begins from now on.
    pub(super) unsafe fn close(handle: *mut Self) -> Result<(), Code> {
        // SAFETY: the caller's promise.
        let call = match unsafe { Self::enter(handle) } {
            // SAFETY: it is open, and the caller's promise.
            Err(Code::Forked) => return unsafe { Self::close_in_fork(handle) },
            call => call?,
        };
        if call.client().in_callback() {
            return Err(Code::InCallback);
        }
        // Acquire: what the calls that have ended did comes before the end of it all.
        if call.handle.calls() > 1 {
            return Err(Code::Busy);
        }
        // Of two threads that close at once, one does.
        call.handle
            .mark
            .compare_exchange(OPEN, CLOSED, Ordering::AcqRel, Ordering::Acquire)
            .map_err(|_| Code::Handle)?;
        drop(call);
        // SAFETY: it came from `Box::into_raw`, and the mark has let one through.
        drop(unsafe { Box::from_raw(handle) });
        Ok(())
    }

    /// A child may give back its copy of a client: without a word to the daemon, whose client the parent is.
    ///
    /// # Safety
    ///
    /// `handle` is open, and this process is a fork.
    unsafe fn close_in_fork(handle: *mut Self) -> Result<(), Code> {
        // SAFETY: the caller's promise.
        let open = unsafe { &*handle };
        open.mark.store(CLOSED, Ordering::Release);
        // A thread that was in a call did not come along, and may have left things half done: they are left alone.
        if open.calls() == 0 {
            // SAFETY: it came from `Box::into_raw`; the child has one thread, which is here.
            drop(unsafe { Box::from_raw(handle) });
        }
        Ok(())
    }

    fn calls(&self) -> u32 {
        self.favoured.load(Ordering::Acquire) + self.calls.load(Ordering::Acquire)
    }
}

impl Call<'_> {
    pub(super) fn client(&self) -> &Client {
        &self.handle.client
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Self { handle, is_favoured } = *self;
        if is_favoured {
            handle.favoured.store(handle.favoured.load(Ordering::Relaxed) - 1, Ordering::Release);
        } else {
            handle.calls.fetch_sub(1, Ordering::Release);
        }
    }
}

/// Runs a call. What it finds wrong, a panic too, becomes a number.
pub(super) fn answer(call: impl FnOnce() -> Result<c_int, Code>) -> c_int {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => value,
        Ok(Err(code)) => code.value(),
        Err(panic) => {
            // What was thrown may throw when it is dropped.
            std::mem::forget(panic);
            Code::Internal.value()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_panic_gets_out() {
        struct Throws;
        impl Drop for Throws {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        assert_eq!(answer(|| Ok(3)), 3);
        assert_eq!(answer(|| Err(Code::Again)), -2);
        assert_eq!(answer(|| std::panic::panic_any(Throws)), -25);
    }
}
