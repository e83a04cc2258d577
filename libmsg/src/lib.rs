//! libmsg.
