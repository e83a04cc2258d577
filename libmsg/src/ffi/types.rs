//! The structs and constants of `libmsg.h`.

use std::ffi::{CStr, c_char, c_int, c_void};

use msg_proto::{
    call::{CallCounters, Why},
    limits::MAX_USER_BYTES,
    outcome::{Certainty, Verdict},
    session::{Failure, Message, PresenceChange, PresenceEvent},
};

use crate::{CallError, SendFlags};

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

/// `msg_call_options`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct CallOptionsC {
    /// Its outcome comes by then.
    pub timeout_ms: u32,
    /// How often it is made again when it is known not to have started.
    pub retries: u32,
    /// 0: the library's.
    pub xid: u64,
    /// `MSG_F_*`.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// `msg_result`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ResultC {
    /// The call's XID, if there is a reply.
    pub xid: u64,
    /// 0, or `MSG_E_*`.
    pub error: c_int,
    /// `MSG_R_*`, or 0.
    pub reason: c_int,
    /// The reply; never null.
    pub data: *const c_void,
    /// How many bytes.
    pub len: usize,
}

/// `msg_request`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct RequestC {
    /// Answer it with this.
    pub call: u64,
    /// The call's XID.
    pub xid: u64,
    /// Who calls.
    pub src: u32,
    /// Which procedure.
    pub procedure: u32,
    /// Whom the caller runs as.
    pub uid: u32,
    /// 0 or 1.
    pub is_repeat: c_int,
    /// How long the caller waits yet.
    pub time_left_ms: u32,
    /// The caller's node.
    pub node: *const c_char,
    /// Its bytes; never null.
    pub data: *const c_void,
    /// How many.
    pub len: usize,
}

/// `msg_call_counters`: [`CallCounters`], in an order that only grows at its end.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "as in `CallCounters`")]
pub struct CallCountersC {
    pub calls: u64,
    pub replies: u64,
    pub failed_not_started: u64,
    pub failed_unknown: u64,
    pub repeats: u64,
    pub unknown_replies: u64,
    pub malformed: u64,
    pub requests: u64,
    pub runs: u64,
    pub hits: u64,
    pub misses: u64,
    pub in_progress_hits: u64,
    pub lost: u64,
    pub mismatches: u64,
    pub evictions: u64,
    pub late: u64,
    pub busy: u64,
    pub cancelled: u64,
    pub abandoned: u64,
    pub lost_replies: u64,
}

/// Called with what comes of a call.
pub type ResultFn = unsafe extern "C" fn(*const ResultC, *mut c_void);
/// Called with each call that is served.
pub type RequestFn = unsafe extern "C" fn(*const RequestC, *mut c_void);

/// Called with each failure.
pub type FailureFn = unsafe extern "C" fn(*const FailureC, *mut c_void);
/// Called with each message.
pub type MessageFn = unsafe extern "C" fn(*const MessageC, *mut c_void);

/// `msg_presence`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PresenceC {
    /// Whose instances.
    pub clientid: u32,
    /// `MSG_P_*`.
    pub event: c_int,
    /// Which instance; 0: none.
    pub incarnation: u64,
    /// Its priority.
    pub priority: u8,
}

/// Called with each change of presence.
pub type PresenceFn = unsafe extern "C" fn(*const PresenceC, *mut c_void);
/// Called when the client is to take no more.
pub type DrainFn = unsafe extern "C" fn(c_int, *mut c_void);

/// `MSG_P_UP`.
pub const P_UP: c_int = 1;
/// `MSG_P_DOWN`.
pub const P_DOWN: c_int = 2;
/// `MSG_P_ACTIVE`.
pub const P_ACTIVE: c_int = 3;

/// `MSG_D_SUPERSEDED`.
pub const D_SUPERSEDED: c_int = 1;
/// `MSG_D_ASKED`.
pub const D_ASKED: c_int = 2;

/// `MSG_O_NO_RETRANSMITS`.
pub const O_NO_RETRANSMITS: u32 = 1;
/// `MSG_O_ACK_ON_HANDLED`.
pub const O_ACK_ON_HANDLED: u32 = 2;
/// `MSG_O_BESIDE`.
pub const O_BESIDE: u32 = 4;
/// `MSG_O_TAKEOVER`.
pub const O_TAKEOVER: u32 = 8;
/// `MSG_O_PRIORITY` puts a priority into the highest byte.
pub const O_PRIORITY_SHIFT: u32 = 24;

/// `MSG_F_UNORDERED`.
pub const F_UNORDERED: u32 = 1;
/// `MSG_F_AT_LEAST_ONCE`.
pub const F_AT_LEAST_ONCE: u32 = 2;
/// `MSG_F_MORE`.
pub const F_MORE: u32 = 4;
/// `MSG_F_WAIT`.
pub const F_WAIT: u32 = 8;

/// `MSG_F_REPEAT`.
pub const F_REPEAT: u32 = 16;
/// `MSG_F_IDEMPOTENT`.
pub const F_IDEMPOTENT: u32 = 32;
/// `MSG_F_LOST_REFUSE`.
pub const F_LOST_REFUSE: u32 = 64;
/// `MSG_F_LOST_RUN`.
pub const F_LOST_RUN: u32 = 128;

/// Why a call has no reply, beyond why a message fails: value, name in `libmsg.h`, name.
pub const CALL_REASONS: [(c_int, &str, &CStr); 6] = [
    (101, "MSG_R_DEADLINE", c"Deadline"),
    (103, "MSG_R_NO_PROCEDURE", c"NoProcedure"),
    (104, "MSG_R_BUSY", c"Busy"),
    (105, "MSG_R_XID_REUSED", c"XidReused"),
    (106, "MSG_R_REPLY_LOST", c"ReplyLost"),
    (107, "MSG_R_NO_REPLY", c"NoReply"),
];

/// `MSG_R_*` of a call that failed; 0 of one that was not made.
pub(super) fn reason_of(error: &CallError) -> c_int {
    let CallError::Failed(failure) = error else { return 0 };
    match failure.why {
        Why::Request(reason) => c_int::from(reason as u8),
        Why::Cancelled => c_int::from(msg_proto::outcome::Reason::Cancelled as u8),
        Why::Deadline => 101,
        Why::NoProcedure => 103,
        Why::Busy => 104,
        Why::XidReused => 105,
        Why::ReplyLost => 106,
        Why::NoReply => 107,
    }
}

/// The name of a reason that only calls have.
pub(super) fn call_reason_name(reason: c_int) -> Option<&'static CStr> {
    CALL_REASONS.iter().find(|(value, ..)| *value == reason).map(|(.., name)| *name)
}

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

impl From<&PresenceEvent> for PresenceC {
    fn from(event: &PresenceEvent) -> Self {
        let (change, instance) = match event.change {
            PresenceChange::Up(instance) => (P_UP, Some(instance)),
            PresenceChange::Down(instance) => (P_DOWN, Some(instance)),
            PresenceChange::Active(instance) => (P_ACTIVE, instance),
        };
        Self {
            clientid: event.client.0,
            event: change,
            incarnation: instance.map_or(0, |i| i.incarnation.0),
            priority: instance.map_or(0, |i| i.priority),
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

impl From<CallCounters> for CallCountersC {
    fn from(c: CallCounters) -> Self {
        Self {
            calls: c.calls,
            replies: c.replies,
            failed_not_started: c.failed_not_started,
            failed_unknown: c.failed_unknown,
            repeats: c.repeats,
            unknown_replies: c.unknown_replies,
            malformed: c.malformed,
            requests: c.requests,
            runs: c.runs,
            hits: c.hits,
            misses: c.misses,
            in_progress_hits: c.in_progress_hits,
            lost: c.lost,
            mismatches: c.mismatches,
            evictions: c.evictions,
            late: c.late,
            busy: c.busy,
            cancelled: c.cancelled,
            abandoned: c.abandoned,
            lost_replies: c.lost_replies,
        }
    }
}
