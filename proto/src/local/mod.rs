//! Between a client's library and its daemon: frames on a stream socket. Byte pictures are in `SPEC.md`, section 4.
//!
//! Both directions share the frame's head; [`split`] finds frames, [`ClientFrame`] and [`DaemonFrame`] read them,
//! `put` writes them.

mod call;
mod flow_taken;
mod frame;
mod instances;
mod message;
pub mod put;

pub use call::{Addressee, CallOrigin, UNKNOWN_UID};
pub use flow_taken::{FlowTaken, Progress};
pub use frame::{ClientFrame, DaemonFrame, Failed, Resolved};
pub use instances::{Bound, DrainCause, Presence, PresentInstance, Watch};
pub use message::{Deliver, Submit};

/// Versions of the local format that this crate speaks.
pub const VERSIONS: crate::control::VersionRange = crate::control::VersionRange { lowest: 1, highest: 1 };

/// Bytes of a frame's head: length (head included), type, flags, two zero bytes.
pub const HEAD_BYTES: usize = 8;

/// A frame with a length, type, flag or field out of range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalError(
    /// Which field, and what is allowed.
    pub &'static str,
);

/// A whole frame, not yet read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawFrame<'a> {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// What follows the head.
    pub body: &'a [u8],
}

/// Whether a client's frame is a SUBMIT.
pub(crate) const fn is_submit(frame: &RawFrame<'_>) -> bool {
    frame.kind == frame::kind::SUBMIT
}

/// Whether a daemon's frame is a DELIVER.
pub(crate) const fn is_delivery(frame: &RawFrame<'_>) -> bool {
    frame.kind == frame::kind::DELIVER
}

/// Whether a SUBMIT or DELIVER is of the call layer.
pub(crate) const fn is_call(frame: &RawFrame<'_>) -> bool {
    frame.flags & frame::flag::CALL != 0
}

/// Whether a DELIVER is for this instance only.
pub(crate) const fn is_addressed(frame: &RawFrame<'_>) -> bool {
    frame.flags & frame::flag::INSTANCE != 0
}

/// The first frame in `bytes` and how many bytes it takes, or `None` if it is not all there yet.
///
/// # Errors
///
/// A head that no frame can have; the stream cannot be read on.
#[inline]
pub fn split(bytes: &[u8]) -> Result<Option<(RawFrame<'_>, usize)>, LocalError> {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return Ok(None) };
    let [l0, l1, l2, l3, kind, flags, z0, z1] = *head;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if !(HEAD_BYTES..=crate::limits::MAX_LOCAL_FRAME_BYTES).contains(&len) {
        return Err(LocalError("frame length: 8 to 1,048,832 bytes"));
    }
    if [z0, z1] != [0, 0] {
        return Err(LocalError("frame head: bytes 6 and 7 are zero"));
    }
    let Some(body) = bytes.get(HEAD_BYTES..len) else { return Ok(None) };
    Ok(Some((RawFrame { kind, flags, body }, len)))
}

/// How many bytes are missing of the frame that `bytes` begins, as far as is known: first of its head. 0: it is whole, or
/// no frame.
pub(crate) fn missing(bytes: &[u8]) -> usize {
    match (split(bytes), bytes.first_chunk::<4>()) {
        (Ok(None), Some(length)) if bytes.len() >= HEAD_BYTES => {
            (u32::from_le_bytes(*length) as usize).saturating_sub(bytes.len())
        }
        (Ok(None), _) => HEAD_BYTES - bytes.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_of_a_frame_is_first_its_head_then_the_rest() {
        let mut frame = Vec::new();
        put::taken(&mut frame, 7);
        for have in 0..frame.len() {
            let wanted = if have < HEAD_BYTES { HEAD_BYTES } else { frame.len() };
            assert_eq!(missing(&frame[..have]), wanted - have);
            assert_eq!(split(&frame[..have]), Ok(None));
        }
        assert_eq!(missing(&frame), 0);
        frame.push(0);
        assert_eq!(missing(&frame), 0, "what is behind it is another's");
        assert_eq!(missing(&[0xff; HEAD_BYTES]), 0, "no frame has that head");
    }
}
