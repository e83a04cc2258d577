//! msgd: the messaging daemon of a VM.
//!
//! The protocol is [`msg_proto`]'s; this crate drives it.
//!
//! * [`program`]: the program `msgd`. [`mod@run`]: a daemon, from start to stop; [`stop`] ends it. `turn`: one turn of its
//!   loop, the only thread that touches messages. `reload`: another config while it runs.
//! * `udp`, `clients`, `acceptor`, `socket_path`: its sockets. [`status`]: observers, on threads of their own.
//! * `service`: the service manager, which is told how the daemon is, and may hold its sockets.
//! * [`ctl`]: the program `msgctl`. [`relay`]: the bad network of its demo and of the tests.
//! * [`config`], [`limits`], [`clock`], [`log`], [`error`]; `sys`: questions to the system.

mod acceptor;
mod alarm;
mod clients;
pub mod clock;
mod complaint;
pub mod config;
pub mod ctl;
pub mod error;
pub mod limits;
mod links;
pub mod log;
pub mod program;
pub mod relay;
mod reload;
pub mod run;
mod service;
mod socket_path;
pub mod status;
pub mod stop;
mod sys;
mod turn;
mod udp;

pub use crate::{
    config::{Args, Config, ConfigError},
    error::RunError,
    program::run,
    run::Daemon,
    service::Inherited,
};
