//! A config as the file and the command line give it: every value is in its range, and knows where it came from; the
//! relations between values are checked in [`super::check`].

use std::{net::SocketAddr, path::PathBuf};

use msg_proto::{
    engine::{ChainConfig, ClientRule, LimitConfig, Recovery},
    ids::ClientId,
    limits,
    units::Span,
};

use super::{
    args::Args,
    error::{At, ConfigError, Located},
    read::{Section, Source},
};
use crate::{
    limits::{MAX_CLIENT_RULES, MAX_SPIN_US},
    log::Level,
    sys,
};

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) node: Option<Located<String>>,
    pub(super) listen: Option<Vec<Located<SocketAddr>>>,
    pub(super) runtime_dir: Option<Located<PathBuf>>,
    pub(super) mtu: usize,
    pub(super) max_mtu: usize,
    pub(super) spin: Span,
    pub(super) grace: Span,
    pub(super) log_level: Level,
    pub(super) chain: ChainConfig,
    pub(super) limits: LimitConfig,
    pub(super) plaintext: Plaintext,
    pub(super) peers: Vec<DraftPeer>,
    pub(super) clients: Vec<ClientRule>,
    pub(super) warnings: Vec<ConfigError>,
}

#[derive(Debug)]
pub(super) struct DraftPeer {
    pub(super) name: Located<String>,
    pub(super) addresses: Vec<Located<SocketAddr>>,
}

/// Where datagrams may go unencrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Plaintext {
    LoopbackOnly,
    Everywhere,
}

/// Every key of every section.
#[cfg(test)]
pub(super) const KEYS: &[(&str, &[&str])] = &[
    ("node", NODE),
    ("chain", CHAIN),
    ("limits", LIMITS),
    ("security", SECURITY),
    ("log", LOG),
    ("peer", PEER),
    ("client", CLIENT),
];

const SECTIONS: &[&str] = &["node", "chain", "limits", "security", "log", "peer", "client"];
const NODE: &[&str] = &["name", "listen", "runtime_dir", "mtu", "max_mtu", "spin_us", "grace_ms"];
const CHAIN: &[&str] = &["interval_ms", "times", "max_stored", "adaptive"];
const LIMITS: &[&str] = &["max_message_bytes", "max_clients", "client_queue_bytes"];
const SECURITY: &[&str] = &["mode", "private_key_file", "allow_plaintext"];
const LOG: &[&str] = &["level"];
const PEER: &[&str] = &["name", "addresses", "public_key"];
const CLIENT: &[&str] = &["id", "user", "group", "may_send_to"];

impl Draft {
    pub(super) fn read(source: Source<'_>) -> Result<Self, ConfigError> {
        let document = source.parse()?;
        let root = Section::root(source, &document, SECTIONS)?;
        let node = root.table("node", NODE)?;
        let mut warnings = Vec::new();
        Ok(Self {
            node: node.string("name")?,
            listen: node.strings("listen")?.map(|list| addresses(list, "listen", &LISTEN)).transpose()?,
            runtime_dir: node
                .string("runtime_dir")?
                .map(|dir| Located { value: dir.value.into(), at: dir.at }),
            mtu: size(node.integer("mtu", range(limits::MIN_MTU, limits::MAX_MTU))?, limits::MIN_MTU),
            max_mtu: size(node.integer("max_mtu", range(limits::MIN_MTU, limits::MAX_MTU))?, limits::MAX_MTU),
            spin: Span(node.integer("spin_us", 0..=MAX_SPIN_US)?.unwrap_or(0)),
            grace: Span::from_millis(
                node.integer("grace_ms", 0..=limits::MAX_GRACE_MS.into())?
                    .unwrap_or(limits::DEFAULT_GRACE_MS.into()),
            ),
            log_level: log_level(&root.table("log", LOG)?)?,
            chain: chain(&root.table("chain", CHAIN)?)?,
            limits: quotas(&root.table("limits", LIMITS)?)?,
            plaintext: plaintext(&root.table("security", SECURITY)?, &mut warnings)?,
            peers: peers(&root.tables("peer", PEER)?, &mut warnings)?,
            clients: clients(&root.tables("client", CLIENT)?)?,
            warnings,
        })
    }

    /// What the command line says comes instead of what the file says; a peer of a new name is added.
    pub(super) fn apply(&mut self, args: &Args) -> Result<(), ConfigError> {
        if let Some(node) = &args.node {
            self.node = Some(Located { value: node.clone(), at: At::program("--node") });
        }
        if let Some(dir) = &args.runtime_dir {
            self.runtime_dir = Some(Located { value: dir.clone(), at: At::program("--runtime-dir") });
        }
        if !args.listen.is_empty() {
            let at = At::program("--listen");
            let list =
                args.listen.iter().map(|text| Located { value: text.clone(), at: at.clone() }).collect();
            self.listen = Some(addresses(Located { value: list, at }, "--listen", &LISTEN)?);
        } else if self.listen.is_none() && !args.held.is_empty() {
            let at = At::program("msgd.socket");
            self.listen =
                Some(args.held.iter().map(|held| Located { value: *held, at: at.clone() }).collect());
        }
        let mut seen = Vec::new();
        for text in &args.peer {
            let at = At::program("--peer");
            let Some((name, list)) = text.split_once('=') else {
                return Err(at.error(format!(
                    "{text:?} has no `=`; allowed: NAME=ADDR[,ADDR], like vm-b=10.0.0.2:7400"
                )));
            };
            if seen.contains(&name) {
                return Err(at.error(format!("{name:?} is given twice; allowed: one --peer for each node")));
            }
            seen.push(name);
            let list =
                list.split(',').map(|text| Located { value: text.to_owned(), at: at.clone() }).collect();
            let addresses = addresses(Located { value: list, at: at.clone() }, "--peer", &PEER_ADDRESS)?;
            let peer = DraftPeer { name: Located { value: name.to_owned(), at }, addresses };
            match self.peers.iter_mut().find(|known| known.name.value == name) {
                Some(known) => *known = peer,
                None => self.peers.push(peer),
            }
        }
        Ok(())
    }
}

fn chain(section: &Section<'_>) -> Result<ChainConfig, ConfigError> {
    let interval = u64::from(limits::MIN_INTERVAL_MS)..=u64::from(limits::MAX_INTERVAL_MS);
    let interval = section.integer("interval_ms", interval)?.unwrap_or(limits::DEFAULT_INTERVAL_MS.into());
    let times = section.integer("times", 0..=u64::from(u8::MAX))?;
    let max_stored = section.integer("max_stored", 1..=u64::from(limits::MAX_STORED_CEILING))?;
    let recovery = match section.boolean("adaptive")? {
        Some(false) => Recovery::TimerOnly,
        Some(true) | None => Recovery::Adaptive,
    };
    Ok(ChainConfig {
        interval: Span::from_millis(interval),
        times: times.and_then(|times| u8::try_from(times).ok()).unwrap_or(limits::DEFAULT_TIMES),
        max_stored: max_stored.and_then(|max| u32::try_from(max).ok()).unwrap_or(limits::DEFAULT_MAX_STORED),
        recovery,
    })
}

fn log_level(section: &Section<'_>) -> Result<Level, ConfigError> {
    let Some(name) = section.string("level")? else { return Ok(Level::default()) };
    let allowed = Level::NAMES;
    Level::parse(&name.value)
        .ok_or_else(|| name.at.error(format!("{:?} is not a level; allowed: {allowed}", name.value)))
}

fn quotas(section: &Section<'_>) -> Result<LimitConfig, ConfigError> {
    let message = section.integer("max_message_bytes", range(1, limits::MAX_MESSAGE_BYTES))?;
    let clients = section.integer("max_clients", range(1, limits::MAX_CLIENTS_CEILING))?;
    let queue = range(limits::MIN_CLIENT_QUEUE_BYTES, limits::MAX_CLIENT_QUEUE_BYTES);
    let queue = section.integer("client_queue_bytes", queue)?;
    Ok(LimitConfig {
        max_message_bytes: size(message, limits::MAX_MESSAGE_BYTES),
        max_clients: size(clients, limits::DEFAULT_MAX_CLIENTS),
        client_queue_bytes: size(queue, limits::DEFAULT_CLIENT_QUEUE_BYTES),
    })
}

fn plaintext(section: &Section<'_>, warnings: &mut Vec<ConfigError>) -> Result<Plaintext, ConfigError> {
    if let Some(mode) = section.string("mode")? {
        match mode.value.as_str() {
            "none" => {}
            "noise" => {
                return Err(mode.at.error(
                    "encryption is not available in this version; set mode = \"none\", and allow_plaintext = true \
                     if listeners that are not loopback may go without it",
                ));
            }
            other => return Err(mode.at.error(format!("{other:?} is not a mode; allowed: \"none\""))),
        }
    }
    if let Some(file) = section.string("private_key_file")? {
        warnings.push(file.at.error("is not used; mode is \"none\""));
    }
    Ok(if section.boolean("allow_plaintext")? == Some(true) {
        Plaintext::Everywhere
    } else {
        Plaintext::LoopbackOnly
    })
}

fn peers(sections: &[Section<'_>], warnings: &mut Vec<ConfigError>) -> Result<Vec<DraftPeer>, ConfigError> {
    let mut peers: Vec<DraftPeer> = Vec::new();
    for section in sections {
        let name = section.required_string("name")?;
        if peers.iter().any(|peer| peer.name.value == name.value) {
            return Err(name
                .at
                .error(format!("{:?} is there twice; allowed: one [[peer]] for each node", name.value)));
        }
        let list = section.strings("addresses")?.ok_or_else(|| section.missing("addresses"))?;
        if let Some(key) = section.string("public_key")? {
            warnings.push(key.at.error("is not used; security.mode is \"none\""));
        }
        peers.push(DraftPeer { name, addresses: addresses(list, "addresses", &PEER_ADDRESS)? });
    }
    Ok(peers)
}

fn clients(sections: &[Section<'_>]) -> Result<Vec<ClientRule>, ConfigError> {
    let ids = 0..=u64::from(u32::MAX);
    let mut seen = std::collections::BTreeSet::new();
    let mut rules: Vec<ClientRule> = Vec::new();
    for section in sections {
        let id = section.required_integer("id", ids.clone())?;
        if !seen.insert(id.value) {
            return Err(id
                .at
                .error(format!("{} is there twice; allowed: one [[client]] for each id", id.value)));
        }
        if seen.len() > MAX_CLIENT_RULES {
            return Err(id.at.error(format!("too many [[client]] tables; allowed: {MAX_CLIENT_RULES}")));
        }
        let may_send_to = section.integers("may_send_to", ids.clone())?;
        rules.push(ClientRule {
            id: client_id(id.value),
            uid: section.string("user")?.map(|name| account(&name, "user", sys::uid_of)).transpose()?,
            gid: section.string("group")?.map(|name| account(&name, "group", sys::gid_of)).transpose()?,
            may_send_to: may_send_to.map(|list| list.into_iter().map(client_id).collect()),
        });
    }
    Ok(rules)
}

/// A user's or group's number, by name or by number.
fn account(
    name: &Located<String>,
    kind: &str,
    look_up: fn(&str) -> std::io::Result<Option<u32>>,
) -> Result<u32, ConfigError> {
    let allowed = format!("allowed: the name or number of a {kind} of this system");
    match look_up(&name.value) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => {
            name.value.parse().map_err(|_| name.at.error(format!("no {kind} {:?}; {allowed}", name.value)))
        }
        Err(error) => Err(name.at.error(format!("{:?} cannot be looked up: {error}; {allowed}", name.value))),
    }
}

/// What a list of addresses is for.
struct AddressRule {
    /// Whether the kernel may choose the port.
    any_port: bool,
}

const LISTEN: AddressRule = AddressRule { any_port: true };
const PEER_ADDRESS: AddressRule = AddressRule { any_port: false };

fn addresses(
    list: Located<Vec<Located<String>>>,
    what: &str,
    rule: &AddressRule,
) -> Result<Vec<Located<SocketAddr>>, ConfigError> {
    const LOOKS: &str = "allowed: IP:PORT, like 10.0.0.2:7400 or [fd00::2]:7400 (no host names)";
    if list.value.is_empty() || list.value.len() > limits::MAX_PATHS {
        let count = list.value.len();
        return Err(list
            .at
            .error(format!("{count} addresses; allowed: 1 to {}, each IP:PORT", limits::MAX_PATHS)));
    }
    let mut parsed: Vec<Located<SocketAddr>> = Vec::new();
    for Located { value: text, at } in list.value {
        let Ok(address) = text.parse::<SocketAddr>() else {
            return Err(at.error(format!("{text:?} is not an address; {LOOKS}")));
        };
        if address.port() == 0 && !rule.any_port {
            return Err(at.error(format!("{text:?} has port 0; {LOOKS}")));
        }
        if address.port() != 0 && parsed.iter().any(|known| known.value == address) {
            return Err(at.error(format!("{text:?} is there twice; allowed: each address once in {what}")));
        }
        parsed.push(Located { value: address, at });
    }
    Ok(parsed)
}

fn range(low: usize, high: usize) -> std::ops::RangeInclusive<u64> {
    low as u64..=high as u64
}

fn size(value: Option<u64>, default: usize) -> usize {
    value.and_then(|value| usize::try_from(value).ok()).unwrap_or(default)
}

fn client_id(value: u64) -> ClientId {
    // In range: the reader has checked it.
    ClientId(u32::try_from(value).unwrap_or(u32::MAX))
}
