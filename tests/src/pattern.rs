//! The messages that tests send: each can be told from every other, and made again for comparison.

use std::ops::RangeInclusive;

use msg::{ClientId, UserBuf};

/// `SplitMix64` (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of a range.
    pub fn within(&mut self, range: &RangeInclusive<usize>) -> usize {
        let count = (range.end() - range.start()) as u64 + 1;
        range.start() + usize::try_from(self.next() % count).unwrap_or(0)
    }

    /// That many bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }
}

/// Message number `index` from one client to another: its number in 4 bytes, then bytes drawn from `seed`, in all
/// a length within `sizes`, which is at least 4.
#[must_use]
pub fn payload(
    seed: u64,
    (src, dst): (ClientId, ClientId),
    index: u32,
    sizes: &RangeInclusive<usize>,
) -> Vec<u8> {
    let mut random = random_of(seed, src, dst, index);
    let len = random.within(sizes).max(4);
    let mut payload = index.to_le_bytes().to_vec();
    payload.extend_from_slice(&random.bytes(len - 4));
    payload
}

/// The 64 bytes of user data of that message.
#[must_use]
pub fn user(seed: u64, (src, dst): (ClientId, ClientId), index: u32) -> UserBuf {
    let mut bytes = [0; 64];
    bytes[..4].copy_from_slice(&index.to_le_bytes());
    bytes[4..].copy_from_slice(&random_of(!seed, src, dst, index).bytes(60));
    UserBuf::from(bytes)
}

/// The number that a message or its user data begins with.
#[must_use]
pub fn index_of(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|chunk| u32::from_le_bytes(*chunk))
}

fn random_of(seed: u64, src: ClientId, dst: ClientId, index: u32) -> Random {
    let mut mix = Random(seed);
    for part in [src.0, dst.0, index] {
        mix = Random(mix.next() ^ u64::from(part));
    }
    mix
}
