//! `msgctl demo`: the main job on a fresh machine. Two daemons on loopback, a bad network between them, messages
//! both ways, an outage, takeovers; then everything sent is compared with everything received.
//!
//! * `node`: the daemons' processes. `payload`: messages that can be made again. `lane`: a client and its ledger.
//! * `traffic`: the lossy phase. `outage`: the cut. `takeover`: a client is replaced under traffic. `ledger`: the comparison.
//!   `report`: what is printed.

mod lane;
mod ledger;
mod node;
mod outage;
mod payload;
mod report;
mod takeover;
mod traffic;

pub(super) use node::run_node;

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::Path,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use msg_proto::units::{Span, Time};

use super::{
    cli::DemoArgs,
    error::{CtlError, Exit},
    latencies::Latencies,
    port::{Port, Registration},
    signals::Stop,
    status::{self, Format},
    verdicts,
};
use crate::{
    clock,
    relay::{Faults, Relay, Share},
};
use lane::Lane;
use ledger::{Ledger, Violations};
use node::{Node, Plan, free_address};
use outage::Outage;
use payload::Flow;
use report::{Daemons, FlowReport, LatencyReport, Report};
use takeover::{TAKEOVERS, Takeover};

/// The whole demo ends within this time, and tells where it stood if it did not get through. More messages
/// than the usual ones get more.
const TIMEOUT_MS: u64 = 120_000;
const TIMEOUT_MS_PER_MESSAGE: u64 = 4;

/// The clients' `interval` in the lossy phase.
const INTERVAL: Duration = Duration::from_millis(200);

/// Starts of the daemons, in case somebody takes a port between our look at it and theirs.
const STARTS: usize = 3;

/// The clients: two that talk to each other, two for the outage, one that is alone and one that nobody has, and two for
/// the takeovers.
const LEFT: u32 = 100;
const RIGHT: u32 = 200;
const CUT_FROM: u32 = 300;
const CUT_TO: u32 = 400;
const LONELY: u32 = 500;
const NOBODY: u32 = 999;
const SENDER: u32 = 600;
const REPLACED: u32 = 700;

/// The time that is left, and whether somebody wants to stop.
#[derive(Debug)]
struct Clock {
    deadline: Time,
    stop: Stop,
}

impl Clock {
    /// An error if it is time to stop; `state` says where things stand.
    fn check(&self, state: impl FnOnce() -> String) -> Result<(), CtlError> {
        if self.stop.is_raised() {
            return Err(CtlError::Interrupted);
        }
        if clock::now() >= self.deadline {
            return Err(CtlError::Demo(format!("stuck: {}", state())));
        }
        Ok(())
    }
}

/// The two daemons and what lies between them. Dropped in this order.
struct Stage {
    nodes: [Node; 2],
    relay: Relay,
}

/// The phase in which a client is replaced.
const TAKEOVER: &str = "takeover";

/// What each flow's clients did, with the phase that it was in.
type Ledgers = [(&'static str, Ledger); 5];

/// `msgctl demo`.
pub(super) fn run(args: &DemoArgs, format: Format, out: &mut dyn Write) -> Result<Exit, CtlError> {
    let begin = clock::now();
    let stop = Stop::on_signals().map_err(CtlError::Signals)?;
    let limit_ms = TIMEOUT_MS.max(args.messages.saturating_mul(TIMEOUT_MS_PER_MESSAGE));
    let clock = Clock { deadline: begin + Span::from_millis(limit_ms), stop };
    let home = tempfile::Builder::new().prefix("msgd-demo-").tempdir();
    let home = home.map_err(cannot("make a temporary directory"))?;
    let stage = Stage::set(home.path(), args.seed, &clock)?;

    let bar = progress(args.messages * 2);
    let played = stage.play(args, &clock, &bar);
    bar.finish_and_clear();
    let (ledgers, latencies) = played?;

    let report = stage.report(args, &ledgers, &latencies, begin)?;
    drop((stage, home));
    match format {
        Format::Json => status::write_json(out, &report)?,
        Format::Table => report.write(out)?,
    }
    Ok(if report.promise_kept { Exit::Ok } else { Exit::Error })
}

impl Stage {
    /// Starts the daemons and waits until they know each other.
    fn set(home: &Path, seed: u64, clock: &Clock) -> Result<Self, CtlError> {
        let mut last = CtlError::Interrupted;
        for start in 0..STARTS {
            clock.check(|| "the daemons do not start".to_owned())?;
            match Self::set_once(&home.join(start.to_string()), seed, clock) {
                Ok(stage) => return Ok(stage),
                Err(e @ CtlError::Interrupted) => return Err(e),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    fn set_once(home: &Path, seed: u64, clock: &Clock) -> Result<Self, CtlError> {
        let relay = Relay::start(seed).map_err(cannot("start the relay"))?;
        let addresses = || -> io::Result<[SocketAddr; 2]> { Ok([free_address()?, free_address()?]) };
        let [listen_a, listen_b] = addresses().map_err(cannot("find a free port"))?;
        relay.connect(listen_a, listen_b);
        let plan_a = Plan { name: "a", listen: listen_a, peer: "b", peer_address: relay.side_a(), home };
        let plan_b = Plan { name: "b", listen: listen_b, peer: "a", peer_address: relay.side_b(), home };
        let start = |plan: &Plan<'_>| Node::start(plan).map_err(cannot("start a daemon"));
        let nodes = [start(&plan_a)?, start(&plan_b)?];
        for node in &nodes {
            node.wait_until("its link", &clock.stop, |status| status.peers.iter().any(|p| p.state == "up"))?;
        }
        Ok(Self { nodes, relay })
    }

    /// All phases: what was sent, and how long it took in the lossy one.
    fn play(
        &self,
        args: &DemoArgs,
        clock: &Clock,
        bar: &ProgressBar,
    ) -> Result<(Ledgers, Latencies), CtlError> {
        self.relay.set_both(faults(args.loss));
        let lanes = self.open_lanes(args.seed)?;
        let (both, latencies) = traffic::run(lanes, args.messages, clock, |known| bar.set_position(known))?;
        bar.set_message("outage");
        let outage = self.open_outage(args.seed, clock)?.run(&self.relay)?;
        bar.set_message("takeover");
        let replaced = self.open_takeover(args.seed, clock)?.run()?;
        // While the clients are still registered, for what the daemons counted of them.
        let [status_a, status_b] = [self.nodes[0].status()?, self.nodes[1].status()?];
        let ([there, back], [cut, nobody]) = (both, outage);
        let ledgers = [
            ("bad network", there.close(&status_a)),
            ("bad network", back.close(&status_b)),
            ("outage", cut.close(&status_a)),
            ("to nobody", nobody.close(&status_a)),
            (TAKEOVER, replaced.close(&status_a)),
        ];
        Ok((ledgers, latencies))
    }

    fn report(
        &self,
        args: &DemoArgs,
        ledgers: &Ledgers,
        latencies: &Latencies,
        begin: Time,
    ) -> Result<Report, CtlError> {
        let mut violations = Violations::default();
        ledgers.iter().for_each(|(_, ledger)| ledger.check(&mut violations));
        let replaced = ledgers.iter().filter(|(phase, _)| *phase == TAKEOVER);
        replaced.for_each(|(_, ledger)| ledger.check_takeovers(&mut violations));
        let [a, b] = &self.nodes;
        Ok(Report {
            promise_kept: violations.count == 0,
            violations: violations.count,
            first_violations: violations.told,
            seed: args.seed,
            loss_percent: args.loss.to_string(),
            elapsed_ms: clock::now().since(begin).as_millis(),
            takeovers: TAKEOVERS,
            flows: ledgers.iter().map(|(phase, ledger)| FlowReport::new(phase, ledger)).collect(),
            failed_by: verdicts::count(ledgers.iter().flat_map(|(_, l)| &l.failed).map(|f| f.verdict)),
            network: report::network(&self.relay),
            daemons: Daemons::new(&[a.status()?, b.status()?]),
            latency_us: LatencyReport::new(latencies),
        })
    }

    fn open_lanes(&self, seed: u64) -> Result<[Lane; 2], CtlError> {
        let lane = |node: usize, from, to| {
            let registration = self.registration(node, from, INTERVAL, None);
            Lane::open(registration, Flow { from, to, seed })
        };
        Ok([lane(0, LEFT, RIGHT)?, lane(1, RIGHT, LEFT)?])
    }

    fn open_outage<'a>(&self, seed: u64, clock: &'a Clock) -> Result<Outage<'a>, CtlError> {
        let registration =
            |node: usize, id| self.registration(node, id, outage::INTERVAL, Some(outage::TIMES));
        Ok(Outage {
            lane: Lane::open(registration(0, CUT_FROM), Flow { from: CUT_FROM, to: CUT_TO, seed })?,
            nobody: Lane::open(registration(0, LONELY), Flow { from: LONELY, to: NOBODY, seed })?,
            receiver: Port::open(registration(1, CUT_TO))?,
            clock,
        })
    }

    fn open_takeover<'a>(&self, seed: u64, clock: &'a Clock) -> Result<Takeover<'a>, CtlError> {
        let lane = Lane::open(
            self.registration(0, SENDER, INTERVAL, None),
            Flow { from: SENDER, to: REPLACED, seed },
        )?;
        Ok(Takeover { lane, receiver: self.registration(1, REPLACED, INTERVAL, None), clock })
    }

    fn registration(&self, node: usize, id: u32, interval: Duration, times: Option<u8>) -> Registration {
        Registration {
            socket: self.nodes[node].socket(),
            id,
            interval: Some(interval),
            times,
            priority: 0,
            arrival: msg::Arrival::Alone,
        }
    }
}

/// The bad network: each way the same.
fn faults(loss: Share) -> Faults {
    Faults {
        loss,
        duplication: Share::percent(5),
        corruption: Share::percent(1),
        delay_max: Duration::from_millis(4),
        ..Faults::NONE
    }
}

fn progress(length: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(length), ProgressDrawTarget::stderr());
    let style =
        ProgressStyle::with_template("{msg:11} {wide_bar} {human_pos}/{human_len} outcomes {elapsed}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_message("bad network");
    bar
}

fn cannot(what: &'static str) -> impl Fn(io::Error) -> CtlError {
    move |error| CtlError::Demo(format!("cannot {what}: {error}"))
}
