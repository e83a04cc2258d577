//! Everything that reads bytes from outside, as functions of any bytes: what `tests/fuzz` feeds on nightly, and
//! `tests/fuzz/corpora.rs` on stable.
//!
//! Each returns quietly or panics: by itself, or because something that must hold for all bytes does not.
//!
//! * `wire`, `local`: the codecs, by themselves. `session`: a library, and a daemon that says anything.
//! * `call`: calls, above both. `files`: the config, a status request. `engine`: two daemons, and everybody else out of their mind.
//! * `seeds`: where a fuzzer starts.

mod call;
mod engine;
mod files;
mod local;
mod seeds;
mod session;
mod wire;

pub use self::{
    call::call_messages,
    engine::engine,
    files::{config, status_http},
    local::local_client_frames,
    seeds::{Seed, seeds},
    session::local_daemon_frames,
    wire::{control_bodies, wire_datagram},
};

/// An entry point: any bytes.
pub type EntryPoint = fn(&[u8]);

/// All entry points, by the name of their target and of their folder of seeds.
pub const ALL: [(&str, EntryPoint); 8] = [
    ("wire_datagram", wire_datagram),
    ("control_bodies", control_bodies),
    ("local_client_frames", local_client_frames),
    ("local_daemon_frames", local_daemon_frames),
    ("call_messages", call_messages),
    ("config", config),
    ("status_http", status_http),
    ("engine", engine),
];
