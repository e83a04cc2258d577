//! Telling a running daemon to stop: one end writes a byte or goes away, the other is polled.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    low_level::pipe,
};

/// Stops a daemon, also when it is dropped.
#[derive(Debug)]
pub struct Stopper(UnixStream);

/// What a daemon polls to learn that it is to stop.
#[derive(Debug)]
pub struct StopSignal {
    pub(crate) stream: UnixStream,
    /// Keeps the writing end of signals open: its going away would be the signal.
    pub(crate) signals: Option<UnixStream>,
}

impl Stopper {
    /// Stops the daemon; it says goodbye first.
    pub fn stop(mut self) {
        // A write that fails finds a daemon that has stopped.
        if self.0.write(&[1]).is_err() {}
    }
}

/// A stopper and its signal.
///
/// # Errors
///
/// No more file descriptors.
pub fn channel() -> io::Result<(Stopper, StopSignal)> {
    let (stopper, stream) = pair()?;
    Ok((Stopper(stopper), StopSignal { stream, signals: None }))
}

/// A signal that comes with SIGTERM or SIGINT. From then on these no longer end the process.
///
/// # Errors
///
/// No more file descriptors.
pub fn on_signals() -> io::Result<StopSignal> {
    let (writer, stream) = pair()?;
    for signal in [SIGTERM, SIGINT] {
        pipe::register(signal, writer.try_clone()?)?;
    }
    Ok(StopSignal { stream, signals: Some(writer) })
}

fn pair() -> io::Result<(UnixStream, UnixStream)> {
    let (writer, reader) = UnixStream::pair()?;
    writer.set_nonblocking(true)?;
    reader.set_nonblocking(true)?;
    Ok((writer, reader))
}
