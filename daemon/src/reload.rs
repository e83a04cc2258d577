//! A config that is reread while the daemon runs. A thread of its own reads it: files and directories of users can be
//! slow. The loop takes what is right, or stays as it is.

use std::{
    io::{self, Read as _},
    os::unix::net::UnixStream,
    sync::Arc,
    thread,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;
use signal_hook::{consts::SIGHUP, low_level::pipe};

use crate::{
    clock,
    config::{Args, Config, ConfigError},
    log,
    run::{Daemon, raise_open_files},
    service,
};

type Reread = Result<Config, ConfigError>;

/// What has been reread.
#[derive(Debug)]
pub(crate) struct Reloads(Receiver<Reread>);

impl Reloads {
    /// Rereads what `args` name, each time SIGHUP comes. From then on it no longer ends the process.
    pub(crate) fn on_hangup(args: Args, waker: Arc<Waker>) -> io::Result<Self> {
        let (writer, reader) = UnixStream::pair()?;
        writer.set_nonblocking(true)?;
        pipe::register(SIGHUP, writer)?;
        let (sender, receiver) = bounded(1);
        thread::Builder::new()
            .name("reload".to_owned())
            .spawn(move || reread(reader, &args, &waker, &sender))?;
        Ok(Self(receiver))
    }
}

/// Ends with the daemon.
fn reread(mut signals: UnixStream, args: &Args, waker: &Waker, out: &Sender<Reread>) {
    // However many signals came meanwhile, the newest file is the one that counts.
    while signals.read(&mut [0; 64]).is_ok_and(|count| count > 0) {
        if out.send(Config::load(args)).is_err() || waker.wake().is_err() {
            return;
        }
    }
}

impl Daemon {
    /// Takes a config that was reread, if there is one.
    pub(crate) fn take_reload(&mut self) {
        let Some(reread) = self.reloads.as_ref().and_then(|reloads| reloads.0.try_recv().ok()) else {
            return;
        };
        service::reloading();
        let outcome = reread.and_then(|new| self.config.check_reload(&new).map(|()| new));
        match outcome {
            Ok(new) => {
                self.reload(new);
                self.desk.record_reload(None);
            }
            Err(error) => {
                tracing::error!(reason = "config", "not reloaded: {error}");
                service::ready(&format!("{}; not reloaded: {error}", self.config));
                self.desk.record_reload(Some(error.to_string()));
            }
        }
    }

    fn reload(&mut self, new: Config) {
        self.engine.handle_reload(clock::now(), new.engine_reload());
        self.spin = new.spin();
        log::set_level(new.log_level());
        if new.limits().max_clients > self.config.limits().max_clients {
            raise_open_files(&new);
        }
        tracing::info!("reloaded: {new}");
        new.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
        service::ready(&new.to_string());
        self.config = new;
    }
}
