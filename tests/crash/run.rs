//! One run: who is killed, stopped and started again, and when.

use std::{fmt, thread, time::Duration};

use msg_proto::units::{Span, Time};
use msgd::{
    clock,
    relay::{Direction, Faults, Relay, Share},
};
use rustix::process::Signal;

use super::{
    actor::{Actor, Life},
    check::{self, Tally},
    client::ClientArgs,
    ledger::Entry,
    recovery::{self, Recovery, Start},
};
use crate::{
    node::{Node, NodeSpec, join_by_relay},
    pattern::Random,
    report, wait,
};

/// Who is killed and stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Victims {
    /// Daemons: nothing may fail.
    Daemons,
    /// Clients: everything ends truly.
    Clients,
    /// Both, and both also stand still for up to three seconds.
    Both,
}

/// A run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What it is drawn from.
    pub seed: u64,
    /// Who is killed.
    pub victims: Victims,
    /// How often.
    pub kills: u32,
    /// The longest time from one to the next.
    pub gap_ms: u64,
    /// The longest time that what was killed stays away.
    pub away_ms: u64,
    /// Messages a second of each client.
    pub rate: u64,
    /// Whether the daemons' sockets are held, as systemd does.
    pub held: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// What became of the messages.
    pub tally: Tally,
    /// How fast new daemons were.
    pub recovery: Recovery,
    /// Kills of daemons, kills of clients, stops.
    pub done: (u32, u32, u32),
    /// Datagrams that the relay lost, of so many.
    pub lost: (u64, u64),
}

/// The world of a run.
struct World {
    options: Options,
    random: Random,
    nodes: [Node; 2],
    relay: Relay,
    actors: Vec<Actor>,
    starts: Vec<Start>,
    lives: u32,
    stopped: Vec<Stopped>,
    done: (u32, u32, u32),
}

/// Something that stands still.
struct Stopped {
    who: Who,
    until: Time,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    Node(usize),
    Client(usize),
}

/// Runs it, and checks all of it.
///
/// # Panics
///
/// The promise was broken, in words that say which part of it, and for which message.
#[must_use]
pub fn run(options: &Options) -> Report {
    let mut world = World::new(*options);
    for _ in 0..options.kills {
        world.step();
    }
    world.end()
}

impl World {
    fn new(options: Options) -> Self {
        report::line(format_args!("{:?}: seed {}, {} kills", options.victims, options.seed, options.kills));
        let spec = |name| {
            let mut spec = NodeSpec::new(name).chain(&format!("interval_ms = {INTERVAL_MS}"));
            spec.held = options.held;
            spec
        };
        let (mut a, mut b) = (spec("a"), spec("b"));
        let relay = join_by_relay(&mut a, &mut b, options.seed);
        relay.set_both(Faults { loss: Share::percent(5), ..Faults::NONE });
        let nodes = [Node::start(&a), Node::start(&b)];
        let times = if options.victims == Victims::Daemons { PATIENT } else { BRIEF };
        let ids: Vec<u32> = (0..2).flat_map(|node| (0..3).map(move |n| (node + 1) * 100 + n)).collect();
        let actor = |(place, id): (usize, &u32)| {
            Actor::new(ClientArgs {
                socket: nodes[place / 3].socket(),
                id: *id,
                life: 0,
                interval_ms: INTERVAL_MS,
                times,
                rate: options.rate,
                on_handled: u8::from(id % 100 > 0),
                dst: ids.iter().copied().filter(|dst| dst != id).collect(),
            })
        };
        let actors = ids.iter().enumerate().map(actor).collect();
        let mut world = Self {
            options,
            random: Random(options.seed),
            nodes,
            relay,
            actors,
            starts: Vec::new(),
            lives: 0,
            stopped: Vec::new(),
            done: (0, 0, 0),
        };
        for actor in 0..world.actors.len() {
            world.launch(actor);
        }
        let ready = |actor: &Actor| actor.has(|entry| *entry == Entry::Ready);
        wait::until("all clients are registered", || world.actors.iter().all(ready));
        world
    }

    /// One kill, and now and then a stop before it.
    fn step(&mut self) {
        let gap = self.within_ms(self.options.gap_ms);
        self.pass(gap);
        if self.options.victims == Victims::Both && self.random.next().is_multiple_of(4) {
            self.stop();
        }
        let kills_node = match self.options.victims {
            Victims::Daemons => true,
            Victims::Clients => false,
            Victims::Both => self.random.next().is_multiple_of(2),
        };
        if kills_node {
            self.kill_node();
        } else {
            self.kill_client();
        }
    }

    fn kill_node(&mut self) {
        let place = self.random.within(&(0..=1));
        self.forget(Who::Node(place));
        self.nodes[place].kill();
        if let Some(last) = self.starts.iter_mut().rev().find(|start| start.node == place) {
            last.killed = Some(clock::now());
        }
        let away = self.within_ms(self.options.away_ms);
        self.pass(away);
        let at = self.nodes[place].launch();
        self.starts.push(Start { node: place, at, killed: None });
        self.done.0 += 1;
    }

    fn kill_client(&mut self) {
        let place = self.random.within(&(0..=self.actors.len() - 1));
        self.forget(Who::Client(place));
        self.actors[place].kill();
        let away = self.within_ms(self.options.away_ms);
        self.pass(away);
        self.launch(place);
        self.done.1 += 1;
    }

    fn launch(&mut self, actor: usize) {
        self.lives += 1;
        self.actors[actor].launch(self.lives);
    }

    /// Has a daemon or a client stand still for a while, if it does not already.
    fn stop(&mut self) {
        let who = match self.random.within(&(0..=3)) {
            0 => Who::Node(self.random.within(&(0..=1))),
            _ => Who::Client(self.random.within(&(0..=self.actors.len() - 1))),
        };
        let until = clock::now() + self.within_ms(LONGEST_STOP_MS);
        if self.stopped.iter().all(|stopped| stopped.who != who) {
            match who {
                Who::Node(place) => self.nodes[place].signal(Signal::STOP),
                Who::Client(place) => self.actors[place].stop(),
            }
            self.stopped.push(Stopped { who, until });
            self.done.2 += 1;
        }
    }

    fn go_on(&mut self, who: Who) {
        match who {
            Who::Node(place) => self.nodes[place].signal(Signal::CONT),
            Who::Client(place) => self.actors[place].go_on(),
        }
    }

    fn forget(&mut self, who: Who) {
        self.stopped.retain(|stopped| stopped.who != who);
    }

    /// Lets time pass; who has stood still long enough goes on.
    fn pass(&mut self, span: Span) {
        let end = clock::now() + span;
        loop {
            let now = clock::now();
            let (due, stopped) =
                self.stopped.drain(..).partition::<Vec<_>, _>(|stopped| stopped.until <= now);
            self.stopped = stopped;
            due.iter().for_each(|stopped| self.go_on(stopped.who));
            if now >= end {
                return;
            }
            thread::park_timeout(Duration::from(end.since(now)).min(Duration::from_millis(5)));
        }
    }

    fn within_ms(&mut self, longest_ms: u64) -> Span {
        Span(self.random.next() % (longest_ms * 1_000 + 1))
    }

    /// Everybody goes on, nobody sends any more, and everything ends.
    fn end(mut self) -> Report {
        self.stopped.iter_mut().for_each(|stopped| stopped.until = Time(0));
        self.pass(Span::ZERO);
        self.nodes.iter_mut().for_each(Node::wait_until_ready);
        self.actors.iter_mut().for_each(Actor::quiet);
        for actor in &self.actors {
            wait::until(&format!("client {} has all its outcomes", actor.args.id), || actor.has(is_quiet));
            wait::until("every failure is in the ledger", || {
                let failures = actor.count(|entry| matches!(entry, Entry::Failed { .. }));
                actor.has(|entry| matches!(entry, Entry::Quiet { failed, .. } if *failed <= failures))
            });
        }
        for node in &self.nodes {
            wait::until("what the dead had sent has ended", || node.counter("chain_depth") == 0);
            let [submitted, acked, failed] =
                ["messages_submitted", "messages_acked", "messages_failed"].map(|name| node.counter(name));
            assert_eq!(submitted, acked + failed, "every message has one outcome");
        }
        self.settle();
        let counts = Direction::BOTH.map(|direction| self.relay.counts(direction));
        self.actors.iter_mut().for_each(Actor::finish);
        let lives: Vec<Life> = self.actors.iter_mut().flat_map(|actor| actor.past.drain(..)).collect();
        let nothing_fails = self.options.victims == Victims::Daemons;
        let times = if nothing_fails { PATIENT } else { BRIEF };
        // I1: the copies, a scan, 10 ms; and what a busy machine takes to run a process.
        let bound = Span::from_millis(INTERVAL_MS * (u64::from(times) + 1) + INTERVAL_MS / 2 + 10 + SLACK_MS);
        Report {
            recovery: recovery::measure(&lives, &self.starts),
            tally: check::check(&lives, nothing_fails, bound),
            done: self.done,
            lost: (counts.iter().map(|c| c.lost).sum(), counts.iter().map(|c| c.received).sum()),
        }
    }

    /// An ack may go out before the callbacks of its batch have run: what comes is in the ledgers when it does not grow.
    fn settle(&self) {
        let count = || self.actors.iter().map(|actor| actor.count(|_| true)).sum::<u64>();
        let mut last = (0, clock::now());
        wait::until("the ledgers do not grow any more", || {
            let now = (count(), clock::now());
            if now.0 != last.0 {
                last = now;
            }
            now.1.since(last.1) > Span::from_millis(300)
        });
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tally, recovery, done: (nodes, clients, stops), lost: (lost, of) } = self;
        writeln!(
            f,
            "killed {nodes} daemons and {clients} clients, stopped {stops}; relay lost {lost} of {of}"
        )?;
        write!(f, "{tally}")?;
        if *nodes > 0 { write!(f, "\n{recovery}") } else { Ok(()) }
    }
}

const fn is_quiet(entry: &Entry) -> bool {
    matches!(entry, Entry::Quiet { .. })
}

const INTERVAL_MS: u64 = 200;
/// Ten seconds: no outage lasts as long.
const PATIENT: u8 = 50;
/// A second: some stops last longer.
const BRIEF: u8 = 4;
const LONGEST_STOP_MS: u64 = 3_000;
const SLACK_MS: u64 = 2_000;
