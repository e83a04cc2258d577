//! The numbers that name things, each its own type, and the serial arithmetic of those that wrap.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A client's number: which process sent a message (R1). Unique in the network function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClientId(pub u32);

/// One registration's life of a client: larger for each new registration of the same [`ClientId`].
///
/// 0 is nobody's: in a REGISTER it asks the daemon for a new one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl Incarnation {
    /// No incarnation: "give me a new one".
    pub const NONE: Self = Self(0);
}

/// A message's number in its process, increasing, wrapping (R1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MsgId(pub u32);

/// A message's place in its flow, wrapping. Compared with serial arithmetic (RFC 1982).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(pub u32);

macro_rules! serial {
    ($t:ty) => {
        impl $t {
            /// The number `n` places on, wrapping.
            #[must_use]
            pub const fn plus(self, n: u32) -> Self {
                Self(self.0.wrapping_add(n))
            }

            /// The number after this one, wrapping.
            #[must_use]
            pub const fn next(self) -> Self {
                self.plus(1)
            }

            /// How far this number is after `base`, or `None` if it is before it (RFC 1982: half of the
            /// number space is after, half before).
            #[must_use]
            pub const fn since(self, base: Self) -> Option<u32> {
                let distance = self.0.wrapping_sub(base.0);
                if distance < 1 << 31 { Some(distance) } else { None }
            }

            /// Whether this number is before `other` (RFC 1982).
            #[must_use]
            pub const fn is_before(self, other: Self) -> bool {
                self.since(other).is_none()
            }
        }
    };
}
serial!(MsgId);
serial!(Seq);

/// Whether a flow's messages wait for each other. The two kinds are numbered apart, so that an ordered
/// message never waits for an unordered one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Channel {
    /// Handed over in the order of sending (I5).
    Ordered,
    /// Handed over as they come.
    Unordered,
}

/// One client incarnation: a process that registered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Instance {
    /// Its number.
    pub client: ClientId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

/// A flow, as both ends name it: from one client incarnation to one client incarnation, ordered or not.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FlowId {
    /// Who sent.
    pub src: Instance,
    /// Who is to take it.
    pub dst: Instance,
    /// Whether its messages wait for each other.
    pub channel: Channel,
}

/// A side's number of a link session, drawn at random for each attempt; in a datagram's header, the session's: of both
/// sides' numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl SessionId {
    /// No session: the header of a hello carries it.
    pub const NONE: Self = Self(0);

    /// What the sender's datagrams to this receiver carry. One side's number may have been known to the other in an earlier
    /// session, from which datagrams may still be on their way: no two sessions have both numbers.
    #[must_use]
    pub const fn of_session(receiver: Self, sender: Self) -> Self {
        match receiver.0 ^ sender.0.rotate_left(1) {
            0 => Self(1),
            both => Self(both),
        }
    }
}

/// A datagram's number in its link session: 0, 1, 2, ... It never repeats in a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DatagramNumber(pub u64);

/// One connection of a client to its daemon. Local to the daemon: it never goes on a wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnId(pub(crate) u32);

impl ConnId {
    /// A dense small index, for the driver's own tables. Reused after the connection has ended.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for MsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.client, self.incarnation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_wrap() {
        let last = Seq(u32::MAX);
        assert_eq!(last.next(), Seq(0));
        assert_eq!(Seq(3).since(last), Some(4));
        assert_eq!(last.since(Seq(3)), None);
        assert!(last.is_before(Seq(0)));
        assert!(!Seq(0).is_before(last));
        assert!(!Seq(7).is_before(Seq(7)));
    }
}
