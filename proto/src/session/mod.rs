//! The client's side: numbering, unresolved messages, replay, what was taken. Sans-I/O.
