//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{party::PartyArgs, systems::System};

/// Measures msgd beside the bare chain of processes that only forward, and beside what else could be used, interleaved
/// in one run. Each system has a side A and a side B, every process apart.
#[derive(Parser, Debug)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct CommandLine {
    #[command(subcommand)]
    pub(crate) helper: Option<Helper>,
    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// What to measure, with commas between. Ratios are to those after the first.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "msgd,chain-1,chain-batch")]
    pub(crate) systems: Vec<System>,
    /// The work, with commas between; idle, start, scan and slow are msgd's alone.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "ping-pong,one-way")]
    pub(crate) work: Vec<Work>,
    /// Message sizes in bytes, with commas between; loss and paced take 256 bytes only.
    #[arg(long, value_delimiter = ',', default_value = "64,256,16384", value_parser = clap::value_parser!(u32).range(16..=65536))]
    pub(crate) sizes: Vec<u32>,
    /// Percents of the datagrams that are lost each way, for loss and paced.
    #[arg(long, value_delimiter = ',', default_value = "1,5,20", value_parser = clap::value_parser!(u32).range(0..=90))]
    pub(crate) loss: Vec<u32>,
    /// How often everything is measured, in turns; figures are medians.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) reps: u32,
    /// How long each measurement takes.
    #[arg(long, default_value_t = 3.0)]
    pub(crate) seconds: f64,
    /// What is between the sides for loss and paced: veth needs root, `ip` and `nft`; the relay is for msgd alone.
    #[arg(long, value_enum)]
    pub(crate) network: Option<NetworkKind>,
    /// Leaves it to the kernel on which CPU a process runs. Otherwise side A has CPU 0 and side B CPU 1.
    #[arg(long)]
    pub(crate) no_pin: bool,
    /// Messages in the chain for scan.
    #[arg(long, default_value_t = 1_000_000)]
    pub(crate) entries: u32,
    /// Writes all figures here.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draws them here.
    #[arg(long, value_name = "FILE")]
    pub(crate) svg: Option<PathBuf>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Work {
    /// One message there and back at a time.
    PingPong,
    /// As fast as it goes, at most 1000 not acknowledged.
    OneWay,
    /// one-way, while datagrams are lost.
    Loss,
    /// 2,000 messages a second, while datagrams are lost: how late each is.
    Paced,
    /// A daemon with 100 clients and 10 peers that have nothing to say.
    Idle,
    /// From the daemon's start until it is ready.
    Start,
    /// A scan of a chain with many messages of which none is due, and with ten.
    Scan,
    /// 100 receivers of which one stands still: the delay of the others' messages.
    Slow,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NetworkKind {
    /// Two network namespaces joined by a veth pair; nftables drops packets.
    Veth,
    /// msgd's own relay, on loopback.
    Relay,
}

/// The processes of a measurement, started by it.
#[derive(Subcommand, Debug)]
pub(crate) enum Helper {
    #[command(hide = true)]
    Party(PartyArgs),
    #[command(hide = true)]
    Forward(ForwardArgs),
    #[command(hide = true)]
    Exec(ExecArgs),
}

/// One of the two processes that only forward.
#[derive(Args, Debug)]
pub(crate) struct ForwardArgs {
    pub(crate) system: System,
    /// The client's socket.
    pub(crate) client: PathBuf,
    /// Where this one's datagrams come.
    pub(crate) at: SocketAddr,
    /// Where the other one's come.
    pub(crate) other: SocketAddr,
}

/// Another program, in its place.
#[derive(Args, Debug)]
pub(crate) struct ExecArgs {
    #[arg(long)]
    pub(crate) cpu: Option<usize>,
    #[arg(long)]
    pub(crate) namespace: Option<PathBuf>,
    #[arg(last = true, required = true)]
    pub(crate) program: Vec<std::ffi::OsString>,
}
