//! Every limit, in one place: its value, why it is that, and what it costs at worst.
//!
//! The relations between them hold at compile time.

/// User data that a send takes and its failure callback hands back (R1).
pub const MAX_USER_BYTES: usize = 64;

/// The largest `max_message_bytes` that a config may set, and its default. One message's reassembly costs this.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Messages in one client's retransmit chain unless configured otherwise (R3).
pub const DEFAULT_MAX_STORED: u32 = 1000;

/// The largest `max_stored`. With [`SEQ_SPAN`] it bounds a flow's bitmap.
pub const MAX_STORED_CEILING: u32 = 65_536;

/// How far a flow's highest sequence number may be beyond its floor. A receiver's flow costs at most 16 bytes for each.
pub const SEQ_SPAN: u32 = 65_536;

/// How far a msgid may be ahead of the oldest unresolved one of its client (ring index in the chain; 4 bytes each).
pub const MSGID_SPAN: u32 = 1 << 18;

/// Retransmissions unless configured otherwise (R5).
pub const DEFAULT_TIMES: u8 = 10;

/// `interval` unless configured otherwise, in milliseconds (R4).
pub const DEFAULT_INTERVAL_MS: u32 = 1000;

/// The shortest `interval`: a scan every 5 ms is what a general-purpose kernel keeps.
pub const MIN_INTERVAL_MS: u32 = 10;

/// The longest `interval`: ten minutes, so that `interval * (times + 1)` stays under two days.
pub const MAX_INTERVAL_MS: u32 = 600_000;

/// Clients registered with one daemon unless configured otherwise.
pub const DEFAULT_MAX_CLIENTS: usize = 1024;

/// The largest `max_clients`: what `LimitNOFILE` of the unit leaves room for.
pub const MAX_CLIENTS_CEILING: usize = 16_384;

/// Connections that have not registered yet; the next one is closed at once. They time out after
/// [`REGISTER_TIMEOUT_MS`].
pub const MAX_UNREGISTERED: usize = 128;

/// A connection that has not registered by then is closed.
pub const REGISTER_TIMEOUT_MS: u64 = 5_000;

/// Bytes that may stand in one client's receive queue, and in its chain, unless configured otherwise.
pub const DEFAULT_CLIENT_QUEUE_BYTES: usize = 8 << 20;

/// The smallest `client_queue_bytes`: it must hold two of the largest messages, one in each direction of doubt.
pub const MIN_CLIENT_QUEUE_BYTES: usize = 2 * MAX_MESSAGE_BYTES;

/// The largest `client_queue_bytes`.
pub const MAX_CLIENT_QUEUE_BYTES: usize = 1 << 30;

/// Bytes of deliveries that may be on their way to a client's library, not yet taken. What is beyond waits
/// in the daemon, where a new copy can refresh it (R4) and where it can still be called back.
pub const DELIVERY_WINDOW_BYTES: usize = 512 << 10;

/// Deliveries on their way to one client's library. Beside [`DELIVERY_WINDOW_BYTES`], for small messages.
pub const DELIVERY_WINDOW_MESSAGES: usize = 4096;

/// A client that leaves may still have to begin what it took, and says so with DRAINED: its successor on that node is
/// given nothing in order for so long, or half of that client's interval if that is less.
pub const SUCCESSOR_WAIT_MS: u64 = 100;

/// Flows that one client may have towards others, and that others may have towards it. About 200 bytes each, and its slots.
pub const MAX_FLOWS_PER_CLIENT: usize = 4096;

/// Peers in the config.
pub const MAX_PEERS: usize = 256;

/// Addresses of one peer, and listeners of one daemon: paths of a link.
pub const MAX_PATHS: usize = 8;

/// Bytes of a node's name.
pub const MAX_NODE_NAME_BYTES: usize = 64;

/// Bytes of the name that a client registers with (its program, for the status).
pub const MAX_CLIENT_NAME_BYTES: usize = 64;

/// The smallest and the default datagram (RFC 8899's base): every path carries it.
pub const MIN_MTU: usize = 1200;

/// The largest datagram: the most that UDP over IPv4 carries, rounded down to whole fragments.
pub const MAX_MTU: usize = 65_000;

/// A large message is cut into units of this size; a fragment is a run of them. Fixed, so that a message
/// can go on over a path with a smaller MTU than the one that it began on.
pub const FRAGMENT_UNIT: usize = 1024;

/// Units of the largest message.
pub const MAX_FRAGMENT_UNITS: usize = MAX_MESSAGE_BYTES.div_ceil(FRAGMENT_UNIT);

/// A hello and its answer have exactly this size, so that an answer is never larger than what came in.
pub const HELLO_DATAGRAM_BYTES: usize = 320;

/// Bytes of a bincode control body, between daemons or on the local socket.
pub const MAX_CONTROL_BODY_BYTES: usize = 1024;

/// Bytes of the text in a local NACK: a sentence, well inside [`MAX_CONTROL_BODY_BYTES`].
pub const MAX_NACK_TEXT_BYTES: usize = 512;

/// Bytes of one frame on the local socket: the largest message with its header and user data.
pub const MAX_LOCAL_FRAME_BYTES: usize = MAX_MESSAGE_BYTES + 256;

/// Control bodies that may wait for one peer's acknowledgement; beyond, the link starts anew (and with it the
/// announcements). About 100 bytes each.
pub const MAX_CONTROL_QUEUE: usize = 2 * MAX_CLIENTS_CEILING + 2 * MAX_WATCHED + 64;

/// Datagram numbers remembered against replay: those further back are refused unseen. 1 KiB a link.
pub const REPLAY_WINDOW: u64 = 8192;

/// Ranges in one link acknowledgement.
pub const MAX_ACK_RANGES: usize = 32;

/// The clock keeps its best sample over this span (DESIGN: least delayed of the last 10 s).
pub const CLOCK_WINDOW_MS: u64 = 10_000;

/// How fast two clocks may drift apart, in parts per million (500 each): a sample is trusted that much less as it ages.
pub const CLOCK_DRIFT_PPM: u64 = 1000;

/// A driver that calls this much later than it was asked to was suspended, or its clock jumped.
pub const CLOCK_GAP_MS: u64 = 250;

/// A heartbeat goes out on every path this often when nothing else does.
pub const HEARTBEAT_MS: u64 = 1000;

/// A link that was silent this long is down: its routes are withdrawn and hellos begin again.
pub const LINK_LOST_MS: u64 = 5_000;

/// Hellos start this far apart and back off to [`HEARTBEAT_MS`].
pub const HELLO_MS: u64 = 20;
/// Hellos of one peer that are answered within [`HELLO_MS`].
pub const MAX_HELLO_ANSWERS: u32 = 8;

/// The last copy may leave this much later than its scan, where the link is busy; the failure comes that much
/// later than `interval` after the scan (I1 leaves 10 ms).
pub const LAST_COPY_SLACK_MS: u64 = 5;

/// After a daemon's start, its clients have this long to come back before a peer is told that one is gone, unless
/// configured otherwise (I6).
pub const DEFAULT_GRACE_MS: u32 = 2000;

/// The longest grace.
pub const MAX_GRACE_MS: u32 = 60_000;

/// Half-reassembled and waiting messages are looked through this often for stale ones (R6), while there are any.
pub const SWEEP_MS: u64 = 250;

/// How long what is known of a departed client's flows is kept, so that late copies get a true certainty.
/// After half of it, a copy of a flow that is not known is answered `Unknown`.
pub const TOMBSTONE_MS: u64 = 120_000;

/// Departed clients, and flows whose sender is gone, are looked through this often, while there are any.
pub const EXPIRE_MS: u64 = 10_000;

/// A flow whose sender is gone is forgotten after this many intervals without a copy: more than the chain's longest
/// life, `interval * (times + 1)` with `times` = 255.
pub const SOURCE_GONE_INTERVALS: u64 = 257;

/// Departed client incarnations remembered, and as many to which there is no route any more. 32 bytes each, and 60.
pub const MAX_DEPARTED: usize = 4096;

/// Calls of one client that wait for their reply. About 200 bytes each, and what [`MAX_PENDING_CALL_BYTES`] counts.
pub const MAX_PENDING_CALLS: usize = 16_384;

/// Bytes of requests that one client keeps for calls without a reply, so that they can be repeated.
pub const MAX_PENDING_CALL_BYTES: usize = 32 << 20;

/// Calls that one client serves at a time, begun or not: more are refused, not started. About 300 bytes each, and what
/// [`MAX_SERVED_BYTES`] counts.
pub const MAX_SERVED_CALLS: usize = 16_384;

/// Bytes of requests not begun, and of replies not sent, that one client holds.
pub const MAX_SERVED_BYTES: usize = 32 << 20;

/// Bytes of replies that a reply cache keeps unless configured otherwise.
pub const DEFAULT_REPLY_CACHE_BYTES: usize = 16 << 20;

/// How long a reply cache keeps a reply unless configured otherwise.
pub const DEFAULT_REPLY_CACHE_AGE_MS: u64 = 600_000;

/// What a cached reply counts beside its bytes: its key, twice.
pub const REPLY_CACHE_ENTRY_BYTES: usize = 256;

/// The longest timeout of a call: a day.
pub const MAX_CALL_TIMEOUT_MS: u64 = 86_400_000;

/// A call whose time is over waits this much longer for what its daemon knows of its request.
pub const CALL_GRACE_MS: u64 = 100;
/// Instances of one clientid that a client is told of, the active one first; 16 bytes each.
pub const MAX_PRESENT: usize = 512;

/// Clientids whose instances one client may want to know of.
pub const MAX_SUBSCRIPTIONS: usize = 1024;

/// Instances that one client may watch for their end: who serves its calls, and whose calls it serves. About 100 bytes
/// each, in its library and in its daemon.
pub const MAX_WATCHES: usize = 4096;

/// Instances that are watched from one node, or at it: of more, the end is not told. About 200 bytes each.
pub const MAX_WATCHED: usize = 16_384;

const _: () = assert!(MAX_STORED_CEILING <= SEQ_SPAN);
const _: () = assert!(SEQ_SPAN < MSGID_SPAN);
const _: () = assert!(DEFAULT_MAX_STORED <= MAX_STORED_CEILING);
const _: () = assert!(DEFAULT_CLIENT_QUEUE_BYTES >= MIN_CLIENT_QUEUE_BYTES);
const _: () = assert!(DEFAULT_CLIENT_QUEUE_BYTES <= MAX_CLIENT_QUEUE_BYTES);
const _: () = assert!(DELIVERY_WINDOW_BYTES < MIN_CLIENT_QUEUE_BYTES);
const _: () = assert!(MIN_MTU >= HELLO_DATAGRAM_BYTES);
const _: () = assert!(MIN_MTU >= MAX_CONTROL_BODY_BYTES + 64, "a control body fits one datagram");
const _: () = assert!(MAX_NACK_TEXT_BYTES + 64 <= MAX_CONTROL_BODY_BYTES);
const _: () =
    assert!(MAX_LOCAL_FRAME_BYTES >= MAX_MESSAGE_BYTES + MAX_USER_BYTES + 56, "heads and user data fit");
const _: () =
    assert!(MIN_MTU >= FRAGMENT_UNIT + 28 + 48 + 20, "header, FLOW and FRAGMENT heads leave a whole unit");
const _: () = assert!(MIN_MTU >= MAX_FRAGMENT_UNITS / 8 + 28 + 64, "a PARTIAL frame fits one datagram");
const _: () = assert!(MAX_MTU <= u16::MAX as usize);
const _: () = assert!(MIN_INTERVAL_MS <= DEFAULT_INTERVAL_MS && DEFAULT_INTERVAL_MS <= MAX_INTERVAL_MS);
const _: () = assert!(DEFAULT_MAX_CLIENTS <= MAX_CLIENTS_CEILING);
const _: () = assert!(HELLO_MS < HEARTBEAT_MS && HEARTBEAT_MS * 4 < LINK_LOST_MS);
const _: () = assert!(LAST_COPY_SLACK_MS < 10, "I1 leaves 10 ms");
