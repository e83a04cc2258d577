//! XIDs: unique in an incarnation, and not to be guessed.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use super::Xid;

/// Numbers that never repeat and cannot be told from random ones without the key: a counter behind a keyed permutation
/// (Luby and Rackoff's four rounds, with SipHash as the round function).
#[derive(Debug)]
pub struct XidSource {
    key: [u8; 16],
    counter: u64,
}

impl XidSource {
    /// `key` is drawn at random for each incarnation.
    #[must_use]
    pub const fn new(key: [u8; 16]) -> Self {
        Self { key, counter: 0 }
    }

    /// The next one. Never 0, which stands for none where an XID is optional.
    pub fn draw(&mut self) -> Xid {
        loop {
            self.counter = self.counter.wrapping_add(1);
            let xid = self.permute(self.counter);
            if xid != 0 {
                return Xid(xid);
            }
        }
    }

    fn permute(&self, n: u64) -> u64 {
        let (mut left, mut right) = (n >> 32, n & HALF);
        for round in 0..4_u8 {
            let mut hasher = SipHasher24::new_with_key(&self.key);
            hasher.write_u8(round);
            hasher.write_u64(right.to_le());
            (left, right) = (right, left ^ hasher.finish() & HALF);
        }
        left << 32 | right
    }
}

const HALF: u64 = 0xffff_ffff;
