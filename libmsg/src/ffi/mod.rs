//! The C library: what `include/libmsg.h` and `include/send_msg.h` declare. They are the documentation; here is only
//! what is not in them.
//!
//! * `types`: structs and constants. `error`: `MSG_E_*`. A test in `msg-tests` holds both to the headers.
//! * `handle`: `msg_client`, and what guards it. `fork`: telling a fork. `epoll`: sleeping.
//! * `calls`, `instances`: libmsg.h; `call`: what it has for procedure calls. `send_msg`: send_msg.h.
//!
//! Every function checks what can be checked of its arguments, and lets no panic out.

pub mod call;
pub mod calls;
pub(crate) mod epoll;
pub mod error;
pub(crate) mod fork;
pub mod handle;
pub mod instances;
pub mod send_msg;
pub mod types;

pub use error::Code;
