//! The functions of `libmsg.h`.

use std::{
    ffi::{CStr, OsStr, c_char, c_int, c_void},
    mem::MaybeUninit,
    os::{fd::AsRawFd as _, unix::ffi::OsStrExt as _},
    ptr, slice,
    time::Duration,
};

use msg_proto::{limits::MAX_USER_BYTES, outcome::Reason};

use super::{
    Code,
    handle::{Handle, answer},
    types::{
        FailureC, FailureFn, MessageC, MessageFn, O_ACK_ON_HANDLED, O_BESIDE, O_NO_RETRANSMITS,
        O_PRIORITY_SHIFT, O_TAKEOVER, Options,
    },
};
use crate::{AckMode, Arrival, Builder, Client, ClientId, ConnectError, SendFlags};

/// See `libmsg.h`.
///
/// # Safety
///
/// `options` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_options_init(options: *mut Options) -> c_int {
    let init = Options { socket_path: ptr::null(), clientid: 0, interval_ms: 0, times: 0, flags: 0 };
    answer(|| {
        // SAFETY: null, or the caller's promise; nothing is read.
        let options = unsafe { options.cast::<MaybeUninit<Options>>().as_mut() }.ok_or(Code::Invalid)?;
        options.write(init);
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `options` is null or readable, its path a string; `client` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_open(options: *const Options, client: *mut *mut Handle) -> c_int {
    // SAFETY: the caller's promise; there is nowhere to explain.
    unsafe { msg_open_explained(options, client, ptr::null_mut(), 0) }
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_open`]; `why` is null or `size` bytes are writable there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_open_explained(
    options: *const Options,
    client: *mut *mut Handle,
    why: *mut c_char,
    size: usize,
) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let explain = |text: &str| unsafe { explain(text, why, size) };
        explain("");
        if client.is_null() {
            explain("client: not NULL");
            return Err(Code::Invalid);
        }
        // SAFETY: not null, and the caller's promise.
        unsafe { client.write(ptr::null_mut()) };
        // SAFETY: the caller's promise.
        let opened = unsafe { builder(options) }.and_then(Builder::connect).map_err(|error| {
            explain(&error.to_string());
            if let ConnectError::System { errno, .. } = &error {
                set_errno(errno.raw_os_error());
            }
            Code::from(&error)
        })?;
        opened.take_by_callback_only();
        // SAFETY: as above.
        unsafe { client.write(Handle::give(opened)) };
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open; `callback` may be called with `ctx` in any thread that dispatches.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_on_failure(client: *mut Handle, callback: Option<FailureFn>, ctx: *mut c_void) {
    let ctx = Context(ctx);
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        call.client().set_on_failure(callback.map(|callback| -> crate::callback::OnFailure {
            Box::new(move |_, failure| {
                let failure = FailureC::from(failure);
                // SAFETY: the promise of whoever set it; the struct lives while the callback runs.
                unsafe { callback(&raw const failure, ctx.get()) };
            })
        }));
        Ok(0)
    });
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_on_failure`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_on_message(client: *mut Handle, callback: Option<MessageFn>, ctx: *mut c_void) {
    let ctx = Context(ctx);
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        call.client().set_on_message(callback.map(|callback| -> crate::callback::OnMessage {
            Box::new(move |_, message| {
                let message = MessageC::from(message);
                // SAFETY: the promise of whoever set it; struct and bytes live while the callback runs.
                unsafe { callback(&raw const message, ctx.get()) };
            })
        }));
        Ok(0)
    });
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open; `len` bytes are readable at `msg`, `user_len` at `user_buff`; `msgid` is
/// null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_send(
    client: *mut Handle,
    dst: u32,
    msg: *const c_void,
    len: usize,
    user_buff: *const c_void,
    user_len: usize,
    flags: u32,
    msgid: *mut u32,
) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        let flags = SendFlags::from_bits(flags).ok_or(Code::Invalid)?;
        if user_len > MAX_USER_BYTES {
            return Err(Code::UserTooLong);
        }
        // SAFETY: the caller's promise; the lengths are checked first.
        let (payload, user) = unsafe { (bytes(msg, len)?, bytes(user_buff, user_len)?) };
        let sent = call.client().send_user(ClientId(dst), payload, user, flags)?;
        // SAFETY: null, or the caller's promise.
        if let Some(msgid) = unsafe { msgid.as_mut() } {
            *msgid = sent.0;
        }
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_flush(client: *mut Handle, timeout_ms: c_int) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        call.client().flush(timeout(timeout_ms)?)?;
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_flush`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_dispatch(client: *mut Handle, timeout_ms: c_int) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        Ok(count(call.client().dispatch(timeout(timeout_ms)?)?))
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_flush`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_fd(client: *const Handle) -> c_int {
    // SAFETY: the caller's promise.
    answer(|| Ok(unsafe { Handle::enter(client) }?.client().as_fd().as_raw_fd()))
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_flush`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_wake(client: *mut Handle) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe { Handle::enter(client) }?.client().wake();
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_flush`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_unresolved(client: *const Handle) -> c_int {
    // SAFETY: the caller's promise.
    answer(|| Ok(count(unsafe { Handle::enter(client) }?.client().unresolved())))
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_flush`]; `why` is null or `size` bytes are writable there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_refusal(client: *const Handle, why: *mut c_char, size: usize) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        let nack = call.client().refusal();
        // SAFETY: the caller's promise.
        unsafe { explain(nack.as_ref().map_or("", |nack| &nack.text), why, size) };
        nack.map_or(Ok(0), |nack| Err(nack.rule.into()))
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open`; no call with it begins from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_close(client: *mut Handle) -> c_int {
    // SAFETY: the caller's promise.
    answer(|| unsafe { Handle::close(client) }.map(|()| 0))
}

/// See `libmsg.h`.
#[unsafe(no_mangle)]
pub extern "C" fn msg_strerror(code: c_int) -> *const c_char {
    let text = match Code::from_value(code) {
        Some(code) => code.text(),
        None if code >= 0 => c"no error",
        None => c"unknown error: of a newer libmsg?",
    };
    text.as_ptr()
}

/// See `libmsg.h`.
#[unsafe(no_mangle)]
pub extern "C" fn msg_reason_name(reason: c_int) -> *const c_char {
    if let Some(name) = super::types::call_reason_name(reason) {
        return name.as_ptr();
    }
    let name = match u8::try_from(reason).ok().and_then(Reason::from_wire) {
        Some(Reason::NoRoute) => c"NoRoute",
        Some(Reason::NoAnswer) => c"NoAnswer",
        Some(Reason::Refused) => c"Refused",
        Some(Reason::GoingAway) => c"GoingAway",
        Some(Reason::ReceiverGone) => c"ReceiverGone",
        Some(Reason::QueueFull) => c"QueueFull",
        Some(Reason::TooLarge) => c"TooLarge",
        Some(Reason::Cancelled) => c"Cancelled",
        None => c"unknown",
    };
    name.as_ptr()
}

/// See `libmsg.h`.
#[unsafe(no_mangle)]
pub extern "C" fn msg_version() -> *const c_char {
    VERSION.as_ptr()
}

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// What a callback is called with. To a closure that uses it through a method it is one value, and may be sent.
#[derive(Clone, Copy)]
pub(super) struct Context(pub(super) *mut c_void);

// SAFETY: libmsg.h says which threads run callbacks; what `ctx` points to is up to whoever set it.
unsafe impl Send for Context {}

impl Context {
    pub(super) const fn get(self) -> *mut c_void {
        self.0
    }
}

/// # Safety
///
/// `options` is null or readable, its path a string.
unsafe fn builder(options: *const Options) -> Result<Builder, ConnectError> {
    let bad = |what| ConnectError::BadOption { what };
    // SAFETY: null, or the caller's promise.
    let options = unsafe { options.as_ref() }.ok_or_else(|| bad("options: not NULL"))?;
    let Options { socket_path, clientid, interval_ms, times, flags } = *options;
    let mut builder = Client::builder(ClientId(clientid));
    let known = O_NO_RETRANSMITS | O_ACK_ON_HANDLED | O_BESIDE | O_TAKEOVER | 0xff << O_PRIORITY_SHIFT;
    if flags & !known != 0 {
        return Err(bad("flags: MSG_O_* only, and no unknown ones"));
    }
    builder = builder.priority(u8::try_from(flags >> O_PRIORITY_SHIFT).unwrap_or(u8::MAX));
    builder = match (flags & O_BESIDE != 0, flags & O_TAKEOVER != 0) {
        (true, true) => return Err(bad("flags: MSG_O_BESIDE or MSG_O_TAKEOVER, not both")),
        (true, false) => builder.arrival(Arrival::Beside),
        (false, true) => builder.arrival(Arrival::Takeover),
        (false, false) => builder,
    };
    if !socket_path.is_null() {
        // SAFETY: not null, and the caller's promise.
        let path = unsafe { CStr::from_ptr(socket_path) };
        if path.is_empty() {
            return Err(bad("socket_path: NULL for the default, not an empty string"));
        }
        builder = builder.socket(OsStr::from_bytes(path.to_bytes()));
    }
    if interval_ms != 0 {
        builder = builder.interval(Duration::from_millis(interval_ms.into()));
    }
    if flags & O_NO_RETRANSMITS != 0 {
        if times != 0 {
            return Err(bad("times: 0 with MSG_O_NO_RETRANSMITS"));
        }
        builder = builder.times(0);
    } else if times != 0 {
        builder = builder.times(times);
    }
    if flags & O_ACK_ON_HANDLED != 0 {
        builder = builder.ack(AckMode::OnHandled);
    }
    Ok(builder)
}

/// # Safety
///
/// `len` bytes are readable at `data`, and nobody writes there meanwhile.
pub(super) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Result<&'a [u8], Code> {
    match len {
        0 => Ok(&[]),
        _ if data.is_null() => Err(Code::Invalid),
        _ if isize::try_from(len).is_err() => Err(Code::TooLarge),
        // SAFETY: not null, not longer than any object can be, and the caller's promise.
        _ => Ok(unsafe { slice::from_raw_parts(data.cast(), len) }),
    }
}

/// Writes as much of `text` as fits, and a zero.
///
/// # Safety
///
/// `why` is null or `size` bytes are writable there.
unsafe fn explain(text: &str, why: *mut c_char, size: usize) {
    if why.is_null() || size == 0 {
        return;
    }
    let len = text.floor_char_boundary(size - 1);
    // SAFETY: at most `size` bytes are written, and the caller's promise.
    unsafe {
        ptr::copy_nonoverlapping(text.as_ptr(), why.cast(), len);
        why.add(len).write(0);
    }
}

pub(super) fn set_errno(errno: c_int) {
    // SAFETY: it is this thread's, and always there.
    unsafe { libc::__errno_location().write(errno) };
}

pub(super) fn timeout(ms: c_int) -> Result<Option<Duration>, Code> {
    match u64::try_from(ms) {
        Ok(ms) => Ok(Some(Duration::from_millis(ms))),
        Err(_) if ms == -1 => Ok(None),
        Err(_) => Err(Code::Invalid),
    }
}

fn count(n: usize) -> c_int {
    c_int::try_from(n).unwrap_or(c_int::MAX)
}
