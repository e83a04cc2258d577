//! A daemon: what it holds, from start to stop.

use std::{io, net::SocketAddr, sync::Arc};

use mio::{Events, Interest, Poll, Token, Waker, net::UnixStream};
use msg_proto::{
    engine::Engine,
    limits::MAX_PATHS,
    units::{Span, Time},
};

use crate::{
    acceptor::Acceptor,
    alarm::Alarm,
    clients::Clients,
    clock,
    config::{Args, Config},
    error::RunError,
    limits::{self, SHUTDOWN_DRAIN_US},
    links::Links,
    reload::Reloads,
    service::{self, Inherited, Watchdog},
    socket_path,
    status::{self, Desk, Server},
    stop::StopSignal,
    sys,
    udp::Udp,
};

/// Events that one poll brings; more come with the next.
const EVENTS: usize = 1024;

pub(crate) const STOP: Token = Token(0);
pub(crate) const WAKER: Token = Token(1);
pub(crate) const ACCEPT: Token = Token(2);
pub(crate) const ALARM: Token = Token(3);
pub(crate) const FIRST_LISTENER: usize = 4;
pub(crate) const FIRST_CLIENT: usize = FIRST_LISTENER + MAX_PATHS;

/// A daemon whose sockets are open. One thread owns all of it, and runs it.
#[derive(Debug)]
pub struct Daemon {
    pub(crate) poll: Poll,
    pub(crate) alarm: Alarm,
    pub(crate) engine: Engine,
    pub(crate) udp: Udp,
    pub(crate) clients: Clients,
    /// Gone when the daemon stops.
    pub(crate) acceptor: Option<Acceptor>,
    pub(crate) desk: Desk,
    pub(crate) links: Links,
    pub(crate) watchdog: Watchdog,
    pub(crate) spin: Span,
    /// Until when to poll instead of sleeping.
    pub(crate) spin_until: Time,
    /// The time as last read: behind what the last turn wrote and sent, if it did.
    pub(crate) turned_at: Time,
    /// When the engine wants to be called, as of the beginning of the turn.
    pub(crate) due: Option<Time>,
    /// The engine wants more than the last turn had room for.
    pub(crate) unfinished: bool,
    pub(crate) config: Config,
    pub(crate) reloads: Option<Reloads>,
    waker: Arc<Waker>,
    server: Option<Server>,
}

impl Daemon {
    /// Opens the sockets that a config names.
    ///
    /// # Errors
    ///
    /// One of them cannot be had: another daemon has it, most likely.
    pub fn open(config: &Config) -> Result<Self, RunError> {
        Self::open_with(config, Inherited::default())
    }

    /// As [`open`](Self::open), but sockets that the service manager holds are not bound anew.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn open_with(config: &Config, mut inherited: Inherited) -> Result<Self, RunError> {
        let held = inherited.to_string();
        // First without changing anything: a second daemon must leave no trace.
        for path in [config.client_socket(), config.status_socket()] {
            if !inherited.has_unix(&path) {
                socket_path::check(&path)?;
            }
        }
        let mut udp = Udp::open(config.listen(), &mut inherited, config.mtu())?;
        socket_path::make_runtime_dir(config.runtime_dir())?;
        let (client_claim, client_listener) = socket_path::open(&config.client_socket(), &mut inherited)?;
        let (status_claim, status_listener) = socket_path::open(&config.status_socket(), &mut inherited)?;

        let poll = Poll::new().map_err(RunError::system("epoll"))?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(RunError::system("eventfd"))?);
        let alarm = Alarm::new(poll.registry(), ALARM).map_err(RunError::system("timerfd"))?;
        udp.register(poll.registry(), FIRST_LISTENER).map_err(RunError::system("epoll"))?;
        let mut acceptor = Acceptor::new(client_claim, client_listener);
        acceptor.register(poll.registry(), ACCEPT).map_err(RunError::system("epoll"))?;

        let now = clock::now();
        let (visitor, desk) = status::bridge(Arc::clone(&waker), now);
        let server = Server::start(status_claim, status_listener, &visitor)?;
        let seed = getrandom::u64().map_err(io::Error::other).map_err(RunError::system("random numbers"))?;
        let engine = config.engine(clock::wall_micros(), seed, udp.receive_window());
        let daemon = Self {
            poll,
            alarm,
            engine: Engine::new(engine, now),
            udp,
            clients: Clients::new(FIRST_CLIENT),
            acceptor: Some(acceptor),
            desk,
            links: Links::default(),
            watchdog: Watchdog::from_env(now),
            spin: config.spin(),
            spin_until: Time(0),
            turned_at: now,
            due: None,
            unfinished: true,
            config: config.clone(),
            reloads: None,
            waker,
            server: Some(server),
        };
        // Only now: a start that fails says why in one line, and nothing else.
        tracing::info!("msgd {} started: {config}", env!("CARGO_PKG_VERSION"));
        if !held.is_empty() {
            tracing::info!("held by systemd: {held}");
        }
        inherited.complaints().iter().for_each(|complaint| tracing::warn!("{complaint}"));
        config.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        daemon.udp.log_buffers();
        raise_open_files(config);
        Ok(daemon)
    }

    /// Rereads what `args` name each time SIGHUP comes.
    ///
    /// # Errors
    ///
    /// No more threads or file descriptors.
    pub fn reload_on_hangup(&mut self, args: Args) -> Result<(), RunError> {
        let reloads = Reloads::on_hangup(args, Arc::clone(&self.waker));
        self.reloads = Some(reloads.map_err(RunError::system("reloading"))?);
        Ok(())
    }

    /// Where it listens for other nodes: the ports that the kernel chose where the config says 0.
    ///
    /// # Errors
    ///
    /// The system does not say.
    pub fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.udp.local_addresses()
    }

    /// Runs until it is told to stop, then says goodbye to clients and peers.
    ///
    /// # Errors
    ///
    /// The system refuses to poll.
    pub fn run(mut self, stop: StopSignal) -> Result<(), RunError> {
        self.run_until(stop).map_err(RunError::system("the I/O loop"))
    }

    fn run_until(&mut self, stop: StopSignal) -> io::Result<()> {
        let StopSignal { stream, signals: _open_until_the_end } = stop;
        let mut stream = UnixStream::from_std(stream);
        self.poll.registry().register(&mut stream, STOP, Interest::READABLE)?;
        let mut events = Events::with_capacity(EVENTS);
        while !self.turn(&mut events)? {}
        self.stop(&mut events)?;
        tracing::info!("msgd stopped: node {}", self.config.node());
        Ok(())
    }

    /// Goodbyes, as far as they go in a moment.
    fn stop(&mut self, events: &mut Events) -> io::Result<()> {
        tracing::info!("msgd is stopping");
        service::stopping();
        // From here on a new daemon may take the paths.
        if let Some(mut acceptor) = self.acceptor.take() {
            acceptor.deregister(self.poll.registry())?;
        }
        self.server = None;
        self.engine.handle_shutdown(clock::now());
        let deadline = clock::now() + Span(SHUTDOWN_DRAIN_US);
        let mut quiet = self.drain(clock::now())?;
        while !quiet && clock::now() < deadline {
            self.turn_before(events, deadline)?;
            quiet = self.is_drained();
        }
        Ok(())
    }
}

/// Asks for as many open files as a config may need.
pub(crate) fn raise_open_files(config: &Config) {
    let wanted = limits::open_files(config.limits().max_clients) as u64;
    match sys::raise_open_files(wanted) {
        Ok(granted) if granted < wanted => {
            tracing::warn!(
                "{granted} open files allowed, {wanted} wanted: raise LimitNOFILE, or lower limits.max_clients"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!("the limit of open files: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_can_be_given_to_a_thread() {
        fn check<T: Send + 'static>() {}
        check::<Daemon>();
        check::<StopSignal>();
    }
}
