//! What happens to nodes, links and clients.

use super::{
    check::Violation,
    client::{Client, Stall},
    options::Fault,
    world::{Event, World},
};

impl World {
    pub(super) fn fault(&mut self, fault: Fault) -> Result<(), Violation> {
        if self.is_healed {
            return Ok(());
        }
        let again = self.now + self.chance.around(self.scenario.faults.every[fault as usize]);
        self.schedule(again, Event::Fault(fault));
        let n = self.chance.below(self.nodes.len() as u64) as usize;
        let m = self.chance.below(self.nodes.len() as u64) as usize;
        let c = self.chance.below(self.clients.len() as u64) as usize;
        let span = self.chance.pick(&SPANS);
        let span = self.chance.around(span);
        let until = self.now + span;
        self.stats.count(fault);
        self.check.log.note(self.now, None, || {
            format!("fault {}: node {n}, node {m}, client slot {c}, {span} us", fault.name())
        });
        match fault {
            Fault::OneWay => self.network.cut(n, m, None, until),
            Fault::Partition => self.partition(n, m, until),
            Fault::Flap => {
                let period = self.chance.pick(&[5_000, 50_000, 1_000_000]);
                self.network.flap(n, m, period, until);
            }
            Fault::JumpAhead => {
                let by = self.chance.pick(&JUMPS);
                self.jump(n, by as i64);
            }
            Fault::JumpBack => {
                let by = self.chance.pick(&JUMPS);
                self.jump(n, -(by as i64));
            }
            Fault::Pause => self.pause(n, until, false),
            Fault::ClockStop => self.pause(n, until, true),
            Fault::Stall => self.stall(c, until),
            Fault::Die => self.kill(c),
            Fault::Leave => self.leave(c),
            Fault::Flood => {
                if let Some(p) = &mut self.clients[c].process {
                    p.floods_until = self.now + span.min(300_000);
                    self.check.on_flood(p.life, p.floods_until);
                }
            }
            Fault::Crash => self.crash(n, span),
            Fault::LoneCrash => {
                if self.chance.chance(500_000) {
                    self.nodes[n].is_doomed = Some(span);
                    self.wake_node_soon(n);
                } else {
                    self.end_daemon(n, span);
                }
            }
            Fault::Hang => self.hang(n, until),
            Fault::Drain => self.drain_client(n, c)?,
            Fault::Takeover => self.take_over(c),
            _ => {}
        }
        Ok(())
    }

    fn partition(&mut self, n: usize, m: usize, until: u64) {
        let path = self.chance.chance(300_000).then_some(0);
        let others: Vec<_> = if n == m { (0..self.nodes.len()).collect() } else { vec![m] };
        for other in others {
            self.network.cut(n, other, path, until);
            self.network.cut(other, n, path, until);
        }
    }

    fn jump(&mut self, n: usize, by: i64) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let before = node.clock.at(now).0;
        // No clock goes so far back that something of this run was sent before its first microsecond: its age has no stamp there.
        let least = before.min(now.max(1));
        let by = by.max(least as i64 - before as i64);
        node.clock.jump(now, by);
        node.is_touched = true;
        if by > 0 {
            self.check.on_clock_gained(now, n, by.unsigned_abs());
        } else {
            self.check.on_clock_lost(now, n, by.unsigned_abs());
        }
        self.excuse_clients(n, now);
        self.wake_all(n);
    }

    /// The outcomes that clients of a node wait for may come at another time: their own clock was touched.
    fn excuse_clients(&mut self, n: usize, until: u64) {
        self.check.on_touched(self.now, n);
        for c in 0..self.clients.len() {
            if self.clients[c].plan.node == n
                && let Some(p) = &self.clients[c].process
            {
                self.check.on_stall(p.life, until);
            }
        }
    }

    fn wake_all(&mut self, n: usize) {
        self.wake_node_soon(n);
        for c in 0..self.clients.len() {
            if self.clients[c].plan.node == n {
                self.wake_client_soon(c);
            }
        }
    }

    fn pause(&mut self, n: usize, until: u64, stops_clock: bool) {
        let now = self.now;
        let node = &mut self.nodes[n];
        if node.paused_until.is_some() || node.hangs.is_some() {
            return;
        }
        node.paused_until = Some(until);
        node.paused_at = now;
        node.is_touched = true;
        node.is_clock_stopped = stops_clock;
        if stops_clock {
            node.clock.stop(now);
            self.check.on_clock_lost(until, n, until - now);
        }
        self.schedule(until, Event::Resume(n));
    }

    pub(super) fn resume(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        if node.paused_until.take().is_none() {
            return;
        }
        node.is_touched = true;
        let stood = now - node.paused_at;
        if std::mem::take(&mut node.is_clock_stopped) {
            node.clock.go_on(now);
        }
        self.check.on_stood(now, n, stood);
        self.check.log.note(now, None, || format!("node {n} goes on"));
        self.excuse_clients(n, now);
        self.wake_all(n);
    }

    fn hang(&mut self, n: usize, until: u64) {
        let node = &mut self.nodes[n];
        if node.hangs.is_some() || node.paused_until.is_some() || node.engine.is_none() {
            return;
        }
        node.hangs = Some((self.now, until));
        for c in self.clients.iter().filter(|c| c.plan.node == n) {
            if let Some(p) = &c.process {
                self.check.on_hang(p.life, until);
            }
        }
        self.schedule(until, Event::Unhang(n));
    }

    pub(super) fn unhang(&mut self, n: usize) {
        let now = self.now;
        let Some((since, _)) = self.nodes[n].hangs.take() else { return };
        self.nodes[n].is_touched = true;
        self.check.on_stood(now, n, now - since);
        self.check.on_touched(now, n);
        self.check.log.note(now, None, || format!("node {n}: its daemon goes on"));
        self.wake_node_soon(n);
    }

    fn stall(&mut self, c: usize, until: u64) {
        let kind = self.chance.pick(&[Stall::Frozen, Stall::Reading, Stall::Taking]);
        if let Some(p) = &mut self.clients[c].process {
            p.stall = Some((kind, until));
            self.check.on_stall(p.life, until + STALL_TAIL);
            self.wake_client_soon(c);
        }
    }

    fn kill(&mut self, c: usize) {
        if let Some(process) = self.clients[c].process.take() {
            self.end_process(c, process);
        }
    }

    fn leave(&mut self, c: usize) {
        let n = self.clients[c].plan.node;
        let raw = self.nodes[n].clock.at(self.now);
        if let Some(p) = &mut self.clients[c].process
            && !p.is_leaving
        {
            p.session.close(raw);
            p.is_leaving = true;
            self.wake_client_soon(c);
        }
    }

    fn drain_client(&mut self, n: usize, c: usize) -> Result<(), Violation> {
        let asks_node = self.chance.chance(200_000);
        if asks_node || self.chance.chance(400_000) {
            // An operator asks.
            let (n, id) = if asks_node {
                (n, None)
            } else {
                (self.clients[c].plan.node, Some(self.clients[c].plan.id))
            };
            if self.nodes[n].still_until() > self.now || self.nodes[n].engine.is_none() {
                return Ok(());
            }
            let raw = self.nodes[n].call(self.now);
            if let Some(engine) = &mut self.nodes[n].engine {
                engine.handle_drain(raw, id);
            }
            self.wake_node_soon(n);
            return self.drain(n);
        }
        let raw = self.nodes[self.clients[c].plan.node].clock.at(self.now);
        if let Some(p) = &mut self.clients[c].process {
            p.session.drain(raw);
            self.check.on_drained(self.now, p.life);
            self.wake_client_soon(c);
        }
        Ok(())
    }

    /// A new process takes the number of a client over; the old one ends when what it sent has ended.
    fn take_over(&mut self, c: usize) {
        let client = &mut self.clients[c];
        if client.is_retired || client.process.is_none() {
            return;
        }
        client.is_retired = true;
        let plan = client.plan.clone();
        let (new, gap) = (self.clients.len(), plan.gap);
        self.clients.push(Client::successor(plan));
        self.schedule(self.now, Event::Born(new));
        let at = self.now + self.chance.around(gap);
        self.schedule(at, Event::Script(new));
    }

    fn crash(&mut self, n: usize, span: u64) {
        let now = self.now;
        let back = now + span.min(3_000_000);
        (self.nodes[n].engine, self.nodes[n].hangs) = (None, None);
        self.nodes[n].streams.clear();
        self.nodes[n].inbox.clear();
        self.nodes[n].inbox_bytes = 0;
        for c in 0..self.clients.len() {
            if self.clients[c].plan.node == n
                && let Some(p) = self.clients[c].process.take()
            {
                self.end_life(c, &p);
                let at = back + self.chance.below(500_000);
                self.schedule(at, Event::Born(c));
            }
        }
        self.schedule(back, Event::Start(n));
    }

    /// The daemon dies; its clients live, and can still read what is in their sockets.
    pub(super) fn end_daemon(&mut self, n: usize, span: u64) {
        if self.nodes[n].engine.take().is_none() {
            return;
        }
        (self.nodes[n].is_doomed, self.nodes[n].hangs) = (None, None);
        self.check.on_daemon_death();
        self.check.log.note(self.now, None, || format!("node {n}: its daemon dies"));
        for (_, stream) in std::mem::take(&mut self.nodes[n].streams).into_iter().flatten() {
            if let Some(c) = stream.client {
                self.lose_daemon(c, stream);
            }
        }
        // With sockets that systemd holds, datagrams wait for the next daemon.
        if self.chance.chance(500_000) {
            self.nodes[n].inbox.clear();
            self.nodes[n].inbox_bytes = 0;
        }
        self.schedule(self.now + span.min(3_000_000), Event::Start(n));
    }

    /// Faults and scripts are over.
    pub fn heal(&mut self) {
        self.is_healed = true;
        self.network.heal();
        for n in 0..self.nodes.len() {
            self.nodes[n].is_doomed = None;
            self.resume(n);
            self.unhang(n);
        }
        for c in 0..self.clients.len() {
            if let Some(p) = &mut self.clients[c].process {
                p.stall = None;
            }
            self.wake_client_soon(c);
        }
    }
}

/// How long things last, in microseconds.
const SPANS: [u64; 6] = [5_000, 50_000, 200_000, 1_000_000, 4_000_000, 8_000_000];
/// How far clocks jump.
const JUMPS: [u64; 7] = [1_000, 10_000, 100_000, 240_000, 1_000_000, 10_000_000, 3_600_000_000];
/// After a stall a client has a backlog to read.
const STALL_TAIL: u64 = 500_000;
