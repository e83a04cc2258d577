//! The functions of `libmsg.h` for calls.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    mem::size_of,
    ptr,
    time::Duration,
};

use super::{
    Code,
    calls::{Context, bytes},
    handle::{Handle, answer},
    types::{
        CallCountersC, CallOptionsC, F_AT_LEAST_ONCE, F_IDEMPOTENT, F_LOST_REFUSE, F_LOST_RUN, F_REPEAT,
        F_UNORDERED, RequestC, RequestFn, ResultC, ResultFn, reason_of,
    },
};
use crate::{
    CallError, CallId, CallOptions, Certainty, ClientId, LostReply, Procedure, ProcedureOptions, Reply,
    ReplyError, Semantics, Xid, call::run_id,
};

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open; `len` bytes are readable at `request`, `size` bytes writable at `reply`;
/// `options` is readable; `reply_len` and `reason` are null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_call(
    client: *mut Handle,
    dst: u32,
    procedure: u32,
    request: *const c_void,
    len: usize,
    options: *const CallOptionsC,
    reply: *mut c_void,
    size: usize,
    reply_len: *mut usize,
    reason: *mut c_int,
) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        // SAFETY: null, or the caller's promise.
        let (options, request) = unsafe { (options_of(options)?, bytes(request, len)?) };
        if reply.is_null() && size > 0 {
            return Err(Code::Invalid);
        }
        let result = call.client().call(ClientId(dst), Procedure(procedure), request, options);
        let why = result.as_ref().err().map_or(0, reason_of);
        let data = result.as_ref().map_or(&[][..], |reply| &reply.data);
        let fits = data.len().min(size);
        // SAFETY: null, or the caller's promise; no more than `size` bytes are written.
        unsafe {
            if let Some(reason) = reason.as_mut() {
                *reason = why;
            }
            if let Some(reply_len) = reply_len.as_mut() {
                *reply_len = data.len();
            }
            if fits > 0 {
                ptr::copy_nonoverlapping(data.as_ptr(), reply.cast(), fits);
            }
        }
        let is_cut = fits < data.len();
        result?;
        if is_cut { Err(Code::Truncated) } else { Ok(0) }
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// As for [`msg_call`]; `done` may be called with `ctx` in any thread that dispatches; `call_out` is null or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_call_start(
    client: *mut Handle,
    dst: u32,
    procedure: u32,
    request: *const c_void,
    len: usize,
    options: *const CallOptionsC,
    done: Option<ResultFn>,
    ctx: *mut c_void,
    call_out: *mut u64,
) -> c_int {
    let ctx = Context(ctx);
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        // SAFETY: null, or the caller's promise.
        let (options, request) = unsafe { (options_of(options)?, bytes(request, len)?) };
        let tell = move |result: Result<Reply, CallError>| {
            let Some(done) = done else { return };
            let result = ResultC::from(&result);
            // SAFETY: the promise of whoever gave it; struct and bytes live while the callback runs.
            unsafe { done(&raw const result, ctx.get()) };
        };
        let target = (ClientId(dst), Procedure(procedure));
        let started =
            call.client().start_call(target.0, target.1, request, options, move |_, result| tell(result))?;
        // SAFETY: null, or the caller's promise.
        if let Some(call_out) = unsafe { call_out.as_mut() } {
            *call_out = started.0;
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
pub unsafe extern "C" fn msg_call_cancel(client: *mut Handle, call_id: u64) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        if call.client().cancel_call(CallId(call_id)) { Ok(0) } else { Err(Code::NoCall) }
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open; `handler` may be called with `ctx` in any thread that dispatches.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_serve(
    client: *mut Handle,
    procedure: u32,
    flags: u32,
    handler: Option<RequestFn>,
    ctx: *mut c_void,
) -> c_int {
    let ctx = Context(ctx);
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        let handler = handler.ok_or(Code::Invalid)?;
        call.client().serve_with(Procedure(procedure), procedure_options(flags)?, move |client, call| {
            let node = CString::new(&*call.from.node).unwrap_or_default();
            let left = u32::try_from(call.responder.time_left().as_millis()).unwrap_or(u32::MAX);
            let (from, procedure, xid, is_repeat) = (call.from, call.procedure, call.xid, call.is_repeat);
            let request = RequestC {
                call: call.responder.into_run().0,
                xid: xid.0,
                src: from.instance.client.0,
                procedure: procedure.0,
                uid: from.uid,
                is_repeat: c_int::from(is_repeat),
                time_left_ms: left,
                node: node.as_ptr(),
                data: call.request.as_ptr().cast(),
                len: call.request.len(),
            };
            // SAFETY: the promise of whoever set it; struct, name and bytes live while the handler runs.
            unsafe { handler(&raw const request, ctx.get()) };
            drop((client, node));
        });
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open; `len` bytes are readable at `reply`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_reply(
    client: *mut Handle,
    call_id: u64,
    reply: *const c_void,
    len: usize,
) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let (call, reply) = unsafe { (Handle::enter(client)?, bytes(reply, len)?) };
        call.client().reply_to(run_id(call_id), reply).map_err(|error| match error {
            ReplyError::Answered => Code::NoCall,
            ReplyError::TooLarge { .. } => Code::TooLarge,
            ReplyError::WouldBlock => Code::Again,
            ReplyError::Forked => Code::Forked,
        })?;
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_reply_none(client: *mut Handle, call_id: u64) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        unsafe { Handle::enter(client) }?.client().give_up(run_id(call_id));
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_caller_waits(client: *mut Handle, call_id: u64) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        let run = run_id(call_id);
        if !call.client().waits(run) {
            return Ok(0);
        }
        let left = call.client().time_left(run).as_millis();
        Ok(c_int::try_from(left).unwrap_or(c_int::MAX).max(1))
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_enable_reply_cache(client: *mut Handle, replies: u32) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        if replies == 0 {
            return Err(Code::Invalid);
        }
        call.client().enable_reply_cache(replies as usize);
        Ok(0)
    })
}

/// See `libmsg.h`.
///
/// # Safety
///
/// `client` is from `msg_open` and stays open; `size` bytes are writable at `counters`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_call_stats(
    client: *const Handle,
    counters: *mut CallCountersC,
    size: usize,
) -> c_int {
    answer(|| {
        // SAFETY: the caller's promise.
        let call = unsafe { Handle::enter(client) }?;
        if counters.is_null() || !size.is_multiple_of(size_of::<u64>()) {
            return Err(Code::Invalid);
        }
        let now = CallCountersC::from(call.client().call_counters());
        let known = size.min(size_of::<CallCountersC>());
        // SAFETY: not null, and the caller's promise; what a newer caller knows more is zero.
        unsafe {
            ptr::write_bytes(counters.cast::<u8>(), 0, size);
            ptr::copy_nonoverlapping((&raw const now).cast::<u8>(), counters.cast(), known);
        }
        Ok(0)
    })
}

/// # Safety
///
/// `options` is null or readable.
unsafe fn options_of(options: *const CallOptionsC) -> Result<CallOptions, Code> {
    // SAFETY: null, or the caller's promise.
    let options = unsafe { options.as_ref() }.ok_or(Code::Invalid)?;
    let CallOptionsC { timeout_ms, retries, xid, flags, reserved } = *options;
    if flags & !(F_UNORDERED | F_AT_LEAST_ONCE | F_REPEAT) != 0 || reserved != 0 {
        return Err(Code::Invalid);
    }
    let at_least_once = flags & F_AT_LEAST_ONCE != 0;
    Ok(CallOptions {
        timeout: Duration::from_millis(timeout_ms.into()),
        semantics: if at_least_once { Semantics::AtLeastOnce } else { Semantics::AtMostOnce },
        retries,
        xid: (xid != 0).then_some(Xid(xid)),
        is_repeat: flags & F_REPEAT != 0,
        is_unordered: flags & F_UNORDERED != 0,
    })
}

fn procedure_options(flags: u32) -> Result<ProcedureOptions, Code> {
    let is_idempotent = flags & F_IDEMPOTENT != 0;
    let lost_reply = match flags & !F_IDEMPOTENT {
        0 => LostReply::BySemantics,
        F_LOST_REFUSE => LostReply::Refuse,
        F_LOST_RUN => LostReply::Run,
        _ => return Err(Code::Invalid),
    };
    Ok(ProcedureOptions { is_idempotent, lost_reply })
}

impl From<CallError> for Code {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Failed(failure) if failure.certainty == Certainty::NotStarted => Self::NotStarted,
            CallError::Failed(_) => Self::Unknown,
            CallError::NotSent(error) => error.into(),
            CallError::XidInUse => Self::XidInUse,
            CallError::Timeout | CallError::NoXid => Self::Invalid,
            CallError::InCallback => Self::InCallback,
        }
    }
}

impl From<&Result<Reply, CallError>> for ResultC {
    /// The bytes are the result's.
    fn from(result: &Result<Reply, CallError>) -> Self {
        match result {
            Ok(Reply { xid, data }) => {
                Self { xid: xid.0, error: 0, reason: 0, data: data.as_ptr().cast(), len: data.len() }
            }
            Err(error) => {
                let data = ptr::dangling::<c_char>().cast();
                Self { xid: 0, error: Code::from(*error).value(), reason: reason_of(error), data, len: 0 }
            }
        }
    }
}
