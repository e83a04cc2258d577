//! The client library of msgd: messages between processes that end in exactly one outcome each.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use msg::{Client, ClientId, UserBuf};
//!
//! let client = Client::builder(ClientId(100)).connect()?;
//! client.on_failure(|_, failure| eprintln!("{} failed: {:?}", failure.msgid, failure.verdict));
//! client.send(ClientId(200), b"hello", UserBuf::from(b"order 17"))?;
//! client.flush(None)?;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is used from as many threads as there are. Nothing happens behind its back: its callbacks run,
//! and lost connections are made again, in the calls that wait ([`Client::dispatch`], [`Client::recv`],
//! [`Client::flush`]), so a process calls one of them whenever [`Client::as_fd`] is readable, or lets a thread
//! wait in one.
//!
//! The protocol is in [`msg_proto::session`]; here are the socket (`link`), what is slept on (`poller`), the calls
//! (`client`, `wait`, `callback`), and the errors. `ffi` is the C library that `include/libmsg.h` describes.

#![deny(unsafe_code)]

mod barrier;
mod builder;
mod burst;
mod call;
mod callback;
mod client;
mod clock;
mod connect;
mod error;
#[doc(hidden)]
#[allow(unsafe_code, reason = "the C ABI, and system calls that rustix does not offer as they are needed")]
pub mod ffi;
mod link;
#[allow(unsafe_code, reason = "gives access to what it guards")]
mod lock;
mod poller;
mod received;
mod send_flags;
mod sync;
mod thread;
mod wait;

pub use builder::Builder;
pub use call::{Call, CallError, CallOptions, ProcedureOptions, Reply, ReplyError, Responder};
pub use client::Client;
pub use error::{ConnectError, Error, SendError};
pub use msg_proto::{
    call::{
        CallCounters, CallFailure, CallId, LostReply, Procedure, ReplyCacheLimits, Requester, Semantics, Why,
        Xid,
    },
    control::{Arrival, LocalNack, LocalRule},
    ids::{Channel, ClientId, Incarnation, Instance, MsgId},
    local::{DrainCause, PresentInstance},
    outcome::{Certainty, Reason, Verdict},
    session::{
        AckMode, Failure, Message, PresenceChange, PresenceEvent, SessionCounters, UserBuf, UserTooLong,
    },
    units::Span,
};
pub use received::Received;
pub use send_flags::SendFlags;
