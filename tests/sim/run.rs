//! One seed from beginning to end.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, PoisonError},
};

use super::{
    check::{About, Invariant, Log, Outcome, Violation},
    options::Options,
    scenario::Scenario,
    stats::Stats,
    world::World,
};

/// What came of a seed.
#[derive(Debug)]
pub struct Report {
    /// What happened, in numbers.
    pub stats: Stats,
    /// A hash of everything that happened.
    pub hash: u64,
    /// What must not be.
    pub violation: Option<Violation>,
    /// What happened to the message concerned.
    pub story: Vec<String>,
}

/// Runs a seed; on a violation once more, to tell what happened to the message concerned.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    let first = run_once(seed, options, Log::default());
    match &first.violation {
        Some(violation) if violation.invariant != Invariant::Panic => {
            // Without a message, only what happened to the world is told.
            let about = violation.about.or(NOBODY);
            Report { story: run_once(seed, options, Log::about(about)).story, ..first }
        }
        _ => first,
    }
}

/// Runs a seed twice: the second time must be as the first.
#[must_use]
pub fn run_twice(seed: u64, options: &Options) -> Report {
    let (mut first, second) = (run(seed, options), run_once(seed, options, Log::default()));
    if first.violation.is_none() && first.hash != second.hash {
        let text = format!("trace {:016x}, and then {:016x}", first.hash, second.hash);
        first.violation = Some(Violation { invariant: Invariant::Determinism, at: 0, about: None, text });
    }
    first
}

/// Runs a seed once, with that log.
#[must_use]
pub fn run_once(seed: u64, options: &Options, log: Log) -> Report {
    let mut world = World::new(Scenario::new(seed, options), log);
    let result = catch_unwind(AssertUnwindSafe(|| live(&mut world)));
    let violation = result.unwrap_or_else(|_| {
        let text = LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).clone();
        world.wrong(Invariant::Panic, text)
    });
    if violation.is_err() {
        world.note_links();
    }
    Report {
        stats: world.stats(),
        hash: world.check.log.hash(),
        violation: violation.err(),
        story: world.check.log.lines(),
    }
}

/// Keeps what a panic says instead of printing it. Once, for the whole process.
pub fn keep_panics() {
    std::panic::set_hook(Box::new(|info| {
        *LAST_PANIC.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string();
    }));
}

static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

fn live(world: &mut World) -> Result<(), Violation> {
    let faults_end = world.scenario.duration;
    world.run_until(faults_end)?;
    world.heal();
    let drained = faults_end + world.scenario.longest_life() + SETTLE;
    world.run_until(drained)?;
    check_drained(world)?;
    let finale = world.send_finale()?;
    let longest = world.scenario.longest_life();
    let calls = world.call_finale(longest + FINALE);
    world.run_until(drained + longest + 2 * FINALE)?;
    for (life, uid, dst) in calls {
        if !world.check.has_reply(uid) {
            let text = format!("life {life}'s call ({uid:x}) to {dst}, made when all was well, has no reply");
            return world.wrong(Invariant::Liveness, text);
        }
    }
    for (life, msgid, dst) in finale {
        let outcome = world.outcome(life, msgid);
        if outcome != Some(Outcome::Acked) {
            let text = format!("to {dst}, sent when all was well, and now {outcome:?}");
            let about = Some((life, msgid.0));
            return Err(Violation { invariant: Invariant::Liveness, at: world.now, about, text });
        }
    }
    check_drained(world)
}

/// Every chain is empty, and every process knows every outcome.
fn check_drained(world: &World) -> Result<(), Violation> {
    for (n, node) in world.nodes.iter().enumerate() {
        world.check_node(n)?;
        let depth = node.engine.as_ref().map_or(0, |e| e.chain_depth());
        if depth > 0 {
            return world
                .wrong(Invariant::Drain, format!("node {n} still has {depth} messages in its chain"));
        }
    }
    let open = world.check.open_calls();
    if open > 0 {
        return world.wrong(Invariant::Drain, format!("{open} calls have no end"));
    }
    for process in world.clients.iter().filter_map(|c| c.process.as_ref()) {
        let (open, first) = world.check.open(process.life);
        if open > 0 || process.session.unresolved() > 0 {
            let text = format!("life {} still waits for {open} outcomes", process.life);
            let about = first.map(|msgid| (process.life, msgid));
            return Err(Violation { invariant: Invariant::Drain, at: world.now, about, text });
        }
    }
    Ok(())
}

/// After faults have stopped: processes start again, links come up (5 s until a dead one counts as lost, hellos),
/// backlogs are read.
const SETTLE: u64 = 14_000_000;
const FINALE: u64 = 100_000;
const NOBODY: About = Some((usize::MAX, 0));
