//! The daemon's own limits, each with its reason. Those of the protocol are in [`msg_proto::limits`].

/// The longest `spin_us`: 10 ms of a core after each burst is already more than a wake-up ever costs.
pub const MAX_SPIN_US: u64 = 10_000;

/// Descriptors beside the clients': listeners, sockets, threads' connections, and some to spare.
pub const SPARE_FILES: usize = 256;

/// Open files of a daemon with as many clients as there can be: `LimitNOFILE` of the unit. What is used is asked for when
/// the daemon starts, and follows from `limits.max_clients`.
pub const MAX_OPEN_FILES: usize = open_files(msg_proto::limits::MAX_CLIENTS_CEILING);

/// Open files of a daemon with that many clients.
#[must_use]
pub const fn open_files(max_clients: usize) -> usize {
    max_clients + msg_proto::limits::MAX_UNREGISTERED + SPARE_FILES
}

/// Bytes of a config file: 256 peers with 8 addresses each and a rule for every client fit many times over.
pub const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// `[[client]]` rules in a config.
pub const MAX_CLIENT_RULES: usize = 65_536;

/// Bytes of a Unix socket's path, without the terminating 0 (`sun_path`).
pub const MAX_SOCKET_PATH_BYTES: usize = 107;

/// Datagrams that one listener may bring in one turn.
pub const DATAGRAMS_PER_TURN: usize = 512;

/// Bytes that one listener may bring in one turn, but for the last system call's: as much as is still in the processor's cache
/// when it is written to the clients.
pub const DATAGRAM_BYTES_PER_TURN: usize = 192 << 10;

/// Bytes that one client may bring in one turn.
pub const CLIENT_BYTES_PER_TURN: usize = 256 << 10;

/// Bytes that all clients together may bring in one turn: about 2 ms of work.
pub const READ_BYTES_PER_TURN: usize = 4 << 20;

/// Connections accepted in one turn.
pub const ACCEPTS_PER_TURN: usize = 32;

/// Calls of `poll_transmit` in one turn; each is up to 64 datagrams.
pub const TRANSMITS_PER_TURN: usize = 256;

/// A client that leaves this much unread is itself not read until it has taken some of it. More than the largest
/// delivery and a whole delivery window, so that a client that reads is never held up.
pub const MAX_UNREAD_OUTPUT_BYTES: usize = 4 << 20;

/// What is asked of the kernel for each listener's buffers, and that is how much the link may have under way.
pub const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// How long one listener that takes nothing may hold up the others; what it should have sent is lost then.
pub const BLOCKED_SEND_US: u64 = 10_000;

/// After the system has no more file descriptors, accepting pauses this long.
pub const ACCEPT_PAUSE_US: u64 = 100_000;

/// After the system refused segmentation offload it is tried again this much later: an interface that loses its address
/// for a moment brings the same error as one that cannot do it.
pub const OFFLOAD_RETRY_US: u64 = 30_000_000;

/// Goodbyes may take this long when the daemon stops.
pub const SHUTDOWN_DRAIN_US: u64 = 200_000;

/// The loop answers status requests this far apart: all that wait then share one document.
pub const STATUS_GAP_US: u64 = 2_000;

/// Connections to the status socket that are served at a time, each by a thread; others wait in the backlog.
pub const STATUS_CONNECTIONS: usize = 8;

/// A status request's head.
pub const MAX_STATUS_REQUEST_BYTES: usize = 8 << 10;

/// A connection to the status socket is over by then, however slow the other side is.
pub const STATUS_CONNECTION_MS: u64 = 2_000;

/// A status request's head is complete by then: what is left of the connection's time is for saying that it is not.
pub const STATUS_HEAD_MS: u64 = 1_500;

/// Entries that `/v1/chain` answers unless asked for fewer or more.
pub const DEFAULT_CHAIN_ENTRIES: usize = 1_000;

/// The most entries that `/v1/chain` answers: about 2 MiB of JSON.
pub const MAX_CHAIN_ENTRIES: usize = 10_000;

/// Log lines that wait for the writer; beyond, they are dropped and counted.
pub const MAX_LOG_LINES: usize = 1_024;

/// One place in the code is heard this often in [`LOG_GAP_US`]; what it leaves out is counted and told.
pub const LOG_LINES_PER_GAP: u32 = 20;

/// One complaint of a kind is logged this often at most.
pub const LOG_GAP_US: u64 = 10_000_000;

const _: () = assert!(MAX_UNREAD_OUTPUT_BYTES > msg_proto::limits::MAX_LOCAL_FRAME_BYTES * 2);
const _: () = assert!(STATUS_HEAD_MS < STATUS_CONNECTION_MS);
const _: () = assert!(READ_BYTES_PER_TURN >= CLIENT_BYTES_PER_TURN);
