//! How one message is sent.

use std::ops::BitOr;

/// How one message is sent: combined with `|`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SendFlags(u8);

impl SendFlags {
    // The values are those of MSG_F_* in libmsg.h.

    /// In order, once, at once.
    pub const NONE: Self = Self(0);
    /// It waits for no other message, and none waits for it.
    pub const UNORDERED: Self = Self(1);
    /// If the process that it was given to dies, another one with the same clientid may be given it too.
    pub const AT_LEAST_ONCE: Self = Self(2);
    /// Another send, dispatch or flush follows at once: this one may be written with it.
    /// The times of such messages count from the first of them, of sixteen at most.
    pub const MORE: Self = Self(4);
    /// Where there is no room, wait for it, and run failure callbacks meanwhile. Not in a callback: there it has no effect.
    pub const WAIT: Self = Self(8);

    /// The flags with these bits, if there are no others.
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        let all = Self::UNORDERED | Self::AT_LEAST_ONCE | Self::MORE | Self::WAIT;
        u8::try_from(bits).ok().filter(|bits| bits & !all.0 == 0).map(Self)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for SendFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
