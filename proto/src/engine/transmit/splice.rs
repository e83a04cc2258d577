//! Datagrams whose large payloads are not copied to them.

use std::{iter, ops::Range};

use super::MAX_BATCH_BYTES;
use crate::{
    engine::{
        Engine, Transmit,
        chain::{Chain, EntryKey},
    },
    units::Time,
};

/// Bytes of a message that belong into a datagram, and stand in the chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::engine) struct Splice {
    /// Where, in what was written of the datagram.
    pub(super) at: usize,
    pub(super) entry: EntryKey,
    /// Of its payload.
    pub(super) range: Range<usize>,
}

impl Splice {
    fn bytes<'a>(&self, chain: &'a Chain) -> &'a [u8] {
        let payload = chain.entries.get(self.entry).map(|entry| entry.payload(&chain.reads));
        payload.and_then(|payload| payload.get(self.range.clone())).unwrap_or_default()
    }
}

/// What is shorter is copied: for it a part more to send costs more than that.
pub(super) const SPLICED_FROM: usize = 4 << 10;

/// Parts of a transmission at most: payloads, and what stands before, between and behind them.
pub const MAX_PARTS: usize = 2 * (MAX_BATCH_BYTES / SPLICED_FROM) + 1;

impl Engine {
    /// [`poll_transmit`](Self::poll_transmit) for a driver that sends from several places: where datagrams are so large that each
    /// goes alone, payloads of 4 KiB and more are not copied. What is to be sent are the [`parts`](Self::parts), until anything
    /// else is done to the engine.
    pub fn poll_transmit_parts(
        &mut self,
        now: Time,
        out: &mut Vec<u8>,
        max_datagrams: usize,
    ) -> Option<Transmit> {
        self.may_splice = true;
        let transmit = self.poll_transmit(now, out, max_datagrams);
        self.may_splice = false;
        transmit
    }

    /// What is to be sent, where [`poll_transmit_parts`](Self::poll_transmit_parts) has left `out`: at most [`MAX_PARTS`].
    pub fn parts<'a>(&'a self, out: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let places = || self.splices.iter().map(|splice| splice.at);
        let own = iter::once(0).chain(places()).zip(places().chain([out.len()]));
        let own = own.map(|(from, to)| out.get(from..to).unwrap_or_default());
        let spliced = self.splices.iter().map(|splice| splice.bytes(&self.chain));
        let parts = own.zip(spliced.chain([&[][..]])).flat_map(|(own, spliced)| [own, spliced]);
        parts.filter(|part| !part.is_empty())
    }

    pub(super) fn spliced(&self) -> impl Iterator<Item = (usize, &[u8])> + Clone {
        self.splices.iter().map(|splice| (splice.at, splice.bytes(&self.chain)))
    }
}
