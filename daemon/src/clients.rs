//! The clients' connections: bytes in, bytes out, each client a bounded share of a turn.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read as _, Write as _},
};

use mio::{Interest, Registry, Token, event::Event, net::UnixStream};
use msg_proto::{
    engine::{Engine, Fault, Output},
    ids::ConnId,
    units::Time,
};

use crate::{
    clock,
    limits::{CLIENT_BYTES_PER_TURN, MAX_UNREAD_OUTPUT_BYTES, READ_BYTES_PER_TURN},
};

/// All connections.
///
/// Invariant: a connection that may have something to read and is not `paused` stands in `to_read`; one that has output
/// and is not `blocked` stands in `to_write`. Positions of connections that have ended may stand there too, and then
/// cost their successors a system call that finds nothing.
#[derive(Debug)]
pub(crate) struct Clients {
    /// By [`ConnId::index`].
    table: Vec<Option<Client>>,
    to_read: VecDeque<usize>,
    to_write: VecDeque<usize>,
    /// The token of the connection with index 0.
    base: usize,
}

#[derive(Debug)]
struct Client {
    id: ConnId,
    stream: UnixStream,
    read: Reading,
    write: Writing,
    /// Its end was announced: it is read up to there.
    ending: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// Waits for an event.
    Idle,
    /// Stands in `to_read`.
    Queued,
    /// Not read before it has taken some of its output.
    Paused,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writing {
    /// Has no output.
    Idle,
    /// Stands in `to_write`.
    Queued,
    /// Has output, and waits for an event.
    Blocked,
    /// Takes nothing any more: what it sent before it went is read, then it is disconnected.
    Broken,
}

/// Parts of a client's output that one system call writes at most: large messages are parts of their own.
const PARTS: usize = 32;

/// How a read or write left the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Progress {
    /// There may be more.
    More,
    /// An event will say when there is more.
    Wait,
    /// It has ended.
    End,
}

impl Clients {
    pub(crate) fn new(base: usize) -> Self {
        Self { table: Vec::new(), to_read: VecDeque::new(), to_write: VecDeque::new(), base }
    }

    /// A connection that the engine has accepted.
    pub(crate) fn insert(
        &mut self,
        registry: &Registry,
        id: ConnId,
        mut stream: UnixStream,
    ) -> io::Result<()> {
        registry.register(&mut stream, self.token(id.index()), Interest::READABLE)?;
        if self.table.len() <= id.index() {
            self.table.resize_with(id.index() + 1, || None);
        }
        let client = Client { id, stream, read: Reading::Idle, write: Writing::Idle, ending: false };
        if let Some(slot) = self.table.get_mut(id.index()) {
            *slot = Some(client);
        }
        Ok(())
    }

    /// An event for the connection with index `index`, which may have ended since.
    pub(crate) fn on_event(&mut self, registry: &Registry, index: usize, event: &Event) -> io::Result<()> {
        let token = self.token(index);
        let Some(client) = self.table.get_mut(index).and_then(Option::as_mut) else { return Ok(()) };
        let ended = event.is_error() || event.is_write_closed();
        if client.write == Writing::Blocked && (event.is_writable() || ended) {
            registry.reregister(&mut client.stream, token, Interest::READABLE)?;
            client.write = Writing::Queued;
            self.to_write.push_back(index);
        }
        client.ending |= event.is_read_closed() || ended;
        if event.is_readable() || client.ending {
            self.queue_read(index);
        }
        Ok(())
    }

    /// Whether something can be done without waiting for an event.
    pub(crate) fn has_work(&self) -> bool {
        !self.to_read.is_empty() || !self.to_write.is_empty()
    }

    /// Gives each readable connection its turn, as far as this one goes. Whenever a client has brought as much as goes at a
    /// time, `transmit` is called, so that peers begin with it. Returns how many bytes came.
    ///
    /// # Errors
    ///
    /// Those of `transmit`.
    pub(crate) fn read(
        &mut self,
        engine: &mut Engine,
        mut transmit: impl FnMut(&mut Engine) -> io::Result<()>,
    ) -> io::Result<usize> {
        let mut total = 0;
        for _ in 0..self.to_read.len() {
            if total >= READ_BYTES_PER_TURN {
                break;
            }
            let Some(index) = self.to_read.pop_front() else { break };
            let Some(client) = self.table.get_mut(index).and_then(Option::as_mut) else { continue };
            if client.write != Writing::Broken && engine.output(client.id).len() > MAX_UNREAD_OUTPUT_BYTES {
                client.read = Reading::Paused;
                continue;
            }
            let (count, progress) = read_turn(client, engine, &mut transmit)?;
            total += count;
            match progress {
                Progress::More => self.to_read.push_back(index),
                Progress::Wait if client.write != Writing::Broken => client.read = Reading::Idle,
                Progress::Wait | Progress::End => self.disconnect(engine, index),
            }
        }
        Ok(total)
    }

    /// Notes that a connection has output.
    pub(crate) fn on_output(&mut self, id: ConnId) {
        let Some(client) = self.client(id) else { return };
        if client.write == Writing::Idle {
            client.write = Writing::Queued;
            self.to_write.push_back(id.index());
        }
    }

    /// Writes once to each connection that has output and takes it. Returns whether there was any.
    pub(crate) fn write(&mut self, registry: &Registry, now: Time, engine: &mut Engine) -> io::Result<bool> {
        let has_output = !self.to_write.is_empty();
        for _ in 0..self.to_write.len() {
            let Some(index) = self.to_write.pop_front() else { break };
            let token = self.token(index);
            let Some(client) = self.table.get_mut(index).and_then(Option::as_mut) else { continue };
            if client.write != Writing::Queued {
                continue;
            }
            client.write = Writing::Idle;
            match write_once(client, now, engine) {
                Progress::More if engine.output(client.id).is_empty() => {}
                // After a short write too: only "would block" promises an event.
                Progress::More => {
                    client.write = Writing::Queued;
                    self.to_write.push_back(index);
                }
                Progress::Wait => {
                    // Asked for only now: otherwise each message that a client takes would wake the loop.
                    registry.reregister(
                        &mut client.stream,
                        token,
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    client.write = Writing::Blocked;
                }
                Progress::End => {
                    client.write = Writing::Broken;
                    self.resume_read(index);
                    continue;
                }
            }
            let unread = engine.output(client.id).len();
            if client.read == Reading::Paused && unread <= MAX_UNREAD_OUTPUT_BYTES / 2 {
                self.resume_read(index);
            }
        }
        Ok(has_output)
    }

    /// Writes what goes without waiting, then ends the connection.
    pub(crate) fn close(&mut self, engine: &mut Engine, id: ConnId) {
        if let Some(Fault { client, pid, rule, text }) = engine.fault(id) {
            let who = client.map_or("a client".to_owned(), |id| format!("client {id}"));
            let clientid = client.map(|id| id.0);
            tracing::warn!(clientid, reason = ?rule, "{who} (pid {pid}) loses its connection: {text}");
        }
        let Some(client) = self.client(id) else { return };
        while client.write != Writing::Broken && !engine.output(id).is_empty() {
            if write_once(client, clock::now(), engine) != Progress::More {
                break;
            }
        }
        self.disconnect(engine, id.index());
    }

    /// Whether a connection that takes its output still has some.
    pub(crate) fn has_output(&self) -> bool {
        !self.to_write.is_empty()
            || self.table.iter().flatten().any(|client| client.write == Writing::Blocked)
    }

    fn disconnect(&mut self, engine: &mut Engine, index: usize) {
        if let Some(client) = self.table.get_mut(index).and_then(Option::take) {
            // Closing the stream takes it out of the poll.
            engine.handle_disconnect(clock::now(), client.id);
        }
    }

    fn queue_read(&mut self, index: usize) {
        let Some(client) = self.table.get_mut(index).and_then(Option::as_mut) else { return };
        if client.read == Reading::Idle {
            client.read = Reading::Queued;
            self.to_read.push_back(index);
        }
    }

    fn resume_read(&mut self, index: usize) {
        let Some(client) = self.table.get_mut(index).and_then(Option::as_mut) else { return };
        if client.read == Reading::Paused {
            client.read = Reading::Idle;
        }
        self.queue_read(index);
    }

    fn client(&mut self, id: ConnId) -> Option<&mut Client> {
        self.table.get_mut(id.index())?.as_mut()
    }

    fn token(&self, index: usize) -> Token {
        Token(self.base + index)
    }
}

fn read_turn(
    client: &mut Client,
    engine: &mut Engine,
    transmit: &mut impl FnMut(&mut Engine) -> io::Result<()>,
) -> io::Result<(usize, Progress)> {
    let mut total = 0;
    while total < CLIENT_BYTES_PER_TURN {
        let space = engine.read_space();
        let room = space.len();
        match client.stream.read(space) {
            Ok(0) => return Ok((total, Progress::End)),
            Ok(count) => {
                total += count;
                let mut is_more = engine.handle_client_read(clock::now(), client.id, count);
                while is_more {
                    transmit(engine)?;
                    is_more = engine.handle_client_read(clock::now(), client.id, 0);
                }
                // A stream that gave less than it could has no more, and what comes next will be an event; so will
                // its end, unless that has been one already.
                if count < room && !client.ending && client.write != Writing::Broken {
                    return Ok((total, Progress::Wait));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((total, Progress::Wait)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Ok((total, Progress::End)),
        }
    }
    Ok((total, Progress::More))
}

fn write_once(client: &mut Client, now: Time, engine: &mut Engine) -> Progress {
    let output = engine.output(client.id);
    let written = match output.whole() {
        Some([]) => return Progress::More,
        Some(bytes) => client.stream.write(bytes),
        None => write_parts(&mut client.stream, output),
    };
    match written {
        Ok(0) => Progress::End,
        Ok(count) => {
            engine.consume_output(now, client.id, count);
            Progress::More
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Progress::Wait,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Progress::More,
        Err(_) => Progress::End,
    }
}

/// One system call for as many parts as it takes.
fn write_parts(stream: &mut UnixStream, output: Output<'_>) -> io::Result<usize> {
    let mut slices = [IoSlice::new(&[]); PARTS];
    let filled = slices.iter_mut().zip(output.parts()).map(|(slice, part)| *slice = IoSlice::new(part));
    let count = filled.count();
    stream.write_vectored(slices.get(..count).unwrap_or_default())
}
