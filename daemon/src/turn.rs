//! One turn of the loop: what has come in, what is due, what is to go out. Each source gets a bounded share; what is
//! left over makes the next poll return at once.

use std::{io, time::Duration};

use mio::Events;
use msg_proto::units::Time;
use rustix::thread::sched_yield;

use crate::{
    clock, log,
    run::{ACCEPT, ALARM, Daemon, FIRST_CLIENT, FIRST_LISTENER, STOP, WAKER},
    udp::Sending,
};

impl Daemon {
    /// Polls, and does what there is to do. Returns whether the daemon is to stop.
    pub(crate) fn turn(&mut self, events: &mut Events) -> io::Result<bool> {
        self.poll_events(events, None)?;
        let stop = self.note(events)?;
        let now = self.handle_input()?;
        self.drain(now)?;
        self.links.note(self.turned_at, &self.engine);
        self.watchdog.feed(self.turned_at);
        Ok(stop)
    }

    /// A turn that sleeps no longer than until `deadline`.
    pub(crate) fn turn_before(&mut self, events: &mut Events, deadline: Time) -> io::Result<()> {
        self.poll_events(events, Some(deadline))?;
        self.note(events)?;
        let now = self.handle_input()?;
        self.drain(now)?;
        Ok(())
    }

    fn poll_events(&mut self, events: &mut Events, deadline: Option<Time>) -> io::Result<()> {
        let timeout = self.sleep(deadline)?;
        match self.poll.poll(events, timeout) {
            // The signal that interrupted it is an event of its own, next time.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// How long to sleep; `None`: until something happens, or the alarm goes off.
    fn sleep(&mut self, deadline: Option<Time>) -> io::Result<Option<Duration>> {
        let now = self.turned_at;
        self.due = self.engine.poll_timeout();
        let acceptor = self.acceptor.as_ref();
        let work =
            self.udp.is_readable() || self.clients.has_work() || acceptor.is_some_and(|it| it.has_work());
        if work || self.unfinished {
            return Ok(Some(Duration::ZERO));
        }
        if now < self.spin_until {
            // A client that spins, too, may have to run on this CPU.
            sched_yield();
            return Ok(Some(Duration::ZERO));
        }
        let accept = acceptor.and_then(|it| it.paused_until());
        let own = [self.udp.blocked_until(), accept, self.desk.due(), self.watchdog.due()];
        let [blocked, accept, desk, watchdog] = own;
        match Time::first_of([blocked, accept, desk, watchdog, deadline, self.due]) {
            Some(next) if next <= now => return Ok(Some(Duration::ZERO)),
            Some(next) => self.alarm.set(next)?,
            None => {}
        }
        Ok(None)
    }

    /// Notes what is ready. Returns whether the daemon is to stop.
    fn note(&mut self, events: &Events) -> io::Result<bool> {
        let mut stop = false;
        for event in events {
            match event.token() {
                STOP => stop = true,
                // Whatever is due is done in every turn.
                ALARM => self.alarm.on_event(),
                WAKER => {
                    self.take_reload();
                    self.desk.on_event();
                }
                ACCEPT => self.acceptor.iter_mut().for_each(|acceptor| acceptor.on_event()),
                token if token.0 < FIRST_CLIENT => {
                    self.udp.on_event(self.poll.registry(), token.0 - FIRST_LISTENER, event)?;
                }
                token => self.clients.on_event(self.poll.registry(), token.0 - FIRST_CLIENT, event)?,
            }
        }
        Ok(stop)
    }

    /// Does what there is to do. Returns the time behind what came in.
    fn handle_input(&mut self) -> io::Result<Time> {
        let datagrams = self.udp.receive(&mut self.engine);
        let (udp, registry) = (&mut self.udp, self.poll.registry());
        let bytes = self.clients.read(&mut self.engine, |engine| {
            udp.transmit_once(registry, clock::now(), engine)?;
            Ok(())
        })?;
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.accept(self.poll.registry(), &mut self.engine, &mut self.clients);
        }
        let now = clock::now();
        if datagrams > 0 || bytes > 0 {
            self.spin_until = now + self.spin;
        }
        // What has become due since is due in the next turn, which comes at once.
        if self.due.is_some_and(|due| due <= now) {
            self.engine.handle_timeout(now);
        }
        let own =
            [("datagram_send_errors", self.udp.send_errors()), ("log_lines_dropped", log::dropped_lines())];
        self.desk.answer(now, &mut self.engine, &own);
        Ok(now)
    }

    /// Carries out what the engine wants. Returns whether it wants nothing more and nobody is blocked.
    pub(crate) fn drain(&mut self, mut now: Time) -> io::Result<bool> {
        let registry = self.poll.registry();
        while let Some(id) = self.engine.poll_writable() {
            self.clients.on_output(id);
        }
        if self.clients.write(registry, now, &mut self.engine)? {
            now = clock::now();
        }
        let sending = self.udp.transmit(registry, &mut now, &mut self.engine)?;
        self.turned_at = now;
        let mut closed = false;
        while let Some(id) = self.engine.poll_close() {
            self.clients.close(&mut self.engine, id);
            closed = true;
        }
        // Whatever the above has brought about goes out in the next turn, which comes at once.
        while let Some(id) = self.engine.poll_writable() {
            self.clients.on_output(id);
        }
        self.unfinished = closed || sending == Sending::Unfinished && !self.udp.is_blocked();
        Ok(self.is_drained())
    }

    /// Whether everything that was to go out has gone.
    pub(crate) fn is_drained(&self) -> bool {
        !self.unfinished && !self.udp.is_blocked() && !self.clients.has_output()
    }
}
