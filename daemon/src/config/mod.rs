//! The config: a TOML file and the command line, parsed once into a value that is right.
//!
//! * `args`: the command line. `read`: a TOML document whose complaints name line and key.
//! * `draft`: each value in its range. `check`: the relations between them, and the defaults.
//! * [`keys`]: every key, for those who write about them. `reload`: which of them a running daemon cannot change.
//! * `error`: the one line that says what is wrong.

mod args;
mod check;
mod draft;
mod error;
pub mod keys;
mod read;
mod reload;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    io::Read as _,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use msg_proto::{
    engine::{ChainConfig, ClientRule, EngineConfig, LimitConfig, PeerConfig, ReloadConfig},
    units::Span,
};

pub use self::{
    args::Args,
    check::{DEFAULT_PORT, default_runtime_dir},
    error::ConfigError,
};
use self::{draft::Draft, error::At, read::Source};
use crate::{limits::MAX_CONFIG_BYTES, log::Level};

/// The name of the clients' socket in the runtime dir.
pub const CLIENT_SOCKET: &str = "msgd.sock";

/// The name of the status socket in the runtime dir.
pub const STATUS_SOCKET: &str = "status.sock";

/// A config in which every value and every relation has been checked.
#[derive(Clone, Debug)]
pub struct Config {
    node: String,
    listen: Vec<SocketAddr>,
    runtime_dir: PathBuf,
    mtu: usize,
    max_mtu: usize,
    spin: Span,
    chain: ChainConfig,
    limits: LimitConfig,
    peers: Vec<PeerConfig>,
    clients: Vec<ClientRule>,
    grace: Span,
    log_level: Level,
    warnings: Vec<ConfigError>,
}

impl Config {
    /// The config that a command line asks for: its file, if it names one, and what it says itself.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        match &args.config {
            Some(file) => Self::parse(file, &read(file)?, args),
            None => Self::parse(Path::new(""), "", args),
        }
    }

    /// As [`load`](Self::load), with the file's text; `file` is only named in complaints.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong.
    pub fn parse(file: &Path, text: &str, args: &Args) -> Result<Self, ConfigError> {
        let mut draft = Draft::read(Source { file, text })?;
        draft.apply(args)?;
        check::check(draft)
    }

    /// This node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// Where to listen for other nodes.
    #[must_use]
    pub fn listen(&self) -> &[SocketAddr] {
        &self.listen
    }

    /// Where the sockets are.
    #[must_use]
    pub fn runtime_dir(&self) -> &Path {
        &self.runtime_dir
    }

    /// The clients' socket.
    #[must_use]
    pub fn client_socket(&self) -> PathBuf {
        self.runtime_dir.join(CLIENT_SOCKET)
    }

    /// The status socket.
    #[must_use]
    pub fn status_socket(&self) -> PathBuf {
        self.runtime_dir.join(STATUS_SOCKET)
    }

    /// The datagram that every path carries.
    #[must_use]
    pub fn mtu(&self) -> usize {
        self.mtu
    }

    /// How long to poll after traffic before sleeping.
    #[must_use]
    pub fn spin(&self) -> Span {
        self.spin
    }

    /// What clients may use.
    #[must_use]
    pub fn limits(&self) -> LimitConfig {
        self.limits
    }

    /// The other nodes.
    #[must_use]
    pub fn peers(&self) -> &[PeerConfig] {
        &self.peers
    }

    /// The least severe lines that are logged.
    #[must_use]
    pub fn log_level(&self) -> Level {
        self.log_level
    }

    /// What is allowed, but most likely not meant.
    #[must_use]
    pub fn warnings(&self) -> &[ConfigError] {
        &self.warnings
    }

    /// What the engine is told. `start` is wall time in microseconds, `seed` random, `receive_window` what the kernel
    /// granted.
    #[must_use]
    pub fn engine(&self, start: u64, seed: u64, receive_window: u32) -> EngineConfig {
        EngineConfig {
            node: self.node.clone(),
            start,
            seed,
            listeners: self.listen.len(),
            peers: self.peers.clone(),
            chain: self.chain,
            limits: self.limits,
            mtu: self.mtu,
            max_mtu: self.max_mtu,
            receive_window,
            grace: self.grace,
            clients: self.clients.clone(),
        }
    }

    /// What a running engine is told anew.
    #[must_use]
    pub(crate) fn engine_reload(&self) -> ReloadConfig {
        ReloadConfig {
            peers: self.peers.clone(),
            chain: self.chain,
            limits: self.limits,
            clients: self.clients.clone(),
        }
    }
}

impl fmt::Display for Config {
    /// A short summary, in one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listen: Vec<String> = self.listen.iter().map(ToString::to_string).collect();
        let peers: Vec<&str> = self.peers.iter().map(|peer| peer.name.as_str()).collect();
        let peers = if peers.is_empty() { "none".to_owned() } else { peers.join(", ") };
        let dir = self.runtime_dir.display();
        write!(f, "node {}, listen {}, runtime dir {dir}, peers {peers}", self.node, listen.join(", "))
    }
}

fn read(file: &Path) -> Result<String, ConfigError> {
    let refused = |what: String| At::file(file).error(format!("{what}; allowed: a readable TOML file"));
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| refused(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(refused(format!("is larger than {MAX_CONFIG_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| refused("is not UTF-8 text".to_owned()))
}
