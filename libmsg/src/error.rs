//! What can go wrong, as values: each says what, where, and what to do.

use std::{fmt, path::PathBuf, time::Duration};

use msg_proto::{
    control::{LocalNack, LocalRule},
    limits, session,
};
use rustix::io::Errno;

/// Why [`Builder::connect`](crate::Builder::connect) failed. There is no client then.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is nothing at the socket's path.
    NoSocket {
        /// The path.
        path: PathBuf,
    },
    /// There is a socket, and nobody listens on it.
    NotRunning {
        /// The path.
        path: PathBuf,
    },
    /// What is at the path is no stream socket.
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// This user may not connect to the socket.
    Permission {
        /// The path.
        path: PathBuf,
    },
    /// The path is longer than a Unix socket's can be (107 bytes).
    PathTooLong {
        /// The path.
        path: PathBuf,
    },
    /// The daemon refused this client; its text says why.
    Refused {
        /// The path.
        path: PathBuf,
        /// What it said.
        nack: LocalNack,
    },
    /// The daemon did not answer in time.
    Timeout {
        /// The path.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The daemon closed the connection without a word.
    Lost {
        /// The path.
        path: PathBuf,
    },
    /// What answered does not speak the local protocol.
    NotMsgd {
        /// The path.
        path: PathBuf,
        /// The first thing that was wrong with what it said.
        what: &'static str,
    },
    /// An option is out of range.
    BadOption {
        /// Which, and what is allowed.
        what: &'static str,
    },
    /// The system refused something that it should not.
    System {
        /// Where.
        path: PathBuf,
        /// What it said.
        errno: Errno,
    },
}

/// Why a send was not accepted. Nothing was sent, and no callback will come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SendError {
    /// The chain is full (R3); or it was, and 512 KiB or more still wait for the daemon to read them. Passes as outcomes come, and as
    /// it reads: dispatch, flush, or use [`SendFlags::WAIT`](crate::SendFlags::WAIT).
    WouldBlock,
    /// The message is larger than that many bytes.
    TooLarge {
        /// Bytes.
        limit: usize,
    },
    /// The user data are longer than that many bytes. No [`UserBuf`](crate::UserBuf) is.
    UserDataTooLong {
        /// Bytes.
        limit: usize,
    },
    /// More destinations than [`limits::MAX_FLOWS_PER_CLIENT`].
    TooManyFlows,
    /// The client is closed. One that can be called is not.
    Closed,
    /// The daemon has refused this client, for that rule; [`Error::Refused`] has its text.
    Refused(LocalRule),
    /// This process is a fork of the one that connected.
    Forked,
}

/// Why a call other than a send failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The daemon has refused this client for good, in these words; all its messages have ended.
    Refused(LocalNack),
    /// The time is over, and there is something to wait for yet.
    Timeout {
        /// Messages without an outcome.
        unresolved: usize,
        /// Of a drain: calls that were begun, without an answer.
        unanswered: usize,
    },
    /// No message comes any more: this client is draining, or another process took its clientid over.
    Draining,
    /// Called in a callback, where it would wait for itself.
    InCallback,
    /// This process is a fork of the one that connected.
    Forked,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSocket { path } => write!(
                f,
                "no socket at {}: is msgd running, with this runtime directory? ($MSGD_SOCKET names another socket)",
                path.display()
            ),
            Self::NotRunning { path } => {
                write!(f, "nobody listens at {}: msgd is not running; start it", path.display())
            }
            Self::NotASocket { path } => {
                write!(f, "{} is not a stream socket: give the path of msgd's msgd.sock", path.display())
            }
            Self::Permission { path } => write!(
                f,
                "no permission to connect to {}: the user must be in the socket's group",
                path.display()
            ),
            Self::PathTooLong { path } => {
                write!(f, "{} is too long for a Unix socket: at most 107 bytes", path.display())
            }
            Self::Refused { path, nack } => {
                write!(f, "msgd at {} refused this client: {} ({:?})", path.display(), nack.text, nack.rule)
            }
            Self::Timeout { path, waited } => write!(
                f,
                "msgd at {} did not answer within {} ms: it hangs, or is not started yet",
                path.display(),
                waited.as_millis()
            ),
            Self::Lost { path } => write!(
                f,
                "msgd at {} closed the connection before it registered this client: see msgd's log",
                path.display()
            ),
            Self::NotMsgd { path, what } => write!(
                f,
                "what answers at {} does not speak msgd's local protocol ({what}): give the path of msgd.sock",
                path.display()
            ),
            Self::BadOption { what } => f.write_str(what),
            Self::System { path, errno } => {
                write!(f, "cannot connect to msgd at {}: {errno}", path.display())
            }
        }
    }
}

impl std::error::Error for ConnectError {}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WouldBlock => session::SendError::WouldBlock.fmt(f),
            Self::TooLarge { limit } => write!(f, "message too large: at most {limit} bytes"),
            Self::UserDataTooLong { limit } => write!(f, "user data too long: at most {limit} bytes"),
            Self::TooManyFlows => {
                write!(f, "too many destinations: at most {}", limits::MAX_FLOWS_PER_CLIENT)
            }
            Self::Closed => f.write_str("the client is closed"),
            Self::Refused(rule) => {
                write!(f, "msgd refused this client ({rule:?}): connect anew when its cause is gone")
            }
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl std::error::Error for SendError {}

impl From<session::SendError> for SendError {
    fn from(error: session::SendError) -> Self {
        match error {
            session::SendError::WouldBlock => Self::WouldBlock,
            session::SendError::TooLarge { limit } => Self::TooLarge { limit },
            session::SendError::UserDataTooLong { limit } => Self::UserDataTooLong { limit },
            session::SendError::TooManyFlows => Self::TooManyFlows,
            session::SendError::Refused(rule) => Self::Refused(rule),
            session::SendError::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(nack) => {
                write!(f, "msgd refused this client: {} ({:?}); connect anew", nack.text, nack.rule)
            }
            Self::Timeout { unresolved: 0, unanswered: 0 } => {
                f.write_str("the time is over, and no daemon was told that nothing more is taken: call again")
            }
            Self::Timeout { unresolved, unanswered: 0 } => {
                write!(f, "the time is over and {unresolved} messages have no outcome yet: call again")
            }
            Self::Timeout { unresolved, unanswered } => write!(
                f,
                "the time is over, {unanswered} calls have no answer yet, and {unresolved} messages no outcome: call again"
            ),
            Self::Draining => f.write_str("no message comes any more: the client is draining, or superseded"),
            Self::InCallback => f.write_str(
                "called in a callback, where it would wait for itself: call it after the callback",
            ),
            Self::Forked => f.write_str(FORKED),
        }
    }
}

impl std::error::Error for Error {}

const FORKED: &str = "this process is a fork of the one that connected: connect in the child";
