//! What each system's client can do.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use msg_proto::units::Time;

use crate::party::{PartyArgs, Side};

/// One side's client.
pub(crate) trait Endpoint {
    /// Sends a message. False: there was no room, though it waited a moment.
    fn send(&mut self, message: &[u8]) -> bool;

    /// Nothing more follows at once: what waits is written.
    fn flush(&mut self) {}

    /// Waits a moment for messages.
    fn receive(&mut self, each: &mut dyn FnMut(Stamp));

    /// Waits a moment for messages, and sends each back as `bounce` leaves it.
    fn echo(&mut self, bounce: &Bounce);

    /// Messages that ended otherwise than they should.
    fn failed(&self) -> u64 {
        0
    }
}

/// What is done with a message before it is sent back.
pub(crate) type Bounce = Arc<Mutex<dyn FnMut(&mut [u8]) + Send>>;

/// A lock that is not poisoned: who panics ends the process.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The first bytes of every message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    /// Counts from 1.
    pub(crate) number: u64,
    /// When it was sent, or should have been.
    pub(crate) at: Time,
}

impl Stamp {
    pub(crate) const BYTES: usize = 16;

    pub(crate) fn write(self, message: &mut [u8]) {
        message[..8].copy_from_slice(&self.number.to_le_bytes());
        message[8..Self::BYTES].copy_from_slice(&self.at.0.to_le_bytes());
    }

    pub(crate) fn read(message: &[u8]) -> Self {
        Self { number: word(message, 0), at: Time(word(message, 8)) }
    }
}

/// Eight bytes of a message, as a number.
pub(crate) fn word(message: &[u8], at: usize) -> u64 {
    let bytes = message.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
    u64::from_le_bytes(bytes.unwrap_or_default())
}

/// What is on its way, where the system itself has no limit: side B acknowledges every hundredth message.
pub(crate) struct Window {
    limit: u64,
    /// Messages go one way only.
    one_way: bool,
    sent: u64,
    acked: u64,
    received: u64,
}

impl Window {
    /// As many as the window allows, and no more than fit.
    pub(crate) fn new(args: &PartyArgs, fits: usize) -> Self {
        let one_way = args.work.is_a_stream();
        let limit = if args.side == Side::A && one_way { fits.clamp(2, WINDOW) as u64 } else { u64::MAX };
        Self { limit, one_way, sent: 0, acked: 0, received: 0 }
    }

    pub(crate) const fn is_full(&self) -> bool {
        self.sent - self.acked >= self.limit
    }

    /// Messages to gather at most, so that all processes between are kept busy.
    pub(crate) fn quarter(&self) -> usize {
        usize::try_from(self.limit / 4).unwrap_or(usize::MAX / 65_536).max(1)
    }

    pub(crate) const fn on_sent(&mut self) {
        self.sent += 1;
    }

    pub(crate) fn on_ack(&mut self, acked: u64) {
        self.acked = self.acked.max(acked).min(self.sent);
    }

    /// The acknowledgement that is due, if one is.
    pub(crate) fn on_received(&mut self, count: u64) -> Option<[u8; Stamp::BYTES]> {
        self.received += count;
        let every = ACK_EVERY.min(self.limit);
        if !self.one_way || self.received - self.acked < every {
            return None;
        }
        self.acked = self.received;
        let mut ack = [0; Stamp::BYTES];
        Stamp { number: self.received, at: Time(0) }.write(&mut ack);
        Some(ack)
    }
}

/// How long an endpoint waits before it lets its caller look whether it is to stop.
pub(crate) const MOMENT: std::time::Duration = std::time::Duration::from_millis(50);

/// Messages that may be on their way without an acknowledgement, where the system itself has no such limit.
pub(crate) const WINDOW: usize = 1000;

/// ... and those that a receiver acknowledges at a time.
const ACK_EVERY: u64 = 100;
