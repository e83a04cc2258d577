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

/// What becomes of the bytes of a request, as far as they have come: for tests of hostile ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// More are needed.
    Incomplete,
    /// It is a question, which the loop answers.
    Question,
    /// It is refused, with this answer.
    Refused(Vec<u8>),
}

/// Judges a request's head.
#[must_use]
pub fn judge(head: &[u8]) -> Judgement {
    match http::parse(head) {
        http::Head::Incomplete => Judgement::Incomplete,
        http::Head::Question(_) => Judgement::Question,
        http::Head::Refused(refusal) => Judgement::Refused(refusal.response()),
    }
}
