//! A client of the demo and the ledger of what it sends.

use std::time::Duration;

use msg_proto::{
    limits::{DEFAULT_INTERVAL_MS, DEFAULT_TIMES},
    status::StatusDocument,
    units::{Span, Time},
};

use super::{
    ledger::{Ledger, Received},
    payload::{Flow, Head},
};
use crate::{
    clock,
    ctl::{
        error::CtlError,
        port::{Port, Registration},
    },
};

/// A client and the ledger of the flow that it sends.
pub(super) struct Lane {
    pub(super) port: Port,
    pub(super) ledger: Ledger,
}

impl Lane {
    pub(super) fn open(registration: Registration, flow: Flow) -> Result<Self, CtlError> {
        let due = due(registration.interval, registration.times);
        Ok(Self { port: Port::open(registration)?, ledger: Ledger::new(flow, due) })
    }

    /// Sends the flow's next message and enters it. False: there is no room.
    pub(super) fn send_next(&mut self) -> Result<bool, CtlError> {
        let Ledger { flow, sent, .. } = &mut self.ledger;
        let head = Head { index: sent.len() as u64, sent_at: clock::now() };
        let user = flow.user_bytes(head.index);
        let msgid = self.port.try_send(flow.to, &flow.payload(head), user.into())?;
        sent.extend(msgid.map(|msgid| (msgid, head.sent_at)));
        Ok(msgid.is_some())
    }

    /// Enters the failures that have come.
    pub(super) fn enter_failures(&mut self) {
        self.ledger.failed.extend(self.port.failures());
    }

    /// Messages whose outcome is known.
    pub(super) fn outcomes(&self) -> u64 {
        self.ledger.sent.len().saturating_sub(self.port.unresolved()) as u64
    }

    /// Ends the lane and gives its ledger, with what the client and its daemon have counted.
    pub(super) fn close(mut self, status: &StatusDocument) -> Ledger {
        let client = status.clients.iter().find(|c| c.id == self.ledger.flow.from);
        self.ledger.acked = self.port.acked();
        self.ledger.counted = client.map_or([0, 0], |c| [c.acked, c.failed]);
        self.ledger
    }
}

/// I1: the first copy and each retransmission are given one `interval`; then a scan, and a little.
fn due(interval: Option<Duration>, times: Option<u8>) -> Span {
    let interval = interval.map_or(Span::from_millis(DEFAULT_INTERVAL_MS.into()), Span::from);
    let copies = u64::from(times.unwrap_or(DEFAULT_TIMES)) + 1;
    interval.times(copies) + interval.div(2) + Span::from_millis(10)
}

/// Takes the next message, if there is one, with its latency if it is one of the flow's.
pub(super) fn take_next(port: &Port, flow: &Flow) -> Result<Option<(Received, Option<Span>)>, CtlError> {
    let at: Time = clock::now();
    let Some(taken) = port.take()? else { return Ok(None) };
    let head = flow.head_of(&taken.data).filter(|_| taken.src == flow.from);
    let latency = head.map(|head| clock::now().since(head.sent_at));
    Ok(Some((Received { at, index: head.map(|head| head.index) }, latency)))
}
