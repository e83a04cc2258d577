//! What is told of one message when something is wrong with it.

use std::{collections::VecDeque, fmt};

use super::LifeId;
use crate::sim::rng::mix;

/// Which message something is about: its sender's life, and its number.
pub type About = Option<(LifeId, u32)>;

/// What happened: a hash of everything, and the last lines about one message.
#[derive(Debug, Default)]
pub struct Log {
    hash: u64,
    /// Lines about this message are kept.
    focus: About,
    /// Everything is printed.
    prints: bool,
    lines: VecDeque<String>,
}

/// True time, as people read it.
pub(super) struct Seconds(pub(super) u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06} s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

impl Log {
    /// Keeps lines about one message.
    #[must_use]
    pub fn about(focus: About) -> Self {
        Self { focus, ..Self::default() }
    }

    /// Prints everything.
    #[must_use]
    pub fn printing() -> Self {
        Self { prints: true, ..Self::default() }
    }

    /// The hash of everything so far.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// The lines kept, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().cloned().collect()
    }

    /// Something happened: it changes the hash.
    pub const fn stir(&mut self, what: u64) {
        self.hash = mix(self.hash ^ what).wrapping_add(0x9e37_79b9_7f4a_7c15);
    }

    /// A line about a message; without one, a line about the world, which every message's story needs.
    pub fn note(&mut self, now: u64, about: About, text: impl FnOnce() -> String) {
        let is_kept = self.focus.is_some() && (about.is_none() || about == self.focus);
        if !is_kept && !self.prints {
            return;
        }
        let line = match about {
            Some((life, msgid)) => format!("{:>14} {life}/{msgid} {}", Seconds(now), text()),
            None => format!("{:>14} {}", Seconds(now), text()),
        };
        if self.prints {
            print_line(&line);
        }
        if is_kept {
            if self.lines.len() == KEPT_LINES {
                self.lines.pop_front();
            }
            self.lines.push_back(line);
        }
    }
}

#[expect(clippy::print_stdout, reason = "--trace prints")]
fn print_line(line: &str) {
    println!("{line}");
}

const KEPT_LINES: usize = 50;
