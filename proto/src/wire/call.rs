//! What messages of the call layer say of themselves beside others.

use super::frame::flag;
use crate::{bytes::Reader, units::Span};

/// What is known of a message of the call layer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CallMark {
    /// How long before `send_time` its client had sent it, rounded up to milliseconds.
    pub age: Span,
    /// It is for this instance and no other, even if that takes no other messages any more.
    pub is_addressed: bool,
}

/// `Some(None)` where the message is none of the call layer's.
pub(super) fn parse_call(r: &mut Reader<'_>, flags: u8) -> Option<Option<CallMark>> {
    let is_addressed = flags & flag::INSTANCE != 0;
    if flags & flag::CALL == 0 {
        return (!is_addressed).then_some(None);
    }
    Some(Some(CallMark { age: Span::from_millis(u64::from(r.u32()?)), is_addressed }))
}

#[cfg(test)]
mod tests {
    use super::super::{Frames, Kind};

    #[test]
    fn only_messages_of_the_call_layer_are_for_one_instance() {
        let flow =
            [&[3, 0, 44, 0][..], &[0; 8], &[1, 0, 0, 0, 0, 0, 0, 0], &[1, 0, 0, 0, 0, 0, 0, 0]].concat();
        let flow = [&flow[..], &[0; 8], &[100, 0, 0, 0], &[0; 8]].concat();
        for (kind, head) in [(4, 8), (5, 16)] {
            for flags in 0..16_u8 {
                let mut body = vec![0; head];
                if kind == 5 {
                    body[12] = 1;
                }
                if flags & 4 != 0 {
                    body.extend([0; 4]);
                }
                body.push(7);
                let len = u8::try_from(body.len()).expect("short");
                let frames = [&flow[..], &[kind, flags, len, 0], &body].concat();
                let is_read = Frames::new(Kind::Frames, &frames).all(|frame| frame.is_ok());
                let is_known = flags & 1 == 0 && (flags & 8 == 0 || flags & 4 != 0);
                assert_eq!(is_read, is_known, "type {kind}, flags {flags}");
            }
        }
    }
}
