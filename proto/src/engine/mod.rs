//! The daemon's side: retransmit chains, links, inboxes, routes. Sans-I/O.

mod config;

pub use config::{ChainConfig, ClientRule, EngineConfig, LimitConfig, PeerConfig, Recovery};

use std::net::SocketAddr;

use crate::{
    counters::Counters,
    ids::{ClientId, ConnId},
    status::{ChainEntry, StatusDocument},
    units::Time,
};

/// Who is at the other end of a client's connection (`SO_PEERCRED`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Too many connections: close this one at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnectionRefused;

/// Datagrams to send to one address: `len` bytes, cut every `segment` bytes (the last may be shorter), as
/// generic segmentation offload does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Transmit {
    /// From which listener.
    pub listener: usize,
    /// Where to.
    pub to: SocketAddr,
    /// Bytes of all of them.
    pub len: usize,
    /// Bytes of each but the last.
    pub segment: usize,
}

/// The daemon's protocol.
///
/// The driver's law: one `handle_*`, then drain [`poll_transmit`](Self::poll_transmit),
/// [`poll_writable`](Self::poll_writable) and [`poll_close`](Self::poll_close), then sleep until
/// [`poll_timeout`](Self::poll_timeout). Several `handle_*` of one turn may come before the drain: what they
/// produce is then bundled.
#[derive(Debug)]
pub struct Engine {}

#[expect(unused_variables, clippy::todo, clippy::missing_panics_doc, reason = "the shape, before its bodies")]
impl Engine {
    /// A new engine at `now`. `now` is `CLOCK_BOOTTIME`, here and everywhere.
    #[must_use]
    pub fn new(config: EngineConfig, now: Time) -> Self {
        todo!()
    }

    /// A client has connected.
    ///
    /// # Errors
    ///
    /// Too many connections that have not registered.
    pub fn handle_connect(&mut self, now: Time, peer: Credentials) -> Result<ConnId, ConnectionRefused> {
        todo!()
    }

    /// Bytes of a client's stream, as read: frames may begin and end anywhere in them.
    pub fn handle_client_bytes(&mut self, now: Time, conn: ConnId, bytes: &[u8]) {
        todo!()
    }

    /// A client's connection has ended (end of file or error). The id is no longer valid.
    pub fn handle_disconnect(&mut self, now: Time, conn: ConnId) {
        todo!()
    }

    /// A datagram has come.
    pub fn handle_datagram(&mut self, now: Time, listener: usize, from: SocketAddr, datagram: &[u8]) {
        todo!()
    }

    /// [`poll_timeout`](Self::poll_timeout)'s time has come. Harmless when it has not.
    pub fn handle_timeout(&mut self, now: Time) {
        todo!()
    }

    /// The daemon goes away: goodbyes to clients and peers are produced.
    pub fn handle_shutdown(&mut self, now: Time) {
        todo!()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        todo!()
    }

    /// Appends the next datagrams for one address to `out`, at most `max_datagrams` of one size, the last may be
    /// shorter.
    pub fn poll_transmit(&mut self, now: Time, out: &mut Vec<u8>, max_datagrams: usize) -> Option<Transmit> {
        todo!()
    }

    /// A connection that has new [`output`](Self::output) since it was last returned here.
    pub fn poll_writable(&mut self) -> Option<ConnId> {
        todo!()
    }

    /// What is to be written to a connection.
    #[must_use]
    pub fn output(&self, conn: ConnId) -> &[u8] {
        todo!()
    }

    /// The first `n` bytes of [`output`](Self::output) were written.
    pub fn consume_output(&mut self, now: Time, conn: ConnId, n: usize) {
        todo!()
    }

    /// A connection to close: write what [`output`](Self::output) holds, as far as it goes without waiting, then
    /// close. The id stays valid until [`handle_disconnect`](Self::handle_disconnect), which must follow.
    pub fn poll_close(&mut self) -> Option<ConnId> {
        todo!()
    }

    /// The status, but for `version` and `uptime_ms`, which are the driver's.
    #[must_use]
    pub fn status(&self, now: Time) -> StatusDocument {
        todo!()
    }

    /// What the chains hold, of one client or of all, oldest first within a client; at most `limit` entries.
    #[must_use]
    pub fn chain_status(&self, now: Time, client: Option<ClientId>, limit: usize) -> Vec<ChainEntry> {
        todo!()
    }

    /// The counters.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        todo!()
    }
}
