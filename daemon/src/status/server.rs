//! The threads that serve the status socket: each takes one connection at a time, and not for long.

use std::{
    io::{self, Read as _, Write as _},
    os::unix::net::{UnixListener, UnixStream},
    sync::Arc,
    thread,
    time::Duration,
};

use msg_proto::units::{Span, Time};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use super::{
    bridge::{Answer, Question, Visitor},
    http::{self, Head, Refusal, Status},
};
use crate::{
    clock,
    error::RunError,
    limits::{MAX_STATUS_REQUEST_BYTES, STATUS_CONNECTION_MS, STATUS_CONNECTIONS, STATUS_HEAD_MS},
    socket_path::Claim,
};

/// Enough for a request's head, its headers and a JSON writer.
const STACK_BYTES: usize = 256 << 10;

/// After an error of the listener (no more file descriptors, most likely) it is left alone this long.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What one call writes: no more than one of the kernel's buffers holds.
const WRITE_BYTES: usize = 16 << 10;

/// The running threads; they end when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    _claim: Option<Claim>,
    /// Its end is that of the threads.
    _running: UnixStream,
}

impl Server {
    /// `listener` must not block: threads that wait for the same connection get it or go on waiting.
    pub(crate) fn start(
        claim: Option<Claim>,
        listener: UnixListener,
        visitor: &Visitor,
    ) -> Result<Self, RunError> {
        let (running, stopped) = UnixStream::pair().map_err(RunError::system("the status socket"))?;
        let shared = Arc::new((listener, stopped));
        for number in 0..STATUS_CONNECTIONS {
            let (shared, visitor) = (Arc::clone(&shared), visitor.clone());
            thread::Builder::new()
                .name(format!("status-{number}"))
                .stack_size(STACK_BYTES)
                .spawn(move || serve(&shared.0, &visitor, &shared.1))
                .map_err(RunError::system("a thread for the status socket"))?;
        }
        Ok(Self { _claim: claim, _running: running })
    }
}

/// One thread: connection after connection. The listener itself is never shut down, as that would wake its threads but
/// also end the service manager's copy of it.
fn serve(listener: &UnixListener, visitor: &Visitor, stopped: &UnixStream) {
    loop {
        let mut ready = [PollFd::new(stopped, PollFlags::IN), PollFd::new(listener, PollFlags::IN)];
        let polled = poll(&mut ready, None);
        let is_stopped = ready.first().is_some_and(|stopped| !stopped.revents().is_empty());
        let outcome = match polled {
            _ if is_stopped => return,
            Ok(_) => listener.accept(),
            Err(error) => Err(error.into()),
        };
        match outcome {
            Ok((stream, _)) => {
                if let Err(error) = answer(stream, visitor, clock::now()) {
                    tracing::debug!("status connection: {error}");
                }
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                tracing::debug!("status socket: {error}");
                if poll(&mut [PollFd::new(stopped, PollFlags::IN)], Some(&PAUSE)) != Ok(0) {
                    return;
                }
            }
        }
    }
}

/// Another thread was faster, a signal came, or the other side has gone already.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, Interrupted, WouldBlock};
    matches!(error.kind(), WouldBlock | Interrupted | ConnectionAborted)
}

fn answer(mut stream: UnixStream, visitor: &Visitor, start: Time) -> io::Result<()> {
    let deadline = start + Span::from_millis(STATUS_CONNECTION_MS);
    let asked_by = start + Span::from_millis(STATUS_HEAD_MS);
    let response = match read_head(&mut stream, asked_by)? {
        Head::Incomplete => return Ok(()),
        Head::Refused(refusal) => refusal.response(),
        Head::Question(Question::Drain { .. }) if !may_drain(&stream) => Refusal::new(
            Status::Forbidden,
            "only root and the user that msgd runs as may drain; run msgctl as one of them",
        )
        .response(),
        Head::Question(question) => match remaining(asked_by).and_then(|left| visitor.ask(question, left)) {
            Some(Answer::Status(document)) => http::ok(&serde_json::to_vec(&*document)?),
            Some(Answer::Chain(entries)) => http::ok(&serde_json::to_vec(&entries)?),
            Some(Answer::Drain(asked)) => http::ok(&serde_json::to_vec(&json!({ "asked": asked }))?),
            None => Refusal::new(Status::Unavailable, "the daemon is busy; ask again").response(),
        },
    };
    write_all(&mut stream, &response, deadline)
}

/// Whether who asks is root, or the user that the daemon runs as.
fn may_drain(stream: &UnixStream) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    peer.is_ok_and(|peer| peer.uid.is_root() || peer.uid == rustix::process::geteuid())
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
        format!("no whole request within {STATUS_HEAD_MS} ms"),
    ))
}

/// Until the deadline; `None` when it has come.
fn remaining(deadline: Time) -> Option<Duration> {
    Some(clock::until(deadline, clock::now())).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mio::{Poll, Token, Waker};

    use super::*;
    use crate::status::bridge;

    struct Fixture {
        dir: tempfile::TempDir,
        server: Option<Server>,
        /// Nobody sits at it: what is asked is not answered.
        _desk: crate::status::Desk,
        _poll: Poll,
    }

    impl Fixture {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let (claim, listener) = Claim::bind(&dir.path().join("s")).expect("a socket");
            let poll = Poll::new().expect("epoll");
            let waker = Waker::new(poll.registry(), Token(0)).expect("eventfd");
            let (visitor, desk) = bridge(Arc::new(waker), clock::now());
            let server = Server::start(Some(claim), listener, &visitor).expect("threads");
            Self { dir, server: Some(server), _desk: desk, _poll: poll }
        }

        fn path(&self) -> std::path::PathBuf {
            self.dir.path().join("s")
        }
    }

    fn connect(path: &Path) -> UnixStream {
        let stream = UnixStream::connect(path).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        stream
    }

    fn ask(path: &Path, request: &[u8]) -> String {
        let mut stream = connect(path);
        stream.write_all(request).expect("written");
        read(&mut stream)
    }

    /// What comes until the other side closes, be it with what was sent unread.
    fn read(stream: &mut UnixStream) -> String {
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => String::from_utf8(answer).expect("text"),
        }
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let fixture = Fixture::new();
        for (request, status, body) in [
            (
                &b"?\r\n\r\n"[..],
                "400 Bad Request",
                "{\"error\":\"not an HTTP/1.1 request: invalid token\"}\n",
            ),
            (
                b"GET /metrics HTTP/1.1\r\n\r\n",
                "404 Not Found",
                "there are /v1/status, /v1/chain, /v1/drain\"}\n",
            ),
            (b"PUT /v1/chain HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "{\"error\":\"allowed: GET\"}\n"),
            (&[b'x'; MAX_STATUS_REQUEST_BYTES + 9], "400 Bad Request", "longer than 8192 bytes\"}\n"),
        ] {
            let answer = ask(&fixture.path(), request);
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{answer}");
            assert!(answer.ends_with(body), "{answer}");
        }
    }

    #[test]
    fn a_loop_that_does_not_answer_is_said_to_be_busy() {
        let fixture = Fixture::new();
        let answer = ask(&fixture.path(), b"GET /v1/status HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }

    #[test]
    fn slow_clients_are_refused_in_time_and_hold_nobody_up_for_longer() {
        let fixture = Fixture::new();
        let start = clock::now();
        let mut slow: Vec<UnixStream> = (0..STATUS_CONNECTIONS).map(|_| connect(&fixture.path())).collect();
        for stream in &mut slow {
            stream.write_all(b"G").expect("written");
        }
        let answer = ask(&fixture.path(), b"GET / HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
        assert!(clock::now().since(start) < Span::from_millis(STATUS_CONNECTION_MS + 1_000));
        for stream in &mut slow {
            let answer = read(stream);
            assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        }
    }

    #[test]
    fn a_byte_now_and_then_gains_no_time() {
        let fixture = Fixture::new();
        let start = clock::now();
        let mut stream = connect(&fixture.path());
        stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a time-out");
        let answer = loop {
            let written = stream.write(b"G");
            let mut answer = [0; 1024];
            match stream.read(&mut answer) {
                Ok(count) => {
                    break String::from_utf8_lossy(answer.get(..count).unwrap_or_default()).into_owned();
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "{written:?}"),
            }
        };
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(clock::now().since(start) < Span::from_millis(STATUS_CONNECTION_MS + 1_000));
    }

    #[test]
    fn a_server_that_is_dropped_leaves_no_socket_and_no_listener() {
        let mut fixture = Fixture::new();
        fixture.server = None;
        assert!(!fixture.path().exists());
    }
}
