//! Telling a process from its fork without asking the kernel each time.

use std::{
    ptr,
    sync::atomic::{AtomicU8, Ordering},
};

use rustix::{
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap},
    process::{Pid, getpid},
};

/// A page that the kernel hands to a child empty (`MADV_WIPEONFORK`): reading it costs nothing, where `getpid` is a
/// system call for each message. Where the kernel does not offer that, the process is asked for its number.
#[derive(Debug)]
pub(crate) struct ForkMark {
    page: *const AtomicU8,
    pid: Pid,
}

/// What is asked for; the kernel rounds it up to a page.
const BYTES: usize = 1;

impl ForkMark {
    pub(crate) fn new() -> Self {
        Self { page: marked_page().unwrap_or(ptr::null()), pid: getpid() }
    }

    /// Whether this process is not the one that made the mark.
    pub(crate) fn is_forked(&self) -> bool {
        // SAFETY: the page is null or mapped, readable, until `self` is dropped, and only read atomically.
        match unsafe { self.page.as_ref() } {
            Some(mark) => mark.load(Ordering::Relaxed) == 0,
            None => getpid() != self.pid,
        }
    }

    /// The mark as a child sees it.
    #[cfg(test)]
    pub(crate) fn forked() -> Self {
        Self { page: ptr::null(), pid: Pid::INIT }
    }
}

fn marked_page() -> Option<*const AtomicU8> {
    let access = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a mapping of its own, at an address that the kernel chooses.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), BYTES, access, MapFlags::PRIVATE) }.ok()?;
    let mark: *const AtomicU8 = page.cast_const().cast();
    // SAFETY: the mapping is ours, and nothing was written to it.
    if unsafe { madvise(page, BYTES, Advice::LinuxWipeOnFork) }.is_err() {
        unmap(mark);
        return None;
    }
    // SAFETY: mapped, writable, aligned.
    unsafe { &*mark }.store(1, Ordering::Relaxed);
    Some(mark)
}

fn unmap(mark: *const AtomicU8) {
    // SAFETY: it was mapped by `marked_page` with that size, and its only user is going away.
    let unmapped = unsafe { munmap(mark.cast_mut().cast(), BYTES) };
    debug_assert!(unmapped.is_ok(), "{unmapped:?}");
}

impl Drop for ForkMark {
    fn drop(&mut self) {
        if !self.page.is_null() {
            unmap(self.page);
        }
    }
}

// SAFETY: the page belongs to this value alone.
unsafe impl Send for ForkMark {}
// SAFETY: the page is only read, atomically, once there is a mark.
unsafe impl Sync for ForkMark {}
