//! The status socket: HTTP/1.1 on threads of its own. An observer can hold up nobody but itself.
//!
//! * `bridge`: between these threads and the I/O loop: a bounded channel and a waker.
//! * `http`: one request's head, and one answer. `server`: the threads.

mod bridge;
mod http;
mod server;

pub(crate) use self::{
    bridge::{Desk, bridge},
    server::Server,
};
