//! What a client process writes of itself, a line for each event, and the messages it sends.

use std::{fmt, str::FromStr};

use msg_proto::units::Time;

use crate::pattern::Random;

/// An event in a client's life.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// It is registered.
    Ready,
    /// The library has accepted a message.
    Sent {
        /// Its receiver and its place among those for it.
        to: (u32, u32),
        /// Before the call.
        at: Time,
    },
    /// A message was given to it.
    Taken {
        /// What it says of itself; `None` if it is not as it was sent.
        message: Option<Payload>,
        /// When.
        at: Time,
    },
    /// A message of its own failed.
    Failed {
        /// Its receiver and its place among those for it, from its 64 bytes; `None` if they are not as they were sent.
        to: Option<(u32, u32)>,
        /// Whether it may have been given to somebody.
        unknown: bool,
        /// Reason and certainty.
        why: String,
        /// When.
        at: Time,
    },
    /// It was told to stop sending, and everything has its outcome.
    Quiet {
        /// So many were acked.
        acked: u64,
        /// So many failed.
        failed: u64,
    },
    /// Something that must not be.
    Broken(String),
}

/// What a message says of itself. The rest of its bytes is drawn from this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Payload {
    /// The life that sent it, and whom it is for.
    pub flow: (u32, u32),
    /// Its place in that flow.
    pub index: u32,
    /// When it was sent.
    pub at: Time,
}

impl Payload {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head().to_vec();
        let mut random = self.random();
        // Mostly small; some in several datagrams.
        let longest = if random.next().is_multiple_of(16) { 6_000 } else { 400 };
        let len = random.within(&(0..=longest));
        bytes.extend_from_slice(&random.bytes(len));
        bytes
    }

    /// Reads it; `None` if a byte is not as it was sent.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let head: [u8; HEAD] = *bytes.first_chunk()?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let at = Time(u64::from(number(12)) | u64::from(number(16)) << 32);
        let payload = Self { flow: (number(0), number(4)), index: number(8), at };
        (payload.bytes() == bytes).then_some(payload)
    }

    /// The 64 bytes of user data.
    #[must_use]
    pub fn user(&self) -> [u8; 64] {
        let mut user = [0; 64];
        user[..HEAD].copy_from_slice(&self.head());
        user[HEAD..].copy_from_slice(&Random(!self.random().0).bytes(64 - HEAD));
        user
    }

    /// Reads them.
    #[must_use]
    pub fn read_user(user: &[u8]) -> Option<Self> {
        let head: [u8; HEAD] = *user.first_chunk()?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let at = Time(u64::from(number(12)) | u64::from(number(16)) << 32);
        let payload = Self { flow: (number(0), number(4)), index: number(8), at };
        (payload.user() == user).then_some(payload)
    }

    /// Whether it waits for those before it. One in eight does not.
    #[must_use]
    pub const fn is_ordered(index: u32) -> bool {
        index % 8 != 7
    }

    fn head(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        let Self { flow: (life, dst), index, at } = self;
        for (place, number) in head.chunks_exact_mut(4).zip([*life, *dst, *index]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        head[12..].copy_from_slice(&at.0.to_le_bytes());
        head
    }

    fn random(&self) -> Random {
        let (life, dst) = self.flow;
        Random(u64::from(life) << 40 ^ u64::from(dst) << 32 ^ u64::from(self.index))
    }
}

const HEAD: usize = 20;

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Sent { to: (dst, index), at } => write!(f, "sent {dst} {index} {}", at.0),
            Self::Taken { message: None, .. } => {
                f.write_str("broken a message that came is not as it was sent")
            }
            Self::Taken { message: Some(Payload { flow: (life, dst), index, at: sent }), at } => {
                write!(f, "taken {life} {dst} {index} {} {}", sent.0, at.0)
            }
            Self::Failed { to: None, .. } => {
                f.write_str("broken the user data of a failure is not as it was sent")
            }
            Self::Failed { to: Some((dst, index)), unknown, why, at } => {
                write!(f, "failed {dst} {index} {unknown} {} {why}", at.0)
            }
            Self::Quiet { acked, failed } => write!(f, "quiet {acked} {failed}"),
            Self::Broken(what) => write!(f, "broken {what}"),
        }
    }
}

impl FromStr for Entry {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        fn next<T: FromStr>(words: &mut dyn Iterator<Item = &str>) -> Result<T, ()> {
            words.next().and_then(|word| word.parse().ok()).ok_or(())
        }
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let words = &mut rest.split(' ');
        Ok(match kind {
            "ready" => Self::Ready,
            "sent" => Self::Sent { to: (next(words)?, next(words)?), at: Time(next(words)?) },
            "taken" => {
                let (flow, index) = ((next(words)?, next(words)?), next(words)?);
                let message = Some(Payload { flow, index, at: Time(next(words)?) });
                Self::Taken { message, at: Time(next(words)?) }
            }
            "failed" => {
                let (to, unknown, at) =
                    (Some((next(words)?, next(words)?)), next(words)?, Time(next(words)?));
                Self::Failed { to, unknown, at, why: next(words)? }
            }
            "quiet" => Self::Quiet { acked: next(words)?, failed: next(words)? },
            _ => Self::Broken(rest.to_owned()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let message = Payload { flow: (7, 200), index: 15, at: Time(1 << 40) };
        assert_eq!(Payload::read(&message.bytes()), Some(message));
        assert_eq!(Payload::read_user(&message.user()), Some(message));
        let mut changed = message.bytes();
        changed[12] ^= 1;
        assert_eq!(Payload::read(&changed[..19]), None);
        let to = Some((200, 15));
        for entry in [
            Entry::Ready,
            Entry::Sent { to: (200, 15), at: Time(3) },
            Entry::Taken { message: Some(message), at: Time(5) },
            Entry::Failed { to, unknown: true, why: "NoAnswer/Unknown".to_owned(), at: Time(7) },
            Entry::Quiet { acked: 1, failed: 2 },
            Entry::Broken("a thing".to_owned()),
        ] {
            assert_eq!(entry.to_string().parse(), Ok(entry));
        }
    }
}
