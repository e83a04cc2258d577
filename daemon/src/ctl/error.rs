//! How a command ends: its exit status, and the one line that says why it could not be done.

use std::{fmt, io, path::PathBuf};

/// The exit status of `msgctl`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Exit {
    /// Done; of `send`: all were acked.
    Ok = 0,
    /// Could not be done; of `demo`: the promise was broken.
    Error = 1,
    /// The command line is wrong.
    Usage = 2,
    /// `send`: at least one message failed; `call`: it failed, and did not start.
    Failed = 3,
    /// `call`: it failed, and may have run.
    Unknown = 4,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command could not be done. Each prints as one line.
#[derive(Debug)]
#[non_exhaustive]
pub enum CtlError {
    /// Nobody answers at the daemon's socket.
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon took the connection and did not answer as it should.
    Answer {
        /// The socket.
        path: PathBuf,
        /// What was wrong.
        what: String,
    },
    /// The library could not register.
    Connect(msg::ConnectError),
    /// The library did not take a message.
    Send(msg::SendError),
    /// The library cannot go on.
    Client(msg::Error),
    /// Standard input could not be read, or is too long.
    Input(String),
    /// Standard output could not be written. A closed pipe is not an error for the user: somebody has seen enough.
    Output(io::Error),
    /// Signals cannot be watched for.
    Signals(io::Error),
    /// No process of this node is registered with that number.
    NoClient {
        /// The number.
        id: u32,
    },
    /// Clients that were asked to drain have not gone.
    NotDrained {
        /// How many.
        busy: usize,
        /// How many of them hold messages.
        holding: usize,
    },
    /// The daemon keeps the config that it has.
    NotReloaded(String),
    /// A call failed.
    Call {
        /// Its XID, if it has one.
        xid: Option<msg::Xid>,
        /// Why, and what is known.
        error: msg::CallError,
    },
    /// A signal asked to stop.
    Interrupted,
    /// The demo could not be run.
    Demo(String),
}

impl fmt::Display for CtlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDaemon { path, source } => {
                let hint = match source.kind() {
                    io::ErrorKind::PermissionDenied => "you are not allowed: join the socket's group",
                    _ => "start msgd, or say where it runs with --runtime-dir",
                };
                write!(f, "no daemon at {}: {}; {hint}", path.display(), source.kind())
            }
            Self::Answer { path, what } => write!(f, "the daemon at {}: {what}", path.display()),
            Self::Connect(error) => error.fmt(f),
            Self::Send(error) => error.fmt(f),
            Self::Client(error) => error.fmt(f),
            Self::Input(what) => write!(f, "standard input: {what}"),
            Self::Output(source) => write!(f, "standard output: {source}"),
            Self::Signals(source) => write!(f, "cannot watch for signals: {source}"),
            Self::NoClient { id } => {
                write!(f, "no process of this node is client {id}; msgctl clients shows those that are there")
            }
            Self::NotDrained { busy, holding } => write!(
                f,
                "{busy} clients that take no more have not ended, {holding} of them hold messages; msgctl clients shows \
                 them (leaving)"
            ),
            Self::NotReloaded(why) => write!(f, "not reloaded: {why}"),
            Self::Call { xid: Some(xid), error } => write!(f, "call {xid}: {error}"),
            Self::Call { xid: None, error } => write!(f, "call: {error}"),
            Self::Interrupted => f.write_str("interrupted"),
            Self::Demo(what) => write!(f, "demo: {what}"),
        }
    }
}

impl CtlError {
    /// The exit status that goes with it.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Call { error, .. } if error.certainty() == msg::Certainty::NotStarted => Exit::Failed,
            Self::Call { .. } => Exit::Unknown,
            _ => Exit::Error,
        }
    }
}

impl std::error::Error for CtlError {}

impl From<msg::ConnectError> for CtlError {
    fn from(error: msg::ConnectError) -> Self {
        // In this program's own words: its socket is not named by the environment.
        match error {
            msg::ConnectError::NoSocket { path } => {
                Self::NoDaemon { path, source: io::Error::from(io::ErrorKind::NotFound) }
            }
            msg::ConnectError::NotRunning { path } => {
                Self::NoDaemon { path, source: io::Error::from(io::ErrorKind::ConnectionRefused) }
            }
            error => Self::Connect(error),
        }
    }
}

impl From<msg::SendError> for CtlError {
    fn from(error: msg::SendError) -> Self {
        Self::Send(error)
    }
}

impl From<msg::Error> for CtlError {
    fn from(error: msg::Error) -> Self {
        Self::Client(error)
    }
}

/// What a command writes to is standard output, so a failing `writeln!` is that.
impl From<io::Error> for CtlError {
    fn from(source: io::Error) -> Self {
        Self::Output(source)
    }
}

impl From<serde_json::Error> for CtlError {
    fn from(source: serde_json::Error) -> Self {
        Self::Output(source.into())
    }
}
