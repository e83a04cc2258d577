//! The bare chain: four processes that only forward, `A -Unix-> relay -UDP-> relay -Unix-> B`. It is the limit of
//! msgd's shape: nothing is numbered, kept, acknowledged or repeated.
//!
//! * `chain-1`: one system call a message, to receive it and to send it on. Unix sockets that keep messages apart.
//! * `chain-batch`: byte streams from the clients; whatever a read gave goes on as a run of datagrams (GSO, GRO).
//!
//! One way, side B acknowledges every hundredth message, so that no more than [`WINDOW`](crate::endpoint::WINDOW) are on their way, nor more
//! than a socket's buffer holds.

use std::{
    io::{self, IoSliceMut},
    net::{SocketAddr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    process::ExitCode,
    thread,
};

use quinn_udp::{RecvMeta, Transmit, UdpSockRef, UdpSocketState};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind, connect,
        listen, recv, send, socket_with,
        sockopt::{self, Timeout},
    },
};

use crate::{
    args::ForwardArgs,
    endpoint::{Bounce, Endpoint, MOMENT, Stamp, Window, lock, word},
    party::PartyArgs,
    systems::System,
};

/// Bytes of a datagram, as on Ethernet.
const SEGMENT: usize = 1472;

/// Datagrams of a run.
const SEGMENTS: usize = 44;

/// What a stream is written and read by.
const BATCH: usize = 64 << 10;

/// What is asked of the kernel for each UDP socket; without root it grants less.
const SOCKET_BUFFER: usize = 64 << 20;

/// Side A's and side B's client, one message a system call.
pub(crate) struct One {
    socket: OwnedFd,
    window: Window,
    buffer: Vec<u8>,
}

impl One {
    pub(crate) fn open(args: &PartyArgs) -> io::Result<Self> {
        let socket = connect_to(&args.local, SocketType::SEQPACKET)?;
        Ok(Self { socket, window: Window::new(args, fits(args)?), buffer: vec![0; BATCH * 2] })
    }

    /// `None`: nothing for a moment.
    fn read(&mut self) -> Option<&[u8]> {
        let (_, len) = recv(&self.socket, &mut *self.buffer, RecvFlags::empty()).ok()?;
        self.buffer.get(..len).filter(|message| !message.is_empty())
    }
}

impl Endpoint for One {
    fn send(&mut self, message: &[u8]) -> bool {
        if self.window.is_full() {
            let acked = self.read().map(|ack| word(ack, 0));
            acked.into_iter().for_each(|acked| self.window.on_ack(acked));
            return false;
        }
        self.window.on_sent();
        send(&self.socket, message, SendFlags::NOSIGNAL).is_ok()
    }

    fn receive(&mut self, each: &mut dyn FnMut(Stamp)) {
        let Some(stamp) = self.read().map(Stamp::read) else { return };
        each(stamp);
        if let Some(ack) = self.window.on_received(1) {
            // Without it the sender stands still, and that is seen.
            send(&self.socket, &ack, SendFlags::NOSIGNAL).ok();
        }
    }

    fn echo(&mut self, bounce: &Bounce) {
        if let Some(len) = self.read().map(<[u8]>::len) {
            lock(bounce)(&mut self.buffer[..len]);
            send(&self.socket, &self.buffer[..len], SendFlags::NOSIGNAL).ok();
        }
    }
}

/// Side A's and side B's client, as many messages a system call as there are.
pub(crate) struct Batch {
    socket: OwnedFd,
    window: Window,
    size: usize,
    out: Vec<u8>,
    buffer: Vec<u8>,
    /// So much of the buffer is filled.
    filled: usize,
    /// Nothing is gathered.
    at_once: bool,
}

impl Batch {
    pub(crate) fn open(args: &PartyArgs) -> io::Result<Self> {
        Ok(Self {
            socket: connect_to(&args.local, SocketType::STREAM)?,
            window: Window::new(args, fits(args)?),
            size: args.size,
            out: Vec::new(),
            buffer: vec![0; 4 * BATCH],
            filled: 0,
            at_once: !args.work.is_a_stream(),
        })
    }

    /// Reads once, and gives each whole frame of that many bytes. Returns how many.
    fn read(&mut self, size: usize, mut each: impl FnMut(&[u8])) -> u64 {
        let Ok((_, len)) = recv(&self.socket, &mut self.buffer[self.filled..], RecvFlags::empty()) else {
            return 0;
        };
        let filled = self.filled + len;
        let whole = filled - filled % size;
        self.buffer[..whole].chunks_exact(size).for_each(&mut each);
        self.buffer.copy_within(whole..filled, 0);
        self.filled = filled - whole;
        (whole / size) as u64
    }

    fn write(&mut self) {
        // A chain that is gone takes nothing; that is seen.
        write_all(&self.socket, &self.out).ok();
        self.out.clear();
    }
}

impl Endpoint for Batch {
    fn send(&mut self, message: &[u8]) -> bool {
        if self.window.is_full() {
            self.write();
            let mut acked = 0;
            self.read(Stamp::BYTES, |ack| acked = word(ack, 0));
            self.window.on_ack(acked);
            return false;
        }
        self.out.extend_from_slice(message);
        self.window.on_sent();
        if self.at_once
            || self.out.len() + self.size > BATCH
            || self.out.len() >= self.window.quarter() * self.size
        {
            self.write();
        }
        true
    }

    fn flush(&mut self) {
        self.write();
    }

    fn receive(&mut self, each: &mut dyn FnMut(Stamp)) {
        let count = self.read(self.size, |message| each(Stamp::read(message)));
        if let Some(ack) = self.window.on_received(count) {
            write_all(&self.socket, &ack).ok();
        }
    }

    fn echo(&mut self, bounce: &Bounce) {
        let mut out = std::mem::take(&mut self.out);
        self.read(self.size, |message| {
            let begin = out.len();
            out.extend_from_slice(message);
            lock(bounce)(&mut out[begin..]);
        });
        self.out = out;
        self.write();
    }
}

/// Forwards until it is ended.
pub(crate) fn forward(args: &ForwardArgs) -> ExitCode {
    let forwarded = match args.system {
        System::ChainBatch => forward_runs(args),
        _ => forward_each(args),
    };
    match forwarded {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error {error}");
            ExitCode::FAILURE
        }
    }
}

fn forward_each(args: &ForwardArgs) -> io::Result<()> {
    let udp = udp(args.at)?.0;
    udp.connect(args.other)?;
    let client = accept_one(&args.client, SocketType::SEQPACKET)?;
    let pass = |from: &OwnedFd, to: &OwnedFd| -> Result<(), Errno> {
        let mut buffer = vec![0; BATCH];
        loop {
            match recv(from, &mut *buffer, RecvFlags::empty()) {
                Ok((_, 0)) => return Ok(()),
                Ok((_, len)) => _ = send(to, &buffer[..len], SendFlags::NOSIGNAL)?,
                // The other side's socket is not open yet.
                Err(Errno::CONNREFUSED) => {}
                Err(error) => return Err(error),
            }
        }
    };
    let udp = OwnedFd::from(udp);
    thread::scope(|scope| {
        scope.spawn(|| pass(&udp, &client));
        pass(&client, &udp)
    })?;
    Ok(())
}

fn forward_runs(args: &ForwardArgs) -> io::Result<()> {
    let udp = udp(args.at)?.0;
    let state = UdpSocketState::new(UdpSockRef::from(&udp))?;
    let segments = state.max_gso_segments().clamp(1, SEGMENTS);
    let client = accept_one(&args.client, SocketType::STREAM)?;
    let mut buffer = vec![0; 4 * BATCH];
    loop {
        let mut fds = [PollFd::new(&client, PollFlags::IN), PollFd::new(&udp, PollFlags::IN)];
        poll(&mut fds, None)?;
        let [from_client, from_udp] = [!fds[0].revents().is_empty(), !fds[1].revents().is_empty()];
        if from_client {
            match recv(&client, &mut buffer[..SEGMENT * segments], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Ok(()),
                Ok((_, len)) => send_run(&udp, &state, args.other, &buffer[..len])?,
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if from_udp {
            let mut filled = 0;
            while filled + BATCH <= buffer.len() {
                let mut metas = [RecvMeta::default()];
                let mut space = [IoSliceMut::new(&mut buffer[filled..filled + BATCH])];
                match state.recv(UdpSockRef::from(&udp), &mut space, &mut metas) {
                    Ok(_) => filled += metas[0].len,
                    Err(_) => break,
                }
            }
            write_all(&client, &buffer[..filled])?;
        }
    }
}

fn send_run(udp: &UdpSocket, state: &UdpSocketState, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    let segment_size = (bytes.len() > SEGMENT).then_some(SEGMENT);
    let run = Transmit { destination: to, ecn: None, contents: bytes, segment_size, src_ip: None };
    loop {
        match state.try_send(UdpSockRef::from(udp), &run) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(udp, PollFlags::OUT)], None)?;
            }
            sent => return sent,
        }
    }
}

/// How many messages a UDP socket's buffer holds. The kernel counts each datagram's own memory, too.
fn fits(args: &PartyArgs) -> io::Result<usize> {
    let granted = udp(SocketAddr::from(([127, 0, 0, 1], 0)))?.1;
    Ok(granted / (args.size + 1024))
}

/// A UDP socket with buffers as large as they may be, and how much it takes in.
fn udp(at: SocketAddr) -> io::Result<(UdpSocket, usize)> {
    let socket = UdpSocket::bind(at)?;
    if sockopt::set_socket_recv_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BUFFER)?;
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, SOCKET_BUFFER).is_err() {
        sockopt::set_socket_send_buffer_size(&socket, SOCKET_BUFFER)?;
    }
    let granted = sockopt::socket_recv_buffer_size(&socket)?;
    Ok((socket, granted))
}

fn unix(kind: SocketType) -> Result<OwnedFd, Errno> {
    socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
}

fn connect_to(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    let socket = unix(kind)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    sockopt::set_socket_timeout(&socket, Timeout::Recv, Some(MOMENT))?;
    sockopt::set_socket_send_buffer_size(&socket, 1 << 20)?;
    Ok(socket)
}

/// Says that it is ready, then waits for the client.
fn accept_one(path: &Path, kind: SocketType) -> io::Result<OwnedFd> {
    let listener = unix(kind)?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    listen(&listener, 1)?;
    println!("ready");
    let socket = accept(&listener)?;
    sockopt::set_socket_send_buffer_size(&socket, 1 << 20)?;
    Ok(socket)
}

fn write_all(socket: impl AsFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match send(&socket, bytes, SendFlags::NOSIGNAL) {
            Ok(len) => bytes = &bytes[len..],
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
