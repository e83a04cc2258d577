//! The takeover: a client is replaced by a newer one again and again while messages for it are on their way.

use std::time::Duration;

use msg::Arrival;

use super::{
    Clock,
    lane::{Lane, take_next},
};
use crate::ctl::{
    error::CtlError,
    port::{Port, Registration},
};

/// How often the receiver is replaced.
pub(super) const TAKEOVERS: usize = 5;

/// Messages for each of the receivers.
const FOR_EACH: usize = 500;
const MESSAGES: usize = FOR_EACH * (TAKEOVERS + 1);

/// Messages that are sent before what has come is looked at.
const SENDS_PER_TURN: usize = 64;

const TURN: Duration = Duration::from_millis(5);

/// The clients.
pub(super) struct Takeover<'a> {
    pub(super) lane: Lane,
    /// How each receiver registers.
    pub(super) receiver: Registration,
    pub(super) clock: &'a Clock,
}

impl Takeover<'_> {
    /// All of it; the ledger of the lane tells.
    pub(super) fn run(mut self) -> Result<Lane, CtlError> {
        // The newest is the last; those before it go as soon as they take no more.
        let mut receivers = vec![Port::open(self.receiver.clone())?];
        let mut opened = 1;
        while self.lane.outcomes() < MESSAGES as u64 || opened <= TAKEOVERS {
            self.turn(&mut receivers)?;
            if opened <= TAKEOVERS && self.lane.outcomes() >= (opened * FOR_EACH) as u64 {
                let arrival = Arrival::Takeover;
                receivers.push(Port::open(Registration { arrival, ..self.receiver.clone() })?);
                opened += 1;
            }
        }
        self.turn(&mut receivers)?;
        Ok(self.lane)
    }

    /// Sends some, takes what has come, and waits a little.
    fn turn(&mut self, receivers: &mut Vec<Port>) -> Result<(), CtlError> {
        let Self { lane, clock, .. } = self;
        clock.check(|| {
            let (sent, unresolved) = (lane.ledger.sent.len(), lane.port.unresolved());
            format!(
                "in the takeover {sent} of {MESSAGES} are sent, {unresolved} of them without an outcome, and {} receivers there",
                receivers.len()
            )
        })?;
        for _ in 0..SENDS_PER_TURN {
            if lane.ledger.sent.len() == MESSAGES || !lane.send_next()? {
                break;
            }
        }
        for receiver in receivers.iter() {
            while let Some((received, _)) = take_next(receiver, &lane.ledger.flow)? {
                lane.ledger.received.push(received);
            }
        }
        receivers.retain(|receiver| !receiver.is_draining());
        lane.port.wait(TURN)?;
        lane.enter_failures();
        Ok(())
    }
}
