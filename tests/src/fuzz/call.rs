//! The call layer: what stands before requests and replies, and both sides of calls with a peer that says anything.

use msg_proto::{
    call::{
        CallFrame, CallOptions, Calls, LostReply, Procedure, ProcedureOptions, Semantics, Xid, put_cancel,
        put_reply, put_request,
    },
    ids::{ClientId, Incarnation, Instance, MsgId},
    limits,
    outcome::{Certainty, Reason, Verdict},
    session::{CallMessage, Taker},
    units::{Span, Time},
};

/// Steps of one byte and what it takes: a message that comes, an outcome of one that was sent, the end of a process, time.
/// Each message that can be read has the same bytes when it is written again; each call ends once.
pub fn call_messages(data: &[u8]) {
    let mut world = World::new();
    let mut rest = data;
    while let Some((op, behind)) = rest.split_first() {
        rest = behind;
        let peer = op >> 4;
        match op & 7 {
            0..4 => {
                let len = rest.first().map_or(0, |len| usize::from(*len)).min(rest.len().saturating_sub(1));
                let message = rest.get(1..1 + len).unwrap_or_default();
                rest = rest.get(1 + len..).unwrap_or_default();
                rewrite(message);
                world.hear(peer, message);
            }
            4 => world.end_message(peer, Ok(Some(process(peer & 3)))),
            5 => {
                let certainty = if peer & 1 == 0 { Certainty::NotStarted } else { Certainty::Unknown };
                let reason = Reason::ALL[usize::from(peer) % Reason::ALL.len()];
                world.end_message(peer, Err(Verdict { reason, certainty }));
            }
            6 => world.calls.handle_gone(process(peer & 3).instance),
            _ => world.now = world.now + Span::from_millis(1 << peer),
        }
        world.turn();
    }
    world.end();
}

fn rewrite(message: &[u8]) {
    let Ok(frame) = CallFrame::parse(message) else { return };
    let mut out = Vec::new();
    match frame {
        CallFrame::Request { procedure, xid, is_repeat, at_least_once, timeout, body } => {
            put_request(&mut out, (procedure, xid), is_repeat, at_least_once, timeout);
            out.extend_from_slice(body);
        }
        CallFrame::Reply { procedure, xid, answer } => put_reply(&mut out, procedure, xid, answer),
        CallFrame::Cancel { procedure, xid } => put_cancel(&mut out, procedure, xid),
    }
    assert_eq!(out, message, "{frame:?}");
}

/// One client's calls, three of which it makes itself.
struct World {
    calls: Calls,
    now: Time,
    sent: u32,
    done: usize,
}

impl World {
    fn new() -> Self {
        let (mut calls, now) = (Calls::new([1; 16], [2; 16]), Time(1 << 40));
        let options = ProcedureOptions { is_idempotent: false, lost_reply: LostReply::BySemantics };
        calls.server.serve(PROCEDURE, options);
        calls.server.enable_reply_cache(4.into());
        for xid in 1..=CALLS {
            let semantics = if xid == 1 { Semantics::AtLeastOnce } else { Semantics::AtMostOnce };
            let options = CallOptions {
                timeout: Span::from_millis(1000),
                semantics,
                retries: 1,
                repeat_after: Span::from_millis(50),
                xid: Some(Xid(xid)),
                is_repeat: xid == 3,
                is_unordered: false,
            };
            calls.caller.start(now, (PEER, PROCEDURE), b"request", options).expect("room");
        }
        let mut world = Self { calls, now, sent: 0, done: 0 };
        world.turn();
        world
    }

    fn hear(&mut self, peer: u8, data: &[u8]) {
        let src = process(peer & 3).instance;
        let (sent_at, uid, node) = (self.now, u32::from(peer >> 2), "n".to_owned());
        self.calls.handle_message(self.now, &CallMessage { src, sent_at, uid, node, data });
    }

    fn end_message(&mut self, which: u8, outcome: Result<Option<Taker>, Verdict>) {
        let msgid = MsgId(self.sent.saturating_sub(u32::from(which)));
        let Calls { caller, server, counters, .. } = &mut self.calls;
        if server.handle_outcome(msgid, outcome.clone(), counters) {
            return;
        }
        match outcome {
            Ok(taker) => caller.handle_acked(self.now, msgid, taker),
            Err(verdict) => caller.handle_failed(self.now, msgid, verdict),
        };
    }

    /// What a driver does: a handler answers all calls but every third.
    fn turn(&mut self) {
        let Calls { caller, server, counters, .. } = &mut self.calls;
        if caller.poll_timeout().is_some_and(|at| at <= self.now) {
            caller.handle_timeout(self.now);
            assert!(caller.poll_timeout().is_none_or(|at| at > self.now), "a timer is due again at once");
        }
        while let Some(request) = caller.poll_send(self.now) {
            let call = request.call;
            rewrite(request.message);
            self.sent += 1;
            caller.record_sent(call, MsgId(self.sent), counters);
        }
        while caller.poll_withdraw().is_some() {}
        while let Some(cancel) = caller.poll_cancel() {
            rewrite(&cancel.message);
        }
        while let Some(job) = server.poll_job(self.now, counters) {
            assert!(self.now < job.deadline, "begun when its time was over");
            if !job.run.0.is_multiple_of(3) {
                server.reply(self.now, job.run, &job.request, 1 << 20, counters).expect("it waits");
            }
        }
        while let Some(reply) = server.poll_reply(self.now, counters) {
            rewrite(&reply.message);
            self.sent += 1;
            server.record_sent(MsgId(self.sent));
        }
        assert!(server.len() <= limits::MAX_SERVED_CALLS);
        while caller.poll_done(counters).is_some() {
            self.done += 1;
        }
        while self.calls.poll_watch().is_some() {}
    }

    fn end(mut self) {
        for _ in 0..2 {
            self.now = self.now + Span::from_millis(2000);
            self.turn();
        }
        assert!(self.calls.caller.is_empty());
        assert_eq!(self.done as u64, CALLS, "each call ends once");
    }
}

/// The processes that there are: three lives of one peer, and somebody else.
fn process(which: u8) -> Taker {
    let client = if which == 3 { ClientId(9) } else { PEER };
    let instance = Instance { client, incarnation: Incarnation(1 + u64::from(which)) };
    Taker { instance, node: "n".into() }
}

/// A message as a step of the input.
pub(super) fn heard(peer: u8, message: &[u8]) -> Vec<u8> {
    let len = u8::try_from(message.len()).unwrap_or(u8::MAX);
    [&[peer << 4, len], message].concat()
}

pub(super) const PROCEDURE: Procedure = Procedure(7);
const PEER: ClientId = ClientId(200);
const CALLS: u64 = 3;
