//! The command line of `msgctl`. Limits in the help come from the constants that are checked.

use std::{ffi::OsString, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum, builder::RangedU64ValueParser, value_parser};
use msg::Arrival;
use msg_proto::call::REQUEST_HEAD;
use msg_proto::limits::{
    DEFAULT_INTERVAL_MS, DEFAULT_TIMES, MAX_CALL_TIMEOUT_MS, MAX_INTERVAL_MS, MAX_MESSAGE_BYTES,
    MAX_USER_BYTES, MIN_INTERVAL_MS,
};

use crate::relay::Share;

/// The most messages that one `send`, `recv` or direction of `demo` takes on.
const MAX_COUNT: u64 = 10_000_000;

/// The most messages in each direction of the demo: what it remembers of them stays under 300 MiB.
const MAX_DEMO_MESSAGES: u64 = 1_000_000;

/// The size of a bench's messages, unless another is asked for.
const BENCH_SIZE: usize = 256;

/// The highest loss at which the demo's lossy phase can still be expected to end in its time.
const MAX_DEMO_LOSS_PERCENT: u32 = 50;

/// Look at a messaging daemon, send and receive through it, and see it at work.
#[derive(Parser, Debug)]
#[command(name = "msgctl", version, max_term_width = 100, after_help = EXIT_STATUS)]
pub(super) struct Cli {
    /// The daemon's runtime directory, where `msgd.sock` and `status.sock` are [default: $XDG_RUNTIME_DIR/msgd, else
    /// /run/msgd]
    #[arg(long, value_name = "DIR", global = true)]
    pub(super) runtime_dir: Option<PathBuf>,

    /// Print JSON instead of tables: one document, or with `recv` one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 done; 1 it could not be done, or the demo found the promise broken; 2 wrong \
                           command line; 3 `send`, `bench`: at least one message failed; `call`: it failed, and did not start; 4 `call`: it failed, \
                           and may have run.";

#[derive(Subcommand, Debug)]
pub(super) enum Command {
    /// Show the daemon and its counters
    Status,
    /// Show the processes that are registered
    Clients,
    /// Show the other nodes and the links to them
    Peers,
    /// Show the messages whose outcome is not known yet
    Chain {
        /// Only those of this client [0 to 4294967295; default: all clients]
        #[arg(value_name = "CLIENTID")]
        client: Option<u32>,
    },
    /// Send messages, wait for their outcomes and print a summary
    Send(SendArgs),
    /// Print the messages that come for a client
    Recv(RecvArgs),
    /// Have clients take no more messages, and wait until they have ended: other instances go on
    ///
    /// A program that is asked finishes what it has begun, and ends. One that goes on without taking messages is waited for in
    /// vain: the exit status is then 1. It is no state: who registers later, as a program that its service manager starts again,
    /// is not concerned.
    Drain(DrainArgs),
    /// Call a procedure of another process, and print its reply
    Call(CallArgs),
    /// Serve a procedure: run a command for each call
    ///
    /// When it is interrupted, drained or replaced, or has served --count calls, it takes no more, answers those that it has begun,
    /// and ends; a second signal ends it at once.
    Serve(ServeArgs),
    /// Measure how fast messages are: there and back, or as fast as they go
    Bench(BenchArgs),
    /// Have the daemon reread its config; fail with its reason if it keeps the one that it has
    Reload,
    /// Run two daemons on this machine over a bad network, replace a client by takeover, and check that the promise is kept
    Demo(DemoArgs),
    /// Print what makes a shell complete `msgctl`
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// A daemon of the demo, in this process
    #[command(name = NODE_COMMAND, hide = true)]
    Node(NodeArgs),
}

/// The hidden command with which the demo starts its daemons.
pub(super) const NODE_COMMAND: &str = "demo-node";

#[derive(Args, Debug)]
pub(super) struct SendArgs {
    /// The client to send as; no process may be registered with it at the moment [0 to 4294967295]
    #[arg(long, value_name = "ID")]
    pub(super) from: u32,

    /// The client to send to, on any node [0 to 4294967295]
    #[arg(long, value_name = "ID")]
    pub(super) to: u32,

    #[arg(long, value_name = "TEXT", value_parser = user_buff, help = format!(
        "User data that comes back if a message fails [at most {MAX_USER_BYTES} bytes; default: none]"))]
    pub(super) user_buff: Option<UserText>,

    #[arg(long, value_name = "N", default_value_t = 1, value_parser = count(MAX_COUNT), help = format!(
        "Send it so many times [messages, 1 to {MAX_COUNT}]"))]
    pub(super) count: u64,

    /// Send at most so many a second [messages per second, 1 to 1000000; default: as fast as they are taken]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u64>::new().range(1..=1_000_000))]
    pub(super) rate: Option<u64>,

    #[arg(long, value_name = "N", value_parser = interval(), help = format!(
        "How long an answer may take before the message is sent again [milliseconds, {MIN_INTERVAL_MS} to \
         {MAX_INTERVAL_MS}; default: the daemon's, {DEFAULT_INTERVAL_MS} unless configured]"))]
    pub(super) interval_ms: Option<u32>,

    #[arg(long, value_name = "N", help = format!(
        "How often it is sent again before it fails [0 to {}; default: the daemon's, {DEFAULT_TIMES} unless \
         configured]", u8::MAX))]
    pub(super) times: Option<u8>,

    #[arg(value_name = "TEXT|-", allow_hyphen_values = true, help = format!(
        "The message; `-`: all of standard input, as one message [at most {MAX_MESSAGE_BYTES} bytes]"))]
    pub(super) text: OsString,
}

#[derive(Args, Debug)]
pub(super) struct RecvArgs {
    /// The client to receive as; no process of this node may be registered with it, unless --beside or --takeover says so [0 to
    /// 4294967295]
    #[arg(long = "as", value_name = "ID")]
    pub(super) id: u32,

    #[arg(long, value_name = "N", value_parser = count(MAX_COUNT), help = format!(
        "End after so many [messages, 1 to {MAX_COUNT}; default: go on until interrupted]"))]
    pub(super) count: Option<u64>,

    #[command(flatten)]
    pub(super) place: PlaceArgs,

    /// Print the instances of this client too, and each change among them; may be given again [0 to 4294967295]
    #[arg(long, value_name = "ID")]
    pub(super) subscribe: Vec<u32>,
}

/// Where a process stands among others with its clientid.
#[derive(Args, Debug)]
pub(super) struct PlaceArgs {
    /// Among processes with this clientid, on any node, the highest gets the messages [0 to 255]
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) priority: u8,

    /// Register though other processes of this node have the clientid
    #[arg(long, conflicts_with = "takeover")]
    beside: bool,

    /// Take the clientid over from the process that has it, with nothing lost
    #[arg(long)]
    takeover: bool,
}

impl PlaceArgs {
    pub(super) const fn arrival(&self) -> Arrival {
        match (self.beside, self.takeover) {
            (true, _) => Arrival::Beside,
            (_, true) => Arrival::Takeover,
            (false, false) => Arrival::Alone,
        }
    }
}

#[derive(Args, Debug)]
#[command(group(clap::ArgGroup::new("whom").required(true).args(["client", "node"])))]
pub(super) struct DrainArgs {
    /// The processes of this node that have this number [0 to 4294967295]
    #[arg(value_name = "CLIENTID")]
    pub(super) client: Option<u32>,

    /// All processes of this node
    #[arg(long)]
    pub(super) node: bool,

    /// Wait at most so long until they have ended, else exit with 1 [milliseconds, 0 to 4294967295; 0: do not wait]
    #[arg(long, value_name = "N", default_value_t = 30_000)]
    pub(super) timeout_ms: u32,
}

#[derive(Args, Debug)]
pub(super) struct CallArgs {
    /// The client to call as; no process may be registered with it at the moment [0 to 4294967295]
    #[arg(long, value_name = "ID")]
    pub(super) from: u32,

    /// The client to call, on any node [0 to 4294967295]
    #[arg(long, value_name = "ID")]
    pub(super) to: u32,

    /// Which of its procedures [0 to 4294967295]
    #[arg(long, value_name = "N")]
    pub(super) procedure: u32,

    /// Names the call: who calls again with it repeats the call [1 to 18446744073709551615; default: one that nobody has]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u64>::new().range(1..))]
    pub(super) xid: Option<u64>,

    /// The call may have been made before, with that XID: a server that does not remember it is told so
    #[arg(long, requires = "xid")]
    pub(super) repeated: bool,

    #[arg(long, value_name = "N", default_value_t = 5000,
        value_parser = RangedU64ValueParser::<u64>::new().range(1..=MAX_CALL_TIMEOUT_MS), help = format!(
        "How long to wait for the reply [milliseconds, 1 to {MAX_CALL_TIMEOUT_MS}]"))]
    pub(super) timeout_ms: u64,

    /// Call again so often, if it is known not to have started
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) retries: u32,

    /// Repeat the call until it is answered, though it may have run; that the handler failed, the procedure is not served or the
    /// XID was used for another request are answers, too
    #[arg(long)]
    pub(super) at_least_once: bool,

    #[arg(value_name = "TEXT|-", allow_hyphen_values = true, help = format!(
        "The request; `-`: all of standard input [at most {} bytes]", MAX_MESSAGE_BYTES - REQUEST_HEAD))]
    pub(super) text: OsString,
}

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// The client to serve as; no process of this node may be registered with it, unless --beside or --takeover says so [0 to
    /// 4294967295]
    #[arg(long = "as", value_name = "ID")]
    pub(super) id: u32,

    #[command(flatten)]
    pub(super) place: PlaceArgs,

    /// Which procedure [0 to 4294967295]
    #[arg(long, value_name = "N")]
    pub(super) procedure: u32,

    /// A shell command: the request is its standard input, its standard output the reply. If it fails there is none; if it
    /// writes more than a reply can hold, it is stopped. Of a call whose caller waits no more it is not run
    #[arg(long, value_name = "CMD")]
    pub(super) exec: OsString,

    /// Keep so many replies, from which repeats of a call are answered
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = count(MAX_COUNT))]
    pub(super) cache: u64,

    /// Running the command twice is as good as once: repeats run it
    #[arg(long)]
    pub(super) idempotent: bool,

    #[arg(long, value_name = "N", value_parser = count(MAX_COUNT), help = format!(
        "End after so many [calls, 1 to {MAX_COUNT}; default: go on until interrupted]"))]
    pub(super) count: Option<u64>,
}

#[derive(Args, Debug)]
pub(super) struct BenchArgs {
    /// Be the other side: take what comes and answer it, until interrupted or drained
    #[arg(long, requires = "id", conflicts_with_all = ["from", "to"])]
    pub(super) serve: bool,

    /// The client to serve as [0 to 4294967295]
    #[arg(long = "as", value_name = "ID", requires = "serve")]
    pub(super) id: Option<u32>,

    /// The client to send as; no process may be registered with it at the moment [0 to 4294967295]
    #[arg(long, value_name = "ID", requires = "to", required_unless_present = "serve")]
    pub(super) from: Option<u32>,

    /// The client to send to, on any node: one that serves [0 to 4294967295]
    #[arg(long, value_name = "ID", requires = "from")]
    pub(super) to: Option<u32>,

    /// What to measure
    #[arg(long, value_name = "WORK", value_enum, default_value_t = BenchWork::PingPong)]
    pub(super) work: BenchWork,

    #[arg(long, value_name = "N", default_value_t = BENCH_SIZE, value_parser = size, help = format!(
        "How long a message is [bytes, {} to {MAX_MESSAGE_BYTES}]", BenchArgs::MIN_SIZE))]
    pub(super) size: usize,

    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = count(MAX_COUNT), help = format!(
        "Send so many [messages, 1 to {MAX_COUNT}]"))]
    pub(super) count: u64,
}

impl BenchArgs {
    /// Every message has a number.
    pub(super) const MIN_SIZE: usize = 16;
}

/// What `bench` measures.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum BenchWork {
    /// One message there and back at a time: the time that this takes
    PingPong = 0,
    /// As many as are taken: how many that are, and the time until each one's outcome is known
    OneWay = 1,
}

impl BenchWork {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::PingPong => "ping-pong",
            Self::OneWay => "one-way",
        }
    }
}

#[derive(Args, Debug)]
pub(super) struct DemoArgs {
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = count(MAX_DEMO_MESSAGES), help = format!(
        "Messages in each direction [1 to {MAX_DEMO_MESSAGES}]"))]
    pub(super) messages: u64,

    #[arg(long, value_name = "PCT", default_value_t = Share::percent(10), value_parser = loss, help = format!(
        "Datagrams that the network between the two daemons loses [percent of each direction, 0 to \
         {MAX_DEMO_LOSS_PERCENT}]"))]
    pub(super) loss: Share,

    /// What the network's faults and the messages are drawn from [any 64-bit number]
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(super) seed: u64,
}

#[derive(Args, Debug)]
pub(super) struct NodeArgs {
    /// The parent: without it the node ends at once
    #[arg(long)]
    pub(super) parent: i32,

    /// The daemon's own command line
    #[arg(last = true)]
    pub(super) daemon: Vec<OsString>,
}

/// User data from the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct UserText(pub(super) String);

fn user_buff(text: &str) -> Result<UserText, String> {
    match text.len() {
        0..=MAX_USER_BYTES => Ok(UserText(text.to_owned())),
        len => Err(format!("{len} bytes, and at most {MAX_USER_BYTES} are allowed")),
    }
}

fn loss(text: &str) -> Result<Share, String> {
    let share: Share = text.parse().map_err(|e: crate::relay::ShareError| e.to_string())?;
    if share <= Share::percent(MAX_DEMO_LOSS_PERCENT) {
        return Ok(share);
    }
    Err(format!("at most {MAX_DEMO_LOSS_PERCENT} percent are allowed"))
}

fn size(text: &str) -> Result<usize, String> {
    let range = BenchArgs::MIN_SIZE..=MAX_MESSAGE_BYTES;
    let size = text.parse().ok().filter(|size| range.contains(size));
    size.ok_or_else(|| format!("{} to {MAX_MESSAGE_BYTES} bytes are allowed", BenchArgs::MIN_SIZE))
}

fn count(max: u64) -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(1..=max)
}

fn interval() -> clap::builder::RangedI64ValueParser<u32> {
    value_parser!(u32).range(i64::from(MIN_INTERVAL_MS)..=i64::from(MAX_INTERVAL_MS))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, error::ErrorKind};

    use super::*;

    fn parse(line: &str) -> Result<Cli, ErrorKind> {
        Cli::try_parse_from(line.split(' ')).map_err(|e| e.kind())
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_contract_parses() {
        let cli = parse(
            "msgctl send --from 1 --to 2 --user-buff x --count 3 --rate 4 --interval-ms 100 --times 0 - --json",
        );
        let cli = cli.unwrap();
        assert!(cli.json);
        let Command::Send(send) = cli.command else { panic!("{:?}", cli.command) };
        assert_eq!((send.from, send.to, send.count, send.rate), (1, 2, 3, Some(4)));
        assert_eq!((send.interval_ms, send.times, send.text), (Some(100), Some(0), "-".into()));
        for line in [
            "msgctl --runtime-dir /x --json status",
            "msgctl clients --runtime-dir /x",
            "msgctl peers",
            "msgctl chain",
            "msgctl chain 7",
            "msgctl recv --as 4294967295 --count 1",
            "msgctl recv --as 7 --takeover --priority 3 --subscribe 8 --subscribe 9",
            "msgctl drain 7",
            "msgctl drain --node --timeout-ms 0",
            "msgctl call --from 1 --to 2 --procedure 3 x",
            "msgctl call --from 1 --to 2 --procedure 3 --xid 18446744073709551615 --repeated --timeout-ms 1 --at-least-once -",
            "msgctl serve --as 1 --procedure 2 --exec cat",
            "msgctl bench --serve --as 7",
            "msgctl bench --from 1 --to 2 --work one-way --size 16 --count 10000000",
            "msgctl demo --messages 100 --loss 0.5 --seed 18446744073709551615",
        ] {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        let long = format!("msgctl send --from 1 --to 2 --user-buff {} x", "u".repeat(MAX_USER_BYTES + 1));
        for (line, kind) in [
            ("msgctl", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
            ("msgctl sttus", ErrorKind::InvalidSubcommand),
            ("msgctl status --jsn", ErrorKind::UnknownArgument),
            ("msgctl send --from 1 x", ErrorKind::MissingRequiredArgument),
            ("msgctl send --from 1 --to 4294967296 x", ErrorKind::ValueValidation),
            ("msgctl send --from 1 --to 2 --count 0 x", ErrorKind::ValueValidation),
            ("msgctl call --from 1 --to 2 --procedure 3 --xid 0 --repeated x", ErrorKind::ValueValidation),
            ("msgctl send --from 1 --to 2 --interval-ms 9 x", ErrorKind::ValueValidation),
            ("msgctl send --from 1 --to 2 --interval-ms 600001 x", ErrorKind::ValueValidation),
            ("msgctl send --from 1 --to 2 --times 256 x", ErrorKind::ValueValidation),
            ("msgctl send --from 1 --to 2 --rate 0 x", ErrorKind::ValueValidation),
            (&long, ErrorKind::ValueValidation),
            ("msgctl recv", ErrorKind::MissingRequiredArgument),
            ("msgctl recv --as 7 --beside --takeover", ErrorKind::ArgumentConflict),
            ("msgctl drain", ErrorKind::MissingRequiredArgument),
            ("msgctl drain 7 --node", ErrorKind::ArgumentConflict),
            ("msgctl call --from 1 --to 2 --procedure 3 --timeout-ms 0 x", ErrorKind::ValueValidation),
            ("msgctl call --from 1 --to 2 --procedure 3 --repeated x", ErrorKind::MissingRequiredArgument),
            ("msgctl serve --as 1 --procedure 2", ErrorKind::MissingRequiredArgument),
            ("msgctl bench --serve", ErrorKind::MissingRequiredArgument),
            ("msgctl bench --from 1", ErrorKind::MissingRequiredArgument),
            ("msgctl bench --serve --as 1 --from 1 --to 2", ErrorKind::ArgumentConflict),
            ("msgctl bench --from 1 --to 2 --size 15", ErrorKind::ValueValidation),
            ("msgctl bench --from 1 --to 2 --work no-way", ErrorKind::InvalidValue),
            ("msgctl demo --loss 51", ErrorKind::ValueValidation),
            ("msgctl demo --loss ten", ErrorKind::ValueValidation),
            ("msgctl demo --messages 0", ErrorKind::ValueValidation),
        ] {
            assert_eq!(parse(line).map(|_| ()).unwrap_err(), kind, "{line}");
        }
    }

    #[test]
    fn every_option_is_explained() {
        for command in Cli::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for arg in command.get_arguments() {
                assert!(arg.get_help().is_some(), "{} {}", command.get_name(), arg.get_id());
            }
        }
    }
}
