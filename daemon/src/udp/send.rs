//! Datagrams that go.

use std::{
    io::{self, IoSlice},
    mem,
};

use mio::{Interest, Registry};
use msg_proto::{
    engine::{Engine, MAX_PARTS, Transmit},
    units::{Span, Time},
};
use nix::errno::Errno;
use quinn_udp::UdpSockRef;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg_addr};

use super::{Listener, MAX_DATAGRAM_BYTES, Udp};
use crate::{
    clock,
    limits::{BLOCKED_SEND_US, TRANSMITS_PER_TURN},
};

/// How far a turn's sending went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sending {
    /// The engine has nothing more.
    Drained,
    /// The turn is over, or a listener is blocked: the engine may have more.
    Unfinished,
}

impl Udp {
    /// Sends what the engine has, as far as a turn goes. `now` is later afterwards, if anything was sent.
    pub(crate) fn transmit(
        &mut self,
        registry: &Registry,
        now: &mut Time,
        engine: &mut Engine,
    ) -> io::Result<Sending> {
        self.listeners.iter_mut().for_each(|listener| listener.retry_offload(*now));
        for _ in 0..TRANSMITS_PER_TURN {
            match self.transmit_once(registry, *now, engine)? {
                Some(Sending::Drained) => *now = clock::now(),
                Some(Sending::Unfinished) => return Ok(Sending::Unfinished),
                None => return Ok(Sending::Drained),
            }
        }
        Ok(Sending::Unfinished)
    }

    /// Sends what goes at a time; `None`: there is nothing.
    pub(crate) fn transmit_once(
        &mut self,
        registry: &Registry,
        now: Time,
        engine: &mut Engine,
    ) -> io::Result<Option<Sending>> {
        let transmit = match self.held.take() {
            Some(held) => held,
            None => {
                self.out.clear();
                let max_datagrams = self.max_datagrams();
                match engine.poll_transmit_parts(now, &mut self.out, max_datagrams) {
                    Some(transmit) => transmit,
                    None => return Ok(None),
                }
            }
        };
        let mut out = mem::take(&mut self.out);
        let sending = if out.len() == transmit.len {
            self.send(registry, now, transmit, &[IoSlice::new(&out)])?
        } else {
            let mut slices = [IoSlice::new(&[]); MAX_PARTS];
            let parts = slices.iter_mut().zip(engine.parts(&out));
            let count = parts.map(|(slice, part)| *slice = IoSlice::new(part)).count();
            let parts = slices.get(..count).unwrap_or_default();
            let sending = self.send(registry, now, transmit, parts)?;
            if sending == Sending::Unfinished {
                // It goes when the engine has gone on, and may have let go of some of it.
                out = parts.iter().flat_map(|part| part.iter().copied()).collect();
            }
            sending
        };
        self.out = out;
        self.held = (sending == Sending::Unfinished).then_some(transmit);
        Ok(Some(sending))
    }

    /// Sends or loses a transmit; `Unfinished`: it must be held.
    fn send(
        &mut self,
        registry: &Registry,
        now: Time,
        transmit: Transmit,
        parts: &[IoSlice<'_>],
    ) -> io::Result<Sending> {
        let alone = self.listeners.len() == 1;
        let Some(listener) = self.listeners.get_mut(transmit.listener) else {
            debug_assert!(false, "the engine knows how many listeners there are");
            return Ok(Sending::Drained);
        };
        if let Some(since) = listener.blocked {
            // Other listeners may be fine: one that is stuck must not hold them up for long.
            if alone || now.since(since) < Span(BLOCKED_SEND_US) {
                return Ok(Sending::Unfinished);
            }
            self.send_errors += datagrams(transmit);
            return Ok(Sending::Drained);
        }
        match send_all(listener, transmit, parts) {
            Ok(()) => Ok(Sending::Drained),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                listener.blocked = Some(now);
                // Asked for only now: otherwise each datagram that leaves the buffer would wake the loop.
                let interest = Interest::READABLE | Interest::WRITABLE;
                registry.reregister(&mut listener.socket, listener.token, interest)?;
                Ok(Sending::Unfinished)
            }
            // Larger than the interface: a probe of the path's size that has its answer (RFC 8899), or what the
            // engine will soon make smaller.
            Err(error) if error.raw_os_error() == Some(Errno::EMSGSIZE as i32) => Ok(Sending::Drained),
            Err(error) => {
                self.send_errors += datagrams(transmit);
                if let Some(suppressed) = self.complaint.due(now) {
                    tracing::warn!(
                        reason = %error,
                        "cannot send to {}: {error} ({suppressed} more since the last time)",
                        transmit.to
                    );
                }
                Ok(Sending::Drained)
            }
        }
    }

    /// How many datagrams every listener sends with one system call.
    fn max_datagrams(&self) -> usize {
        let segments = self.listeners.iter().map(|listener| listener.state.max_gso_segments()).min();
        // The whole run must fit one IP packet, as far as the kernel's bookkeeping goes: 65535 less headers.
        segments.unwrap_or(1).min((MAX_DATAGRAM_BYTES - 512) / self.mtu).max(1)
    }
}

fn send_all(listener: &Listener, transmit: Transmit, parts: &[IoSlice<'_>]) -> io::Result<()> {
    let contents = match parts {
        [contents] => contents,
        _ => return send_parts(listener, transmit, parts),
    };
    let several = transmit.len > transmit.segment;
    let result = send_one(listener, transmit, contents, several.then_some(transmit.segment));
    match result {
        // The path has no segmentation offload. The socket remembers that; this run is cut here.
        Err(error)
            if several
                && error.kind() != io::ErrorKind::WouldBlock
                && listener.state.max_gso_segments() == 1 =>
        {
            for datagram in contents.chunks(transmit.segment.max(1)) {
                match send_one(listener, transmit, datagram, None) {
                    // Half of the run has gone: the rest is lost, rather than all of it sent twice.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    result => result?,
                }
            }
            Ok(())
        }
        result => result,
    }
}

fn send_one(
    listener: &Listener,
    transmit: Transmit,
    contents: &[u8],
    segment_size: Option<usize>,
) -> io::Result<()> {
    if segment_size.is_none() {
        // Nothing goes with it that would have to be said in ancillary data.
        return listener.socket.send_to(contents, transmit.to).map(|_| ());
    }
    let transmit =
        quinn_udp::Transmit { destination: transmit.to, ecn: None, contents, segment_size, src_ip: None };
    listener.state.try_send(UdpSockRef::from(&listener.socket), &transmit)
}

/// One datagram.
fn send_parts(listener: &Listener, transmit: Transmit, parts: &[IoSlice<'_>]) -> io::Result<()> {
    let (nothing, flags) = (&mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL);
    Ok(sendmsg_addr(&listener.socket, &transmit.to, parts, nothing, flags).map(|_| ())?)
}

fn datagrams(transmit: Transmit) -> u64 {
    transmit.len.div_ceil(transmit.segment.max(1)) as u64
}
