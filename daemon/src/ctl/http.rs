//! Just enough HTTP/1.1 to ask a daemon for its status over a Unix socket.

use std::{
    fmt,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use msg_proto::units::{Span, Time};

use super::table::printable;
use crate::clock;

/// How long a daemon may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest answer: a status of the most clients that a daemon can have is about 10 MiB.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Header fields of an answer.
const MAX_FIELDS: usize = 32;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum HttpError {
    /// Nobody there.
    Connect(io::Error),
    /// The connection broke, or the daemon was too slow.
    Io(io::Error),
    /// What was asked for may still be done: the daemon was too slow to say.
    InDoubt,
    /// Not HTTP, cut short, or too long.
    Malformed(&'static str),
    /// Another status than 200, with the first line of what the daemon said.
    Status(u16, String),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(e) => e.fmt(f),
            Self::Io(e) if is_timeout(e) => {
                write!(f, "no answer within {} s", ANSWER_TIMEOUT.as_secs())
            }
            Self::Io(e) => e.fmt(f),
            Self::InDoubt => write!(
                f,
                "no answer within {} s; it may still do what it was asked, when it goes on",
                ANSWER_TIMEOUT.as_secs()
            ),
            Self::Malformed(what) => write!(f, "its answer is not what was expected: {what}"),
            Self::Status(code, said) => write!(f, "it answered {code}: {said}"),
        }
    }
}

/// The body that `GET target` gives.
pub(super) fn get(socket: &Path, target: &str) -> Result<Vec<u8>, HttpError> {
    ask(socket, "GET", target)
}

/// The body that `POST target` gives.
pub(super) fn post(socket: &Path, target: &str) -> Result<Vec<u8>, HttpError> {
    ask(socket, "POST", target).map_err(|error| match error {
        HttpError::Io(e) if is_timeout(&e) => HttpError::InDoubt,
        error => error,
    })
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

fn ask(socket: &Path, method: &str, target: &str) -> Result<Vec<u8>, HttpError> {
    let mut stream = UnixStream::connect(socket).map_err(HttpError::Connect)?;
    let deadline = clock::now() + Span::from(ANSWER_TIMEOUT);
    stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(HttpError::Io)?;
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: msgd\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(HttpError::Io)?;
    let mut answer = Answer { stream, bytes: Vec::new(), deadline };
    let (code, body, framing) = answer.read_head()?;
    let body = answer.read_body(body, framing)?;
    if code == 200 {
        return Ok(body);
    }
    Err(HttpError::Status(code, reason(&body)))
}

/// What an error's body says: its field `error` if it is JSON, else its first line.
fn reason(body: &[u8]) -> String {
    let json = serde_json::from_slice::<serde_json::Value>(body).ok();
    let said = match json.as_ref().and_then(|json| json.get("error")?.as_str()) {
        Some(error) => error.into(),
        None => String::from_utf8_lossy(body),
    };
    printable(said.lines().next().unwrap_or("no reason given"))
}

/// How the end of a body is known (RFC 9112, section 6.3).
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

/// What has come of an answer so far.
struct Answer {
    stream: UnixStream,
    bytes: Vec<u8>,
    deadline: Time,
}

impl Answer {
    /// Reads some more; false at the end.
    fn read_more(&mut self) -> Result<bool, HttpError> {
        let left = Duration::from(self.deadline.since(clock::now()));
        if left.is_zero() {
            return Err(HttpError::Io(io::ErrorKind::TimedOut.into()));
        }
        self.stream.set_read_timeout(Some(left)).map_err(HttpError::Io)?;
        let mut buffer = [0; 16 << 10];
        let n = loop {
            match self.stream.read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read.map_err(HttpError::Io)?,
            }
        };
        if self.bytes.len() + n > MAX_ANSWER_BYTES {
            return Err(HttpError::Malformed("it is longer than 64 MiB"));
        }
        self.bytes.extend_from_slice(&buffer[..n]);
        Ok(n > 0)
    }

    /// Reads until `done` finds what it looks for.
    fn read_until<T>(
        &mut self,
        mut done: impl FnMut(&[u8]) -> Result<Option<T>, HttpError>,
    ) -> Result<T, HttpError> {
        loop {
            if let Some(found) = done(&self.bytes)? {
                return Ok(found);
            }
            if !self.read_more()? {
                return Err(HttpError::Malformed("it ends in the middle"));
            }
        }
    }

    /// The status, where the body begins, and how it ends.
    fn read_head(&mut self) -> Result<(u16, usize, Framing), HttpError> {
        self.read_until(|bytes| {
            let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
            let mut response = httparse::Response::new(&mut fields);
            let Ok(status) = response.parse(bytes) else {
                return Err(HttpError::Malformed("it is not HTTP"));
            };
            let (httparse::Status::Complete(len), Some(code)) = (status, response.code) else {
                return Ok(None);
            };
            Ok(Some((code, len, framing(response.headers)?)))
        })
    }

    fn read_body(&mut self, begin: usize, framing: Framing) -> Result<Vec<u8>, HttpError> {
        match framing {
            Framing::Length(len) => self.read_until(|bytes| {
                let end = begin.checked_add(len).ok_or(HttpError::Malformed("its length is out of range"))?;
                Ok(bytes.get(begin..end).map(<[u8]>::to_vec))
            }),
            Framing::Chunked => {
                let (mut at, mut body) = (begin, Vec::new());
                loop {
                    let (start, len) = self.read_until(|bytes| chunk_head(bytes, at))?;
                    if len == 0 {
                        return Ok(body);
                    }
                    // The chunk, and the line end after it.
                    let end = start.checked_add(len).ok_or(HttpError::Malformed("a chunk is too long"))?;
                    at = self.read_until(|bytes| Ok((bytes.len() >= end + 2).then_some(end + 2)))?;
                    body.extend_from_slice(&self.bytes[start..end]);
                }
            }
            Framing::UntilClosed => {
                while self.read_more()? {}
                Ok(self.bytes.split_off(begin))
            }
        }
    }
}

/// Where the chunk whose size stands at `at` begins, and its length.
fn chunk_head(bytes: &[u8], at: usize) -> Result<Option<(usize, usize)>, HttpError> {
    match httparse::parse_chunk_size(bytes.get(at..).unwrap_or_default()) {
        Ok(httparse::Status::Partial) => Ok(None),
        Ok(httparse::Status::Complete((head, len))) => {
            let len = usize::try_from(len).map_err(|_| HttpError::Malformed("a chunk is too long"))?;
            Ok(Some((at + head, len)))
        }
        Err(_) => Err(HttpError::Malformed("a chunk has no size")),
    }
}

fn framing(fields: &[httparse::Header<'_>]) -> Result<Framing, HttpError> {
    let field = |name: &str| fields.iter().find(|f| f.name.eq_ignore_ascii_case(name)).map(|f| f.value);
    if field("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case(b"chunked")) {
        return Ok(Framing::Chunked);
    }
    let Some(length) = field("content-length") else { return Ok(Framing::UntilClosed) };
    let length = std::str::from_utf8(length).ok().and_then(|v| v.trim().parse().ok());
    match length {
        Some(length) if length <= MAX_ANSWER_BYTES => Ok(Framing::Length(length)),
        _ => Err(HttpError::Malformed("its length is out of range")),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, thread};

    use super::*;

    /// What `get` makes of an answer that is written in these pieces, each after the one before was read.
    fn answer(pieces: &[&'static [u8]]) -> Result<Vec<u8>, HttpError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("status.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let pieces = pieces.to_vec();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).unwrap(), 1);
                request.extend_from_slice(&byte);
            }
            for piece in pieces {
                // The client may have seen enough.
                stream.write_all(piece).ok();
                thread::yield_now();
            }
            String::from_utf8(request).unwrap()
        });
        let got = get(&path, "/v1/status");
        assert!(server.join().unwrap().starts_with("GET /v1/status HTTP/1.1\r\nHost: msgd\r\n"));
        got
    }

    #[test]
    fn a_body_with_a_length_comes_in_pieces() {
        const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 5\r\n\r\nhellomore";
        assert_eq!(answer(&[WHOLE]).unwrap(), b"hello");
        let bytes: Vec<&'static [u8]> = WHOLE.chunks(1).collect();
        assert_eq!(answer(&bytes).unwrap(), b"hello");
    }

    #[test]
    fn a_chunked_body_is_put_together_at_every_boundary() {
        const WHOLE: &[u8] =
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\n\r\n";
        for cut in 1..WHOLE.len() {
            let (a, b) = WHOLE.split_at(cut);
            assert_eq!(answer(&[a, b]).unwrap(), b"hello, world", "cut at {cut}");
        }
    }

    #[test]
    fn a_body_without_a_length_ends_with_the_connection() {
        assert_eq!(answer(&[b"HTTP/1.0 200 OK\r\n\r\n", b"to the ", b"end"]).unwrap(), b"to the end");
    }

    #[test]
    fn an_error_status_tells_the_first_line() {
        let e = answer(&[b"HTTP/1.1 404 Not Found\r\nContent-Length: 14\r\n\r\nno\x1b such page\nx"])
            .unwrap_err();
        assert_eq!(e.to_string(), "it answered 404: no\\u{1b} such page");
        let e =
            answer(&[b"HTTP/1.1 400 Bad Request\r\n\r\n{\"error\": \"client: not a number\"}"]).unwrap_err();
        assert_eq!(e.to_string(), "it answered 400: client: not a number");
        let e = answer(&[b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"]).unwrap_err();
        assert_eq!(e.to_string(), "it answered 503: no reason given");
    }

    #[test]
    fn bad_answers_are_errors() {
        let bad: [&[&'static [u8]]; 6] = [
            &[],
            &[b"SSH-2.0-OpenSSH\r\n"],
            &[b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"],
            &[b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n"],
            &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
            &[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"],
        ];
        for pieces in bad {
            // A server that goes away may be seen as a reset instead of an end.
            assert!(matches!(answer(pieces), Err(HttpError::Malformed(_) | HttpError::Io(_))), "{pieces:?}");
        }
    }

    #[test]
    fn nobody_there() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(get(&dir.path().join("status.sock"), "/"), Err(HttpError::Connect(_))));
    }
}
