//! The caller's side.

use super::{PROCEDURE, SECOND, XID};
use crate::{
    call::{
        Answer, CallCounters, CallFailure, CallFrame, CallId, CallOptions, Caller, Cancellation, Done,
        Procedure, Semantics, StartError, Why, Xid,
    },
    ids::{ClientId, Incarnation, Instance, MsgId},
    limits,
    outcome::{Certainty, Reason, Verdict},
    session::Taker,
    units::{Span, Time},
};

const DST: ClientId = ClientId(200);
const AT_MOST_ONCE: CallOptions = CallOptions {
    timeout: SECOND,
    semantics: Semantics::AtMostOnce,
    retries: 0,
    repeat_after: Span::from_millis(100),
    xid: None,
    is_repeat: false,
    is_unordered: false,
};
const AT_LEAST_ONCE: CallOptions = CallOptions { semantics: Semantics::AtLeastOnce, ..AT_MOST_ONCE };

/// A caller, its clock, and the msgid of the last message.
struct World {
    caller: Caller,
    counters: CallCounters,
    now: Time,
    msgid: u32,
}

/// What a request's head says.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    xid: Xid,
    is_repeat: bool,
    timeout: Span,
    to: Option<Taker>,
}

impl World {
    fn new() -> Self {
        let caller = Caller::new([1; 16]);
        Self { caller, counters: CallCounters::default(), now: Time(1_000_000), msgid: 0 }
    }

    fn start(&mut self, options: CallOptions) -> CallId {
        self.caller.start(self.now, (DST, PROCEDURE), b"request", options).expect("room")
    }

    /// Sends what is to be sent, which is one request.
    fn sent(&mut self) -> Head {
        let request = self.caller.poll_send(self.now).expect("a request");
        let (call, to) = (request.call, request.to.cloned());
        let Ok(CallFrame::Request { procedure, xid, is_repeat, timeout, body, .. }) =
            CallFrame::parse(request.message)
        else {
            panic!("{request:?}")
        };
        assert_eq!((request.dst, procedure, body), (DST, PROCEDURE, &b"request"[..]));
        self.msgid += 1;
        self.caller.record_sent(call, MsgId(self.msgid), &mut self.counters);
        assert_eq!(self.caller.poll_send(self.now), None);
        Head { xid, is_repeat, timeout, to }
    }

    fn nothing_sent(&mut self) {
        assert_eq!(self.caller.poll_send(self.now), None);
    }

    fn after(&mut self, ms: u64) {
        self.now = self.now + Span::from_millis(ms);
        if self.caller.poll_timeout().is_some_and(|at| at <= self.now) {
            self.caller.handle_timeout(self.now);
            assert!(self.caller.poll_timeout().is_none_or(|at| at > self.now));
        }
    }

    fn acked(&mut self) {
        assert!(self.caller.handle_acked(self.now, MsgId(self.msgid), Some(taker(1))));
    }

    fn failed(&mut self, reason: Reason, certainty: Certainty) {
        assert!(self.caller.handle_failed(self.now, MsgId(self.msgid), Verdict { reason, certainty }));
    }

    fn reply(&mut self, xid: Xid, answer: Answer<'_>) -> bool {
        self.caller.handle_reply(self.now, DST, (PROCEDURE, xid), answer)
    }

    fn done(&mut self) -> Result<Vec<u8>, CallFailure> {
        let done = self.caller.poll_done(&mut self.counters).expect("an outcome");
        assert_eq!(self.caller.poll_done(&mut self.counters), None);
        assert!(self.caller.is_empty() && self.caller.poll_timeout().is_none());
        done.result
    }

    fn not_done(&mut self) {
        assert_eq!(self.caller.poll_done(&mut self.counters), None);
        assert_eq!(self.caller.len(), 1);
    }
}

/// One of the instances of the server.
fn taker(incarnation: u64) -> Taker {
    let instance = Instance { client: DST, incarnation: Incarnation(incarnation) };
    Taker { instance, node: "n".into() }
}

#[test]
fn a_reply_ends_its_call_and_no_other() {
    let mut w = World::new();
    w.start(AT_MOST_ONCE);
    let head = w.sent();
    assert!(!head.is_repeat);
    assert_eq!(head.timeout, SECOND);
    assert!(!w.reply(Xid(head.xid.0 ^ 1), Ok(b"another's")));
    assert!(!w.caller.handle_reply(w.now, ClientId(9), (PROCEDURE, head.xid), Ok(b"a stranger's")));
    assert!(!w.caller.handle_reply(w.now, DST, (Procedure(1), head.xid), Ok(b"another procedure's")));
    assert!(w.reply(head.xid, Ok(b"reply")));
    assert_eq!(w.done(), Ok(b"reply".to_vec()));
    assert!(!w.reply(head.xid, Ok(b"reply")), "again");
    assert!(!w.caller.handle_acked(w.now, MsgId(1), None), "nothing waits for that ack");
}

#[test]
fn a_message_that_never_left_means_not_started_and_one_that_may_have_means_unknown() {
    for certainty in [Certainty::NotStarted, Certainty::Unknown] {
        let mut w = World::new();
        w.start(AT_MOST_ONCE);
        w.sent();
        w.failed(Reason::NoRoute, certainty);
        let why = Why::Request(Reason::NoRoute);
        assert_eq!(w.done(), Err(CallFailure { certainty, why }));
    }
}

#[test]
fn at_most_once_is_made_again_only_when_it_has_not_started() {
    let mut w = World::new();
    w.start(CallOptions { retries: 2, ..AT_MOST_ONCE });
    let first = w.sent();
    w.failed(Reason::GoingAway, Certainty::NotStarted);
    w.nothing_sent();
    w.after(200);
    let second = w.sent();
    assert_eq!((second.xid, second.is_repeat), (first.xid, false));
    assert_eq!(second.timeout, Span::from_millis(800), "the deadline stays");
    w.failed(Reason::ReceiverGone, Certainty::Unknown);
    let why = Why::Request(Reason::ReceiverGone);
    assert_eq!(w.done(), Err(CallFailure::unknown(why)), "though it has a retry left");
}

#[test]
fn what_will_not_pass_is_not_tried_again() {
    for options in [CallOptions { retries: 5, ..AT_MOST_ONCE }, AT_LEAST_ONCE] {
        for reason in [Reason::Refused, Reason::TooLarge] {
            let mut w = World::new();
            w.start(options);
            w.sent();
            w.failed(reason, Certainty::NotStarted);
            assert_eq!(w.done(), Err(CallFailure::not_started(Why::Request(reason))));
        }
    }
}

#[test]
fn at_least_once_is_repeated_until_a_reply() {
    let mut w = World::new();
    w.start(AT_LEAST_ONCE);
    let first = w.sent();
    w.failed(Reason::ReceiverGone, Certainty::Unknown);
    w.after(50);
    let second = w.sent();
    assert_eq!((second.xid, second.is_repeat), (first.xid, true));
    w.acked();
    w.after(150);
    w.nothing_sent();
    w.after(60);
    assert!(w.sent().is_repeat, "taken, and no reply");
    assert!(w.reply(first.xid, Ok(b"reply")));
    assert_eq!(w.done(), Ok(b"reply".to_vec()));
    assert_eq!(w.counters.repeats, 2);
}

#[test]
fn at_least_once_ends_at_its_deadline() {
    let mut w = World::new();
    w.start(AT_LEAST_ONCE);
    w.sent();
    w.failed(Reason::NoRoute, Certainty::NotStarted);
    w.after(999);
    let second = w.sent();
    assert!(!second.is_repeat, "nothing may have begun yet");
    w.failed(Reason::NoRoute, Certainty::NotStarted);
    w.not_done();
    w.after(1);
    let failure = w.done().unwrap_err();
    assert_eq!(failure, CallFailure::not_started(Why::Request(Reason::NoRoute)));
    assert_eq!(failure.to_string(), "not started: no node has that client");
}

#[test]
fn at_its_deadline_a_call_asks_what_became_of_its_request() {
    const NO_ROUTE: Why = Why::Request(Reason::NoRoute);
    for (certainty, said, why) in [
        (Certainty::NotStarted, Some((Reason::Cancelled, Certainty::NotStarted)), Why::Deadline),
        (Certainty::NotStarted, Some((Reason::NoRoute, Certainty::NotStarted)), NO_ROUTE),
        (Certainty::Unknown, Some((Reason::Cancelled, Certainty::Unknown)), Why::Deadline),
        (Certainty::Unknown, None, Why::Deadline),
    ] {
        let mut w = World::new();
        w.start(AT_MOST_ONCE);
        w.sent();
        w.after(999);
        w.not_done();
        assert_eq!(w.caller.poll_withdraw(), None);
        w.after(1);
        w.not_done();
        assert_eq!(w.caller.poll_withdraw(), Some(MsgId(1)));
        match said {
            Some((reason, certainty)) => w.failed(reason, certainty),
            None => w.after(limits::CALL_GRACE_MS),
        }
        assert_eq!(w.done(), Err(CallFailure { certainty, why }));
    }
}

#[test]
fn what_was_taken_is_unknown_at_its_deadline_and_still_answered_in_time() {
    let mut w = World::new();
    w.start(AT_MOST_ONCE);
    let head = w.sent();
    w.acked();
    w.after(999);
    w.not_done();
    w.after(1);
    assert_eq!(w.done(), Err(CallFailure::unknown(Why::Deadline)));
    assert!(!w.reply(head.xid, Ok(b"too late")));
}

#[test]
fn when_who_took_it_is_gone_at_most_once_ends_unknown_at_once() {
    let mut w = World::new();
    w.start(CallOptions { retries: 5, ..AT_MOST_ONCE });
    let head = w.sent();
    w.caller.handle_gone(taker(1).instance);
    w.not_done();
    w.acked();
    assert_eq!(w.caller.poll_watch(), Some(taker(1)));
    w.caller.handle_gone(taker(2).instance);
    w.not_done();
    w.caller.handle_gone(taker(1).instance);
    let failure = w.done().unwrap_err();
    assert_eq!(failure, CallFailure::unknown(Why::Request(Reason::ReceiverGone)));
    assert_eq!(failure.to_string(), "outcome unknown: the process that took it is gone");
    assert!(!w.reply(head.xid, Ok(b"too late")));
    w.nothing_sent();
}

#[test]
fn when_who_took_it_is_gone_at_least_once_is_repeated_at_once_until_its_deadline() {
    let mut w = World::new();
    w.start(AT_LEAST_ONCE);
    let first = w.sent();
    w.acked();
    w.caller.handle_gone(taker(1).instance);
    let second = w.sent();
    assert_eq!((second.xid, second.is_repeat), (first.xid, true));
    // Nobody is there.
    w.failed(Reason::NoRoute, Certainty::NotStarted);
    w.after(990);
    assert!(w.sent().is_repeat);
    w.failed(Reason::NoRoute, Certainty::NotStarted);
    w.after(10);
    assert_eq!(w.done(), Err(CallFailure::unknown(Why::Deadline)), "the first may have run it");
}

#[test]
fn a_repeat_is_for_who_has_the_request_until_that_is_gone_or_refuses_it() {
    let mut w = World::new();
    w.start(CallOptions { timeout: Span::from_millis(60_000), ..AT_LEAST_ONCE });
    let first = w.sent();
    assert_eq!(first.to, None);
    w.acked();
    w.after(110);
    assert_eq!(w.sent().to, Some(taker(1)));
    w.failed(Reason::NoRoute, Certainty::Unknown);
    w.after(100);
    assert_eq!(w.sent().to, Some(taker(1)), "a copy was lost, and no more");
    // What is on its way to it when it is gone comes to nothing: another may run it, at once.
    let on_its_way = MsgId(w.msgid);
    w.caller.handle_gone(taker(1).instance);
    assert_eq!(w.caller.poll_withdraw(), Some(on_its_way));
    let next = w.sent();
    assert_eq!((next.to, next.is_repeat), (None, true));
    assert!(!w.caller.handle_acked(w.now, on_its_way, Some(taker(1))));
    assert!(w.caller.handle_acked(w.now, MsgId(w.msgid), Some(taker(2))));
    w.caller.handle_gone(taker(1).instance);
    w.nothing_sent();
    w.after(1000);
    assert_eq!(w.sent().to, Some(taker(2)));
    w.failed(Reason::ReceiverGone, Certainty::Unknown);
    w.after(1000);
    assert_eq!(w.sent().to, None);
    assert!(w.caller.handle_acked(w.now, MsgId(w.msgid), Some(taker(3))));
    assert!(w.reply(first.xid, Err(CallFailure::not_started(Why::Busy))));
    w.after(1000);
    assert_eq!(w.sent().to, None, "it has no run of it");
}

#[test]
fn a_reply_that_came_before_its_server_was_gone_wins() {
    for options in [AT_MOST_ONCE, AT_LEAST_ONCE] {
        let mut w = World::new();
        w.start(options);
        let xid = w.sent().xid;
        w.acked();
        assert!(w.reply(xid, Ok(b"reply")));
        w.caller.handle_gone(taker(1).instance);
        assert_eq!(w.done(), Ok(b"reply".to_vec()));
        w.nothing_sent();
    }
}

#[test]
fn a_cancelled_call_tells_its_server() {
    let mut w = World::new();
    let call = w.start(AT_MOST_ONCE);
    assert!(w.caller.cancel(w.now, call));
    assert_eq!(w.done(), Err(CallFailure::not_started(Why::Cancelled)), "it was never sent");
    assert_eq!(w.caller.poll_cancel(), None);
    w.nothing_sent();

    let call = w.start(AT_MOST_ONCE);
    let xid = w.sent().xid;
    w.acked();
    assert!(w.caller.cancel(w.now, call));
    assert_eq!(w.done(), Err(CallFailure::unknown(Why::Cancelled)));
    let Cancellation { dst, to, message } = w.caller.poll_cancel().expect("a cancellation");
    assert_eq!((dst, to), (DST, Some(taker(1))), "who has it is told, and nobody else");
    assert_eq!(CallFrame::parse(&message), Ok(CallFrame::Cancel { procedure: PROCEDURE, xid }));
    assert!(!w.caller.cancel(w.now, call));
}

#[test]
fn what_the_server_refused_is_what_it_says() {
    for (why, certainty) in [
        (Why::NoProcedure, Certainty::NotStarted),
        (Why::Deadline, Certainty::NotStarted),
        (Why::XidReused, Certainty::NotStarted),
        (Why::NoReply, Certainty::Unknown),
        (Why::ReplyLost, Certainty::Unknown),
    ] {
        for options in [AT_MOST_ONCE, AT_LEAST_ONCE] {
            let mut w = World::new();
            w.start(options);
            let xid = w.sent().xid;
            w.acked();
            assert!(w.reply(xid, Err(CallFailure { certainty, why })));
            assert_eq!(w.done(), Err(CallFailure { certainty, why }));
        }
    }
}

#[test]
fn a_repeat_is_never_not_started() {
    let mut w = World::new();
    w.start(CallOptions { xid: Some(XID), is_repeat: true, retries: 3, ..AT_MOST_ONCE });
    let head = w.sent();
    assert_eq!(head, Head { xid: XID, is_repeat: true, timeout: SECOND, to: None });
    w.failed(Reason::NoRoute, Certainty::NotStarted);
    assert_eq!(w.done(), Err(CallFailure::unknown(Why::Request(Reason::NoRoute))));
}

#[test]
fn a_busy_server_is_asked_again() {
    let mut w = World::new();
    w.start(CallOptions { retries: 1, ..AT_MOST_ONCE });
    let xid = w.sent().xid;
    w.acked();
    assert!(w.reply(xid, Err(CallFailure::not_started(Why::Busy))));
    w.not_done();
    w.after(100);
    assert!(!w.sent().is_repeat);
    assert!(w.reply(xid, Err(CallFailure::not_started(Why::Busy))));
    assert_eq!(w.done(), Err(CallFailure::not_started(Why::Busy)));
}

#[test]
fn limits_are_kept() {
    let mut w = World::new();
    let start = |w: &mut World, options| w.caller.start(w.now, (DST, PROCEDURE), &[0; 1 << 20], options);
    let own = CallOptions { xid: Some(XID), ..AT_MOST_ONCE };
    assert!(start(&mut w, own).is_ok());
    assert_eq!(start(&mut w, own), Err(StartError::XidInUse));
    let longest = Span::from_millis(limits::MAX_CALL_TIMEOUT_MS);
    for timeout in [Span::ZERO, longest + Span(1)] {
        assert_eq!(start(&mut w, CallOptions { timeout, ..AT_MOST_ONCE }), Err(StartError::Timeout));
    }
    for xid in [None, Some(Xid(0))] {
        let repeat = CallOptions { is_repeat: true, xid, ..AT_MOST_ONCE };
        assert_eq!(start(&mut w, repeat), Err(StartError::NoXid));
    }
    for _ in 1..32 {
        assert!(start(&mut w, CallOptions { timeout: longest, ..AT_MOST_ONCE }).is_ok());
    }
    assert_eq!(start(&mut w, AT_MOST_ONCE), Err(StartError::WouldBlock));
    let request = w.caller.poll_send(w.now).expect("the first");
    let call = request.call;
    w.caller.record_not_sent(call);
    assert_eq!(w.caller.poll_send(w.now).map(|r| r.call), Some(call));
    w.caller.forget(call);
    assert!(start(&mut w, own).is_ok(), "there is room, and the XID is free");
    let Some(Done { .. }) = w.caller.poll_done(&mut w.counters) else { return };
    panic!("what never was has no outcome");
}

#[test]
fn a_clock_that_goes_back_leaves_as_long_to_wait_as_before() {
    let mut w = World::new();
    let hour = 3_600_000_000;
    w.now = Time(2 * hour);
    w.start(AT_MOST_ONCE);
    w.sent();
    w.acked();
    w.now = w.now.minus(Span(hour));
    w.caller.rewind(Span(hour));
    let timeout = AT_MOST_ONCE.timeout.as_millis();
    w.after(timeout - 1);
    w.not_done();
    w.after(1);
    assert_eq!(w.done().unwrap_err().why, Why::Deadline);
}
