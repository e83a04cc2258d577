//! NATS, through its text protocol: subjects `ab` and `ba`, writes of up to 64 KiB.
//!
//! NATS drops a subscriber that is slow, so side B acknowledges every hundredth message, as in the bare chain.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    thread,
    time::Duration,
};

use crate::{
    endpoint::{Bounce, Endpoint, MOMENT, Stamp, WINDOW, Window, lock, word},
    party::{PartyArgs, Side},
};

pub(crate) struct Nats {
    stream: TcpStream,
    subject: &'static str,
    window: Window,
    at_once: bool,
    size: usize,
    out: Vec<u8>,
    buffer: Vec<u8>,
    /// So much of the buffer is filled.
    filled: usize,
}

/// What a server says.
enum Said<'a> {
    Message(&'a [u8]),
    Ping,
    Other,
}

impl Nats {
    pub(crate) fn open(args: &PartyArgs) -> io::Result<Self> {
        let address = args.local.to_string_lossy().into_owned();
        let stream = (0..100).find_map(|_| {
            thread::park_timeout(Duration::from_millis(50));
            TcpStream::connect(&address).ok()
        });
        let stream = stream.ok_or(io::ErrorKind::ConnectionRefused)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(MOMENT))?;
        let (subject, own) = match args.side {
            Side::A => ("ab", "ba"),
            Side::B => ("ba", "ab"),
        };
        let mut nats = Self {
            stream,
            subject,
            window: Window::new(args, WINDOW),
            at_once: !args.work.is_a_stream(),
            size: args.size,
            out: Vec::new(),
            buffer: vec![0; 256 << 10],
            filled: 0,
        };
        write!(nats.stream, "CONNECT {{\"verbose\":false}}\r\nSUB {own} 1\r\nPING\r\n")?;
        // The server's INFO, and the PONG that says that it knows the subscription.
        for _ in 0..100 {
            let mut said = Vec::new();
            nats.read(|what| said.push(matches!(what, Said::Other)))?;
            if nats.filled == 0 && !said.is_empty() {
                break;
            }
        }
        Ok(nats)
    }

    fn put(&mut self, message: &[u8]) {
        write!(self.out, "PUB {} {}\r\n", self.subject, message.len()).expect("a Vec takes everything");
        self.out.extend_from_slice(message);
        self.out.extend_from_slice(b"\r\n");
    }

    fn write(&mut self) {
        // A server that is gone takes nothing; that is seen.
        self.stream.write_all(&self.out).ok();
        self.out.clear();
    }

    /// Reads once, and gives what is whole.
    fn read(&mut self, mut each: impl FnMut(Said<'_>)) -> io::Result<()> {
        let len = match self.stream.read(&mut self.buffer[self.filled..]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            read => read?,
        };
        self.filled += len;
        let mut rest = &self.buffer[..self.filled];
        while let Some((said, after)) = parse(rest) {
            each(said);
            rest = after;
        }
        let left = rest.len();
        self.buffer.copy_within(self.filled - left..self.filled, 0);
        self.filled = left;
        Ok(())
    }

    /// Reads once, gives each message, and answers the server.
    fn take(&mut self, mut each: impl FnMut(&[u8])) {
        let mut pinged = false;
        // A server that is gone says nothing; that is seen.
        self.read(|said| match said {
            Said::Message(message) => each(message),
            Said::Ping => pinged = true,
            Said::Other => {}
        })
        .ok();
        if pinged {
            self.out.extend_from_slice(b"PONG\r\n");
            self.write();
        }
    }
}

/// The first thing said, if it is whole, and what follows it.
fn parse(bytes: &[u8]) -> Option<(Said<'_>, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = (&bytes[..end], &bytes[end + 2..]);
    if line.starts_with(b"MSG ") {
        let len = line.rsplit(|byte| *byte == b' ').next()?;
        let len: usize = std::str::from_utf8(len).ok()?.parse().ok()?;
        let message = rest.get(..len)?;
        return Some((Said::Message(message), rest.get(len + 2..)?));
    }
    Some((if line == b"PING" { Said::Ping } else { Said::Other }, rest))
}

impl Endpoint for Nats {
    fn send(&mut self, message: &[u8]) -> bool {
        if self.window.is_full() {
            self.write();
            let mut acked = 0;
            self.take(|ack| acked = word(ack, 0));
            self.window.on_ack(acked);
            return false;
        }
        self.put(message);
        self.window.on_sent();
        if self.at_once || self.out.len() > BATCH || self.out.len() >= self.window.quarter() * self.size {
            self.write();
        }
        true
    }

    fn flush(&mut self) {
        self.write();
    }

    fn receive(&mut self, each: &mut dyn FnMut(Stamp)) {
        let mut count = 0;
        self.take(|message| {
            count += 1;
            each(Stamp::read(message));
        });
        if let Some(ack) = self.window.on_received(count) {
            self.put(&ack);
            self.write();
        }
    }

    fn echo(&mut self, bounce: &Bounce) {
        let mut messages = Vec::new();
        self.take(|message| messages.push(message.to_vec()));
        for mut message in messages {
            lock(bounce)(&mut message);
            self.put(&message);
        }
        self.write();
    }
}

const BATCH: usize = 64 << 10;
