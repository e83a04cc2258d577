//! A local socket: two bounded queues of bytes, and an end of file in each direction.

use msg_proto::local::{self, ClientFrame, DaemonFrame};

/// A local socket between a client and its daemon.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// Who is at the client's end; `None` once it closed that.
    pub(super) client: Option<usize>,
    /// Which life of a client opened it.
    pub(super) life: usize,
    pub(super) to_daemon: Pipe,
    pub(super) to_client: Pipe,
    /// How many bytes of output the engine was told are written.
    pub(super) consumed: u64,
    /// Up to where its output was looked at.
    sniffed: u64,
    /// The beginning of a client's frame.
    partial: Vec<u8>,
    /// The daemon has output that did not fit.
    pub(super) is_blocked: bool,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: Vec<u8>,
    head: usize,
}

impl Pipe {
    pub(super) const fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.head > 65_536 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn front(&self, n: usize) -> &[u8] {
        &self.bytes[self.head..self.bytes.len().min(self.head + n)]
    }

    pub(super) fn consume(&mut self, n: usize) {
        self.head += n;
        if self.head == self.bytes.len() {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.head = 0;
    }
}

impl Stream {
    pub(super) fn new(client: usize, life: usize) -> Self {
        Self { client: Some(client), life, ..Self::default() }
    }

    /// Looks at what the daemon has written since the last time; `pending` is all of its output that waits.
    pub(super) fn sniff_output<E>(
        &mut self,
        pending: &[u8],
        mut each: impl FnMut(&DaemonFrame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut at = (self.sniffed.saturating_sub(self.consumed)) as usize;
        while let Some(Ok(Some((raw, len)))) = pending.get(at..).map(local::split) {
            if let Ok(frame) = DaemonFrame::parse(raw) {
                each(&frame)?;
            }
            at += len;
        }
        self.sniffed = self.consumed + at as u64;
        Ok(())
    }

    /// Looks at what the daemon is about to read.
    pub(super) fn sniff_input<E>(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(&ClientFrame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        while let Ok(Some((raw, len))) = local::split(&self.partial[at..]) {
            if let Ok(frame) = ClientFrame::parse(raw) {
                each(&frame)?;
            }
            at += len;
        }
        self.partial.drain(..at);
        Ok(())
    }
}
