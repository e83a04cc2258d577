//! The protocol of msgd, without any I/O: no socket, no clock, no thread, no randomness of its own.
//!
//! * [`wire`]: datagrams between daemons. [`local`]: frames between a client and its daemon.
//!   [`control`]: the rare bodies of both.
//! * [`engine`]: the daemon's side. [`session`]: the client's side. The law of both is "one `handle_*`,
//!   then drain every `poll_*`"; `now` is passed in.
//! * [`call`]: requests and replies, above messages.
//! * [`limits`]: every limit with its reason. [`counters`] and [`status`]: what is shown.
//!
//! The rules R1..R9 and the invariants I1..I7 that comments cite are in `SPEC.md`.

#![forbid(unsafe_code)]

mod bytes;
pub mod call;
pub mod control;
pub mod counters;
pub mod engine;
pub mod ids;
pub mod limits;
pub mod local;
pub mod outcome;
pub mod session;
pub mod status;
pub mod units;
pub mod wire;
