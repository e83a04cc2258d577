//! A client of a daemon, as `send`, `recv` and `demo` use it: the library, with failures collected.

use std::{path::PathBuf, sync::mpsc, time::Duration};

use msg::{Arrival, Client, ClientId, Error, MsgId, PresenceEvent, SendError, SendFlags, UserBuf, Verdict};
use msg_proto::units::Time;

use super::error::CtlError;
use crate::clock;

/// How a client registers.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) socket: PathBuf,
    pub(super) id: u32,
    /// `None`: the daemon's.
    pub(super) interval: Option<Duration>,
    /// `None`: the daemon's.
    pub(super) times: Option<u8>,
    /// Among instances.
    pub(super) priority: u8,
    /// Beside others of this node, or instead of one.
    pub(super) arrival: Arrival,
}

/// A failure, as the callback told it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failed {
    /// When the callback was called.
    pub(super) at: Time,
    pub(super) msgid: MsgId,
    pub(super) verdict: Verdict,
    pub(super) tries: u32,
    pub(super) user: Vec<u8>,
}

/// A message that was taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Taken {
    pub(super) src: u32,
    pub(super) msgid: u32,
    pub(super) age_us: u64,
    pub(super) data: Vec<u8>,
}

/// A registered client.
pub(super) struct Port {
    client: Client,
    failures: mpsc::Receiver<Failed>,
}

impl Port {
    pub(super) fn open(registration: Registration) -> Result<Self, CtlError> {
        let Registration { socket, id, interval, times, priority, arrival } = registration;
        let mut builder = Client::builder(ClientId(id)).socket(socket).priority(priority).arrival(arrival);
        if let Some(interval) = interval {
            builder = builder.interval(interval);
        }
        if let Some(times) = times {
            builder = builder.times(times);
        }
        let client = builder.connect()?;
        let (told, failures) = mpsc::channel();
        client.on_failure(move |_, failure| {
            let failed = Failed {
                at: clock::now(),
                msgid: failure.msgid,
                verdict: failure.verdict,
                tries: failure.tries,
                user: failure.user.as_bytes().to_vec(),
            };
            // Nobody listens any more only while the port is being dropped.
            told.send(failed).ok();
        });
        Ok(Self { client, failures })
    }

    /// Sends, if there is room. It may be written only with the next [`wait`](Self::wait).
    pub(super) fn try_send(&self, to: u32, payload: &[u8], user: UserBuf) -> Result<Option<MsgId>, CtlError> {
        match self.client.send_with(ClientId(to), payload, user, SendFlags::MORE) {
            Ok(msgid) => Ok(Some(msgid)),
            Err(SendError::WouldBlock) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    /// Takes the next message, if one is there.
    pub(super) fn take(&self) -> Result<Option<Taken>, CtlError> {
        let received = match self.client.try_recv() {
            Err(Error::Draining) => None,
            received => received?,
        };
        Ok(received.map(|message| Taken {
            src: message.src.client.0,
            msgid: message.msgid.0,
            age_us: message.age.0,
            data: message.data,
        }))
    }

    /// Has `tell` called with each change among the instances of these clients.
    pub(super) fn subscribe(
        &self,
        clients: &[u32],
        mut tell: impl FnMut(&PresenceEvent) + Send + 'static,
    ) -> Result<(), CtlError> {
        self.client.on_presence(move |_, event| tell(event));
        for client in clients {
            self.client.subscribe(ClientId(*client))?;
        }
        Ok(())
    }

    /// Whether no message comes any more: another process took the clientid over, or it is drained.
    pub(super) fn is_draining(&self) -> bool {
        self.client.is_draining()
    }

    /// Waits for outcomes and messages, but no longer than that.
    pub(super) fn wait(&self, timeout: Duration) -> Result<(), CtlError> {
        self.client.dispatch(Some(timeout))?;
        Ok(())
    }

    /// Whether every outcome is known and told; waits for it, but no longer than that.
    pub(super) fn flush(&self, timeout: Duration) -> Result<bool, CtlError> {
        match self.client.flush(Some(timeout)) {
            Ok(()) => Ok(true),
            Err(Error::Timeout { .. }) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// The failures that came since the last call.
    pub(super) fn failures(&self) -> impl Iterator<Item = Failed> {
        self.failures.try_iter()
    }

    /// Messages that ended as acked.
    pub(super) fn acked(&self) -> u64 {
        self.client.counters().acked
    }

    /// Messages without an outcome.
    pub(super) fn unresolved(&self) -> usize {
        self.client.unresolved()
    }
}
