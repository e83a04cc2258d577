//! The threads that serve the status socket: each takes one connection at a time, and not for long.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    sync::Arc,
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use msg_proto::units::{Span, Time};
use rustix::net::Shutdown;

use super::{
    bridge::{Answer, Visitor},
    http::{self, Head, Refusal, Status},
};
use crate::{
    clock,
    error::RunError,
    limits::{MAX_STATUS_REQUEST_BYTES, STATUS_CONNECTION_MS, STATUS_CONNECTIONS},
    socket_path::Claim,
};

/// Enough for a request's head, its headers and a JSON writer.
const STACK_BYTES: usize = 256 << 10;

/// After an error of the listener (no more file descriptors, most likely) it is left alone this long.
const PAUSE: Duration = Duration::from_millis(100);

/// What one call writes: no more than one of the kernel's buffers holds.
const WRITE_BYTES: usize = 16 << 10;

/// The running threads; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    listener: Arc<UnixListener>,
    _claim: Claim,
    _running: Sender<()>,
}

impl Server {
    pub(crate) fn start(claim: Claim, listener: UnixListener, visitor: &Visitor) -> Result<Self, RunError> {
        listener.set_nonblocking(false).map_err(RunError::system("the status socket"))?;
        let listener = Arc::new(listener);
        let (running, stopped) = bounded(0);
        for number in 0..STATUS_CONNECTIONS {
            let (listener, visitor, stopped) = (Arc::clone(&listener), visitor.clone(), stopped.clone());
            thread::Builder::new()
                .name(format!("status-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || serve(&listener, &visitor, &stopped))
                .map_err(RunError::system("a thread for the status socket"))?;
        }
        Ok(Self { listener, _claim: claim, _running: running })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes the threads that wait for a connection.
        if let Err(error) = rustix::net::shutdown(&self.listener, Shutdown::Read) {
            tracing::debug!("status socket: {error}");
        }
    }
}

/// One thread: connection after connection.
fn serve(listener: &UnixListener, visitor: &Visitor, stopped: &Receiver<()>) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let deadline = clock::now() + Span::from_millis(STATUS_CONNECTION_MS);
                if let Err(error) = answer(stream, visitor, deadline) {
                    tracing::debug!("status connection: {error}");
                }
            }
            Err(error) => {
                if stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Disconnected) {
                    return;
                }
                tracing::debug!("status socket: {error}");
            }
        }
    }
}

fn answer(mut stream: UnixStream, visitor: &Visitor, deadline: Time) -> io::Result<()> {
    let response = match read_head(&mut stream, deadline)? {
        Head::Incomplete => return Ok(()),
        Head::Refused(refusal) => refusal.response(),
        Head::Question(question) => match remaining(deadline).and_then(|left| visitor.ask(question, left)) {
            Some(Answer::Status(document)) => http::ok(&serde_json::to_vec(&*document)?),
            Some(Answer::Chain(entries)) => http::ok(&serde_json::to_vec(&entries)?),
            None => Refusal::new(Status::Unavailable, "the daemon is busy; ask again").response(),
        },
    };
    write_all(&mut stream, &response, deadline)
}

/// Reads up to the head's end; `Incomplete`: the other side went away.
fn read_head(stream: &mut UnixStream, deadline: Time) -> io::Result<Head> {
    let mut bytes = [0; MAX_STATUS_REQUEST_BYTES];
    let mut filled = 0;
    loop {
        let Some(left) = remaining(deadline) else { return Ok(too_slow()) };
        stream.set_read_timeout(Some(left))?;
        match stream.read(bytes.get_mut(filled..).unwrap_or_default()) {
            Ok(0) => return Ok(Head::Incomplete),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(too_slow()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        let head = http::parse(bytes.get(..filled).unwrap_or_default());
        if head != Head::Incomplete {
            return Ok(head);
        }
    }
}

fn write_all(stream: &mut UnixStream, mut bytes: &[u8], deadline: Time) -> io::Result<()> {
    while !bytes.is_empty() {
        // What is not taken in time is cut off; the length in the head tells the other side so.
        let Some(left) = remaining(deadline) else { return Err(io::ErrorKind::TimedOut.into()) };
        stream.set_write_timeout(Some(left))?;
        // In pieces: the kernel counts the time-out anew for each buffer that it fills.
        match stream.write(bytes.get(..WRITE_BYTES).unwrap_or(bytes)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn too_slow() -> Head {
    Head::Refused(Refusal::new(
        Status::RequestTimeout,
        format!("no whole request within {STATUS_CONNECTION_MS} ms"),
    ))
}

/// Until the deadline; `None` when it has come.
fn remaining(deadline: Time) -> Option<Duration> {
    Some(clock::until(deadline, clock::now())).filter(|left| !left.is_zero())
}
