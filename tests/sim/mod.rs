//! A whole world of daemons and clients, decided by one number.
//!
//! The same `Engine` and `Session` that the daemon and the library run, scripted clients, and a virtual network,
//! driven by virtual time. `README.md` says how to use it.
//!
//! * [`rng`], [`scenario`], [`options`]: what a seed means.
//! * [`world`]: time and events; `turns`, `process`: what daemons and clients do in their turn; `script`: what clients
//!   send; [`calls`]: how they call; `faults`: what happens to them.
//! * `clock`, `network`, `stream`, `node`, `client`: the parts.
//! * [`check`]: the promise as code, apart from the world: it is only told what happens.
//! * [`run`]: one seed from beginning to end; [`shrink`]: the smallest scenario that still fails.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the simulator's numbers are small, and it runs where usize has 64 bits"
)]

pub mod calls;
pub mod check;
mod client;
mod clock;
mod faults;
mod network;
mod node;
pub mod options;
mod process;
pub mod rng;
pub mod run;
pub mod scenario;
mod script;
pub mod shrink;
pub mod stats;
mod stream;
mod turns;
pub mod world;
