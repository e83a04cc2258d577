//! `epoll_wait`, as this library needs it.

use std::{
    ffi::c_int,
    os::fd::{AsRawFd as _, BorrowedFd},
    ptr,
};

/// Sleeps until something is ready, and returns that: nothing when a signal came.
///
/// It is the system call itself, not libc's function, which is a cancellation point: `pthread_cancel` must not unwind
/// through Rust. rustix's leaves the size of the signal mask to chance, which the kernel does not mind, without
/// a mask, but valgrind tells every program that uses this library.
pub(crate) fn wait<'a>(
    epoll: BorrowedFd<'_>,
    events: &'a mut [libc::epoll_event; 3],
) -> &'a [libc::epoll_event] {
    let no_mask = ptr::null::<libc::sigset_t>();
    // SAFETY: the descriptor is open, and the kernel writes at most `len` events.
    let ready = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait,
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            events.len(),
            NO_LIMIT,
            no_mask,
            KERNEL_MASK_BYTES,
        )
    };
    usize::try_from(ready).ok().and_then(|ready| events.get(..ready)).unwrap_or(&[])
}

const NO_LIMIT: c_int = -1;

/// The kernel's signal mask, which is not libc's.
const KERNEL_MASK_BYTES: usize = 8;
