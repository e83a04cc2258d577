//! The structs and constants of `libmsg.h`.

use std::ffi::{c_char, c_int, c_void};

use msg_proto::{
    limits::MAX_USER_BYTES,
    outcome::{Certainty, Verdict},
    session::{Failure, Message},
};

use crate::SendFlags;

/// `msg_options`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Null: `$MSGD_SOCKET`, else the default.
    pub socket_path: *const c_char,
    /// Who this is.
    pub clientid: u32,
    /// 0: the daemon's.
    pub interval_ms: u32,
    /// 0: the daemon's, unless [`O_NO_RETRANSMITS`].
    pub times: u8,
    /// `MSG_O_*`.
    pub flags: u32,
}

/// `msg_failure`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FailureC {
    /// What the send returned.
    pub msgid: u32,
    /// Whom it was for.
    pub dst: u32,
    /// `MSG_R_*`.
    pub reason: c_int,
    /// 0 or 1.
    pub may_have_started: c_int,
    /// Copies.
    pub tries: u32,
    /// Bytes of `user_buff` that were given.
    pub user_len: usize,
    /// The user data, and zeros.
    pub user_buff: [u8; MAX_USER_BYTES],
}

/// `msg_message`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct MessageC {
    /// Who sent it.
    pub src: u32,
    /// Its number there.
    pub msgid: u32,
    /// How long ago.
    pub age_us: u64,
    /// Its bytes; never null.
    pub data: *const c_void,
    /// How many.
    pub len: usize,
}

/// Called with each failure.
pub type FailureFn = unsafe extern "C" fn(*const FailureC, *mut c_void);
/// Called with each message.
pub type MessageFn = unsafe extern "C" fn(*const MessageC, *mut c_void);

/// `MSG_O_NO_RETRANSMITS`.
pub const O_NO_RETRANSMITS: u32 = 1;
/// `MSG_O_ACK_ON_HANDLED`.
pub const O_ACK_ON_HANDLED: u32 = 2;

/// `MSG_F_UNORDERED`.
pub const F_UNORDERED: u32 = 1;
/// `MSG_F_AT_LEAST_ONCE`.
pub const F_AT_LEAST_ONCE: u32 = 2;
/// `MSG_F_MORE`.
pub const F_MORE: u32 = 4;
/// `MSG_F_WAIT`.
pub const F_WAIT: u32 = 8;

const _: () = assert!(SendFlags::UNORDERED.bits() == F_UNORDERED);
const _: () = assert!(SendFlags::AT_LEAST_ONCE.bits() == F_AT_LEAST_ONCE);
const _: () = assert!(SendFlags::MORE.bits() == F_MORE);
const _: () = assert!(SendFlags::WAIT.bits() == F_WAIT);

impl From<&Failure> for FailureC {
    fn from(failure: &Failure) -> Self {
        let Failure { msgid, dst, verdict: Verdict { reason, certainty }, tries, user } = failure;
        let bytes = user.as_bytes();
        let mut user_buff = [0; MAX_USER_BYTES];
        user_buff[..bytes.len()].copy_from_slice(bytes);
        Self {
            msgid: msgid.0,
            dst: dst.0,
            reason: c_int::from(*reason as u8),
            may_have_started: c_int::from(*certainty == Certainty::Unknown),
            tries: *tries,
            user_len: bytes.len(),
            user_buff,
        }
    }
}

impl From<&Message<'_>> for MessageC {
    fn from(message: &Message<'_>) -> Self {
        // Of no bytes Rust gives an address that C had better not see.
        static NOTHING: u128 = 0;
        let data = if message.data.is_empty() { (&raw const NOTHING).cast() } else { message.data.as_ptr() };
        Self {
            src: message.src.client.0,
            msgid: message.msgid.0,
            age_us: message.age.0,
            data: data.cast(),
            len: message.data.len(),
        }
    }
}
