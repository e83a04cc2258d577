//! A turn of a daemon's loop, as `Engine`'s law wants it.

use msg_proto::{
    control::LocalRule,
    counters::Counter,
    engine::{Engine, Transmit},
    ids::ConnId,
    local::{ClientFrame, DaemonFrame},
    units::Time,
};

use super::{
    check::{Checker, Invariant, Leaving, Moment, Violation},
    network::{Network, Route},
    world::{Event, World},
};

impl World {
    pub(super) fn node_turn(&mut self, n: usize) -> Result<(), Violation> {
        let now = self.now;
        if self.nodes[n].engine.is_none() {
            return Ok(());
        }
        let still_until = self.nodes[n].still_until();
        if still_until > now {
            self.wake_node(n, still_until);
            return Ok(());
        }
        let doom = self.nodes[n].is_doomed;
        self.dies_in = doom.map(|_| self.chance.below(MOST_THINGS));
        let result = self.whole_turn(n);
        self.dies_in = None;
        if let Some(span) = doom {
            self.end_daemon(n, span);
        }
        result
    }

    /// The daemon does one thing more. `false`: it died before it could.
    fn lives_on(&mut self, n: usize) -> bool {
        match self.dies_in {
            Some(0) => {
                self.dies_in = None;
                if let Some(span) = self.nodes[n].is_doomed {
                    self.end_daemon(n, span);
                }
                false
            }
            left => {
                self.dies_in = left.map(|n| n - 1);
                true
            }
        }
    }

    fn whole_turn(&mut self, n: usize) -> Result<(), Violation> {
        let now = self.now;
        let raw = self.nodes[n].call(now);
        self.nodes[n].turns += 1;
        let has_input = self.nodes[n].has_input();
        let reads_clients_first = self.turns.chance(500_000);
        let mut is_more = false;
        if reads_clients_first {
            is_more |= self.read_clients(n)?;
        }
        is_more |= self.read_datagrams(n)?;
        if !reads_clients_first {
            is_more |= self.read_clients(n)?;
        }
        let is_due = self.run_timer(n) && !has_input;
        self.drain(n)?;
        self.check_timer(n, is_due && !is_more)?;
        let Some(engine) = &self.nodes[n].engine else { return Ok(()) };
        if let Some(at) = engine.poll_timeout() {
            if at < raw {
                return self
                    .wrong(Invariant::Timer, format!("node {n}: poll_timeout {at:?} lies before {raw:?}"));
            }
            let when = self.nodes[n].clock.when(at, now) + self.turns.below(self.scenario.lateness + 1);
            self.wake_node(n, when);
        }
        if is_more {
            self.wake_node_soon(n);
        }
        if self.nodes[n].turns.is_multiple_of(CHECK_EVERY) {
            self.check_node(n)?;
        }
        Ok(())
    }

    /// Counters add up, and what the engine knows twice agrees.
    pub(super) fn check_node(&self, n: usize) -> Result<(), Violation> {
        let Some(engine) = &self.nodes[n].engine else { return Ok(()) };
        let value = |c| engine.counters().value(c);
        let ended = value(Counter::MessagesAcked) + value(Counter::MessagesFailed);
        let submitted = value(Counter::MessagesSubmitted);
        let depth = engine.chain_depth() as u64;
        if submitted != ended + depth {
            let text = format!("node {n}: {submitted} submitted, {ended} ended, {depth} in the chain");
            return self.wrong(Invariant::Counters, text);
        }
        engine
            .check_invariants()
            .or_else(|text| self.wrong(Invariant::Structure, format!("node {n}: {text}")))
    }

    fn read_datagrams(&mut self, n: usize) -> Result<bool, Violation> {
        if !self.lives_on(n) {
            return Ok(false);
        }
        let node = &mut self.nodes[n];
        let Some(engine) = &mut node.engine else { return Ok(false) };
        let raw = node.clock.at(self.now);
        let drops = |e: &Engine| DROPS.iter().map(|c| e.counters().value(*c)).sum::<u64>();
        for _ in 0..DATAGRAMS_A_TURN {
            let Some((listener, from, bytes)) = node.inbox.pop_front() else { return Ok(false) };
            node.inbox_bytes -= bytes.len();
            let before = drops(engine);
            engine.handle_datagram(raw, listener, from, &bytes);
            if drops(engine) == before {
                self.check.on_arrival(self.now, &bytes)?;
            }
            self.spare.push(bytes);
        }
        Ok(!node.inbox.is_empty())
    }

    fn read_clients(&mut self, n: usize) -> Result<bool, Violation> {
        let mut is_more = false;
        let count = self.nodes[n].streams.len();
        let first = self.turns.below(count as u64 + 1) as usize;
        for i in 0..count {
            let index = (first + i) % count;
            let moment = self.moment(n);
            if !self.lives_on(n) {
                return Ok(false);
            }
            let Some(Some((_, stream))) = self.nodes[n].streams.get(index) else { continue };
            let is_ended = stream.client.is_none() && stream.to_daemon.len() == 0;
            for _ in 0..READS_A_TURN {
                if !self.read_client(n, index, moment)? {
                    break;
                }
            }
            let check = &mut self.check;
            let node = &mut self.nodes[n];
            // It may have died while it read.
            let Some(Some((conn, stream))) = node.streams.get_mut(index) else { continue };
            let Some(engine) = &mut node.engine else { return Ok(false) };
            let raw = node.clock.at(self.now);
            is_more |= stream.to_daemon.len() > 0 || stream.client.is_none();
            let (client, conn, life) = (stream.client, *conn, stream.life);
            if is_ended {
                // What was given to it in this turn was given.
                stream
                    .sniff_output(&engine.output(conn).to_vec(), |frame| see(check, moment, life, frame))?;
                engine.handle_disconnect(raw, conn);
                node.streams[index] = None;
            }
            if let Some(client) = client {
                self.wake_if_waiting(client);
            }
        }
        Ok(is_more)
    }

    /// Reads once of a client's stream. Returns whether there was anything.
    fn read_client(&mut self, n: usize, index: usize, moment: Moment) -> Result<bool, Violation> {
        let node = &mut self.nodes[n];
        let Some(Some((conn, stream))) = node.streams.get_mut(index) else { return Ok(false) };
        let Some(engine) = &mut node.engine else { return Ok(false) };
        if stream.to_daemon.len() == 0 {
            return Ok(false);
        }
        let (conn, raw, life) = (*conn, node.clock.at(self.now), stream.life);
        let chunk = self.turns.between(1, self.scenario.streams.chunk) as usize;
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        bytes.extend_from_slice(stream.to_daemon.front(chunk));
        stream.to_daemon.consume(bytes.len());
        let check = &mut self.check;
        let sniffed = stream.sniff_input(&bytes, |frame| match frame {
            ClientFrame::Submit(submit) => check.on_submit(moment, life, submit),
            _ => Ok(()),
        });
        let taken = engine.handle_client_batch(raw, conn, &bytes);
        let read_on = self.read_on(n, conn, raw, &bytes[taken..]);
        self.scratch = bytes;
        sniffed.and(read_on)?;
        let (check, node) = (&mut self.check, &mut self.nodes[n]);
        let Some(Some((_, stream))) = node.streams.get_mut(index) else { return Ok(false) };
        let Some(engine) = &mut node.engine else { return Ok(false) };
        // Before others are given what it sent, it is known who it is.
        stream.sniff_output(&engine.output(conn).to_vec(), |frame| see(check, moment, life, frame))?;
        Ok(true)
    }

    /// What an engine has left off before comes to it once something has left.
    fn read_on(&mut self, n: usize, conn: ConnId, raw: Time, bytes: &[u8]) -> Result<(), Violation> {
        let mut rest = bytes;
        while !rest.is_empty() && self.lives_on(n) {
            self.transmit(n)?;
            let Some(engine) = &mut self.nodes[n].engine else { break };
            rest = &rest[engine.handle_client_batch(raw, conn, rest)..];
        }
        Ok(())
    }

    fn run_timer(&mut self, n: usize) -> bool {
        let spurious = self.turns.chance(20_000);
        let node = &mut self.nodes[n];
        let Some(engine) = &mut node.engine else { return false };
        let raw = node.clock.at(self.now);
        let is_due = engine.poll_timeout().is_some_and(|at| at <= raw);
        if is_due || spurious {
            engine.handle_timeout(raw);
        }
        is_due
    }

    /// A timer that was served is not due again at once, again and again, and none runs hot.
    fn check_timer(&mut self, n: usize, was_due: bool) -> Result<(), Violation> {
        let now = self.now;
        let node = &mut self.nodes[n];
        let Some(engine) = &node.engine else { return Ok(()) };
        let raw = node.clock.at(now);
        let is_still_due = engine.poll_timeout().is_some_and(|at| at <= raw);
        node.idle_timers = if was_due && is_still_due { node.idle_timers + 1 } else { 0 };
        if node.timers.0 != now / 1_000_000 {
            node.timers = (now / 1_000_000, 0);
        }
        node.timers.1 += u32::from(was_due);
        // Each message of a flood has its own time, at which it goes again.
        let sent = if node.datagrams.0 == node.timers.0 { node.datagrams.1 } else { 0 };
        if node.idle_timers > MAX_IDLE_TIMERS || node.timers.1 > MAX_TIMERS_A_SECOND + sent {
            let (row, second) = (node.idle_timers, node.timers.1);
            let text = format!("node {n}: {row} timers in a row that stay due, {second} in this second");
            return self.wrong(Invariant::Timer, text);
        }
        Ok(())
    }

    /// The law: drain every `poll_*`.
    pub(super) fn drain(&mut self, n: usize) -> Result<(), Violation> {
        loop {
            self.write_clients(n)?;
            self.transmit(n)?;
            self.write_clients(n)?;
            for index in 0..self.nodes[n].streams.len() {
                if let Some(Some((conn, stream))) = self.nodes[n].streams.get(index)
                    && stream.is_blocked
                {
                    self.write_client(n, *conn)?;
                }
            }
            let Some(conn) = self.nodes[n].engine.as_mut().and_then(|e| e.poll_close()) else {
                return self.check.on_turn_over(self.now);
            };
            self.close_client(n, conn)?;
        }
    }

    fn write_clients(&mut self, n: usize) -> Result<(), Violation> {
        while let Some(conn) = self.nodes[n].engine.as_mut().and_then(|e| e.poll_writable()) {
            self.write_client(n, conn)?;
        }
        Ok(())
    }

    fn transmit(&mut self, n: usize) -> Result<(), Violation> {
        let raw = self.nodes[n].clock.at(self.now);
        let (mut out, mut own) = (self.spare.pop().unwrap_or_default(), self.spare.pop().unwrap_or_default());
        loop {
            out.clear();
            own.clear();
            if !self.lives_on(n) {
                break;
            }
            let batch = self.turns.pick(&[1, 8, 64]);
            let Some(engine) = &mut self.nodes[n].engine else { break };
            let transmit = engine.poll_transmit_parts(raw, &mut own, batch);
            let Some(Transmit { listener, to, len, segment }) = transmit else { break };
            engine.parts(&own).for_each(|part| out.extend_from_slice(part));
            debug_assert_eq!(len, out.len());
            let (to, path) = Network::place(to);
            debug_assert_eq!(path, listener);
            for bytes in out.chunks(segment) {
                self.send(Route { from: n, to, path }, bytes)?;
            }
        }
        self.spare.extend([own, out]);
        Ok(())
    }

    fn send(&mut self, route: Route, bytes: &[u8]) -> Result<(), Violation> {
        let now = self.now;
        let sender = &mut self.nodes[route.from];
        if sender.datagrams.0 != now / 1_000_000 {
            sender.datagrams = (now / 1_000_000, 0);
        }
        sender.datagrams.1 += 1;
        if sender.datagrams.1 > MAX_DATAGRAMS_A_SECOND {
            return self.wrong(Invariant::Timer, format!("node {}: a storm of datagrams", route.from));
        }
        let clock = self.nodes[route.to].clock.at(now);
        self.check.on_datagram(&Leaving { now, from: route.from, to: route.to, clock, bytes })?;
        let head = bytes.get(8..12).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        self.check.log.stir(u64::from(head) << 32 | bytes.len() as u64);
        let mut arrivals = [(0, None); 4];
        let mut count = 0;
        self.network.send(now, route, bytes.len(), &mut self.stats, |at, flipped| {
            arrivals[count] = (at, flipped);
            count += 1;
        });
        for (at, flipped) in &arrivals[..count] {
            let mut copy = self.spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(bytes);
            if let Some(bit) = flipped {
                copy[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            self.schedule(*at, Event::Arrival(route.to, route.from, route.path, copy));
        }
        Ok(())
    }

    /// Writes what fits into a client's socket.
    fn write_client(&mut self, n: usize, conn: ConnId) -> Result<(), Violation> {
        if !self.lives_on(n) {
            return Ok(());
        }
        let capacity = self.scenario.streams.capacity;
        let moment = self.moment(n);
        let node = &mut self.nodes[n];
        let raw = node.clock.at(self.now);
        let Some((_, stream)) = node.streams.get_mut(conn.index()).and_then(Option::as_mut) else {
            return Ok(());
        };
        let Some(engine) = &mut node.engine else { return Ok(()) };
        let pending = engine.output(conn).to_vec();
        let check = &mut self.check;
        let life = stream.life;
        stream.sniff_output(&pending, |frame| see(check, moment, life, frame))?;
        if stream.client.is_none() {
            // Nobody reads; an error of the write comes before the end of the file, or after.
            return Ok(());
        }
        let n_bytes = pending.len().min(capacity.saturating_sub(stream.to_client.len()));
        stream.to_client.write(&pending[..n_bytes]);
        stream.is_blocked = n_bytes < pending.len();
        stream.consumed += n_bytes as u64;
        let client = stream.client;
        if n_bytes > 0 {
            engine.consume_output(raw, conn, n_bytes);
            if let Some(client) = client {
                self.wake_client_soon(client);
            }
        }
        Ok(())
    }

    fn close_client(&mut self, n: usize, conn: ConnId) -> Result<(), Violation> {
        self.write_client(n, conn)?;
        let node = &mut self.nodes[n];
        let raw = node.clock.at(self.now);
        if let Some(engine) = &mut node.engine {
            engine.handle_disconnect(raw, conn);
        }
        let Some((_, stream)) = node.streams.get_mut(conn.index()).and_then(Option::take) else {
            return Ok(());
        };
        if let Some(client) = stream.client {
            self.lose_daemon(client, stream);
        }
        Ok(())
    }
}

fn see(check: &mut Checker, at: Moment, life: usize, frame: &DaemonFrame<'_>) -> Result<(), Violation> {
    match frame {
        DaemonFrame::Registered(body) => check.on_incarnation(at.now, life, body.incarnation),
        DaemonFrame::Deliver(d) => check.on_deliver(at.now, life, d),
        DaemonFrame::Failed(failed) => check.on_failed(at, life, failed),
        DaemonFrame::Resolved(resolved) => {
            for (first, count) in resolved.runs() {
                for i in 0..count {
                    check.on_resolved(at, life, first.plus(i))?;
                }
            }
            Ok(())
        }
        DaemonFrame::Nack(nack) if !matches!(nack.rule, LocalRule::ClientIdTaken) => Err(Violation {
            invariant: Invariant::Refused,
            at: at.now,
            about: None,
            text: format!("life {life} kept the rules, and got {nack:?}"),
        }),
        _ => Ok(()),
    }
}

/// Whatever makes a daemon drop some of a datagram.
const DROPS: [Counter; 10] = [
    Counter::StaleMessagesDropped,
    Counter::FutureStamps,
    Counter::QueueFullRefusals,
    Counter::EarlyMessages,
    Counter::MalformedDatagrams,
    Counter::ChecksumErrors,
    Counter::VersionMismatches,
    Counter::UnknownSessions,
    Counter::ReplayedDatagrams,
    Counter::RefusedHellos,
];
/// The engine's own structure is looked at in one of so many turns.
const CHECK_EVERY: u64 = 32;
/// Of one node; more than clients that flood bring about.
const MAX_DATAGRAMS_A_SECOND: u32 = 200_000;
const DATAGRAMS_A_TURN: usize = 64;
/// Reads and writes that a daemon does before it dies in the middle of a turn, at most.
const MOST_THINGS: u64 = 12;
/// Of one client: a bounded turn.
const READS_A_TURN: usize = 16;
/// A timer may stay due for a while: rounding, and several timers in one.
const MAX_IDLE_TIMERS: u32 = 4;
/// Where nothing came: scans of five classes of 20 ms and more, loss timers, acknowledgements are far less than this.
const MAX_TIMERS_A_SECOND: u32 = 5_000;
