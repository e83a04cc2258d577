//! What messages of the call layer have on the local socket beside others: where they come from, and the one instance that
//! they are for.

use super::{
    LocalError,
    frame::{check_incarnation, flag},
};
use crate::{bytes::Reader, ids::Incarnation, limits, units::Time};

/// The only instance that a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addressee<'a> {
    /// Which of the lives of its clientid.
    pub incarnation: Incarnation,
    /// Its node.
    pub node: &'a str,
}

/// What the daemon knows of a message of the call layer, beside its sender's instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallOrigin<'a> {
    /// When its client sent it, in this node's clock: never too late, early by at most one one-way delay and what
    /// section 5 of SPEC.md allows.
    pub sent_at: Time,
    /// The user that its sender runs as, as its sender's node saw it; [`UNKNOWN_UID`] where nobody said.
    pub uid: u32,
    /// Its sender's node.
    pub node: &'a str,
    /// It is for this instance and no other: one that takes no other messages takes it.
    pub is_addressed: bool,
}

/// A user that nobody is.
pub const UNKNOWN_UID: u32 = u32::MAX;

/// Only an unordered message of the call layer has one: it waits for no other, and none waits for it.
pub(super) fn parse_addressee<'a>(
    r: &mut Reader<'a>,
    flags: u8,
    node_len: u8,
) -> Result<Option<Addressee<'a>>, LocalError> {
    let needed = flag::UNORDERED | flag::CALL;
    match (flags & flag::INSTANCE != 0, node_len) {
        (false, 0) => return Ok(None),
        (false, _) => return Err(LocalError("SUBMIT: byte 13 of the body is zero without INSTANCE")),
        (true, _) if flags & (needed | flag::AT_LEAST_ONCE) != needed => {
            return Err(LocalError("SUBMIT: INSTANCE goes with UNORDERED and CALL, not with AT_LEAST_ONCE"));
        }
        (true, _) => {}
    }
    let incarnation =
        r.u64().map(Incarnation).ok_or(LocalError("SUBMIT to an instance: at least 32 bytes"))?;
    check_incarnation(incarnation)?;
    let node = r.bytes(usize::from(node_len)).and_then(|name| str::from_utf8(name).ok());
    let node = node.filter(|name| name.len() <= limits::MAX_NODE_NAME_BYTES);
    let node = node.ok_or(LocalError("SUBMIT node: UTF-8, at most 64 bytes, not longer than the frame"))?;
    Ok(Some(Addressee { incarnation, node }))
}

pub(super) fn parse_origin<'a>(r: &mut Reader<'a>, flags: u8) -> Result<CallOrigin<'a>, LocalError> {
    let mut fields = || Some((r.u64()?, r.u32()?, r.u8()?, r.array::<3>()?));
    let Some((sent_at, uid, node_len, zero)) = fields() else {
        return Err(LocalError("frame length: DELIVER of a call has at least 64 bytes of body"));
    };
    if zero != [0; 3] {
        return Err(LocalError("DELIVER of a call: bytes 61 to 63 of the body are zero"));
    }
    if usize::from(node_len) > limits::MAX_NODE_NAME_BYTES {
        return Err(LocalError("DELIVER of a call: a node's name has at most 64 bytes"));
    }
    let node = r.bytes(usize::from(node_len)).and_then(|name| str::from_utf8(name).ok());
    let node =
        node.ok_or(LocalError("DELIVER of a call: a node's name is UTF-8, and not longer than the frame"))?;
    let is_addressed = flags & flag::INSTANCE != 0;
    Ok(CallOrigin { sent_at: Time(sent_at), uid, node, is_addressed })
}
