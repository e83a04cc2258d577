//! The listeners: UDP sockets with segmentation offload, and what goes in and out of them.

mod receive;
mod send;

pub(crate) use self::send::Sending;

use std::{io, net::SocketAddr};

use mio::{Interest, Registry, Token, net::UdpSocket};
use msg_proto::{
    engine::Transmit,
    units::{Span, Time},
};
use nix::errno::Errno;
use quinn_udp::{RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    complaint::Complaint,
    error::RunError,
    limits::{BLOCKED_SEND_US, OFFLOAD_RETRY_US, SOCKET_BUFFER_BYTES},
    service::Inherited,
    sys,
};

/// Datagrams, or runs of them, that one system call brings at most...
const BATCH: usize = 16;

/// ... and where few come: for each that is asked for, some 300 bytes are made ready. With two, one that comes alone is known to.
const FEW: usize = 2;

/// The most that one datagram, or a run of them that the kernel put together, can hold.
const MAX_DATAGRAM_BYTES: usize = 64 << 10;

/// All listeners of the daemon.
#[derive(Debug)]
pub(crate) struct Udp {
    listeners: Vec<Listener>,
    /// `BATCH` buffers in a row, reused for every receive.
    buffer: Vec<u8>,
    /// What came in each.
    metas: [RecvMeta; BATCH],
    /// What is being sent.
    out: Vec<u8>,
    /// What stands in `out` because its listener would have blocked.
    held: Option<Transmit>,
    mtu: usize,
    send_errors: u64,
    complaint: Complaint,
}

#[derive(Debug)]
struct Listener {
    socket: UdpSocket,
    state: UdpSocketState,
    token: Token,
    /// Something may be there to receive: set by an event, cleared by "would block".
    readable: bool,
    /// Several came the last time.
    many: bool,
    /// Since when it takes nothing.
    blocked: Option<Time>,
    /// Datagrams in one system call when it was bound.
    segments: usize,
    /// Since when it takes only one.
    no_offload: Option<Time>,
    receive_buffer: usize,
    send_buffer: usize,
}

impl Udp {
    /// Opens the listeners, all or none: what the service manager holds is taken, the others are bound.
    pub(crate) fn open(
        addresses: &[SocketAddr],
        inherited: &mut Inherited,
        mtu: usize,
    ) -> Result<Self, RunError> {
        let is_by_hand = inherited.is_empty();
        let listeners = addresses.iter().enumerate().map(|(index, &address)| {
            let opened = match inherited.take_udp(address) {
                Some(socket) => Listener::new(socket.into(), Token(index)),
                None => Listener::bind(address, Token(index)),
            };
            opened.map_err(|error| {
                // The unit leaves the daemon no other sockets than those that it is given.
                if !is_by_hand && error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32) {
                    return RunError::NotHeld { address };
                }
                let mut held = inherited.udp_addresses().into_iter();
                RunError::Listen { address, error, held: held.find(|held| held.port() == address.port()) }
            })
        });
        Ok(Self {
            listeners: listeners.collect::<Result<_, _>>()?,
            buffer: vec![0; BATCH * MAX_DATAGRAM_BYTES],
            metas: [RecvMeta::default(); BATCH],
            out: Vec::with_capacity(MAX_DATAGRAM_BYTES),
            held: None,
            mtu,
            send_errors: 0,
            complaint: Complaint::default(),
        })
    }

    /// Registers listener `k` for the token `base + k`.
    pub(crate) fn register(&mut self, registry: &Registry, base: usize) -> io::Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            listener.token = Token(base + index);
            registry.register(&mut listener.socket, listener.token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// An event of listener `index` has come.
    pub(crate) fn on_event(
        &mut self,
        registry: &Registry,
        index: usize,
        event: &mio::event::Event,
    ) -> io::Result<()> {
        let Some(listener) = self.listeners.get_mut(index) else { return Ok(()) };
        listener.readable |= event.is_readable() || event.is_error();
        if event.is_writable() && listener.blocked.take().is_some() {
            registry.reregister(&mut listener.socket, listener.token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Whether a listener has more to give than its turn allowed.
    pub(crate) fn is_readable(&self) -> bool {
        self.listeners.iter().any(|listener| listener.readable)
    }

    /// When to call [`transmit`](Self::transmit) again, if its listener stays blocked.
    pub(crate) fn blocked_until(&self) -> Option<Time> {
        let held = self.held?;
        let since = self.listeners.get(held.listener)?.blocked?;
        (self.listeners.len() > 1).then_some(since + Span(BLOCKED_SEND_US))
    }

    /// Whether something waits to be sent.
    pub(crate) fn is_blocked(&self) -> bool {
        self.held.is_some()
    }

    /// Datagrams that the system would not send. They are lost, as any datagram may be.
    pub(crate) fn send_errors(&self) -> u64 {
        self.send_errors
    }

    /// Payload that each listener's receive buffer holds.
    pub(crate) fn receive_window(&self) -> u32 {
        let smallest = self.listeners.iter().map(|listener| listener.receive_buffer).min();
        smallest.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(u32::MAX)
    }

    /// Where the listeners are bound.
    pub(crate) fn local_addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(|listener| listener.socket.local_addr()).collect()
    }

    /// Says so if the kernel granted less than was asked for.
    pub(crate) fn log_buffers(&self) {
        let granted = self.receive_window();
        if (granted as usize) < SOCKET_BUFFER_BYTES {
            tracing::info!(
                "receive buffers hold {granted} bytes, not {SOCKET_BUFFER_BYTES}: raise net.core.rmem_max, \
                 or give the daemon CAP_NET_ADMIN, for more throughput over long paths"
            );
        }
        let granted = self.listeners.iter().map(|listener| listener.send_buffer).min().unwrap_or(usize::MAX);
        if granted < SOCKET_BUFFER_BYTES {
            tracing::info!(
                "send buffers hold {granted} bytes, not {SOCKET_BUFFER_BYTES}: raise net.core.wmem_max, \
                 or give the daemon CAP_NET_ADMIN, for fewer pauses in bursts"
            );
        }
    }
}

impl Listener {
    fn bind(address: SocketAddr, token: Token) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            // So that [::]:7400 and 0.0.0.0:7400 can be had side by side.
            socket.set_only_v6(true)?;
        }
        // No SO_REUSEADDR: for UDP it would let a second daemon take half of the datagrams.
        socket.bind(&address.into())?;
        Self::new(socket, token)
    }

    /// A listener over a socket that is bound.
    fn new(socket: Socket, token: Token) -> io::Result<Self> {
        let receive_buffer = sys::set_receive_buffer(&socket, SOCKET_BUFFER_BYTES)?;
        let send_buffer = sys::set_send_buffer(&socket, SOCKET_BUFFER_BYTES)?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket.into());
        let state = new_state(&socket)?;
        let segments = state.max_gso_segments();
        Ok(Self {
            socket,
            state,
            token,
            readable: false,
            many: false,
            blocked: None,
            segments,
            no_offload: None,
            receive_buffer,
            send_buffer,
        })
    }

    /// Tries segmentation offload again, some time after the system refused it.
    fn retry_offload(&mut self, now: Time) {
        if self.state.max_gso_segments() == self.segments {
            return;
        }
        let since = *self.no_offload.get_or_insert(now);
        if now.since(since) >= Span(OFFLOAD_RETRY_US) {
            self.no_offload = None;
            if let Ok(state) = new_state(&self.socket) {
                self.state = state;
            }
        }
    }
}

/// What `quinn-udp` knows of a socket, and has it do.
fn new_state(socket: &UdpSocket) -> io::Result<UdpSocketState> {
    let state = UdpSocketState::new(UdpSockRef::from(socket))?;
    sys::forgo_ancillary_data(socket, socket.local_addr()?.is_ipv6());
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_comes_with_nothing_that_nobody_looks_at() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = match Listener::bind(address.parse().expect("an address"), Token(0)) {
                Ok(listener) => listener,
                // A machine without IPv6.
                Err(error) if error.raw_os_error() == Some(Errno::EADDRNOTAVAIL as i32) => continue,
                Err(error) => panic!("{address}: {error}"),
            };
            let to = listener.socket.local_addr().expect("bound");
            listener.socket.send_to(b"a datagram", to).expect("sent");
            let mut buffer = [0; 64];
            let mut metas = [RecvMeta::default()];
            let mut buffers = [io::IoSliceMut::new(&mut buffer)];
            let came = listener.state.recv(UdpSockRef::from(&listener.socket), &mut buffers, &mut metas);
            assert_eq!((came.expect("it is there"), metas[0].len, metas[0].addr), (1, 10, to));
            let beside = (metas[0].ecn, metas[0].dst_ip, metas[0].interface_index, metas[0].timestamp);
            assert_eq!(beside, (None, None, None, None), "{address}");
        }
    }
}
