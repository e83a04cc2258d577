//! What the daemon counts: one documented list, from which the names in the status come.

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident => $wire:literal,)+) => {
        /// A monotonic counter of the daemon.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u8)]
        pub enum Counter { $($(#[doc = $doc])+ $name,)+ }

        impl Counter {
            /// All of them, in the order of the status document.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// Its name in the status document.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $wire),+ }
            }

            /// What it counts, in one sentence.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

counters! {
    /// Messages that clients submitted.
    MessagesSubmitted => "messages_submitted",
    /// Messages handed to a client's socket, each once a handing over.
    MessagesDelivered => "messages_delivered",
    /// Messages that ended as taken by the receiver (R7).
    MessagesAcked => "messages_acked",
    /// Messages that ended in a failure (R5).
    MessagesFailed => "messages_failed",
    /// Of those failed: no process was or will be given them.
    FailedNotStarted => "failed_not_started",
    /// Of those failed: a process may have been given them.
    FailedUnknown => "failed_unknown",
    /// Copies sent again because `interval` passed without an answer (R4).
    Retransmits => "retransmits",
    /// Copies sent again ahead of the timer, because the link lost a datagram.
    FastRetransmits => "fast_retransmits",
    /// Copies of overdue messages, sent along with others before it is known that they are lost. None while the link finds nothing lost.
    RedundantCopies => "redundant_copies",
    /// Copies of messages that were already there; those taken before were acknowledged again (R8).
    Duplicates => "duplicates",
    /// Copies dropped because they were sent longer than `interval` ago (R6).
    StaleMessagesDropped => "stale_messages_dropped",
    /// Acks dropped because they were sent longer than `interval` ago (R9).
    StaleAcksDropped => "stale_acks_dropped",
    /// Deliveries that a client's library dropped as stale when their turn came (R6).
    StaleDeliveriesDropped => "stale_deliveries_dropped",
    /// Copies and acks whose `send_time` lies in the future: a clock jumped.
    FutureStamps => "future_stamps",
    /// Acks of messages whose outcome was known already, or that were never sent.
    UnmatchedAcks => "unmatched_acks",
    /// Datagrams that asked whether a path carries larger ones (RFC 8899).
    PathMtuProbes => "path_mtu_probes",
    /// Paths that stopped carrying datagrams of a size that they had carried.
    PathMtuBlackHoles => "path_mtu_black_holes",
    /// Scans of the retransmit chain (R2).
    Scans => "scans",
    /// Entries that scans looked at: only those due.
    ScannedEntries => "scanned_entries",
    /// Copies not accepted because the receiver's queue was full; the sender's timer sends them again.
    QueueFullRefusals => "queue_full_refusals",
    /// Copies not accepted because their sender's presence has not come yet.
    EarlyMessages => "early_messages",
    /// Half-reassembled messages that went stale (R6).
    ReassembliesExpired => "reassemblies_expired",
    /// Datagrams dropped: not ours, or a frame out of range.
    MalformedDatagrams => "malformed_datagrams",
    /// Datagrams dropped: checksum.
    ChecksumErrors => "checksum_errors",
    /// Datagrams dropped: a version that is not spoken here.
    VersionMismatches => "version_mismatches",
    /// Datagrams dropped: a session that is not known (a peer that restarted, or a stranger).
    UnknownSessions => "unknown_sessions",
    /// Datagrams dropped: their number was there before, or is too far back.
    ReplayedDatagrams => "replayed_datagrams",
    /// Hellos from nodes that are not in the config, too short to be answered, or more than are answered at a time.
    RefusedHellos => "refused_hellos",
    /// Frames from clients that broke a rule.
    MalformedLocalFrames => "malformed_local_frames",
    /// Connections that ended because they did not register in time, or were too many.
    RefusedConnections => "refused_connections",
    /// Datagrams handed to the network.
    DatagramsSent => "datagrams_sent",
    /// Datagrams that came.
    DatagramsReceived => "datagrams_received",
    /// Bytes of datagrams handed to the network.
    BytesSent => "bytes_sent",
    /// Bytes of datagrams that came.
    BytesReceived => "bytes_received",
    /// Datagrams that the link found lost.
    DatagramsLost => "datagrams_lost",
    /// Probe time-outs of links (RFC 9002, section 6.2).
    ProbeTimeouts => "probe_timeouts",
    /// Links that came up.
    LinksUp => "links_up",
    /// Links that went down.
    LinksDown => "links_down",
    /// Times that this node's clock jumped or stood still.
    ClockSteps => "clock_steps",
}

/// The values.
#[derive(Clone, Debug)]
pub struct Counters([u64; Counter::ALL.len()]);

impl Counters {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self([0; Counter::ALL.len()])
    }

    /// Adds one.
    #[inline]
    pub const fn add(&mut self, counter: Counter) {
        self.add_n(counter, 1);
    }

    /// Adds `n`.
    #[inline]
    pub const fn add_n(&mut self, counter: Counter, n: u64) {
        self.0[counter as usize] = self.0[counter as usize].wrapping_add(n);
    }

    /// The value.
    #[must_use]
    pub const fn value(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
