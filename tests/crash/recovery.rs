//! How long after its start a new daemon lets messages through.

use std::fmt;

use msg_proto::units::Time;

use super::{
    actor::Life,
    ledger::{Entry, Payload},
};
use crate::report;

/// A daemon that was started again.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Which node: 0 has the clients 100 to 102, 1 has 200 to 202.
    pub node: usize,
    /// Just before it was started.
    pub at: Time,
    /// When it was killed, if it was.
    pub killed: Option<Time>,
}

/// Milliseconds, one for each start after which there was anything to measure.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// To the first message that was sent after the start and came through the new daemon.
    pub first: Vec<f64>,
    /// To the first of these that came from, or to, the other node.
    pub across: Vec<f64>,
}

/// A message sent after a start and taken before the next kill went through the daemon that was started. Those that
/// the clients kept for it would be earlier, but some of what is taken then had come through the daemon before.
#[must_use]
pub fn measure(lives: &[Life], starts: &[Start]) -> Recovery {
    let node_of = |id: u32| id as usize / 100 - 1;
    let src = |life: u32| lives.iter().find(|other| other.number == life).map(|life| node_of(life.id));
    let mut recovery = Recovery::default();
    for start in starts {
        let end = start.killed.unwrap_or(Time(u64::MAX));
        let mut first = [None::<Time>; 2];
        for life in lives {
            for entry in &life.ledger {
                let Entry::Taken { message: Some(Payload { flow, at: sent, .. }), at } = entry else {
                    continue;
                };
                if *sent < start.at || *at >= end || first[1].is_some_and(|first| *at >= first) {
                    continue;
                }
                let nodes = [src(flow.0), Some(node_of(life.id))];
                if nodes.contains(&Some(start.node)) {
                    let across = usize::from(nodes[0] != nodes[1]);
                    for first in first.iter_mut().take(across + 1) {
                        *first = Some(first.map_or(*at, |first| first.min(*at)));
                    }
                }
            }
        }
        let ms = |at: Time| at.since(start.at).0 as f64 / 1e3;
        recovery.first.extend(first[0].map(ms));
        recovery.across.extend(first[1].map(ms));
    }
    recovery
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, across] = [&self.first, &self.across].map(|ms| report::spread(ms));
        writeln!(f, "from the start of a daemon to the first message through it: {first}")?;
        write!(f, "to the first from or to the other node: {across}")
    }
}
