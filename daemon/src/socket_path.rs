//! Unix sockets by path: claiming one, and leaving none behind.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
};

use mio::net::UnixStream;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::{
    error::{RunError, SocketRefusal},
    limits::MAX_SOCKET_PATH_BYTES,
    service::Inherited,
};

/// Connections that may wait to be accepted; the kernel's `somaxconn` may make it less.
const BACKLOG: i32 = 1024;

/// The socket's owner and group may connect.
const SOCKET_MODE: u32 = 0o660;

const DIR_MODE: u32 = 0o755;

/// The listener at `path`: the service manager's, if it holds one there, else one's own. What the service manager holds
/// is not claimed: it stays when the daemon goes.
pub(crate) fn open(
    path: &Path,
    inherited: &mut Inherited,
) -> Result<(Option<Claim>, UnixListener), RunError> {
    match inherited.take_unix(path) {
        Some(listener) => {
            let refused = |error| RunError::socket(path, SocketRefusal::System(error));
            listener.set_nonblocking(true).map_err(refused)?;
            Ok((None, listener))
        }
        None => Claim::bind(path).map(|(claim, listener)| (Some(claim), listener)),
    }
}

/// A socket's path, claimed: the socket is removed on drop, unless something else has taken its place.
#[derive(Debug)]
pub(crate) struct Claim {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Claim {
    /// Binds a non-blocking listener to `path`. What a daemon that was killed has left there is removed; anything else
    /// is not touched.
    pub(crate) fn bind(path: &Path) -> Result<(Self, UnixListener), RunError> {
        let system = |error| RunError::socket(path, SocketRefusal::System(error));
        if check(path)? == Found::Leftover {
            fs::remove_file(path).map_err(system)?;
        }
        Self::bind_free(path).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => RunError::socket(path, SocketRefusal::AlreadyRunning),
            _ => system(error),
        })
    }

    fn bind_free(path: &Path) -> io::Result<(Self, UnixListener)> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let metadata = fs::symlink_metadata(path)?;
        let claim = Self { path: path.to_owned(), device: metadata.dev(), inode: metadata.ino() };
        // Nobody can connect before listen(), so nobody sees the mode that bind() left.
        fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE))?;
        socket.listen(BACKLOG)?;
        Ok((claim, socket.into()))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == (self.device, self.inode));
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("{}: cannot be removed: {error}", self.path.display());
        }
    }
}

/// What a path holds, if it can be claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Found {
    Nothing,
    /// A socket that nobody listens on.
    Leftover,
}

/// Whether a path can be claimed. Changes nothing.
pub(crate) fn check(path: &Path) -> Result<Found, RunError> {
    if path.as_os_str().as_bytes().len() > MAX_SOCKET_PATH_BYTES {
        return Err(RunError::socket(path, SocketRefusal::TooLong));
    }
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(RunError::socket(path, SocketRefusal::System(error))),
    };
    if !metadata.file_type().is_socket() {
        return Err(RunError::socket(path, SocketRefusal::NotASocket));
    }
    // Does not block: a daemon with a full backlog answers EAGAIN, and that is an answer.
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::Leftover),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(RunError::socket(path, SocketRefusal::AlreadyRunning))
        }
        Ok(_) => Err(RunError::socket(path, SocketRefusal::AlreadyRunning)),
        Err(error) => Err(RunError::socket(path, SocketRefusal::System(error))),
    }
}

/// Makes the runtime directory if it is not there.
pub(crate) fn make_runtime_dir(path: &Path) -> Result<(), RunError> {
    DirBuilder::new()
        .recursive(true)
        .mode(DIR_MODE)
        .create(path)
        .map_err(|error| RunError::RuntimeDir { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T, RunError>) -> SocketRefusal {
        match result.expect_err("refused") {
            RunError::Socket { reason, .. } => reason,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_claim_ends_with_its_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let (claim, _listener) = Claim::bind(&path).expect("claimed");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(refusal(Claim::bind(&path)), SocketRefusal::AlreadyRunning));
        assert!(path.exists(), "the refused claim has left it alone");
        drop(claim);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_daemon_left_is_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        drop(UnixListener::bind(&path).expect("bound"));
        assert_eq!(check(&path).expect("free"), Found::Leftover);
        assert!(path.exists(), "a check changes nothing");
        let (_claim, _listener) = Claim::bind(&path).expect("claimed");
        UnixStream::connect(&path).expect("somebody listens");
    }

    #[test]
    fn a_successor_keeps_its_socket() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let (claim, _listener) = Claim::bind(&path).expect("claimed");
        fs::remove_file(&path).expect("removed");
        let (_successor, _successors_listener) = Claim::bind(&path).expect("claimed again");
        drop(claim);
        assert!(path.exists());
    }

    #[test]
    fn what_is_no_socket_is_never_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        fs::write(&path, "precious").expect("written");
        assert!(matches!(refusal(Claim::bind(&path)), SocketRefusal::NotASocket));
        assert_eq!(fs::read(&path).expect("still there"), b"precious");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &link).expect("linked");
        assert!(matches!(refusal(Claim::bind(&link)), SocketRefusal::NotASocket));
    }

    #[test]
    fn the_service_managers_socket_is_taken_and_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("s");
        let held = UnixListener::bind(&path).expect("bound");
        let mut inherited = Inherited::of(&held);
        let (claim, listener) = open(&path, &mut inherited).expect("handed over");
        UnixStream::connect(&path).expect("somebody listens");
        listener.accept().expect("somebody is there");
        assert_eq!(listener.accept().expect_err("nobody else").kind(), io::ErrorKind::WouldBlock);
        drop((claim, listener));
        UnixStream::connect(&path).expect("the service manager goes on listening");
    }

    #[test]
    fn the_longest_path_is_107_bytes() {
        let dir = tempfile::tempdir().expect("a directory");
        let room = MAX_SOCKET_PATH_BYTES - dir.path().as_os_str().len() - 1;
        let (_claim, _listener) = Claim::bind(&dir.path().join("s".repeat(room))).expect("claimed");
        assert!(matches!(
            refusal(Claim::bind(&dir.path().join("s".repeat(room + 1)))),
            SocketRefusal::TooLong
        ));
    }
}
