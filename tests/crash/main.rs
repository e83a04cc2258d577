//! The command line of the crash runs: `README.md` says how to use it.

#![allow(clippy::print_stdout, reason = "it is a command")]

use clap::{Args, Parser, Subcommand, ValueEnum};
use msg_tests::crash::{
    client::{self, ClientArgs},
    run::{Options, Victims, run},
};

/// Kills the real programs at random moments under traffic, and compares every ledger with every other.
#[derive(Parser, Debug)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    /// Two nodes, three clients on each, and 5 % of the datagrams between them lost.
    Run(Run),
    /// A client of a run, which starts it.
    #[command(hide = true)]
    Client(ClientArgs),
}

#[derive(Args, Debug)]
struct Run {
    /// Who is killed.
    victims: Whom,
    /// How often.
    #[arg(long, default_value_t = 300)]
    kills: u32,
    /// What it is drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The longest time from one kill to the next.
    #[arg(long, default_value_t = 300)]
    gap_ms: u64,
    /// The longest time that what was killed stays away.
    #[arg(long, default_value_t = 50)]
    away_ms: u64,
    /// Messages a second of each client.
    #[arg(long, default_value_t = 150)]
    rate: u64,
    /// Hold the daemons' sockets, as systemd does.
    #[arg(long)]
    held: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Whom {
    /// Nothing fails.
    Daemons,
    /// Everything ends truly.
    Clients,
    /// With stops of seconds.
    Both,
}

fn main() {
    match Command::parse().what {
        What::Client(args) => client::run(&args),
        What::Run(Run { victims, kills, seed, gap_ms, away_ms, rate, held }) => {
            let victims = match victims {
                Whom::Daemons => Victims::Daemons,
                Whom::Clients => Victims::Clients,
                Whom::Both => Victims::Both,
            };
            println!("{}", run(&Options { seed, victims, kills, gap_ms, away_ms, rate, held }));
        }
    }
}
