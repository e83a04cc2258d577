//! The options of a client, and its first connection.

use std::{env, path::PathBuf, time::Duration};

use msg_proto::{
    control::Arrival,
    ids::{ClientId, Incarnation, MsgId, Seq},
    limits,
    session::{AckMode, Outcomes, Session, SessionConfig},
    units::Span,
};

use crate::{Client, ConnectError, connect, link::Link};

/// The options of a client. What is not set is the daemon's choice, or stands with the option.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    client: ClientId,
    socket: Option<PathBuf>,
    interval: Option<Duration>,
    times: Option<u8>,
    max_stored: Option<u32>,
    priority: u8,
    arrival: Arrival,
    ack: AckMode,
    name: Option<String>,
    connect_timeout: Duration,
}

impl Builder {
    pub(crate) const fn new(client: ClientId) -> Self {
        Self {
            client,
            socket: None,
            interval: None,
            times: None,
            max_stored: None,
            priority: 0,
            arrival: Arrival::Alone,
            ack: AckMode::OnTake,
            name: None,
            connect_timeout: Duration::from_secs(5),
        }
    }

    /// The daemon's socket. Unless set: `$MSGD_SOCKET`, else `$XDG_RUNTIME_DIR/msgd/msgd.sock`, else
    /// `/run/msgd/msgd.sock`.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// How long an answer may take before the message is sent again (R4); whole milliseconds, from 10 ms to 10
    /// minutes.
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = Some(interval);
        self
    }

    /// How often a message is sent again before it fails (R5).
    pub const fn times(mut self, times: u8) -> Self {
        self.times = Some(times);
        self
    }

    /// How many messages may be without an outcome (R3): 1 to 65,536.
    pub const fn max_stored(mut self, messages: u32) -> Self {
        self.max_stored = Some(messages);
        self
    }

    /// Among processes with this clientid on different nodes, the highest gets the messages. 0 unless set.
    pub const fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// What becomes of other processes with this clientid on this node. [`Arrival::Alone`] unless set: there must be none.
    /// [`Arrival::Beside`]: they stay, and the highest priority, then the newest, gets the messages.
    /// [`Arrival::Takeover`]: this process replaces the one that has the clientid, with nothing lost.
    pub const fn arrival(mut self, arrival: Arrival) -> Self {
        self.arrival = arrival;
        self
    }

    /// When senders are told that a message was taken. [`AckMode::OnTake`] unless set. With
    /// [`AckMode::OnHandled`], when the message callback has returned, or the next message is asked for.
    pub const fn ack(mut self, ack: AckMode) -> Self {
        self.ack = ack;
        self
    }

    /// What the status calls this client, at most 64 bytes. The program's name unless set.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long [`connect`](Self::connect) waits for the daemon's answer. 5 s unless set.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Connects, and waits until the daemon has registered the client or refused it.
    ///
    /// # Errors
    ///
    /// Says where, why and what to do. A daemon that is not there is an error at once; one that goes away later is not:
    /// the client comes back to it by itself.
    pub fn connect(self) -> Result<Client, ConnectError> {
        let config = self.config()?;
        let path = self.socket.unwrap_or_else(connect::default_path);
        let session = Session::new(config, MsgId(1), Seq(1));
        Client::open(Link::new(session, path), spin(), self.connect_timeout)
    }

    fn config(&self) -> Result<SessionConfig, ConnectError> {
        let bad = |what| Err(ConnectError::BadOption { what });
        let interval_ms = match self.interval.map(|i| u32::try_from(i.as_millis())) {
            None => 0,
            Some(Ok(ms)) if (limits::MIN_INTERVAL_MS..=limits::MAX_INTERVAL_MS).contains(&ms) => ms,
            Some(_) => return bad("interval: 10 ms to 10 minutes"),
        };
        let max_stored = match self.max_stored {
            None => 0,
            Some(n @ 1..=limits::MAX_STORED_CEILING) => n,
            Some(_) => return bad("max_stored: 1 to 65,536 messages"),
        };
        let name = self.name.clone().unwrap_or_else(program_name);
        if name.len() > limits::MAX_CLIENT_NAME_BYTES {
            return bad("name: at most 64 bytes");
        }
        Ok(SessionConfig {
            client: self.client,
            incarnation: Incarnation::NONE,
            interval_ms,
            times: self.times,
            max_stored,
            priority: self.priority,
            arrival: self.arrival,
            ack: self.ack,
            outcomes: Outcomes::Failures,
            name,
        })
    }
}

/// The program's file name, as far as it fits.
fn program_name() -> String {
    let path = env::current_exe().unwrap_or_default();
    let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    while name.len() > limits::MAX_CLIENT_NAME_BYTES {
        name.pop();
    }
    name
}

/// `$MSGD_SPIN_US`: how long to poll after traffic before sleeping. 0, unless it is set to a number.
fn spin() -> Span {
    Span(env::var("MSGD_SPIN_US").ok().and_then(|us| us.parse().ok()).unwrap_or(0))
}
