//! The command line.

use std::{net::SocketAddr, path::PathBuf};

/// The messaging daemon of this VM: delivers what local processes send to each other and to those of other nodes,
/// and tells the sender the outcome of every message.
#[derive(Clone, Debug, Default, clap::Parser)]
#[command(name = "msgd", version)]
pub struct Args {
    /// Read this config file (TOML); without one, everything has a default
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Check the config and the command line, print one line, and exit
    #[arg(long)]
    pub check_config: bool,

    /// This node's name, instead of node.name [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,

    /// Listen here for other nodes, instead of on node.listen [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    pub listen: Vec<String>,

    /// Another node and its addresses; replaces the config's peer of that name
    #[arg(long, value_name = "NAME=ADDR[,ADDR]")]
    pub peer: Vec<String>,

    /// Where msgd.sock and status.sock are [default: $XDG_RUNTIME_DIR/msgd, else /run/msgd]
    #[arg(long, value_name = "DIR")]
    pub runtime_dir: Option<PathBuf>,

    /// What the service manager holds for other nodes: listened on unless the config or `--listen` say otherwise
    #[arg(skip)]
    pub held: Vec<SocketAddr>,
}
