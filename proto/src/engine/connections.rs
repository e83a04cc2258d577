//! Clients' connections: bytes become frames, and registration.

use super::{
    ConnectionRefused, Credentials, Engine, Fault,
    chain::Chain,
    client::{Conn, ConnState},
    output::{OutBuffer, Output},
    reads::{Batch, Origin},
    transmit::MAX_BATCH_BYTES,
};
use crate::{
    control::{LocalNack, LocalRule},
    counters::Counter,
    ids::ConnId,
    limits,
    local::{self, ClientFrame, LocalError, Submit},
    units::{Span, Time},
};

/// Why a connection ends, and what the client is told.
pub(super) struct Violation {
    pub(super) rule: LocalRule,
    pub(super) text: String,
}

impl Violation {
    pub(super) fn new(rule: LocalRule, text: impl Into<String>) -> Self {
        Self { rule, text: text.into() }
    }
}

impl From<LocalError> for Violation {
    fn from(error: LocalError) -> Self {
        Self::new(LocalRule::Malformed, error.0)
    }
}

impl Engine {
    /// A client has connected.
    ///
    /// # Errors
    ///
    /// Too many connections that have not registered.
    pub fn handle_connect(&mut self, now: Time, peer: Credentials) -> Result<ConnId, ConnectionRefused> {
        self.advance(now);
        if self.unregistered >= limits::MAX_UNREGISTERED || self.is_shutting_down {
            self.count(Counter::RefusedConnections);
            return Err(ConnectionRefused);
        }
        self.unregistered += 1;
        Ok(self.conns.insert(Conn {
            peer,
            opened_at: self.clock.steady(),
            state: ConnState::New,
            partial: Vec::new(),
            out: OutBuffer::default(),
            is_listed: false,
            is_roomy: false,
            was_used: false,
            fault: None,
        }))
    }

    /// Bytes of a client's stream, as read: frames may begin and end anywhere in them.
    pub fn handle_client_bytes(&mut self, now: Time, conn: ConnId, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.handle_client_batch(now, conn, rest)..];
        }
    }

    /// [`handle_client_bytes`](Self::handle_client_bytes), but it leaves off where as much has come for peers as goes in one
    /// transmission. Returns how many bytes it took, of some at least one. Who calls
    /// [`poll_transmit`](Self::poll_transmit) once before it comes with the rest has a peer begin while this daemon reads on.
    ///
    /// The same as reading into [`read_space`](Self::read_space), by copying.
    #[must_use]
    pub fn handle_client_batch(&mut self, now: Time, conn: ConnId, bytes: &[u8]) -> usize {
        let space = self.read_space();
        let n = bytes.len().min(space.len());
        space[..n].copy_from_slice(&bytes[..n]);
        if self.handle_client_read(now, conn, n) { n - self.chain.reads.forget_rest_of(conn) } else { n }
    }

    /// Where to read what a client sends: room for 64 KiB at least. Messages stay there until their outcome.
    pub fn read_space(&mut self) -> &mut [u8] {
        if !self.chain.reads.has_room() {
            if let Some((conn, rest)) = self.chain.reads.turn_over() {
                self.conns[conn].partial.extend_from_slice(rest.bytes());
            }
            self.condense(CONDENSED_BY_READ);
        }
        self.chain.reads.space()
    }

    /// Has segments of what was read hold nothing, where they hold little: so many at most.
    fn condense(&mut self, most: usize) {
        let Chain { entries, reads, .. } = &mut self.chain;
        reads.condense(entries, most);
        self.condense_at = None;
        self.watch_reads();
    }

    pub(super) fn condense_by_timer(&mut self) {
        self.condense(CONDENSED_BY_TIMER);
    }

    /// What was read may hold less now.
    #[inline]
    pub(super) fn watch_reads(&mut self) {
        if self.condense_at.is_none() && self.chain.reads.is_sparse() {
            self.condense_at = Some(self.clock.steady() + CONDENSE_AFTER);
        }
    }

    /// `n` bytes of a client's stream were read into [`read_space`](Self::read_space): frames may begin and end anywhere in
    /// them. Returns whether it has left off where as much has come for peers as goes in one transmission. Then call
    /// [`poll_transmit`](Self::poll_transmit) once, so that a peer begins while this daemon reads on, and this again with `n`
    /// 0, before anything else is read.
    pub fn handle_client_read(&mut self, now: Time, conn: ConnId, n: usize) -> bool {
        self.advance(now);
        if self.gathered >= MAX_BATCH_BYTES {
            // Others have brought it about, and it has left or will.
            self.gathered = 0;
        }
        if let Some((other, rest)) = self.chain.reads.take_rest_of_others(conn) {
            self.conns[other].partial.extend_from_slice(rest);
        }
        let batch = self.chain.reads.begin(conn, n);
        if self.conns.get(conn).is_none() {
            self.chain.reads.end(conn, batch.bytes().len());
            return false;
        }
        let used = self.read_batch(conn, &batch);
        self.chain.reads.end(conn, used);
        let is_enough = self.gathered >= MAX_BATCH_BYTES;
        if is_enough {
            self.gathered = 0;
        }
        self.flush_local();
        is_enough && used < batch.bytes().len()
    }

    /// Returns how many bytes of a batch were handled: those of whole frames.
    fn read_batch(&mut self, conn: ConnId, batch: &Batch) -> usize {
        let (all, mut bytes) = (batch.bytes().len(), batch.bytes());
        if !self.conns[conn].partial.is_empty() {
            // Only the frame that had begun is put together; those behind it are read where they are.
            let mut partial = std::mem::take(&mut self.conns[conn].partial);
            while !bytes.is_empty() && local::missing(&partial) > 0 {
                let (its, others) = bytes.split_at(local::missing(&partial).min(bytes.len()));
                partial.extend_from_slice(its);
                bytes = others;
            }
            if self.read_frames(conn, &partial, None) > 0 {
                partial.clear();
                partial.shrink_to(KEPT_PARTIAL);
            }
            self.conns[conn].partial = partial;
        }
        all - bytes.len() + self.read_frames(conn, bytes, Some(batch.origin))
    }

    /// A client's connection has ended (end of file or error). The id is no longer valid.
    pub fn handle_disconnect(&mut self, now: Time, conn: ConnId) {
        self.advance(now);
        let Some(c) = self.conns.get(conn) else { return };
        let state = c.state;
        if state == ConnState::New {
            self.unregistered -= 1;
        }
        if let Some(client) = state.client() {
            self.on_departure(client, crate::control::Departure::Died);
        }
        self.writable.retain(|k| *k != conn);
        self.closing.retain(|k| *k != conn);
        self.roomy.retain(|k| *k != conn);
        self.chain.reads.forget_rest_of(conn);
        self.conns.remove(conn);
        self.flush_local();
    }

    /// A connection that has new [`output`](Self::output) since it was last returned here.
    pub fn poll_writable(&mut self) -> Option<ConnId> {
        let key = self.writable.pop_front()?;
        self.conns[key].is_listed = false;
        self.flush_resolved(key);
        self.flush_presence(key);
        Some(key)
    }

    /// What is to be written to a connection.
    #[must_use]
    pub fn output(&self, conn: ConnId) -> Output<'_> {
        self.conns.get(conn).map_or(Output::EMPTY, |c| c.out.pending())
    }

    /// The first `n` bytes of [`output`](Self::output) were written.
    pub fn consume_output(&mut self, _now: Time, conn: ConnId, n: usize) {
        if let Some(c) = self.conns.get_mut(conn) {
            c.out.consume(n, &mut self.pool);
            c.was_used = true;
            if !c.is_roomy && c.out.is_roomy() {
                c.is_roomy = true;
                self.roomy.push(conn);
                self.trim_at.get_or_insert(self.clock.steady() + TRIM_AFTER);
            }
            self.record_written(conn);
        }
    }

    /// A connection to close: write what [`output`](Self::output) holds, as far as it goes without waiting, then
    /// close. The id stays valid until [`handle_disconnect`](Self::handle_disconnect), which must follow.
    pub fn poll_close(&mut self) -> Option<ConnId> {
        self.closing.pop_front()
    }

    /// Connections that have been idle for a while give the room of their output back.
    pub(super) fn trim_outputs(&mut self) {
        let conns = &mut self.conns;
        self.roomy.retain(|key| {
            let conn = &mut conns[*key];
            if std::mem::replace(&mut conn.was_used, false) || conn.out.len() > 0 {
                return true;
            }
            conn.out.trim();
            conn.is_roomy = false;
            false
        });
        self.trim_at = (!self.roomy.is_empty()).then_some(self.clock.steady() + TRIM_AFTER);
    }

    /// Why a connection that [`poll_close`](Self::poll_close) returned is closed, if that is its client's fault.
    #[must_use]
    pub fn fault(&self, conn: ConnId) -> Option<&Fault> {
        self.conns.get(conn)?.fault.as_ref()
    }

    /// Ends connections that have not registered in time.
    pub(super) fn expire_unregistered(&mut self) {
        if self.unregistered == 0 {
            return;
        }
        let now = self.clock.steady();
        for key in self.conns.keys() {
            let conn = &self.conns[key];
            if conn.state == ConnState::New && register_by(conn) <= now {
                self.count(Counter::RefusedConnections);
                self.end(
                    key,
                    Violation::new(LocalRule::RegisterTimeout, "no REGISTER within 5 s of connecting"),
                );
            }
        }
    }

    /// When the first connection that has not registered is to end.
    pub(super) fn next_register_timeout(&self) -> Option<Time> {
        if self.unregistered == 0 {
            return None;
        }
        self.conns.iter().filter(|(_, c)| c.state == ConnState::New).map(|(_, c)| register_by(c)).min()
    }

    /// Reads whole frames until there is a batch for peers; returns how many bytes they took (all, when the connection ends).
    fn read_frames(&mut self, key: ConnId, bytes: &[u8], origin: Option<Origin>) -> usize {
        let mut used = 0;
        while self.conns[key].state != ConnState::Closing {
            if self.gathered >= MAX_BATCH_BYTES {
                return used;
            }
            match local::split(&bytes[used..]).map_err(Violation::from) {
                Ok(None) => return used,
                Ok(Some((raw, len))) => {
                    used += len;
                    let result = match self.conns[key].state {
                        ConnState::Ready(client) if local::is_submit(&raw) => {
                            let submit = Submit::parse(raw).map_err(Violation::from);
                            let taken = submit.and_then(|submit| self.on_submit(client, &submit, origin));
                            if taken.is_ok() {
                                used += self.submit_run(client, &bytes[used..], origin);
                            }
                            taken
                        }
                        _ => ClientFrame::parse(raw)
                            .map_err(Violation::from)
                            .and_then(|frame| self.on_client_frame(key, frame)),
                    };
                    if let Err(violation) = result {
                        self.count(Counter::MalformedLocalFrames);
                        self.end(key, violation);
                    }
                }
                Err(violation) => {
                    self.count(Counter::MalformedLocalFrames);
                    self.end(key, violation);
                }
            }
        }
        bytes.len()
    }

    fn on_client_frame(&mut self, conn: ConnId, frame: ClientFrame<'_>) -> Result<(), Violation> {
        match (self.conns[conn].state, frame) {
            (ConnState::Ready(client), ClientFrame::Withdraw { msgid }) => self.on_withdraw(client, msgid),
            (ConnState::Ready(client), ClientFrame::GivenUp { upto }) => {
                self.on_given_up(client, upto);
                Ok(())
            }
            (ConnState::Ready(client), ClientFrame::Taken { upto }) => self.on_taken(client, upto),
            (ConnState::Ready(client), ClientFrame::Stale { number }) => self.on_stale(client, number),
            (ConnState::Ready(client), ClientFrame::Subscribe { client: wanted }) => {
                self.on_subscribe(client, wanted)
            }
            (ConnState::Ready(client), ClientFrame::Watch(watch)) => self.on_watch(client, &watch),
            (ConnState::Ready(client), ClientFrame::Drained) => {
                self.on_drained(client);
                Ok(())
            }
            (ConnState::New, ClientFrame::Register(register)) => {
                self.on_register(conn, &register);
                Ok(())
            }
            (ConnState::Registered(client), ClientFrame::FlowTaken(taken)) => {
                self.restore_inbox(client, &taken)
            }
            (ConnState::Ready(client), ClientFrame::FlowTaken(taken)) => self.on_handled(client, &taken),
            (ConnState::Registered(client), ClientFrame::FlowBound(bound)) => {
                self.on_flow_bound(client, &bound)
            }
            (ConnState::Registered(client), ClientFrame::Ready) => {
                self.conns[conn].state = ConnState::Ready(client);
                self.on_arrival(client);
                Ok(())
            }
            (ConnState::Registered(client) | ConnState::Ready(client), ClientFrame::Goodbye) => {
                self.on_departure(client, crate::control::Departure::Left);
                self.conns[conn].state = ConnState::Closing;
                self.closing.push_back(conn);
                Ok(())
            }
            (ConnState::New, _) => Err(Violation::new(LocalRule::OutOfTurn, "the first frame is REGISTER")),
            (ConnState::Registered(_), _) => Err(Violation::new(
                LocalRule::OutOfTurn,
                "between REGISTER and READY: FLOW_TAKEN and FLOW_BOUND only",
            )),
            (ConnState::Ready(_), _) => Err(Violation::new(LocalRule::OutOfTurn, AFTER_READY)),
            (ConnState::Closing, _) => Ok(()),
        }
    }

    /// Tells a client which rule it broke, and ends its connection.
    pub(super) fn end(&mut self, conn: ConnId, violation: Violation) {
        let c = &mut self.conns[conn];
        let state = std::mem::replace(&mut c.state, ConnState::Closing);
        if state == ConnState::New {
            self.unregistered -= 1;
        }
        // Its departure may be the end of its record.
        let id = state.client().map(|key| self.clients[key].instance.client);
        if let Some(client) = state.client() {
            self.on_departure(client, crate::control::Departure::Died);
        }
        let mut text = violation.text;
        text.truncate(text.floor_char_boundary(limits::MAX_NACK_TEXT_BYTES));
        let fault =
            Fault { client: id, pid: self.conns[conn].peer.pid, rule: violation.rule, text: text.clone() };
        self.conns[conn].fault = Some(fault);
        local::put::nack(self.conns[conn].out.tail(), &LocalNack { rule: violation.rule, text });
        self.wake_conn(conn);
        self.closing.push_back(conn);
    }

    /// Writes the acked msgids that a client has not been told.
    pub(super) fn flush_resolved(&mut self, conn: ConnId) {
        let Some(key) = self.conns[conn].state.client() else { return };
        let client = &mut self.clients[key];
        let out = &mut self.conns[conn].out;
        for runs in client.resolved.chunks(RESOLVED_RUNS) {
            local::put::resolved(out.tail(), runs);
        }
        client.resolved.clear();
        for flow in client.moved_flows.drain(..) {
            let f = &mut self.chain.flows[flow];
            f.is_moved = false;
            client.known_at.push_back((out.end(), flow, f.floor()));
        }
    }

    /// Outcomes are written: their floors may be told, since a library reads all that was written to it, even after
    /// the daemon's death (I6).
    fn record_written(&mut self, conn: ConnId) {
        let c = &self.conns[conn];
        let (Some(key), written) = (c.state.client(), c.out.written()) else { return };
        let known_at = &mut self.clients[key].known_at;
        while let Some((_, flow, floor)) = known_at.front().copied().filter(|(at, _, _)| *at <= written) {
            known_at.pop_front();
            self.chain.flows[flow].record_known(floor);
        }
        self.record_told(key, written);
        if !self.clients[key].presence_due.is_empty() {
            self.wake_conn(conn);
        }
    }
}

fn register_by(conn: &Conn) -> Time {
    conn.opened_at + Span::from_millis(limits::REGISTER_TIMEOUT_MS)
}

/// What a client that is ready may say.
pub(super) const AFTER_READY: &str =
    "after READY: SUBMIT, WITHDRAW, GIVEN_UP, TAKEN, STALE, DRAINED, SUBSCRIBE, WATCH, GOODBYE";

/// While what was read holds less than half of its room in messages, some of that room is freed this often.
const CONDENSE_AFTER: Span = Span::from_millis(20);

/// Segments that are cleared where another one begins, and each time that the timer looks.
const CONDENSED_BY_READ: usize = 4;
const CONDENSED_BY_TIMER: usize = 16;

/// An output that was not used for so long gives its room back.
const TRIM_AFTER: Span = Span::from_millis(2000);
const KEPT_PARTIAL: usize = 64 << 10;
/// Runs in one RESOLVED frame.
const RESOLVED_RUNS: usize = 4096;
