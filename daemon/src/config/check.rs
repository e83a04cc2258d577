//! The relations between the values of a config, and the defaults that come from the system.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use msg_proto::{engine::PeerConfig, limits};

use super::{
    Config,
    draft::{Draft, DraftPeer, Plaintext},
    error::{At, ConfigError, Located},
};
use crate::sys;

/// The port that daemons listen on unless configured otherwise.
pub const DEFAULT_PORT: u16 = 7400;

pub(super) fn check(draft: Draft) -> Result<Config, ConfigError> {
    let node =
        draft.node.unwrap_or_else(|| Located { value: sys::host_name(), at: At::program("node.name") });
    check_name(&node)?;
    let listen = draft.listen.unwrap_or_else(|| vec![default_listener()]);
    check_listeners(&listen, draft.plaintext)?;
    check_peers(&draft.peers, &node.value)?;
    let runtime_dir = match draft.runtime_dir {
        Some(dir) if dir.value.as_os_str().is_empty() => {
            return Err(dir.at.error("is empty; allowed: a directory"));
        }
        Some(dir) => dir.value,
        None => default_runtime_dir(),
    };
    let mut warnings = draft.warnings;
    warn_of_unreachable(&draft.peers, &listen, &mut warnings);
    Ok(Config {
        node: node.value,
        listen: listen.into_iter().map(|listener| listener.value).collect(),
        runtime_dir,
        mtu: draft.mtu,
        max_mtu: draft.max_mtu,
        spin: draft.spin,
        chain: draft.chain,
        limits: draft.limits,
        peers: draft.peers.into_iter().map(peer).collect(),
        clients: draft.clients,
        grace: draft.grace,
        log_level: draft.log_level,
        warnings,
    })
}

/// `$XDG_RUNTIME_DIR/msgd`, else `/run/msgd`: where the sockets are unless configured otherwise.
#[must_use]
pub fn default_runtime_dir() -> PathBuf {
    let user = env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    user.map_or_else(|| PathBuf::from("/run"), PathBuf::from).join("msgd")
}

fn check_name(name: &Located<String>) -> Result<(), ConfigError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if (1..=limits::MAX_NODE_NAME_BYTES).contains(&name.value.len()) && name.value.bytes().all(known) {
        return Ok(());
    }
    let allowed = format!("allowed: 1 to {} letters, digits, `-`, `.`, `_`", limits::MAX_NODE_NAME_BYTES);
    Err(name.at.error(format!("{:?} is not a node's name; {allowed}", name.value)))
}

fn check_listeners(listen: &[Located<SocketAddr>], plaintext: Plaintext) -> Result<(), ConfigError> {
    let open = listen.iter().find(|listener| !is_loopback(listener.value));
    match open {
        Some(listener) if plaintext == Plaintext::LoopbackOnly => Err(listener.at.error(format!(
            "{} is not a loopback address and security.mode is \"none\"; allowed: loopback addresses, or others with \
             security.allow_plaintext = true",
            listener.value
        ))),
        _ => Ok(()),
    }
}

fn check_peers(peers: &[DraftPeer], node: &str) -> Result<(), ConfigError> {
    for (index, peer) in peers.iter().enumerate() {
        check_name(&peer.name)?;
        if peer.name.value == node {
            let what = format!("{node:?} is this node's own name; allowed: names of other nodes");
            return Err(peer.name.at.error(what));
        }
        if index >= limits::MAX_PEERS {
            return Err(peer.name.at.error(format!("too many peers; allowed: {}", limits::MAX_PEERS)));
        }
    }
    Ok(())
}

/// Path `k` of a link goes from listener `k % listeners`. One that cannot carry anything is most likely a mistake, but
/// the others work without it.
fn warn_of_unreachable(peers: &[DraftPeer], listen: &[Located<SocketAddr>], warnings: &mut Vec<ConfigError>) {
    for peer in peers {
        for (address, listener) in peer.addresses.iter().zip(listen.iter().cycle()) {
            let (to, from) = (address.value, listener.value);
            let why = if to.is_ipv4() != from.is_ipv4() {
                "is of the other IP version"
            } else if is_loopback(from) && !is_loopback(to) {
                "is a loopback address"
            } else {
                continue;
            };
            let what = format!("{to} cannot be reached: its path starts at listener {from}, which {why}");
            warnings.push(address.at.error(what));
        }
    }
}

fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn default_listener() -> Located<SocketAddr> {
    Located { value: (Ipv4Addr::LOCALHOST, DEFAULT_PORT).into(), at: At::program("node.listen") }
}

fn peer(draft: DraftPeer) -> PeerConfig {
    let addresses = draft.addresses.into_iter().map(|address| address.value).collect();
    PeerConfig { name: draft.name.value, addresses }
}
