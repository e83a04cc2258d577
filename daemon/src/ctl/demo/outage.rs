//! The outage: the network is cut, messages fail, it is healed, and none of the failed ones comes later.

use std::time::Duration;

use msg_proto::units::Span;

use super::{
    Clock,
    lane::{Lane, take_next},
};
use crate::{
    clock,
    ctl::{error::CtlError, port::Port},
    relay::Relay,
};

/// The clients' `interval`, and how often a message is sent again.
pub(super) const INTERVAL: Duration = Duration::from_millis(100);
pub(super) const TIMES: u8 = 4;

/// Messages into the cut network, and to a client that nobody has.
const INTO_THE_CUT: usize = 50;
const TO_NOBODY: usize = 10;

/// Messages before and after that may fail before one must have been acked.
const TRIES: usize = 40;

/// How long the receiver is watched for late ones after the network has been seen to work again.
const WATCH: Duration = Duration::from_millis(500);

const TURN: Duration = Duration::from_millis(5);

/// The clients.
pub(super) struct Outage<'a> {
    /// From the sender to the receiver.
    pub(super) lane: Lane,
    /// To a client that nobody has.
    pub(super) nobody: Lane,
    pub(super) receiver: Port,
    pub(super) clock: &'a Clock,
}

impl Outage<'_> {
    /// All of it; the ledgers of the two lanes tell.
    pub(super) fn run(mut self, relay: &Relay) -> Result<[Lane; 2], CtlError> {
        self.send_until_acked()?;
        relay.cut_both();
        for _ in 0..INTO_THE_CUT {
            self.send(|outage| &mut outage.lane)?;
        }
        for _ in 0..TO_NOBODY {
            self.send(|outage| &mut outage.nobody)?;
        }
        while self.lane.port.unresolved() + self.nobody.port.unresolved() > 0 {
            self.turn("failures of what was sent into the cut network")?;
        }
        relay.heal_both();
        self.send_until_acked()?;
        let end = clock::now() + Span::from(WATCH);
        while clock::now() < end {
            self.turn("what may come late")?;
        }
        Ok([self.lane, self.nobody])
    }

    /// Sends one message after another until one is acked: the link is up and knows the receiver.
    fn send_until_acked(&mut self) -> Result<(), CtlError> {
        for _ in 0..TRIES {
            let failed = self.lane.ledger.failed.len();
            self.send(|outage| &mut outage.lane)?;
            while self.lane.port.unresolved() > 0 {
                self.turn("an ack over a network that is whole")?;
            }
            self.turn("the last outcome to be told")?;
            if self.lane.ledger.failed.len() == failed {
                return Ok(());
            }
        }
        Err(CtlError::Demo(format!("{TRIES} messages over a network that is whole, and none was acked")))
    }

    fn send(&mut self, lane: impl Fn(&mut Self) -> &mut Lane) -> Result<(), CtlError> {
        while !lane(self).send_next()? {
            self.turn("room in the chain")?;
        }
        Ok(())
    }

    /// Takes what has come, and waits a little.
    fn turn(&mut self, waits_for: &str) -> Result<(), CtlError> {
        self.clock.check(|| format!("the outage waits for {waits_for}"))?;
        while let Some((received, _)) = take_next(&self.receiver, &self.lane.ledger.flow)? {
            self.lane.ledger.received.push(received);
        }
        self.receiver.wait(Duration::ZERO)?;
        self.nobody.port.wait(Duration::ZERO)?;
        self.lane.port.wait(TURN)?;
        self.lane.enter_failures();
        self.nobody.enter_failures();
        Ok(())
    }
}
