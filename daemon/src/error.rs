//! Why the daemon does not start, or stops.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{config::ConfigError, limits::MAX_SOCKET_PATH_BYTES};

/// Why the daemon does not start, or stops. Its `Display` is one line.
#[derive(Debug)]
pub enum RunError {
    /// The config, the command line or the environment is refused.
    Config(ConfigError),
    /// The runtime directory is not there and cannot be made.
    RuntimeDir {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A Unix socket cannot be claimed.
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: SocketRefusal,
    },
    /// A listener's address cannot be bound.
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        error: io::Error,
        /// An address that the service manager holds, and that the config does not name.
        held: Option<SocketAddr>,
    },
    /// A listener's address is not among those that the service manager holds, and the daemon may not bind it.
    NotHeld {
        /// Which.
        address: SocketAddr,
    },
    /// The system refuses what the daemon cannot do without.
    System {
        /// What was asked for.
        what: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// Why a Unix socket cannot be claimed.
#[derive(Debug)]
pub enum SocketRefusal {
    /// Somebody listens there.
    AlreadyRunning,
    /// Something else than a socket has that name. It is left alone.
    NotASocket,
    /// The path does not fit a socket's address.
    TooLong,
    /// The system says no.
    System(io::Error),
}

impl RunError {
    /// The exit status that stands for this error: 2 for what the user wrote, else 1.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Config(_) => 2,
            Self::RuntimeDir { .. }
            | Self::Socket { .. }
            | Self::Listen { .. }
            | Self::NotHeld { .. }
            | Self::System { .. } => 1,
        }
    }

    pub(crate) fn socket(path: &Path, reason: SocketRefusal) -> Self {
        Self::Socket { path: path.to_owned(), reason }
    }

    pub(crate) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::RuntimeDir { path, error } => {
                let path = path.display();
                write!(
                    f,
                    "msgd: {path}: no usable runtime directory: {error}; create it, or choose another with --runtime-dir"
                )
            }
            Self::Socket { path, reason } => write!(f, "msgd: {}: {reason}", path.display()),
            Self::Listen { address, error, held: Some(held) } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "msgd: {address}: address in use; msgd.socket holds {held}: make its ListenDatagram= and \
                     node.listen agree"
                )
            }
            Self::Listen { address, error, .. } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(
                    f,
                    "msgd: {address}: address in use; stop what listens there, or choose another with --listen"
                )
            }
            Self::Listen { address, error, .. } => {
                write!(
                    f,
                    "msgd: {address}: cannot listen: {error}; choose an address of this host with --listen"
                )
            }
            Self::NotHeld { address } => write!(
                f,
                "msgd: {address}: not held by systemd, and this unit may bind nothing itself; add \
                 ListenDatagram={address} with systemctl edit msgd.socket, and restart it"
            ),
            Self::System { what, error } => write!(f, "msgd: {what}: {error}"),
        }
    }
}

impl fmt::Display for SocketRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyRunning => f.write_str(
                "already running: somebody listens there; stop it, or choose another --runtime-dir",
            ),
            Self::NotASocket => {
                f.write_str("is there and not a socket; remove it by hand, or choose another --runtime-dir")
            }
            Self::TooLong => {
                write!(
                    f,
                    "longer than {MAX_SOCKET_PATH_BYTES} bytes, which no socket's path may be; choose a shorter --runtime-dir"
                )
            }
            Self::System(error) => {
                write!(
                    f,
                    "cannot be claimed: {error}; check the directory's owner and mode, or choose another --runtime-dir"
                )
            }
        }
    }
}

impl std::error::Error for RunError {}

impl From<ConfigError> for RunError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
