//! The frames that carry messages. Most frames are these, so both sides read them without looking at what else a frame
//! may be.

use super::{
    HEAD_BYTES, LocalError, RawFrame,
    call::{Addressee, CallOrigin, parse_addressee, parse_origin},
    frame::{channel, check_flags, check_incarnation, check_interval, flag},
    put::{DELIVER_HEAD, SUBMIT_HEAD},
};
use crate::{
    bytes::Reader,
    ids::{Channel, ClientId, Incarnation, Instance, MsgId, Seq},
    limits,
    units::{Span, Time},
};

/// A message, from the library to the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Submit<'a> {
    /// Whom it is for.
    pub dst: ClientId,
    /// Its number in the process.
    pub msgid: MsgId,
    /// Its number in its flow.
    pub seq: Seq,
    /// Which of the two flows to `dst`.
    pub channel: Channel,
    /// Another instance may be given it even if the first may have begun.
    pub at_least_once: bool,
    /// It is a message of the call layer.
    pub is_call: bool,
    /// Of such a message, unordered: it is for this instance of `dst` and no other.
    pub to: Option<Addressee<'a>>,
    /// When the client sent it (R1), in this node's clock: its time runs from there, also when it is submitted
    /// again to a daemon that was started since (I1, I6).
    pub send_time: Time,
    /// The sender's user data, at most [`limits::MAX_USER_BYTES`].
    pub user: &'a [u8],
    /// The message.
    pub payload: &'a [u8],
}

/// A message, from the daemon to the library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deliver<'a> {
    /// Counts the deliveries of the connection: 1, 2, ...
    pub number: u64,
    /// Who sent it.
    pub src: Instance,
    /// Its number in its sender's process.
    pub msgid: MsgId,
    /// Its number in its flow.
    pub seq: Seq,
    /// The lowest number of the flow that is unresolved at the sender.
    pub floor: Seq,
    /// Which of the two flows.
    pub channel: Channel,
    /// When this copy was sent, in this node's clock.
    pub send_time: Time,
    /// After which it is stale (R6).
    pub interval: Span,
    /// Grows each time that the flow starts again after a stale delivery: see SPEC.md, section 4.3.
    pub round: u32,
    /// Of a message of the call layer: where it comes from.
    pub call: Option<CallOrigin<'a>>,
    /// The message.
    pub payload: &'a [u8],
}

impl<'a> Submit<'a> {
    /// Reads the frame of a message from a client.
    #[inline]
    pub(crate) fn parse(raw: RawFrame<'a>) -> Result<Self, LocalError> {
        let (mut r, flags) = (Reader::new(raw.body), raw.flags);
        check_flags(flags, flag::UNORDERED | flag::AT_LEAST_ONCE | flag::CALL | flag::INSTANCE)?;
        let fields = r.chunk::<{ SUBMIT_HEAD - HEAD_BYTES }>().and_then(|mut f| {
            Some((f.u32()?, f.u32()?, f.u32()?, f.u8()?, f.u8()?, f.array::<2>()?, f.u64()?))
        });
        let Some((dst, msgid, seq, user_len, node_len, zero, send_time)) = fields else {
            return Err(LocalError("frame length: SUBMIT has at least 24 bytes of body"));
        };
        if usize::from(user_len) > limits::MAX_USER_BYTES {
            return Err(LocalError("user data: at most 64 bytes"));
        }
        let to = parse_addressee(&mut r, flags, node_len)?;
        let user = r.bytes(usize::from(user_len)).ok_or(LocalError("user data: longer than the frame"))?;
        if zero != [0; 2] {
            return Err(LocalError("SUBMIT: bytes 14 and 15 of the body are zero"));
        }
        check_payload(r.rest())?;
        Ok(Self {
            dst: ClientId(dst),
            msgid: MsgId(msgid),
            seq: Seq(seq),
            channel: channel(flags),
            at_least_once: flags & flag::AT_LEAST_ONCE != 0,
            is_call: flags & flag::CALL != 0,
            to,
            send_time: Time(send_time),
            user,
            payload: r.rest(),
        })
    }
}

impl<'a> Deliver<'a> {
    /// Reads the frame of a delivery.
    #[inline]
    pub(crate) fn parse(raw: RawFrame<'a>) -> Result<Self, LocalError> {
        let (mut r, flags) = (Reader::new(raw.body), raw.flags);
        check_flags(flags, flag::UNORDERED | flag::CALL | flag::INSTANCE)?;
        let fields = r.chunk::<{ DELIVER_HEAD - HEAD_BYTES }>().and_then(|mut f| {
            let number = f.u64()?;
            let (client, msgid, incarnation) = (f.u32()?, f.u32()?, f.u64()?);
            let (seq, floor, send_time) = (f.u32()?, f.u32()?, f.u64()?);
            Some((number, client, msgid, incarnation, seq, floor, send_time, f.u32()?, f.u32()?))
        });
        let Some((number, client, msgid, incarnation, seq, floor, send_time, interval_ms, round)) = fields
        else {
            return Err(LocalError("frame length: DELIVER has at least 48 bytes of body"));
        };
        let call = if flags & flag::CALL != 0 {
            Some(parse_origin(&mut r, flags)?)
        } else if flags & flag::INSTANCE != 0 {
            return Err(LocalError("DELIVER: INSTANCE goes with CALL"));
        } else {
            None
        };
        check_interval(interval_ms)?;
        check_incarnation(Incarnation(incarnation))?;
        check_payload(r.rest())?;
        if number == 0 {
            return Err(LocalError("delivery number: 1 or more"));
        }
        Ok(Self {
            number,
            src: Instance { client: ClientId(client), incarnation: Incarnation(incarnation) },
            msgid: MsgId(msgid),
            seq: Seq(seq),
            floor: Seq(floor),
            channel: channel(flags),
            send_time: Time(send_time),
            interval: Span::from_millis(u64::from(interval_ms)),
            round,
            call,
            payload: r.rest(),
        })
    }
}

fn check_payload(payload: &[u8]) -> Result<(), LocalError> {
    if payload.len() <= limits::MAX_MESSAGE_BYTES {
        Ok(())
    } else {
        Err(LocalError("message: at most 1,048,576 bytes"))
    }
}
