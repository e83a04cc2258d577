//! msgd: the messaging daemon of a VM.
//!
//! The protocol is [`msg_proto`]'s; this crate drives it: [`config`], [`limits`], [`clock`].

pub mod clock;
pub mod config;
pub mod limits;
mod sys;

pub use crate::config::{Args, Config, ConfigError};
