//! A turn of a client's loop, as `Session`'s law wants it.

use msg_proto::{
    control::LocalRule,
    engine::Credentials,
    session::{AckMode, Delivery, Event, State},
    units::Time,
};

use super::{
    calls::CallSide,
    check::{Invariant, Violation},
    client::{Process, Stall},
    options::Fault,
    scenario::SlowPlan,
    stream::Stream,
    world::{Event as WorldEvent, World},
};

impl World {
    pub(super) fn client_turn(&mut self, c: usize) -> Result<(), Violation> {
        let n = self.clients[c].plan.node;
        if let Some(until) = self.nodes[n].paused_until.filter(|until| *until > self.now) {
            self.wake_client(c, until);
            return Ok(());
        }
        let Some(mut process) = self.clients[c].process.take() else { return Ok(()) };
        let goes_on = self.process_turn(c, &mut process);
        match goes_on {
            Ok(true) => self.clients[c].process = Some(process),
            Ok(false) => self.end_process(c, process),
            Err(violation) => return Err(violation),
        }
        Ok(())
    }

    /// `false`: it ends.
    fn process_turn(&mut self, c: usize, p: &mut Process) -> Result<bool, Violation> {
        let now = self.now;
        if let Some((kind, until)) = p.stall
            && until > now
        {
            self.wake_client(c, until);
            if kind == Stall::Frozen {
                return Ok(true);
            }
        }
        let n = self.clients[c].plan.node;
        let raw = self.nodes[n].clock.at(now);
        if !p.is_stalled(now, &[Stall::Reading]) {
            self.read_daemon(c, p);
        }
        self.finish_handling(p);
        if p.session.poll_timeout().is_some_and(|at| at <= raw) {
            p.session.handle_timeout(raw);
            if p.session.poll_timeout().is_some_and(|at| at <= raw) {
                return self.wrong(Invariant::Timer, format!("life {}: a timer that stays due", p.life));
            }
        }
        self.poll_events(c, p)?;
        self.turn_calls(c, p, raw)?;
        match p.session.state() {
            State::Refused => return Ok(false),
            State::Broken => {
                self.hang_up(n, p);
                p.session.handle_disconnected(raw);
            }
            _ => {}
        }
        if p.conn.is_none() && p.lost.is_none() && !p.is_leaving {
            self.connect(c, p)?;
        }
        self.write_daemon(c, p);
        if self.go_when_drained(p, raw) {
            self.write_daemon(c, p);
        }
        if p.is_leaving && (p.conn.is_none() || p.session.output().is_empty()) {
            return Ok(false);
        }
        self.check_session(p)?;
        let timer = p.session.poll_timeout().map(|at| self.nodes[n].clock.when(at, now));
        let (deadline, reply) = p.calls.as_ref().map_or((None, None), CallSide::due);
        let deadline = deadline.map(|at| self.nodes[n].clock.when(at, now));
        let tell_until = p.tell_until.filter(|at| *at > now);
        for at in
            [timer, p.handling_until, p.backlog_until, tell_until, deadline, reply].into_iter().flatten()
        {
            self.wake_client(c, at);
        }
        Ok(true)
    }

    /// What takes no more ends when all that it sent has ended, and its daemon knows: then it says goodbye.
    fn go_when_drained(&mut self, p: &mut Process, raw: Time) -> bool {
        let calls = p.calls.as_ref().is_some_and(|side| side.is_busy() || side.waits());
        let has_more = calls || p.session.unresolved() > 0 || p.session.has_outcomes() || p.is_handling();
        if p.session.is_draining() && !has_more && !p.is_leaving && self.is_told(p) {
            self.check.log.note(self.now, None, || format!("life {} has drained", p.life));
            p.session.close(raw);
            p.is_leaving = true;
            return true;
        }
        false
    }

    /// A daemon knows that it takes no more, or there was none for as long as a message lives.
    fn is_told(&self, p: &mut Process) -> bool {
        if p.session.has_said_drained() {
            return true;
        }
        let until = *p.tell_until.get_or_insert(self.now + p.session.granted().lifetime().0);
        until <= self.now
    }

    fn read_daemon(&mut self, c: usize, p: &mut Process) {
        let n = self.clients[c].plan.node;
        let raw = self.nodes[n].clock.at(self.now);
        let stream = match (&mut p.lost, p.conn) {
            (Some(stream), _) => Some(&mut **stream),
            (None, Some(conn)) => self.nodes[n].stream(conn),
            (None, None) => None,
        };
        let Some(stream) = stream else { return };
        let mut taken = 0;
        for _ in 0..READS_A_TURN {
            let chunk = self.turns.between(1, self.scenario.streams.chunk) as usize;
            let n = p.session.handle_bytes(raw, stream.to_client.front(chunk));
            stream.to_client.consume(n);
            taken += n;
            if n == 0 {
                break;
            }
        }
        let (is_blocked, rest) = (stream.is_blocked, stream.to_client.len());
        if is_blocked && taken > 0 {
            self.wake_node_soon(n);
        }
        if rest > 0 && taken > 0 {
            self.wake_client_soon(c);
        }
        if rest == 0 && p.lost.take().is_some() {
            p.session.handle_disconnected(raw);
            p.connect_at = self.now + self.turns.around(p.backoff);
            p.backoff = (p.backoff * 2).min(1_000_000);
            self.wake_client(c, p.connect_at);
        }
    }

    fn poll_events(&mut self, c: usize, p: &mut Process) -> Result<(), Violation> {
        let plan_ack = self.clients[c].plan.ack;
        let n = self.clients[c].plan.node;
        let (raw, moment) = (self.nodes[n].clock.at(self.now), self.moment(n));
        let takes = !p.is_stalled(self.now, &[Stall::Taking]);
        let life = p.life;
        loop {
            let Some(event) = p.session.poll_notice() else {
                let takes = takes && p.backlog_until.is_none();
                if takes && self.take_messages(c, p)? {
                    continue;
                }
                match takes.then(|| p.session.poll_delivery(raw)).flatten() {
                    None => return Ok(()),
                    Some(Delivery::Call(call)) => {
                        if let Some(side) = &mut p.calls {
                            side.calls().handle_message(raw, &call);
                        }
                        p.session.message_handled();
                    }
                    Some(Delivery::Message(message)) => {
                        self.stats.taken += 1;
                        self.check.on_taken(self.now, life, &message)?;
                        let (src, msgid) = (message.src, message.msgid);
                        let slow = self.slowness(c);
                        if plan_ack == AckMode::OnHandled {
                            let longest = if self.is_healed { 0 } else { self.clients[c].plan.handling };
                            let handling = self.scripts.below(longest + 1) + slow;
                            self.check.on_begun(life, src, msgid, self.now + handling);
                            p.handling_until = Some(self.now + handling);
                            if handling == 0 {
                                self.finish_handling(p);
                            }
                        } else if slow > 0 {
                            p.backlog_until = Some(self.now + slow);
                            p.session.record_backlog(1);
                        }
                    }
                }
                continue;
            };
            match event {
                Event::Message(_) => {}
                Event::Acked { msgid } => {
                    self.stats.acked += 1;
                    self.check.on_told_acked(moment, life, msgid)?;
                }
                Event::Failed(failure) => {
                    self.stats.failed += 1;
                    self.stats.failed_as[failure.verdict.reason as usize] += 1;
                    self.check.on_told_failed(moment, life, &failure)?;
                }
                Event::Registered(_) => p.backoff = FIRST_BACKOFF,
                Event::Drain(_) => {
                    p.session.drain(raw);
                    self.check.on_drained(self.now, life);
                }
                Event::Presence(_) => {}
                Event::Refused(nack) if nack.rule == LocalRule::ClientIdTaken => {}
                Event::Refused(nack) => {
                    return self.wrong(Invariant::Refused, format!("life {life} kept the rules: {nack:?}"));
                }
                Event::DaemonGone(gone) => {
                    self.check.log.note(self.now, None, || format!("life {life}: {gone:?}"));
                }
            }
        }
    }

    /// Takes messages as libmsg does, those that follow each other in one go. Returns whether any was taken.
    fn take_messages(&mut self, c: usize, p: &mut Process) -> Result<bool, Violation> {
        let n = self.clients[c].plan.node;
        let raw = self.nodes[n].clock.at(self.now);
        let (mut taken, mut slow, mut found) = (false, 0, Ok(()));
        p.session.take_messages(raw, |message| {
            taken = true;
            self.stats.taken += 1;
            found = self.check.on_taken(self.now, p.life, message);
            slow = self.slowness(c);
            found.is_ok() && slow == 0
        });
        if slow > 0 {
            p.backlog_until = Some(self.now + slow);
            p.session.record_backlog(1);
        }
        found.map(|()| taken)
    }

    /// A handler returns when it is time, and so do other threads.
    fn finish_handling(&mut self, p: &mut Process) {
        if p.handling_until.is_some_and(|until| until <= self.now) {
            p.handling_until = None;
            p.session.message_handled();
            self.check.on_handled(p.life);
        }
        if p.backlog_until.is_some_and(|until| until <= self.now) {
            p.backlog_until = None;
            p.session.record_backlog(0);
        }
    }

    /// How much longer than usual a message takes a client, in microseconds.
    fn slowness(&mut self, c: usize) -> u64 {
        match self.clients[c].plan.slow {
            Some(SlowPlan { ppm, span }) if !self.is_healed && self.slowness.chance(ppm) => {
                self.stats.count(Fault::Slow);
                self.slowness.around(span)
            }
            _ => 0,
        }
    }

    fn connect(&mut self, c: usize, p: &mut Process) -> Result<(), Violation> {
        if p.connect_at > self.now {
            self.wake_client(c, p.connect_at);
            return Ok(());
        }
        let n = self.clients[c].plan.node;
        if let Some((_, until)) = self.nodes[n].hangs {
            // The connection waits in the listener's queue.
            p.connect_at = until;
            self.wake_client(c, until);
            return Ok(());
        }
        let raw = self.nodes[n].call(self.now);
        let peer = Credentials { pid: c as u32, uid: 0, gid: 0 };
        let Some(Ok(conn)) = self.nodes[n].engine.as_mut().map(|e| e.handle_connect(raw, peer)) else {
            p.connect_at = self.now + self.turns.around(p.backoff);
            p.backoff = (p.backoff * 2).min(1_000_000);
            self.wake_client(c, p.connect_at);
            return Ok(());
        };
        if std::mem::replace(&mut p.was_connected, true) {
            self.check.on_reconnect(p.life);
        }
        self.nodes[n].open(conn, Stream::new(c, p.life));
        p.conn = Some(conn);
        p.session.handle_connected(raw);
        self.drain(n)?;
        self.wake_node_soon(n);
        Ok(())
    }

    /// Its socket has room again, and it may have waited for that.
    pub(super) fn wake_if_waiting(&mut self, c: usize) {
        if self.clients[c].process.as_mut().is_some_and(|p| !p.session.output().is_empty() || p.is_leaving) {
            self.wake_client_soon(c);
        }
    }

    fn write_daemon(&mut self, c: usize, p: &mut Process) {
        let n = self.clients[c].plan.node;
        let raw = self.nodes[n].clock.at(self.now);
        let capacity = self.scenario.streams.capacity;
        let Some(stream) = p.conn.and_then(|conn| self.nodes[n].stream(conn)) else { return };
        let mut wrote = false;
        loop {
            let output = p.session.output();
            let written = output.len().min(capacity.saturating_sub(stream.to_daemon.len()));
            if written == 0 {
                break;
            }
            stream.to_daemon.write(&output[..written]);
            p.session.consume_output(raw, written);
            wrote = true;
        }
        if wrote {
            self.wake_node_soon(n);
        }
    }

    /// I7, as far as a session shows it.
    fn check_session(&self, p: &Process) -> Result<(), Violation> {
        let (session, granted) = (&p.session, p.session.granted());
        let is_full = session.unresolved()
            > granted.max_stored.max(msg_proto::limits::DEFAULT_MAX_STORED as usize)
            || session.unresolved_bytes() > msg_proto::limits::DEFAULT_CLIENT_QUEUE_BYTES
            || session.memory_bytes() > MAX_SESSION_BYTES;
        if is_full {
            let (bytes, depth) = (session.memory_bytes(), session.unresolved());
            let text = format!("life {}: {depth} unresolved, {bytes} bytes", p.life);
            return self.wrong(Invariant::I7BoundedMemory, text);
        }
        Ok(())
    }

    /// Its end of the stream is closed.
    pub(super) fn hang_up(&mut self, n: usize, p: &mut Process) {
        p.lost = None;
        let is_error_first = self.turns.chance(300_000) && !p.is_leaving;
        if let Some(stream) = p.conn.take().and_then(|conn| self.nodes[n].stream(conn)) {
            stream.client = None;
            if is_error_first {
                // Its daemon met the error of a write before it read what was there.
                stream.to_daemon.clear();
            }
            self.wake_node_soon(n);
        }
        p.connect_at = self.now + FIRST_BACKOFF;
    }

    /// Its daemon closed the stream: what is in it can still be read.
    pub(super) fn lose_daemon(&mut self, c: usize, stream: Stream) {
        if let Some(p) = &mut self.clients[c].process {
            p.conn = None;
            p.lost = Some(Box::new(stream));
            self.check.on_away(p.life);
            self.wake_client_soon(c);
        }
    }

    /// A process ends; another one starts some time later.
    pub(super) fn end_process(&mut self, c: usize, mut process: Process) {
        let n = self.clients[c].plan.node;
        self.hang_up(n, &mut process);
        self.end_life(c, &process);
        let at = self.now + self.turns.pick(&[1_000, 50_000, 500_000, 3_000_000]);
        self.schedule(at, WorldEvent::Born(c));
    }
}

const READS_A_TURN: usize = 16;
/// Before the first attempt to connect again.
pub(super) const FIRST_BACKOFF: u64 = 10_000;
/// The store, the output and the pool, the input, and a little.
const MAX_SESSION_BYTES: usize = 2 * msg_proto::limits::DEFAULT_CLIENT_QUEUE_BYTES + (6 << 20);
