//! The functions of `libmsg.h` about instances: presence and draining.

use std::ffi::{c_int, c_void};

use super::{
    calls::{Context, timeout},
    handle::{Handle, answer},
    types::{D_ASKED, D_SUPERSEDED, DrainFn, PresenceC, PresenceFn},
};
use crate::{
    ClientId, DrainCause,
    callback::{OnDrain, OnPresence},
};

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_subscribe(client: *mut Handle, clientid: u32) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe { Handle::enter(client) }?.client().subscribe(ClientId(clientid))?;
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open; `callback` may be called with `ctx` in any thread that dispatches.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_on_presence(
    client: *mut Handle,
    callback: Option<PresenceFn>,
    ctx: *mut c_void,
) {
    let ctx = Context(ctx);
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        call.client().set_on_presence(callback.map(|callback| -> OnPresence {
            Box::new(move |_, event| {
                let event = PresenceC::from(event);
                // SAFETY: the promise of whoever set it; the struct lives while the callback runs.
                unsafe { callback(&raw const event, ctx.get()) };
            })
        }));
        Ok(0)
    });
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_on_presence`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_on_drain(client: *mut Handle, callback: Option<DrainFn>, ctx: *mut c_void) {
    let ctx = Context(ctx);
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        call.client().set_on_drain(callback.map(|callback| -> OnDrain {
            Box::new(move |_, cause| {
                let cause = match cause {
                    DrainCause::Superseded => D_SUPERSEDED,
                    DrainCause::Asked => D_ASKED,
                };
                // SAFETY: the promise of whoever set it.
                unsafe { callback(cause, ctx.get()) };
            })
        }));
        Ok(0)
    });
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_subscribe`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_drain(client: *mut Handle, timeout_ms: c_int) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        call.client().drain(timeout(timeout_ms)?)?;
        Ok(0)
    })
}
