//! Opening the socket to the daemon, and saying why it did not open.

use std::{
    env,
    os::{fd::OwnedFd, unix::fs::FileTypeExt},
    path::{Path, PathBuf},
};

use rustix::{
    io::Errno,
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt},
};

use crate::ConnectError;

/// The socket of the daemon that this process is to use: `$MSGD_SOCKET`, else `msgd.sock` in
/// `$XDG_RUNTIME_DIR/msgd`, else `/run/msgd/msgd.sock`.
pub(crate) fn default_path() -> PathBuf {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    variable("MSGD_SOCKET").unwrap_or_else(|| {
        let dir = variable("XDG_RUNTIME_DIR").unwrap_or_else(|| PathBuf::from("/run"));
        dir.join("msgd/msgd.sock")
    })
}

/// A connected, non-blocking stream socket. A Unix socket connects at once or not at all.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, Errno> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Less does as well, but for speed.
    let _granted = sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER_BYTES);
    connect(&socket, &address)?;
    Ok(socket)
}

/// Why [`open`] failed.
pub(crate) fn explain(path: &Path, errno: Errno) -> ConnectError {
    let is_socket = || std::fs::metadata(path).is_ok_and(|m| m.file_type().is_socket());
    let path = path.to_owned();
    match errno {
        Errno::NOENT | Errno::NOTDIR => ConnectError::NoSocket { path },
        Errno::CONNREFUSED if is_socket() => ConnectError::NotRunning { path },
        Errno::CONNREFUSED | Errno::PROTOTYPE => ConnectError::NotASocket { path },
        Errno::ACCESS | Errno::PERM => ConnectError::Permission { path },
        Errno::NAMETOOLONG => ConnectError::PathTooLong { path },
        errno => ConnectError::System { path, errno },
    }
}

/// Whether another attempt may succeed soon: the daemon's backlog is full.
pub(crate) const fn is_transient(errno: Errno) -> bool {
    matches!(errno, Errno::AGAIN | Errno::INTR)
}

/// What is asked of the kernel for what the daemon has not read yet: as much as any process gets that asks
/// (`net.core.wmem_max`, as Linux has it by default), and twice what one gets that does not, so that the daemon finds more at a time.
const SEND_BUFFER_BYTES: usize = 208 << 10;
