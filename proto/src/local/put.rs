//! Writes frames of the local socket behind what a buffer holds. Sizes have been checked by the caller.

use super::{
    Addressee, Bound, CallOrigin, Deliver, DrainCause, Failed, FlowTaken, HEAD_BYTES, PresentInstance,
    Progress, Submit, Watch,
    frame::{flag, kind},
    instances::PRESENCE_ENTRY,
};
use crate::{
    bytes::{Fixed, Put, len_u32},
    control::{self, LocalNack, Register, Registered},
    ids::{Channel, ClientId, Instance, MsgId},
    limits::{
        MAX_LOCAL_FRAME_BYTES, MAX_MESSAGE_BYTES, MAX_NACK_TEXT_BYTES, MAX_NODE_NAME_BYTES, MAX_PRESENT,
    },
    outcome::Verdict,
    units::Time,
};

/// Bytes of a DELIVER before its payload, if it is none of the call layer's.
pub const DELIVER_HEAD: usize = HEAD_BYTES + 48;

/// Bytes of a DELIVER of the call layer between its head and its sender's node.
const ORIGIN_HEAD: usize = 16;

/// The most bytes of a DELIVER before its payload.
pub const MAX_DELIVER_HEAD: usize = DELIVER_HEAD + ORIGIN_HEAD + MAX_NODE_NAME_BYTES;
const _: () = assert!(MAX_DELIVER_HEAD + MAX_MESSAGE_BYTES <= MAX_LOCAL_FRAME_BYTES);

/// Bytes of a SUBMIT before its user data and payload, if it is for any instance.
pub const SUBMIT_HEAD: usize = HEAD_BYTES + 24;

/// Bytes of a SUBMIT for one instance between its head and that instance's node.
pub const ADDRESSEE_HEAD: usize = 8;

/// REGISTER.
pub fn register(out: &mut Vec<u8>, body: &Register) {
    with_body(out, kind::REGISTER, body);
}

/// FLOW_TAKEN.
pub fn flow_taken(out: &mut Vec<u8>, taken: &FlowTaken<'_>) {
    let begun = if taken.progress == Progress::Begun { flag::BEGUN } else { 0 };
    head(out, kind::FLOW_TAKEN, channel_flag(taken.channel) | begun, 16 + taken.bitmap.len());
    out.put_u32(taken.src.client.0);
    out.put_u32(taken.floor.0);
    out.put_u64(taken.src.incarnation.0);
    out.put(taken.bitmap);
}

/// READY.
pub fn ready(out: &mut Vec<u8>) {
    head(out, kind::READY, 0, 0);
}

/// SUBMIT.
#[inline(always)]
pub fn submit(out: &mut Vec<u8>, submit: &Submit<'_>) {
    let at_least_once = if submit.at_least_once { flag::AT_LEAST_ONCE } else { 0 };
    let addressed = if submit.to.is_some() { flag::INSTANCE } else { 0 };
    let flags = channel_flag(submit.channel) | at_least_once | call_flag(submit.is_call) | addressed;
    let (user, node) = (submit.user.len(), submit.to.map_or(0, |to| to.node.len()));
    let addressee = if submit.to.is_some() { ADDRESSEE_HEAD + node } else { 0 };
    let len = SUBMIT_HEAD + addressee + user + submit.payload.len();
    let mut fixed = Fixed::<SUBMIT_HEAD>::new();
    head(&mut fixed, kind::SUBMIT, flags, len - HEAD_BYTES);
    fixed.put_u32(submit.dst.0);
    fixed.put_u32(submit.msgid.0);
    fixed.put_u32(submit.seq.0);
    fixed.put_u32(len_u32(user) | len_u32(node) << 8);
    fixed.put_u64(submit.send_time.0);
    out.reserve(len);
    out.put(fixed.all());
    if let Some(Addressee { incarnation, node }) = submit.to {
        out.put_u64(incarnation.0);
        out.put(node.as_bytes());
    }
    out.put(submit.user);
    out.put(submit.payload);
}

/// Changes the send_time of a whole SUBMIT.
pub(crate) fn set_submit_time(frame: &mut [u8], send_time: Time) {
    frame[SUBMIT_HEAD - 8..SUBMIT_HEAD].copy_from_slice(&send_time.0.to_le_bytes());
}

/// TAKEN.
pub fn taken(out: &mut Vec<u8>, upto: u64) {
    head(out, kind::TAKEN, 0, 8);
    out.put_u64(upto);
}

/// STALE.
pub fn stale(out: &mut Vec<u8>, number: u64) {
    head(out, kind::STALE, 0, 8);
    out.put_u64(number);
}

/// GOODBYE, from a client.
pub fn client_goodbye(out: &mut Vec<u8>) {
    head(out, kind::CLIENT_GOODBYE, 0, 0);
}

/// GIVEN_UP.
pub fn given_up(out: &mut Vec<u8>, upto: MsgId) {
    head(out, kind::GIVEN_UP, 0, 4);
    out.put_u32(upto.0);
}

/// WITHDRAW.
pub fn withdraw(out: &mut Vec<u8>, msgid: MsgId) {
    head(out, kind::WITHDRAW, 0, 4);
    out.put_u32(msgid.0);
}

/// REGISTERED.
pub fn registered(out: &mut Vec<u8>, body: &Registered) {
    with_body(out, kind::REGISTERED, body);
}

/// DELIVER.
#[inline(always)]
pub fn deliver(out: &mut Vec<u8>, d: &Deliver<'_>) {
    out.reserve(DELIVER_HEAD + d.payload.len());
    deliver_head(out, d);
    out.put(d.payload);
}

/// DELIVER up to its payload, which is to follow it.
#[inline(always)]
pub fn deliver_head(out: &mut Vec<u8>, d: &Deliver<'_>) {
    let addressed = if d.call.is_some_and(|call| call.is_addressed) { flag::INSTANCE } else { 0 };
    let flags = channel_flag(d.channel) | call_flag(d.call.is_some()) | addressed;
    let origin = d.call.map_or(0, |call| ORIGIN_HEAD + call.node.len());
    let len = DELIVER_HEAD + origin + d.payload.len();
    let mut fixed = Fixed::<DELIVER_HEAD>::new();
    head(&mut fixed, kind::DELIVER, flags, len - HEAD_BYTES);
    fixed.put_u64(d.number);
    fixed.put_u32(d.src.client.0);
    fixed.put_u32(d.msgid.0);
    fixed.put_u64(d.src.incarnation.0);
    fixed.put_u32(d.seq.0);
    fixed.put_u32(d.floor.0);
    fixed.put_u64(d.send_time.0);
    fixed.put_u32(u32::try_from(d.interval.as_millis()).unwrap_or(u32::MAX));
    fixed.put_u32(d.round);
    out.put(fixed.all());
    if let Some(CallOrigin { sent_at, uid, node, .. }) = d.call {
        out.put_u64(sent_at.0);
        out.put_u32(uid);
        out.put_u32(len_u32(node.len()));
        out.put(node.as_bytes());
    }
}

/// RESOLVED, of one run or more.
pub fn resolved(out: &mut Vec<u8>, runs: &[(MsgId, u32)]) {
    debug_assert!(!runs.is_empty(), "the library would refuse it");
    head(out, kind::RESOLVED, 0, runs.len() * 8);
    for (msgid, count) in runs {
        out.put_u32(msgid.0);
        out.put_u32(*count);
    }
}

/// FAILED.
pub fn failed(out: &mut Vec<u8>, f: &Failed<'_>) {
    head(out, kind::FAILED, 0, 16 + f.user.len());
    out.put_u32(f.msgid.0);
    out.put_u32(f.dst.0);
    out.put_u32(f.tries);
    let Verdict { reason, certainty } = f.verdict;
    out.put(&[reason as u8, certainty as u8, 0, 0]);
    out.put(f.user);
}

/// NACK. Its text is cut to [`MAX_NACK_TEXT_BYTES`]: the client must learn why, however much there is to say.
pub fn nack(out: &mut Vec<u8>, body: &LocalNack) {
    let mut end = body.text.len().min(MAX_NACK_TEXT_BYTES);
    while !body.text.is_char_boundary(end) {
        end -= 1;
    }
    let text = body.text[..end].to_owned();
    with_body(out, kind::NACK, &LocalNack { rule: body.rule, text });
}

/// GOODBYE, from the daemon.
pub fn daemon_goodbye(out: &mut Vec<u8>) {
    head(out, kind::DAEMON_GOODBYE, 0, 0);
}

/// FLOW_BOUND.
pub fn flow_bound(out: &mut Vec<u8>, b: &Bound<'_>) {
    put_bound(out, kind::FLOW_BOUND, b);
}

/// DRAINED.
pub fn drained(out: &mut Vec<u8>) {
    head(out, kind::DRAINED, 0, 0);
}

/// SUBSCRIBE.
pub fn subscribe(out: &mut Vec<u8>, client: ClientId) {
    head(out, kind::SUBSCRIBE, 0, 4);
    out.put_u32(client.0);
}

/// WATCH.
pub fn watch(out: &mut Vec<u8>, w: &Watch<'_>) {
    head(out, kind::WATCH, 0, 16 + w.node.len());
    put_instance(out, w.instance);
    out.put(w.node.as_bytes());
}

/// BOUND. Its `upto` is 0.
pub fn bound(out: &mut Vec<u8>, b: &Bound<'_>) {
    put_bound(out, kind::BOUND, b);
}

/// DRAIN.
pub fn drain(out: &mut Vec<u8>, cause: DrainCause) {
    head(out, kind::DRAIN, 0, 4);
    out.put_u32(match cause {
        DrainCause::Superseded => 0,
        DrainCause::Asked => 1,
    });
}

/// PRESENCE, the active instance first. `is_partial`: there may be others.
pub fn presence(out: &mut Vec<u8>, client: ClientId, is_partial: bool, instances: &[PresentInstance]) {
    let instances = &instances[..instances.len().min(MAX_PRESENT)];
    let flags = if is_partial { flag::PARTIAL } else { 0 };
    head(out, kind::PRESENCE, flags, 4 + instances.len() * PRESENCE_ENTRY);
    out.put_u32(client.0);
    for instance in instances {
        out.put_u64(instance.incarnation.0);
        out.put(&[instance.priority, 0, 0, 0, 0, 0, 0, 0]);
    }
}

/// GONE.
pub fn gone(out: &mut Vec<u8>, instance: Instance) {
    head(out, kind::GONE, 0, 16);
    put_instance(out, instance);
}

/// UNBOUND.
pub fn unbound(out: &mut Vec<u8>, dst: ClientId, channel: Channel) {
    head(out, kind::UNBOUND, channel_flag(channel), 4);
    out.put_u32(dst.0);
}

fn put_instance(out: &mut Vec<u8>, instance: Instance) {
    out.put_u32(instance.client.0);
    out.put_u32(0);
    out.put_u64(instance.incarnation.0);
}

fn put_bound(out: &mut Vec<u8>, kind: u8, b: &Bound<'_>) {
    head(out, kind, channel_flag(b.channel), 16 + b.node.len());
    out.put_u32(b.dst.client.0);
    out.put_u32(b.upto.0);
    out.put_u64(b.dst.incarnation.0);
    out.put(b.node.as_bytes());
}

#[inline(always)]
fn head(out: &mut impl Put, kind: u8, flags: u8, body: usize) {
    out.put_u32(len_u32(HEAD_BYTES + body));
    out.put(&[kind, flags, 0, 0]);
}

fn with_body<T: serde::Serialize>(out: &mut Vec<u8>, kind: u8, body: &T) {
    let at = out.len();
    head(out, kind, 0, 0);
    control::encode(body, out);
    let len = len_u32(out.len() - at);
    out[at..at + 4].copy_from_slice(&len.to_le_bytes());
}

fn call_flag(is_call: bool) -> u8 {
    if is_call { flag::CALL } else { 0 }
}

fn channel_flag(channel: Channel) -> u8 {
    match channel {
        Channel::Ordered => 0,
        Channel::Unordered => flag::UNORDERED,
    }
}
