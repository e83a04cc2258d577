//! The user data of a message (R1).

use std::fmt;

use crate::limits::MAX_USER_BYTES;

/// Up to [`MAX_USER_BYTES`] bytes that go with a send and come back with its failure (R1).
#[derive(Clone, Copy)]
pub struct UserBuf {
    len: u8,
    bytes: [u8; MAX_USER_BYTES],
}

/// User data longer than [`MAX_USER_BYTES`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserTooLong {
    /// How long they were, in bytes.
    pub len: usize,
}

impl UserBuf {
    /// No user data.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; MAX_USER_BYTES] };

    /// The bytes as they were given.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl TryFrom<&[u8]> for UserBuf {
    type Error = UserTooLong;

    fn try_from(bytes: &[u8]) -> Result<Self, UserTooLong> {
        let too_long = UserTooLong { len: bytes.len() };
        let mut buf = Self { len: u8::try_from(bytes.len()).map_err(|_| too_long)?, ..Self::EMPTY };
        buf.bytes.get_mut(..bytes.len()).ok_or(too_long)?.copy_from_slice(bytes);
        Ok(buf)
    }
}

impl<const N: usize> From<[u8; N]> for UserBuf {
    /// An array that is too long does not compile.
    #[expect(clippy::cast_possible_truncation, reason = "the assertion bounds N")]
    fn from(array: [u8; N]) -> Self {
        const { assert!(N <= MAX_USER_BYTES, "at most 64 bytes of user data") };
        let mut buf = Self { len: N as u8, ..Self::EMPTY };
        buf.bytes[..N].copy_from_slice(&array);
        buf
    }
}

impl<const N: usize> From<&[u8; N]> for UserBuf {
    fn from(array: &[u8; N]) -> Self {
        Self::from(*array)
    }
}

impl AsRef<[u8]> for UserBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for UserBuf {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for UserBuf {}

impl fmt::Debug for UserBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserBuf(\"{}\")", self.as_bytes().escape_ascii())
    }
}

impl fmt::Display for UserTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user data of {} bytes: at most {MAX_USER_BYTES}", self.len)
    }
}

impl std::error::Error for UserTooLong {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r1_takes_up_to_64_bytes() {
        assert_eq!(UserBuf::from(b"id 7").as_bytes(), b"id 7");
        assert_eq!(UserBuf::from([9; 64]).as_bytes(), [9; 64]);
        assert_eq!(UserBuf::try_from([0; 65].as_slice()), Err(UserTooLong { len: 65 }));
        assert_eq!(UserTooLong { len: 65 }.to_string(), "user data of 65 bytes: at most 64");
        assert_eq!(UserBuf::try_from([0; 256].as_slice()), Err(UserTooLong { len: 256 }));
        assert_eq!(UserBuf::try_from([].as_slice()), Ok(UserBuf::EMPTY));
        assert_ne!(UserBuf::from([0]), UserBuf::EMPTY);
    }
}
