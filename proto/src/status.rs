//! The status document: what `GET /v1/status` answers and `msgctl` prints. Fields are added, never changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The whole document.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct StatusDocument {
    /// The node's name.
    pub node: String,
    /// The daemon's version.
    pub version: String,
    /// Since the daemon started.
    pub uptime_ms: u64,
    /// Its process; 0: it is of a version that does not say.
    #[serde(default)]
    pub pid: u32,
    /// How often it has reread its config.
    #[serde(default)]
    pub reloads: u64,
    /// Why it kept the config that it had, when it last reread it; absent: it took the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reload_error: Option<String>,
    /// Registered clients, by clientid.
    pub clients: Vec<ClientStatus>,
    /// Configured peers, by name.
    pub peers: Vec<PeerStatus>,
    /// All instances of all clientids that this node knows of, by clientid; of each, the active one first.
    #[serde(default)]
    pub instances: Vec<InstanceStatus>,
    /// Monotonic counters by name, and the gauge `chain_depth`.
    pub counters: BTreeMap<String, u64>,
}

/// One instance of a clientid, here or on a peer.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// The clientid.
    pub client: u32,
    /// Which of its lives, in hexadecimal.
    pub incarnation: String,
    /// Where.
    pub node: String,
    /// The highest is active; of equal ones the newest incarnation.
    pub priority: u8,
    /// Whether messages go to it.
    pub active: bool,
}

/// One registered client.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ClientStatus {
    /// Its number.
    pub id: u32,
    /// Its incarnation, in hexadecimal.
    pub incarnation: String,
    /// The program's name for itself.
    pub name: String,
    /// Its priority among instances.
    #[serde(default)]
    pub priority: u8,
    /// `active`, `standby`, or `leaving`: it takes no more, and goes on with what it has.
    #[serde(default)]
    pub state: String,
    /// Its process.
    pub pid: u32,
    /// Its user.
    pub uid: u32,
    /// Its `interval`.
    pub interval_ms: u64,
    /// Its retransmissions.
    pub times: u8,
    /// What its chain may hold.
    pub max_stored: u32,
    /// Messages in its chain.
    pub chain_depth: u64,
    /// Bytes in its chain.
    pub chain_bytes: u64,
    /// Age of the oldest message in its chain; 0 if it is empty.
    pub oldest_ms: u64,
    /// Messages given to it, or waiting for it, that it has not taken.
    pub queue_messages: u64,
    /// Bytes of those, and of messages half reassembled.
    pub queue_bytes: u64,
    /// Messages that it submitted.
    pub submitted: u64,
    /// Of those, taken by their receivers.
    pub acked: u64,
    /// Of those, failed.
    pub failed: u64,
    /// Messages that it took.
    pub taken: u64,
}

/// One configured peer.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PeerStatus {
    /// Its node's name.
    pub name: String,
    /// `up`, `connecting` or `down`.
    pub state: String,
    /// Why there can be no link: what versions it speaks, and this node; absent: nothing is known against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<String>,
    /// Its addresses, each with what is known of the path.
    pub paths: Vec<PathStatus>,
    /// Clients that it announced.
    pub clients: Vec<u32>,
    /// Smoothed round trip of the link; 0: not measured yet.
    pub rtt_us: u64,
    /// Mean deviation of the round trip.
    pub jitter_us: u64,
    /// The longest one-way delay, over the least, among the clock samples: compare with `interval`.
    pub delay_us: u64,
    /// When its clock, as seen from here, last stepped: milliseconds ago; absent: never.
    pub clock_step_ms_ago: Option<u64>,
    /// Bytes sent and neither acknowledged nor lost.
    pub in_flight_bytes: u64,
    /// Copies that wait for the link.
    pub queued: u64,
    /// Since it was last heard; absent: never.
    pub heard_ms_ago: Option<u64>,
}

/// One path of a link.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct PathStatus {
    /// The peer's address.
    pub remote: String,
    /// Since something came over it; absent: never.
    pub heard_ms_ago: Option<u64>,
    /// Whether it is the one that messages take.
    pub active: bool,
    /// The largest datagram that it is known to carry.
    pub mtu: u64,
}

/// One message in a chain, for `msgctl chain`: `GET /v1/chain?client=ID`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ChainEntry {
    /// Who sent it.
    pub client: u32,
    /// Its number.
    pub msgid: u32,
    /// Whom it is for.
    pub dst: u32,
    /// Bytes.
    pub len: u64,
    /// Since it was submitted.
    pub age_ms: u64,
    /// Copies that left this node.
    pub copies: u32,
    /// Retransmissions that the timer has left.
    pub times_left: u32,
    /// What it waits for: `answer`, `link`, `route`.
    pub waits_for: String,
    /// Its user data; bytes that are not printable ASCII as `\xNN`.
    pub user_buff: String,
}
