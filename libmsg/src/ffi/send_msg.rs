//! The functions of `send_msg.h`: one client for the whole process, and a thread of the library's own for its callbacks.

use std::{
    ffi::{c_int, c_uchar, c_void},
    mem::{self, MaybeUninit},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use msg_proto::{
    limits::MAX_USER_BYTES,
    session::{Failure, Message},
};

use super::{
    Code,
    calls::{bytes, set_errno},
};
use crate::{Client, ClientId, ConnectError, SendFlags, UserBuf, clock};

/// `MSG_T`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MsgT {
    /// Who sent it.
    pub clientid: u32,
    /// Its number there.
    pub msgid: u32,
    /// When, in milliseconds of this node's clock, wrapping.
    pub send_time: u32,
    /// 0.
    pub times: u8,
    /// 0.
    pub pad: [u8; 3],
}

/// `send_fail_callback`.
pub type SendFailFn = unsafe extern "C" fn(*mut c_uchar);
/// The message callback.
pub type OnMsgFn = unsafe extern "C" fn(*const MsgT, *const c_uchar, u32);

/// The process's client.
#[derive(Debug)]
struct Process {
    client: Client,
    dst: ClientId,
    ending: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The only global state of the library: `send_msg` has no handle.
static PROCESS: RwLock<Option<Arc<Process>>> = RwLock::new(None);

/// See `send_msg.h`.
///
/// # Safety
///
/// The callbacks, unless null, may be called in another thread until `msg_exit` has returned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn msg_init(
    clientid: u32,
    dst: u32,
    on_fail: Option<SendFailFn>,
    on_msg: Option<OnMsgFn>,
) -> c_int {
    truth(|| {
        let mut process = PROCESS.write().unwrap_or_else(PoisonError::into_inner);
        match process.as_ref() {
            Some(old) if !old.client.is_forked() => return Err(libc::EALREADY),
            // The parent's: here it has no thread, and what another thread left half done is left alone.
            _ => mem::forget(process.take()),
        }
        let client = Client::builder(ClientId(clientid)).connect().map_err(|error| errno_of(&error))?;
        client.take_by_callback_only();
        client.set_on_failure(on_fail.map(|call| -> crate::callback::OnFailure {
            // SAFETY: the caller's promise.
            Box::new(move |_, failure| unsafe { hand_back(call, failure) })
        }));
        client.set_on_message(on_msg.map(|call| -> crate::callback::OnMessage {
            // SAFETY: the caller's promise.
            Box::new(move |_, message| unsafe { hand_over(call, message) })
        }));
        let new =
            Process { client, dst: ClientId(dst), ending: AtomicBool::new(false), thread: Mutex::new(None) };
        let new = Arc::new(new);
        let thread = spawn(&new).map_err(|error| error.raw_os_error().unwrap_or(libc::EAGAIN))?;
        *new.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        *process = Some(new);
        Ok(())
    })
}

/// See `send_msg.h`.
///
/// # Safety
///
/// `msg_len` bytes are readable at `msg`, `user_buff_len` at `user_buff`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send_msg(
    msg: *const c_uchar,
    msg_len: u32,
    user_buff: *const c_uchar,
    user_buff_len: u32,
) -> c_int {
    truth(|| {
        let errno = |code: Code| code.errno().raw_os_error();
        let process = current().ok_or(libc::ENOTCONN)?;
        if user_buff_len as usize > MAX_USER_BYTES {
            return Err(libc::EINVAL);
        }
        // SAFETY: the caller's promise; the lengths are checked first.
        let payload = unsafe { bytes(msg.cast::<c_void>(), msg_len as usize) }.map_err(errno)?;
        // SAFETY: as above.
        let user = unsafe { bytes(user_buff.cast::<c_void>(), user_buff_len as usize) }.map_err(errno)?;
        let user = UserBuf::try_from(user).map_err(|_| libc::EINVAL)?;
        let sent = process.client.send_with(process.dst, payload, user, SendFlags::NONE);
        sent.map(|_| ()).map_err(|error| errno(error.into()))
    })
}

/// See `send_msg.h`.
#[unsafe(no_mangle)]
pub extern "C" fn msg_exit() {
    truth(|| {
        let process = current().ok_or(libc::ENOTCONN)?;
        if process.client.is_forked() {
            // Of the parent: its thread is not here to be waited for.
            mem::forget(process);
            mem::forget(PROCESS.write().unwrap_or_else(PoisonError::into_inner).take());
            return Ok(());
        }
        if process.client.in_callback() {
            return Err(libc::EDEADLK);
        }
        // From here on sends find nothing.
        PROCESS.write().unwrap_or_else(PoisonError::into_inner).take();
        process.ending.store(true, Ordering::Release);
        process.client.wake();
        let thread = process.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return Ok(()) };
        thread.thread().unpark();
        // Nothing gets out of the thread.
        thread.join().map_err(|_| libc::ENOTRECOVERABLE)
    });
}

impl Process {
    /// The thread: callbacks until the end, and then until every message has its outcome.
    fn run(&self) {
        let mut refused = false;
        while !self.ending.load(Ordering::Acquire) {
            if refused {
                // For good, and everybody has been told: nothing will come any more.
                thread::park();
            } else {
                refused = self.client.dispatch(None).is_err();
            }
        }
        // It ends: each outcome comes in bounded time (I1), and nothing new is sent. An error says that it has ended.
        if self.client.flush(None).is_err() {}
    }
}

fn current() -> Option<Arc<Process>> {
    PROCESS.read().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Starts the thread. It takes no signals: they are for the threads that the process made.
fn spawn(process: &Arc<Process>) -> std::io::Result<JoinHandle<()>> {
    let process = Arc::clone(process);
    let run = move || {
        // A panic is a fault of ours: no callbacks come any more, and the process goes on.
        if catch_unwind(AssertUnwindSafe(|| process.run())).is_err() {}
    };
    let mut old = MaybeUninit::<libc::sigset_t>::uninit();
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both sets are ours; the first call fills `all`, the second reads it and fills `old`.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), old.as_mut_ptr());
    }
    let thread = thread::Builder::new().name("msg-callbacks".to_owned()).stack_size(STACK_BYTES).spawn(run);
    // SAFETY: `old` was filled above, as neither set nor how is invalid.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, old.as_ptr(), ptr::null_mut()) };
    thread
}

/// What C programs are used to.
const STACK_BYTES: usize = 8 << 20;

/// # Safety
///
/// `call` may be called.
unsafe fn hand_back(call: SendFailFn, failure: &Failure) {
    let mut user_buff = [0; MAX_USER_BYTES];
    let given = failure.user.as_bytes();
    user_buff[..given.len()].copy_from_slice(given);
    // SAFETY: the caller's promise; the bytes live while the callback runs.
    unsafe { call(user_buff.as_mut_ptr()) };
}

/// # Safety
///
/// `call` may be called.
unsafe fn hand_over(call: OnMsgFn, message: &Message<'_>) {
    let sent_ms = clock::now().minus(message.age).0 / 1000 % (1 << 32);
    let head = MsgT {
        clientid: message.src.client.0,
        msgid: message.msgid.0,
        send_time: u32::try_from(sent_ms).unwrap_or(0),
        times: 0,
        pad: [0; 3],
    };
    let len = u32::try_from(message.data.len()).unwrap_or(u32::MAX);
    let message = super::types::MessageC::from(message);
    // SAFETY: the caller's promise; struct and bytes live while the callback runs.
    unsafe { call(&raw const head, message.data.cast(), len) };
}

fn errno_of(error: &ConnectError) -> c_int {
    match error {
        ConnectError::System { errno, .. } => errno.raw_os_error(),
        error => Code::from(error).errno().raw_os_error(),
    }
}

/// `TRUE`, or `FALSE` and `errno`.
fn truth(call: impl FnOnce() -> Result<(), c_int>) -> c_int {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => 1,
        Ok(Err(errno)) => {
            set_errno(errno);
            0
        }
        Err(panic) => {
            mem::forget(panic);
            set_errno(libc::ENOTRECOVERABLE);
            0
        }
    }
}
