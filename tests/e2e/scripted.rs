//! A peer that does as the test says: it speaks the format between daemons by hand.

use std::{
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use msg_proto::{
    control::Hello,
    ids::{DatagramNumber, SessionId},
    limits::{HELLO_DATAGRAM_BYTES, MIN_MTU},
    units::Time,
    wire::{DatagramBuilder, Frame, Frames, HEADER_BYTES, Header, Kind, VERSIONS},
};

/// A peer whose datagrams are all written by the test.
pub(crate) struct Scripted {
    name: String,
    socket: UdpSocket,
    /// How the daemon addresses it.
    session: SessionId,
    /// How it addresses the daemon; known once the daemon said hello.
    pub(crate) theirs: SessionId,
}

impl Scripted {
    pub(crate) fn new(name: &str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
        Self { name: name.to_owned(), socket, session: SessionId(0x0123_4567), theirs: SessionId::NONE }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    /// Waits for the daemon's hello, answers it, and so establishes a session.
    pub(crate) fn establish(&mut self, daemon: SocketAddr) {
        let hello = loop {
            let datagram = self.receive().expect("a hello");
            if let Some(hello) = hello_in(&datagram) {
                assert_eq!(datagram.len(), HELLO_DATAGRAM_BYTES);
                break hello;
            }
        };
        self.theirs = hello.session;
        self.send(daemon, &self.hello(hello.session));
    }

    /// The next datagram from the daemon; `None` if none comes.
    pub(crate) fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 65_536];
        let len = self.socket.recv(&mut buffer).ok()?;
        buffer.get(..len).map(<[u8]>::to_vec)
    }

    pub(crate) fn send(&self, daemon: SocketAddr, datagram: &[u8]) {
        self.socket.send_to(datagram, daemon).expect("sent");
    }

    /// A hello from it, with that echo.
    pub(crate) fn hello(&self, echo: SessionId) -> Vec<u8> {
        hello(&self.name, self.session, echo)
    }

    /// A datagram of its session.
    pub(crate) fn frames(&self, number: u64, write: impl FnOnce(&mut DatagramBuilder<'_>)) -> Vec<u8> {
        frames(SessionId::of_session(self.theirs, self.session), number, write)
    }
}

/// A hello from a node of that name.
pub(crate) fn hello(node: &str, session: SessionId, echo: SessionId) -> Vec<u8> {
    let hello = Hello {
        node: node.to_owned(),
        session,
        echo,
        start: 1,
        clock: Time(1),
        max_message_bytes: 1 << 20,
        receive_window: 1 << 20,
    };
    let mut out = Vec::new();
    let header = header(Kind::Hello, SessionId::NONE, 0);
    let mut builder = DatagramBuilder::new(&mut out, header, HELLO_DATAGRAM_BYTES);
    assert!(builder.put_hello(&hello), "it fits");
    assert_eq!(builder.finish(), HELLO_DATAGRAM_BYTES);
    out
}

/// A datagram of a session.
pub(crate) fn frames(
    session: SessionId,
    number: u64,
    write: impl FnOnce(&mut DatagramBuilder<'_>),
) -> Vec<u8> {
    let mut out = Vec::new();
    let mut builder = DatagramBuilder::new(&mut out, header(Kind::Frames, session, number), MIN_MTU);
    write(&mut builder);
    assert!(builder.finish() <= MIN_MTU);
    out
}

/// Has a changed datagram's checksum be right again.
pub(crate) fn seal(datagram: &mut [u8]) {
    datagram[8..12].fill(0);
    let checksum = crc32c(datagram);
    datagram[8..12].copy_from_slice(&checksum.to_le_bytes());
}

fn header(kind: Kind, session: SessionId, number: u64) -> Header {
    Header { version: VERSIONS.lowest, kind, speaks: VERSIONS, session, number: DatagramNumber(number) }
}

fn hello_in(datagram: &[u8]) -> Option<Hello> {
    let (header, _) = Header::parse(datagram).ok()?;
    match Frames::new(header.kind, datagram.get(HEADER_BYTES..)?).next() {
        Some(Ok(Frame::Hello(hello))) => Some(hello),
        _ => None,
    }
}

/// CRC32C, bit by bit (RFC 3720, appendix B.4): an implementation of its own, so that the daemon's is held to another.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    })
}

#[test]
fn the_checksum_is_the_published_one() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
