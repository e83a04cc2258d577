//! Between daemons: datagrams and the frames in them. Byte pictures are in `SPEC.md`, section 3.
//!
//! * `header`: the first 28 bytes of every datagram, and its checksum.
//! * `frame`, `call`: the frames, as values that borrow what is long.
//! * `builder`: writes a datagram, frame by frame, up to its size.

mod builder;
mod call;
mod frame;
mod header;

use crate::control::VersionRange;

pub use builder::DatagramBuilder;
pub use call::CallMark;
pub use frame::{
    Ack, AckRun, Data, Flow, Fragment, Frame, Frames, Heartbeat, LinkAck, Nack, NackEntry, Partial, Skip,
};
pub use header::{HEADER_BYTES, Header, Kind};

/// Versions of the wire format that this crate speaks.
pub const VERSIONS: VersionRange = VersionRange { lowest: 1, highest: 1 };

/// What is wrong with a datagram. It is dropped; each kind is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// Shorter than its header, or not ours at all.
    NotOurs,
    /// A version that this crate does not speak. The sender's own range is in its header, and nothing else of it can be
    /// read or checked.
    Version(VersionRange),
    /// The checksum does not match.
    Checksum,
    /// A frame with a length, count, enum or number out of range: the rest of the datagram is not read.
    Malformed,
}
