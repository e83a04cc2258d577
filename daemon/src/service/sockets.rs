//! Sockets that the service manager holds for the daemon. They are found by type and address, whatever order they
//! come in.

use std::{
    env, fmt, io,
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use listenfd::ListenFd;
use socket2::SockRef;

/// Sockets that the service manager has handed over to this process.
#[derive(Debug, Default)]
pub struct Inherited {
    unix: Vec<(PathBuf, UnixListener)>,
    udp: Vec<(SocketAddr, UdpSocket)>,
    /// What cannot be used, and why.
    unusable: Vec<String>,
}

impl Inherited {
    /// What the environment says was handed over. To be called once, before there is another thread.
    #[must_use]
    pub fn from_env() -> Self {
        let names = env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut files = ListenFd::from_env();
        let mut inherited = Self::default();
        for index in 0..files.len() {
            let name = names.next().unwrap_or_default();
            if let Err(why) = inherited.add(&mut files, index) {
                inherited.unusable.push(format!("{name} (number {index}): {why}"));
            }
        }
        inherited
    }

    /// A service manager's copy of a listener.
    #[cfg(test)]
    pub(crate) fn of(listener: &UnixListener) -> Self {
        let address = listener.local_addr().expect("bound");
        let path = address.as_pathname().expect("a path").to_owned();
        Self { unix: vec![(path, listener.try_clone().expect("a descriptor"))], ..Self::default() }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unix.is_empty() && self.udp.is_empty() && self.unusable.is_empty()
    }

    /// The listener that is bound to `path`.
    pub(crate) fn take_unix(&mut self, path: &Path) -> Option<UnixListener> {
        let index = self.unix.iter().position(|(bound, _)| is_same(bound, path))?;
        Some(self.unix.swap_remove(index).1)
    }

    /// Whether a listener is bound to `path`.
    pub(crate) fn has_unix(&self, path: &Path) -> bool {
        self.unix.iter().any(|(bound, _)| is_same(bound, path))
    }

    /// The socket that is bound to `address`.
    pub(crate) fn take_udp(&mut self, address: SocketAddr) -> Option<UdpSocket> {
        let index = self.udp.iter().position(|(bound, _)| *bound == address)?;
        Some(self.udp.swap_remove(index).1)
    }

    /// Where the UDP sockets are bound.
    #[must_use]
    pub fn udp_addresses(&self) -> Vec<SocketAddr> {
        self.udp.iter().map(|(bound, _)| *bound).collect()
    }

    /// One line for each that nobody has taken: what comes to it will not be read.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let hint = "make ListenStream=, ListenDatagram= of msgd.socket and the config agree";
        let unix = self.unix.iter().map(|(path, _)| path.display().to_string());
        let udp = self.udp.iter().map(|(address, _)| format!("udp {address}"));
        let unused = unix
            .chain(udp)
            .map(|name| format!("systemd holds {name}, which the config does not name; {hint}"));
        let unusable = self.unusable.iter().map(|what| format!("systemd handed over {what}; {hint}"));
        unused.chain(unusable).collect()
    }

    fn add(&mut self, files: &mut ListenFd, index: usize) -> io::Result<()> {
        if let Ok(Some(listener)) = files.take_unix_listener(index) {
            if !SockRef::from(&listener).is_listener()? {
                return Err(io::Error::other("a Unix socket that does not listen"));
            }
            let address = listener.local_addr()?;
            let path =
                address.as_pathname().ok_or_else(|| io::Error::other("a Unix socket without a path"))?;
            self.unix.push((path.to_owned(), listener));
            return Ok(());
        }
        match files.take_udp_socket(index) {
            Ok(Some(socket)) => {
                self.udp.push((socket.local_addr()?, socket));
                Ok(())
            }
            Ok(None) => Err(io::Error::other("handed over twice")),
            Err(_) => Err(io::Error::other("neither a Unix stream socket nor a UDP socket")),
        }
    }
}

impl fmt::Display for Inherited {
    /// Their names, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unix = self.unix.iter().map(|(path, _)| path.display().to_string());
        let udp = self.udp.iter().map(|(address, _)| address.to_string());
        f.write_str(&unix.chain(udp).collect::<Vec<_>>().join(", "))
    }
}

/// `/run` and `/var/run` are one place.
fn is_same(left: &Path, right: &Path) -> bool {
    left == right
        || match (left.canonicalize(), right.canonicalize()) {
            (Ok(left), Ok(right)) => left == right,
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_found_by_address_and_what_is_left_over_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        let udp = UdpSocket::bind("127.0.0.1:0").expect("bound");
        let address = udp.local_addr().expect("an address");
        let mut inherited = Inherited {
            unix: [&here, &there].map(|path| (path.clone(), UnixListener::bind(path).expect("bound"))).into(),
            udp: vec![(address, udp)],
            unusable: vec!["x (number 3): a pipe".to_owned()],
        };
        assert!(inherited.has_unix(&there) && !inherited.has_unix(&dir.path().join("nowhere")));
        let listener = inherited.take_unix(&dir.path().join(".").join("there")).expect("the same place");
        assert_eq!(listener.local_addr().expect("bound").as_pathname(), Some(&*there));
        assert!(inherited.take_unix(&there).is_none());
        assert!(inherited.take_udp(([127, 0, 0, 1], 1).into()).is_none());
        assert_eq!(inherited.udp_addresses(), [address]);
        let complaints = inherited.complaints();
        assert_eq!(complaints.len(), 3);
        assert!(complaints[0].contains("/here, which the config does not name"), "{}", complaints[0]);
        assert!(complaints[1].contains(&format!("udp {address}")), "{}", complaints[1]);
        assert!(complaints[2].contains("a pipe"), "{}", complaints[2]);
        assert!(inherited.take_udp(address).is_some());
    }
}
