//! Datagrams that come.

use std::io::{self, IoSliceMut};

use msg_proto::engine::Engine;
use quinn_udp::{RecvMeta, UdpSockRef};

use super::{BATCH, FEW, Listener, MAX_DATAGRAM_BYTES, Udp};
use crate::{
    clock,
    limits::{DATAGRAM_BYTES_PER_TURN, DATAGRAMS_PER_TURN},
};

/// Errors in a row after which a listener's turn is over.
const MAX_ERRORS: usize = 16;

/// Datagrams, or runs of them, that have so many bytes in the mean come a few at a time, to buffers that were used just before.
const LARGE: usize = 16 << 10;

impl Udp {
    /// Gives each listener that has something its turn. Returns how many datagrams came.
    pub(crate) fn receive(&mut self, engine: &mut Engine) -> usize {
        (0..self.listeners.len()).map(|index| self.receive_from(index, engine)).sum()
    }

    fn receive_from(&mut self, index: usize, engine: &mut Engine) -> usize {
        let Some(listener) = self.listeners.get_mut(index).filter(|listener| listener.readable) else {
            return 0;
        };
        let (mut count, mut total, mut errors) = (0, 0, 0);
        let goes_on = |count, total| count < DATAGRAMS_PER_TURN && total < DATAGRAM_BYTES_PER_TURN;
        while listener.readable && goes_on(count, total) && errors < MAX_ERRORS {
            let (received, asked) = match listener.many {
                true => (receive_batch::<BATCH>(listener, &mut self.buffer, &mut self.metas), BATCH),
                false => (receive_batch::<FEW>(listener, &mut self.buffer, &mut self.metas), FEW),
            };
            match received {
                Ok(filled) => {
                    let now = clock::now();
                    // Fewer than asked for: there were no more, and the next one will be an event.
                    listener.readable = filled == asked;
                    let before = total;
                    let buffers = self.buffer.chunks_exact(MAX_DATAGRAM_BYTES);
                    for (buffer, meta) in buffers.zip(&self.metas).take(filled) {
                        let bytes = buffer.get(..meta.len).unwrap_or_default();
                        // An empty datagram counts too, so that a flood of them ends the turn.
                        count += meta.len.div_ceil(meta.stride.max(1)).max(1);
                        total += meta.len;
                        if bytes.is_empty() {
                            engine.handle_datagram(now, index, meta.addr, bytes);
                        }
                        for datagram in bytes.chunks(meta.stride.max(1)) {
                            engine.handle_datagram(now, index, meta.addr, datagram);
                        }
                    }
                    listener.many = filled >= FEW && total - before < filled * LARGE;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listener.readable = false;
                    break;
                }
                Err(error) => {
                    // An earlier send's error, or one datagram's: the socket itself goes on.
                    tracing::debug!("receive from listener {index}: {error}");
                    errors += 1;
                }
            }
        }
        count
    }
}

/// One system call for `N` datagrams, or runs of them, at most: as many of `buffer` and `metas` are filled as it returns.
fn receive_batch<const N: usize>(
    listener: &Listener,
    buffer: &mut [u8],
    metas: &mut [RecvMeta],
) -> io::Result<usize> {
    let mut chunks = buffer.chunks_exact_mut(MAX_DATAGRAM_BYTES);
    let mut buffers: [_; N] = std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
    listener.state.recv(UdpSockRef::from(&listener.socket), &mut buffers, &mut metas[..N])
}
