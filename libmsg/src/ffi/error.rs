//! `MSG_E_*`: one number for each thing that a caller would do something else about.

use std::ffi::{CStr, c_int};

use msg_proto::control::LocalRule;
use rustix::io::Errno;

use crate::{ConnectError, Error, SendError};

macro_rules! codes {
    ($($name:ident $c:literal = $value:literal, $errno:ident, $text:literal;)*) => {
        /// Why a call of the C library failed. The values never change.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(i32)]
        pub enum Code {
            $(#[doc = $c] $name = $value,)*
        }

        impl Code {
            /// All of them, with their names in `libmsg.h`.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $c),)*];

            /// What `msg_strerror` says.
            #[must_use]
            pub const fn text(self) -> &'static CStr {
                match self { $(Self::$name => $text,)* }
            }

            /// What `send_msg.h` leaves in `errno`.
            pub(crate) const fn errno(self) -> Errno {
                match self { $(Self::$name => Errno::$errno,)* }
            }
        }
    };
}

codes! {
    Invalid "MSG_E_INVAL" = -1, INVAL, c"invalid argument: a NULL pointer with a length, an unknown flag, or a number out of range";
    Again "MSG_E_AGAIN" = -2, AGAIN, c"no room: as many messages as granted have no outcome yet, or too many wait to be written; dispatch, flush, or send with MSG_F_WAIT";
    Timeout "MSG_E_TIMEOUT" = -3, TIMEDOUT, c"the time is over";
    TooLarge "MSG_E_TOO_LARGE" = -4, MSGSIZE, c"message larger than the daemon's max_message_bytes";
    UserTooLong "MSG_E_USER_TOO_LONG" = -5, INVAL, c"user data longer than 64 bytes";
    TooManyDestinations "MSG_E_TOO_MANY_DESTINATIONS" = -6, NOBUFS, c"more destinations than one client can have";
    Handle "MSG_E_HANDLE" = -7, BADF, c"no open client: NULL, closed, or never opened";
    InCallback "MSG_E_IN_CALLBACK" = -8, DEADLK, c"called in a callback of this client, where it would wait for itself";
    Busy "MSG_E_BUSY" = -9, BUSY, c"another thread is in a call with this client: have it return first (msg_wake)";
    Forked "MSG_E_FORKED" = -10, CHILD, c"this process is a fork of the one that opened the client: open one in the child";
    NoSocket "MSG_E_NO_SOCKET" = -11, NOENT, c"no socket there: is msgd running, with this runtime directory?";
    NotRunning "MSG_E_NOT_RUNNING" = -12, CONNREFUSED, c"nobody listens on the socket: msgd is not running";
    NotASocket "MSG_E_NOT_A_SOCKET" = -13, NOTSOCK, c"not a stream socket: give the path of msgd's msgd.sock";
    Permission "MSG_E_PERMISSION" = -14, ACCESS, c"no permission to connect: the user must be in the socket's group";
    PathTooLong "MSG_E_PATH_TOO_LONG" = -15, NAMETOOLONG, c"socket path longer than 107 bytes";
    Lost "MSG_E_LOST" = -16, CONNRESET, c"msgd closed the connection before it registered this client: see msgd's log";
    Protocol "MSG_E_PROTOCOL" = -17, PROTO, c"what answers there is not msgd: give the path of msgd.sock";
    Version "MSG_E_VERSION" = -18, PROTONOSUPPORT, c"msgd and this library have no protocol version in common: upgrade the older one";
    ClientIdTaken "MSG_E_CLIENTID_TAKEN" = -19, ADDRINUSE, c"another process is registered with this clientid";
    NotAllowed "MSG_E_NOT_ALLOWED" = -20, PERM, c"msgd's config does not let this user be this client";
    TooManyClients "MSG_E_TOO_MANY_CLIENTS" = -21, USERS, c"msgd has as many clients as it may have";
    Superseded "MSG_E_SUPERSEDED" = -22, STALE, c"a newer process took this clientid over";
    Refused "MSG_E_REFUSED" = -23, CONNABORTED, c"msgd refused this client for good: msg_refusal has its words";
    System "MSG_E_SYSTEM" = -24, IO, c"the system refused something: errno says what";
    Internal "MSG_E_INTERNAL" = -25, NOTRECOVERABLE, c"a fault of this library: please report it";
    NotStarted "MSG_E_NOT_STARTED" = -26, CANCELED, c"the call failed, and the procedure did not run and will not";
    Unknown "MSG_E_UNKNOWN" = -27, INPROGRESS, c"the call failed, and the procedure may have run";
    XidInUse "MSG_E_XID_IN_USE" = -28, ALREADY, c"a call with this XID waits already";
    Truncated "MSG_E_TRUNCATED" = -29, OVERFLOW, c"the reply is longer than the buffer: its beginning is there";
    NoCall "MSG_E_NO_CALL" = -30, SRCH, c"no such call waits: it has ended, or has its answer";
}

impl Code {
    /// Its value.
    #[must_use]
    pub const fn value(self) -> c_int {
        self as c_int
    }

    /// The code with that value, if there is one.
    #[must_use]
    pub fn from_value(value: c_int) -> Option<Self> {
        Self::ALL.iter().map(|&(code, _)| code).find(|code| code.value() == value)
    }
}

impl From<LocalRule> for Code {
    fn from(rule: LocalRule) -> Self {
        match rule {
            LocalRule::Version => Self::Version,
            LocalRule::ClientIdTaken => Self::ClientIdTaken,
            LocalRule::NotAllowed => Self::NotAllowed,
            LocalRule::TooManyClients => Self::TooManyClients,
            LocalRule::Superseded => Self::Superseded,
            LocalRule::Malformed
            | LocalRule::RegisterTimeout
            | LocalRule::OutOfTurn
            | LocalRule::BadSequence
            | LocalRule::Quota => Self::Refused,
        }
    }
}

impl From<&ConnectError> for Code {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::NoSocket { .. } => Self::NoSocket,
            ConnectError::NotRunning { .. } => Self::NotRunning,
            ConnectError::NotASocket { .. } => Self::NotASocket,
            ConnectError::Permission { .. } => Self::Permission,
            ConnectError::PathTooLong { .. } => Self::PathTooLong,
            ConnectError::Refused { nack, .. } => nack.rule.into(),
            ConnectError::Timeout { .. } => Self::Timeout,
            ConnectError::Lost { .. } => Self::Lost,
            ConnectError::NotMsgd { .. } => Self::Protocol,
            ConnectError::BadOption { .. } => Self::Invalid,
            ConnectError::System { .. } => Self::System,
        }
    }
}

impl From<SendError> for Code {
    fn from(error: SendError) -> Self {
        match error {
            SendError::WouldBlock => Self::Again,
            SendError::TooLarge { .. } => Self::TooLarge,
            SendError::UserDataTooLong { .. } => Self::UserTooLong,
            SendError::TooManyFlows => Self::TooManyDestinations,
            SendError::Closed => Self::Handle,
            SendError::Refused(rule) => rule.into(),
            SendError::Forked => Self::Forked,
        }
    }
}

impl From<Error> for Code {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(nack) => nack.rule.into(),
            Error::Timeout { .. } => Self::Timeout,
            // Only of calls that C does not have.
            Error::Draining => Self::Superseded,
            Error::InCallback => Self::InCallback,
            Error::Forked => Self::Forked,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_are_dense_and_each_says_something() {
        for (n, (code, name)) in (1..).zip(Code::ALL) {
            assert_eq!(code.value(), -n, "{name}");
            assert_eq!(Code::from_value(-n), Some(*code));
            assert!(code.text().to_str().expect("ASCII").is_ascii());
        }
        assert_eq!((Code::from_value(0), Code::from_value(-1000)), (None, None));
    }
}
