//! The clients' socket: who connects becomes a connection, if there is room.

use std::io;

use mio::{
    Interest, Registry, Token,
    net::{UnixListener, UnixStream},
};
use msg_proto::{
    engine::Engine,
    units::{Span, Time},
};
use nix::errno::Errno;

use crate::{
    clients::Clients,
    clock,
    complaint::Complaint,
    limits::{ACCEPT_PAUSE_US, ACCEPTS_PER_TURN},
    socket_path::Claim,
    sys,
};

/// The clients' socket.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: UnixListener,
    _claim: Option<Claim>,
    /// Somebody may have connected: set by an event, cleared by "would block".
    ready: bool,
    /// The system had no room for another connection; it is tried again then.
    paused_until: Option<Time>,
    complaint: Complaint,
}

impl Acceptor {
    pub(crate) fn new(claim: Option<Claim>, listener: std::os::unix::net::UnixListener) -> Self {
        let listener = UnixListener::from_std(listener);
        Self { listener, _claim: claim, ready: false, paused_until: None, complaint: Complaint::default() }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.listener, token, Interest::READABLE)
    }

    /// The service manager may hold the socket too: closing it does not take it out of the poll.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.listener)
    }

    pub(crate) fn on_event(&mut self) {
        self.ready = true;
    }

    /// Whether somebody may be accepted at once.
    pub(crate) fn has_work(&self) -> bool {
        self.ready && self.paused_until.is_none()
    }

    /// When to try again after the system had no room.
    pub(crate) fn paused_until(&self) -> Option<Time> {
        self.paused_until
    }

    /// Accepts who has connected, as far as a turn goes.
    pub(crate) fn accept(&mut self, registry: &Registry, engine: &mut Engine, clients: &mut Clients) {
        if !self.ready && self.paused_until.is_none() {
            return;
        }
        let now = clock::now();
        if self.paused_until.is_some_and(|until| now >= until) {
            self.paused_until = None;
        }
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.has_work() {
                return;
            }
            match self.listener.accept() {
                Ok((stream, _)) => self.connect(now, registry, engine, clients, stream),
                Err(error) => self.on_error(now, &error),
            }
        }
    }

    fn connect(
        &mut self,
        now: Time,
        registry: &Registry,
        engine: &mut Engine,
        clients: &mut Clients,
        stream: UnixStream,
    ) {
        // Each failure below costs this connection, which is closed by being dropped.
        let credentials = match sys::peer_credentials(&stream) {
            Ok(credentials) => credentials,
            Err(error) => {
                return self.complain(now, &format!("a client's credentials are not known: {error}"));
            }
        };
        match engine.handle_connect(now, credentials) {
            Ok(id) => {
                if let Err(error) = clients.insert(registry, id, stream) {
                    engine.handle_disconnect(now, id);
                    self.complain(now, &format!("a client cannot be polled: {error}"));
                }
            }
            Err(refused) => {
                let pid = credentials.pid;
                self.complain(now, &format!("connection of process {pid} refused: {refused:?}"));
            }
        }
    }

    fn on_error(&mut self, now: Time, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.ready = false;
            return;
        }
        if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted) {
            return;
        }
        // No more descriptors or memory. The one who connects stays in the backlog, and would be an event no more.
        self.paused_until = Some(now + Span(ACCEPT_PAUSE_US));
        let hint =
            if error.raw_os_error() == Some(Errno::EMFILE as i32) { "; raise LimitNOFILE" } else { "" };
        self.complain(now, &format!("cannot accept clients: {error}{hint}"));
    }

    fn complain(&mut self, now: Time, what: &str) {
        if let Some(suppressed) = self.complaint.due(now) {
            tracing::warn!("{what} ({suppressed} more complaints about clients since the last one)");
        }
    }
}
