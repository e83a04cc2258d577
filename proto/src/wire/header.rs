//! The head of every datagram.

use std::iter;

use crc_fast::{CrcAlgorithm, Digest};

use super::WireError;
use crate::{
    bytes::Reader,
    control::VersionRange,
    ids::{DatagramNumber, SessionId},
};

/// Bytes of the head.
pub const HEADER_BYTES: usize = 28;

const MAGIC: [u8; 2] = *b"md";
const CHECKSUM_AT: usize = 8;

/// What a datagram is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Kind {
    /// It carries one HELLO and padding, outside any session.
    Hello = 1,
    /// It carries frames of a session.
    Frames = 2,
}

/// The head of a datagram.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The version that the datagram is written in.
    pub version: u8,
    /// What it is.
    pub kind: Kind,
    /// The versions that its sender speaks.
    pub speaks: VersionRange,
    /// [`SessionId::of_session`]; [`SessionId::NONE`] for a hello.
    pub session: SessionId,
    /// Its number in the session; 0 for a hello.
    pub number: DatagramNumber,
}

impl Header {
    /// Reads and checks a datagram's head; returns it and the frames' bytes.
    ///
    /// # Errors
    ///
    /// In this order: not ours, version, checksum, kind.
    pub fn parse(datagram: &[u8]) -> Result<(Self, &[u8]), WireError> {
        let mut r = Reader::new(datagram);
        if r.array() != Some(MAGIC) {
            return Err(WireError::NotOurs);
        }
        let mut fields =
            || Some((r.u8()?, r.u8()?, r.u8()?, r.u8()?, r.u16()?, r.u32()?, r.u64()?, r.u64()?));
        let (version, kind, lowest, highest, reserved, checksum, session, number) =
            fields().ok_or(WireError::NotOurs)?;
        if version < super::VERSIONS.lowest || version > super::VERSIONS.highest {
            return Err(WireError::Version(VersionRange { lowest, highest }));
        }
        if checksum != checksum_of(datagram, iter::empty()) {
            return Err(WireError::Checksum);
        }
        let kind = match kind {
            1 => Kind::Hello,
            2 => Kind::Frames,
            _ => return Err(WireError::Malformed),
        };
        let is_hello = kind == Kind::Hello;
        let spoken = (lowest..=highest).contains(&version);
        if reserved != 0 || is_hello != (session == 0) || (is_hello && number != 0) || !spoken {
            return Err(WireError::Malformed);
        }
        let header = Self {
            version,
            kind,
            speaks: VersionRange { lowest, highest },
            session: SessionId(session),
            number: DatagramNumber(number),
        };
        Ok((header, r.rest()))
    }

    /// The head's bytes, checksum still 0.
    pub(super) fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut b = [0; HEADER_BYTES];
        b[..2].copy_from_slice(&MAGIC);
        b[2..6].copy_from_slice(&[self.version, self.kind as u8, self.speaks.lowest, self.speaks.highest]);
        b[12..20].copy_from_slice(&self.session.0.to_le_bytes());
        b[20..].copy_from_slice(&self.number.0.to_le_bytes());
        b
    }
}

/// Writes the checksum into a finished datagram.
pub(super) fn seal(datagram: &mut [u8]) {
    seal_spliced(datagram, iter::empty());
}

/// The same, where some of its bytes stand `elsewhere`: each part with its place in what is here, in order.
pub(super) fn seal_spliced<'p>(datagram: &mut [u8], elsewhere: impl Iterator<Item = (usize, &'p [u8])>) {
    let checksum = checksum_of(datagram, elsewhere);
    datagram[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// CRC32C (RFC 3720, appendix B.4) of a datagram, with its checksum field taken as zero.
fn checksum_of<'p>(datagram: &[u8], elsewhere: impl Iterator<Item = (usize, &'p [u8])>) -> u32 {
    let (head, mut rest) = datagram.split_at(HEADER_BYTES);
    let mut zeroed = [0; HEADER_BYTES];
    zeroed.copy_from_slice(head);
    zeroed[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
    let mut digest = Digest::new(CrcAlgorithm::Crc32Iscsi);
    digest.update(&zeroed);
    for (at, bytes) in elsewhere {
        let (before, behind) = rest.split_at(at - (datagram.len() - rest.len()));
        digest.update(before);
        digest.update(bytes);
        rest = behind;
    }
    digest.update(rest);
    u32::try_from(digest.finalize()).unwrap_or(0)
}
