//! What there is to configure: one table, from which the example config, the manual page and the README's table are
//! made, and against which a test holds what is read.

use std::fmt::Display;

use msg_proto::limits as proto;

use super::check::DEFAULT_PORT;
use crate::{limits, log::Level};

/// A table of the config file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// Its name.
    pub name: &'static str,
    /// What it is about, in a sentence or two.
    pub about: &'static str,
    /// Whether there may be several: `[[name]]`.
    pub is_list: bool,
}

/// A key of the config file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Key {
    /// The table it is in.
    pub section: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What counts without it, in words or TOML; empty if it must be there, or if nothing does.
    pub default: String,
    /// The values that it takes.
    pub allowed: String,
    /// What it means, in a sentence or two.
    pub about: &'static str,
    /// A value, in TOML: the default, where that is a value.
    pub example: String,
    /// When another value takes effect.
    pub effect: Effect,
}

/// When another value of a key takes effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// With a reload.
    Reload,
    /// With a restart; a reload with another value is refused as a whole.
    Restart,
    /// With the next start; a reload takes no notice.
    NextStart,
}

/// All tables, in the order in which they are shown.
pub const SECTIONS: &[Section] = &[
    Section { name: "node", about: "This node.", is_list: false },
    Section {
        name: "chain",
        about: "Retransmission (R2 to R5): what counts for clients that do not ask for their own.",
        is_list: false,
    },
    Section { name: "limits", about: "What clients may use.", is_list: false },
    Section { name: "security", about: "What protects messages between nodes.", is_list: false },
    Section { name: "log", about: "What is logged.", is_list: false },
    Section { name: "peer", about: "Another node; up to 256 of these tables.", is_list: true },
    Section {
        name: "client",
        about: "Who may be a client. A clientid without such a table is open to everybody who may open msgd.sock.",
        is_list: true,
    },
];

/// All keys, in the order in which they are shown.
#[must_use]
pub fn keys() -> Vec<Key> {
    let mut keys = node();
    keys.extend(chain());
    keys.extend(bounds());
    keys.extend(security());
    keys.extend(peer());
    keys.extend(client());
    keys
}

fn node() -> Vec<Key> {
    use Effect::{NextStart, Reload, Restart};
    let addresses = format!("1 to {} IP:PORT", proto::MAX_PATHS);
    let names = format!("1 to {} of A-Za-z0-9-._", proto::MAX_NODE_NAME_BYTES);
    vec![
        key("node", "name", Restart)
            .about("This node's name, which other nodes' configs use.")
            .values("the host name", names)
            .example(r#""vm-a""#),
        key("node", "listen", Restart)
            .about(
                "Where other nodes reach it. Path k of a link goes from listener k to the peer's address k (modulo the \
                 number of listeners), so two listeners on two networks are two paths. Anything but loopback needs \
                 security.allow_plaintext = true.",
            )
            .values(format!("what msgd.socket holds, else [\"127.0.0.1:{DEFAULT_PORT}\"]"), addresses)
            .example(r#"["10.0.0.1:7400", "10.1.0.1:7400"]"#),
        key("node", "runtime_dir", Restart)
            .about("Where msgd.sock (clients) and status.sock (observers) are.")
            .values("$XDG_RUNTIME_DIR/msgd, else /run/msgd", "a directory")
            .example(r#""/run/msgd""#),
        key("node", "mtu", Restart)
            .about(
                "The datagram, in bytes, that every path carries. Larger ones are used on paths that turn out to \
                 carry them.",
            )
            .number(proto::MIN_MTU, proto::MIN_MTU, proto::MAX_MTU),
        key("node", "max_mtu", Restart)
            .about("The largest datagram that paths are probed for, in bytes (RFC 8899). No more than mtu: none is.")
            .number(proto::MAX_MTU, proto::MIN_MTU, proto::MAX_MTU),
        key("node", "spin_us", Reload)
            .about(
                "After traffic, poll this many microseconds before sleeping: less latency for more CPU. 0 is off.",
            )
            .number(0, 0, limits::MAX_SPIN_US),
        key("node", "grace_ms", NextStart)
            .about(
                "How long after its start the daemon waits for clients of the one before it, until it says that one is \
                 gone.",
            )
            .number(proto::DEFAULT_GRACE_MS, 0, proto::MAX_GRACE_MS),
    ]
}

fn chain() -> Vec<Key> {
    use Effect::{Reload, Restart};
    vec![
        key("chain", "interval_ms", Reload)
            .about(
                "How long a copy of a message may take to be answered before it is sent again (R4). A client may ask for \
                 its own.",
            )
            .number(proto::DEFAULT_INTERVAL_MS, proto::MIN_INTERVAL_MS, proto::MAX_INTERVAL_MS),
        key("chain", "times", Reload)
            .about(
                "How often a message is sent again before its sender is told that it failed (R5). A client may ask for \
                 its own.",
            )
            .number(proto::DEFAULT_TIMES, 0, u8::MAX),
        key("chain", "max_stored", Reload)
            .about("Messages in one client's retransmit chain (R3).")
            .number(proto::DEFAULT_MAX_STORED, 1, proto::MAX_STORED_CEILING),
        key("chain", "adaptive", Restart)
            .about("Whether links find lost datagrams ahead of the timer, and send what is overdue along with the next message while they lose any. false leaves only the timer (R2 to R5).")
            .values("true", "true, false")
            .example("true"),
    ]
}

fn bounds() -> Vec<Key> {
    use Effect::Reload;
    vec![
        key("limits", "max_message_bytes", Reload).about("The largest message.").number(
            proto::MAX_MESSAGE_BYTES,
            1,
            proto::MAX_MESSAGE_BYTES,
        ),
        key("limits", "max_clients", Reload).about("Clients that may be registered.").number(
            proto::DEFAULT_MAX_CLIENTS,
            1,
            proto::MAX_CLIENTS_CEILING,
        ),
        key("limits", "client_queue_bytes", Reload)
            .about("Bytes that may wait for one client, and in its chain.")
            .number(
                proto::DEFAULT_CLIENT_QUEUE_BYTES,
                proto::MIN_CLIENT_QUEUE_BYTES,
                proto::MAX_CLIENT_QUEUE_BYTES,
            ),
    ]
}

fn security() -> Vec<Key> {
    use Effect::{Reload, Restart};
    vec![
        key("security", "mode", Restart)
            .about("Encryption between nodes: \"none\" is the only mode of this version.")
            .values(r#""none""#, r#""none""#)
            .example(r#""none""#),
        key("security", "private_key_file", Restart)
            .about("Not used in mode \"none\".")
            .values("", "a path")
            .example(r#""/etc/msgd/private.key""#),
        key("security", "allow_plaintext", Restart)
            .about("Whether listeners that are not loopback may go without encryption.")
            .values("false", "true, false")
            .example("true"),
        key("log", "level", Reload)
            .about("The least severe lines that are logged. The environment variable MSGD_LOG, if it is set, wins.")
            .values(format!("\"{}\"", Level::default()), Level::NAMES)
            .example(format!("\"{}\"", Level::default())),
    ]
}

fn peer() -> Vec<Key> {
    use Effect::Reload;
    vec![
        key("peer", "name", Reload).about("Its node.name.").values("", "a node's name").example(r#""vm-b""#),
        key("peer", "addresses", Reload)
            .about("Its listeners.")
            .values("", format!("1 to {} IP:PORT", proto::MAX_PATHS))
            .example(r#"["10.0.0.2:7400", "10.1.0.2:7400"]"#),
        key("peer", "public_key", Reload)
            .about("Not used in security.mode \"none\".")
            .values("", "a string")
            .example(r#""AAAA""#),
    ]
}

fn client() -> Vec<Key> {
    use Effect::Reload;
    vec![
        key("client", "id", Reload)
            .about("Its clientid.")
            .values("", format!("0 to {}", u32::MAX))
            .example("100"),
        key("client", "user", Reload)
            .about("Only processes of this user may be that client.")
            .values("any", "a user's name or number")
            .example(r#""root""#),
        key("client", "group", Reload)
            .about("Only processes whose primary group is this one may be that client.")
            .values("any", "a group's name or number")
            .example(r#""root""#),
        key("client", "may_send_to", Reload)
            .about("It may send only to these clientids.")
            .values("all", "clientids")
            .example("[200]"),
    ]
}

fn key(section: &'static str, name: &'static str, effect: Effect) -> Key {
    let (default, allowed, example) = (String::new(), String::new(), String::new());
    Key { section, name, default, allowed, about: "", example, effect }
}

impl Key {
    fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    fn values(self, default: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self { default: default.into(), allowed: allowed.into(), ..self }
    }

    fn example(self, example: impl Into<String>) -> Self {
        Self { example: example.into(), ..self }
    }

    fn number(self, default: impl Display, least: impl Display, most: impl Display) -> Self {
        let default = default.to_string();
        self.values(default.clone(), format!("{least} to {most}")).example(default)
    }
}
