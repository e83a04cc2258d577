//! The demo's messages: each can be made again from its flow and index, so nothing has to be kept to compare with.

use msg_proto::{limits::MAX_USER_BYTES, units::Time};

use crate::relay::Rng;

/// Bytes that every message has: index and time of sending.
const HEAD: usize = 16;

/// Most messages are small, as control-plane messages are ...
const SMALL: u64 = 200;

/// ... and one in so many is larger than a datagram, up to [`LARGE`].
const LARGE_ONE_IN: u64 = 50;

/// The largest.
const LARGE: u64 = 9_000;

/// All messages from one client to another, numbered from 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Flow {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) seed: u64,
}

/// What a message says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) index: u64,
    pub(super) sent_at: Time,
}

impl Flow {
    /// The message's bytes.
    pub(super) fn payload(&self, head: Head) -> Vec<u8> {
        let mut rng = self.rng(head.index);
        let largest = if rng.next().is_multiple_of(LARGE_ONE_IN) { LARGE } else { SMALL };
        let len = HEAD + usize::try_from(rng.next() % (largest - HEAD as u64)).unwrap_or(0);
        let mut payload = Vec::with_capacity(len + 8);
        payload.extend_from_slice(&head.index.to_le_bytes());
        payload.extend_from_slice(&head.sent_at.0.to_le_bytes());
        while payload.len() < len {
            payload.extend_from_slice(&rng.next().to_le_bytes());
        }
        payload.truncate(len);
        payload
    }

    /// The 64 bytes that its failure is to bring back.
    pub(super) fn user_bytes(&self, index: u64) -> [u8; MAX_USER_BYTES] {
        let text = format!("{}>{} #{index} ", self.from, self.to);
        let mut rng = self.rng(!index);
        let mut bytes = std::array::from_fn(|_| b'a' + rng.next().to_le_bytes()[0] % 26);
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        bytes
    }

    /// Which message these user bytes are of, if every byte of them is right.
    pub(super) fn index_of_user_bytes(&self, bytes: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(bytes).ok()?;
        let index = text.split(' ').nth(1)?.strip_prefix('#')?.parse().ok()?;
        (bytes == self.user_bytes(index)).then_some(index)
    }

    /// What a received message says of itself, if every byte of it is right.
    pub(super) fn head_of(&self, payload: &[u8]) -> Option<Head> {
        let (index, rest) = payload.split_first_chunk()?;
        let sent_at = rest.first_chunk()?;
        let head = Head { index: u64::from_le_bytes(*index), sent_at: Time(u64::from_le_bytes(*sent_at)) };
        (payload == self.payload(head)).then_some(head)
    }

    fn rng(&self, index: u64) -> Rng {
        let flow = u64::from(self.from) << 32 | u64::from(self.to);
        Rng::new(Rng::new(self.seed ^ flow).next() ^ index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: Flow = Flow { from: 100, to: 200, seed: 9 };

    #[test]
    fn a_message_is_known_again_and_a_changed_one_is_not() {
        for index in [0, 1, 77, 4_000_000_000] {
            let head = Head { index, sent_at: Time(123) };
            let mut payload = FLOW.payload(head);
            assert_eq!(FLOW.head_of(&payload), Some(head));
            assert_eq!(Flow { seed: 8, ..FLOW }.head_of(&payload), None);
            payload.push(0);
            assert_eq!(FLOW.head_of(&payload), None);
            payload.pop();
            if let Some(last) = payload.get_mut(HEAD..).and_then(<[u8]>::last_mut) {
                *last ^= 1;
                assert_eq!(FLOW.head_of(&payload), None);
            }
        }
        assert_eq!(FLOW.head_of(&[]), None);
    }

    #[test]
    fn sizes_go_beyond_a_datagram() {
        let sizes = (0..1000).map(|index| FLOW.payload(Head { index, sent_at: Time(0) }).len());
        let large = sizes.filter(|len| *len > 1200).count();
        assert!((5..40).contains(&large), "{large}");
    }

    #[test]
    fn user_bytes_name_their_message() {
        for index in [0, 5, u64::MAX] {
            let mut bytes = FLOW.user_bytes(index);
            assert_eq!(FLOW.index_of_user_bytes(&bytes), Some(index));
            bytes[63] ^= 1;
            assert_eq!(FLOW.index_of_user_bytes(&bytes), None);
        }
        assert_eq!(FLOW.index_of_user_bytes(b""), None);
    }
}
