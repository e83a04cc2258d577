//! What an engine is told when it starts. The daemon has checked it against `limits`.

use std::net::SocketAddr;

use super::Credentials;
use crate::{ids::ClientId, units::Span};

/// What an engine is told when it starts.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// This node's name, at most [`crate::limits::MAX_NODE_NAME_BYTES`].
    pub node: String,
    /// Wall time at the start in microseconds, or anything else that grows from start to start: incarnations
    /// are derived from it. It decides nothing else.
    pub start: u64,
    /// From the system's random source: session numbers are drawn from it.
    pub seed: u64,
    /// How many listeners the driver has bound; [`super::Transmit::listener`] is below it.
    pub listeners: usize,
    /// The other nodes.
    pub peers: Vec<PeerConfig>,
    /// Defaults for clients' chains.
    pub chain: ChainConfig,
    /// What clients may use.
    pub limits: LimitConfig,
    /// The largest datagram that every path carries, header included, in bytes.
    pub mtu: usize,
    /// The largest that a path is probed for (RFC 8899); no more than `mtu`: none is.
    pub max_mtu: usize,
    /// Bytes of datagrams that the listeners' receive buffers hold, as the kernel granted them.
    pub receive_window: u32,
    /// How long after the start nobody is told that a client is gone: clients of the daemon before this one come
    /// back (I6).
    pub grace: Span,
    /// Who may be which client. A clientid without a rule is open to everybody who can connect.
    pub clients: Vec<ClientRule>,
}

/// Another node.
#[derive(Clone, Debug)]
pub struct PeerConfig {
    /// Its name.
    pub name: String,
    /// Its addresses; path `k` goes from listener `k % listeners` to address `k`.
    pub addresses: Vec<SocketAddr>,
}

/// Defaults for clients' chains.
#[derive(Clone, Copy, Debug)]
pub struct ChainConfig {
    /// Time for an answer (R4).
    pub interval: Span,
    /// Retransmissions (R5).
    pub times: u8,
    /// Messages in one client's chain (R3).
    pub max_stored: u32,
    /// Whether links find lost datagrams ahead of the timer.
    pub recovery: Recovery,
}

/// Whether links find lost datagrams ahead of the timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recovery {
    /// Acknowledged datagram numbers, as in RFC 9002.
    Adaptive,
    /// R4 alone.
    TimerOnly,
}

/// What clients may use.
#[derive(Clone, Copy, Debug)]
pub struct LimitConfig {
    /// The largest message.
    pub max_message_bytes: usize,
    /// Registered clients.
    pub max_clients: usize,
    /// Bytes in one client's receive queue, and in its chain.
    pub client_queue_bytes: usize,
}

/// Who may be a client, and whom it may send to.
#[derive(Clone, Debug)]
pub struct ClientRule {
    /// Which client.
    pub id: ClientId,
    /// Only this user; `None`: any.
    pub uid: Option<u32>,
    /// Only this (primary) group; `None`: any.
    pub gid: Option<u32>,
    /// Only these; `None`: everybody.
    pub may_send_to: Option<Vec<ClientId>>,
}

impl ClientRule {
    /// Whether that process may be the client.
    pub(super) fn allows(&self, peer: Credentials) -> bool {
        self.uid.is_none_or(|uid| uid == peer.uid) && self.gid.is_none_or(|gid| gid == peer.gid)
    }
}
