//! The server's side.

use super::{PROCEDURE, SECOND, XID, requester};
use crate::{
    call::{
        CallCounters, CallFailure, CallFrame, Calls, Job, LostReply, Procedure, ProcedureOptions, Reply,
        ReplyCacheLimits, ReplyError, Requester, RunId, Why, Xid, put_cancel, put_request,
    },
    limits,
    session::CallMessage,
    units::{Span, Time},
};

pub(super) const PLAIN: ProcedureOptions =
    ProcedureOptions { is_idempotent: false, lost_reply: LostReply::BySemantics };

/// How a request is marked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    First,
    Repeat,
    AtLeastOnceRepeat,
}

/// A server and its clock.
pub(super) struct World {
    pub(super) calls: Calls,
    pub(super) now: Time,
}

/// What was answered.
pub(super) type Said = Result<Vec<u8>, CallFailure>;

impl World {
    pub(super) fn new(options: ProcedureOptions) -> Self {
        let mut calls = Calls::new([1; 16], [2; 16]);
        calls.server.serve(PROCEDURE, options);
        Self { calls, now: Time(1_000_000_000) }
    }

    pub(super) fn with_cache(entries: usize) -> Self {
        let mut w = Self::new(PLAIN);
        w.calls.server.enable_reply_cache(entries.into());
        w
    }

    fn message(&mut self, from: &Requester, data: &[u8]) {
        let (src, uid, node) = (from.instance, from.uid, from.node.to_string());
        let message = CallMessage { src, sent_at: self.now, uid, node, data };
        self.calls.handle_message(self.now, &message);
    }

    pub(super) fn request(&mut self, from: &Requester, xid: Xid, mark: Mark, body: &[u8]) {
        let mut message = Vec::new();
        let at_least_once = mark == Mark::AtLeastOnceRepeat;
        put_request(&mut message, (PROCEDURE, xid), mark != Mark::First, at_least_once, SECOND);
        message.extend_from_slice(body);
        self.message(from, &message);
    }

    pub(super) fn cancel(&mut self, from: &Requester) {
        let mut message = Vec::new();
        put_cancel(&mut message, PROCEDURE, XID);
        self.message(from, &message);
    }

    pub(super) fn job(&mut self) -> Option<Job> {
        self.calls.server.poll_job(self.now, &mut self.calls.counters)
    }

    pub(super) fn reply(&mut self, job: &Job, reply: &[u8]) -> Result<(), ReplyError> {
        self.calls.server.reply(self.now, job.run, reply, 1 << 20, &mut self.calls.counters)
    }

    pub(super) fn poll_reply(&mut self) -> Option<Reply> {
        self.calls.server.poll_reply(self.now, &mut self.calls.counters)
    }

    /// Answers to whom, and what.
    pub(super) fn said(&mut self) -> Vec<(u32, Said)> {
        let mut said = Vec::new();
        while let Some(reply) = self.poll_reply() {
            let Ok(CallFrame::Reply { answer, .. }) = CallFrame::parse(&reply.message) else {
                panic!("{reply:?}")
            };
            said.push((reply.to.instance.client.0, answer.map(<[u8]>::to_vec)));
        }
        said
    }

    /// Runs what is to be run, answering with the request; returns how many.
    pub(super) fn run(&mut self) -> usize {
        let mut runs = 0;
        while let Some(job) = self.job() {
            assert_eq!(self.reply(&job, &job.request), Ok(()));
            runs += 1;
        }
        runs
    }

    pub(super) fn counters(&self) -> CallCounters {
        self.calls.counters
    }
}

#[test]
fn a_repeat_is_answered_from_the_cache_and_not_run() {
    let mut w = World::with_cache(10);
    let a = requester(1, 1000, "n");
    w.request(&a, XID, Mark::First, b"x");
    assert_eq!((w.run(), w.said()), (1, vec![(1, Ok(b"x".to_vec()))]));
    // A restarted caller has another incarnation.
    let mut again = a;
    again.instance.incarnation.0 += 1;
    for mark in [Mark::First, Mark::Repeat, Mark::AtLeastOnceRepeat] {
        w.request(&again, XID, mark, b"x");
        assert_eq!((w.run(), w.said()), (0, vec![(1, Ok(b"x".to_vec()))]));
    }
    let CallCounters { hits, misses, runs, .. } = w.counters();
    assert_eq!((hits, misses, runs), (3, 1, 1));
}

#[test]
fn nobody_is_given_anothers_reply() {
    let mut w = World::with_cache(10);
    w.request(&requester(1, 1000, "n"), XID, Mark::First, b"x");
    w.run();
    for other in [requester(2, 1000, "n"), requester(1, 1001, "n"), requester(1, 1000, "m")] {
        w.request(&other, XID, Mark::First, b"x");
        assert_eq!(w.run(), 1, "{other:?}");
    }
    w.calls.server.serve(Procedure(8), PLAIN);
    let mut message = Vec::new();
    put_request(&mut message, (Procedure(8), XID), false, false, SECOND);
    message.extend_from_slice(b"x");
    w.message(&requester(1, 1000, "n"), &message);
    assert_eq!(w.run(), 1, "another procedure");
}

#[test]
fn a_reused_xid_is_an_error_whether_the_call_runs_or_ran() {
    let mut w = World::with_cache(10);
    let a = requester(1, 1000, "n");
    w.request(&a, XID, Mark::First, b"x");
    let job = w.job().expect("it runs");
    w.request(&a, XID, Mark::First, b"y");
    let mismatch = vec![(1, Err(CallFailure::not_started(Why::XidReused)))];
    assert_eq!(w.said(), mismatch);
    w.reply(&job, b"x").expect("it is the first");
    w.said();
    w.request(&a, XID, Mark::Repeat, b"y");
    assert_eq!((w.run(), w.said()), (0, mismatch));
    assert_eq!(w.counters().mismatches, 2);
}

#[test]
fn a_repeat_of_a_running_call_waits_for_that_run() {
    // With no cache, too.
    for mut w in [World::new(PLAIN), World::with_cache(10)] {
        let a = requester(1, 1000, "n");
        w.request(&a, XID, Mark::First, b"x");
        w.request(&a, XID, Mark::Repeat, b"x");
        let job = w.job().expect("one");
        assert_eq!(w.job(), None);
        w.request(&a, XID, Mark::AtLeastOnceRepeat, b"x");
        assert_eq!((w.job(), w.said()), (None, vec![]));
        w.reply(&job, b"done").expect("it runs");
        assert_eq!(w.said(), [(1, Ok(b"done".to_vec()))]);
        assert_eq!(w.counters().in_progress_hits, 2);
        assert_eq!(w.reply(&job, b"again"), Err(ReplyError::NotRunning));
    }
}

#[test]
fn only_a_call_that_was_given_out_can_be_answered() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    for xid in 1..=2 {
        w.request(&a, Xid(xid), Mark::First, b"x");
    }
    let first = w.job().expect("one");
    // The number of the next can be guessed.
    let next = Job { run: RunId(first.run.0 + 1), ..first.clone() };
    let answer = |w: &mut World| {
        w.calls.server.give_up(w.now, next.run, &mut w.calls.counters);
        w.reply(&next, b"guessed")
    };
    assert_eq!((answer(&mut w), w.said()), (Err(ReplyError::NotRunning), vec![]));
    assert_eq!(w.reply(&first, b"first"), Ok(()));
    w.calls.handle_gone(a.instance);
    assert_eq!(w.job(), None, "it is put aside");
    assert_eq!((answer(&mut w), w.calls.server.len()), (Err(ReplyError::NotRunning), 0));
    w.request(&a, Xid(2), Mark::Repeat, b"x");
    assert_eq!(w.job().map(|job| job.run), Some(next.run), "it is still there");
    assert_eq!(w.reply(&next, b"second"), Ok(()));
    assert_eq!(w.said(), [(1, Ok(b"first".to_vec())), (1, Ok(b"second".to_vec()))]);
}

#[test]
fn a_repeat_whose_reply_is_gone_is_treated_as_the_server_chose() {
    for (lost_reply, mark, runs) in [
        (LostReply::BySemantics, Mark::Repeat, false),
        (LostReply::BySemantics, Mark::AtLeastOnceRepeat, true),
        (LostReply::Refuse, Mark::Repeat, false),
        (LostReply::Refuse, Mark::AtLeastOnceRepeat, false),
        (LostReply::Run, Mark::Repeat, true),
        (LostReply::Run, Mark::AtLeastOnceRepeat, true),
    ] {
        let mut w = World::new(ProcedureOptions { is_idempotent: false, lost_reply });
        w.request(&requester(1, 1000, "n"), XID, mark, b"x");
        let job = w.job();
        assert_eq!(job.as_ref().map(|job| job.is_repeat), runs.then_some(true), "{lost_reply:?} {mark:?}");
        let refused = (1, Err(CallFailure::unknown(Why::ReplyLost)));
        assert_eq!(w.said(), if runs { vec![] } else { vec![refused] });
        assert_eq!(w.counters().lost, 1);
    }
}

#[test]
fn an_idempotent_procedure_runs_again() {
    let mut w = World::new(ProcedureOptions { is_idempotent: true, lost_reply: LostReply::Refuse });
    w.calls.server.enable_reply_cache(10.into());
    let a = requester(1, 1000, "n");
    for mark in [Mark::First, Mark::Repeat, Mark::AtLeastOnceRepeat] {
        w.request(&a, XID, mark, b"x");
        assert_eq!(w.run(), 1);
    }
    assert_eq!((w.counters().hits, w.counters().lost), (0, 0));
}

#[test]
fn a_call_out_of_time_is_not_begun() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    w.request(&a, XID, Mark::First, b"x");
    let late = vec![(1, Err(CallFailure::not_started(Why::Deadline)))];
    w.now = w.now + SECOND;
    assert_eq!((w.run(), w.said()), (0, late.clone()), "it waited for a handler");
    let mut message = Vec::new();
    put_request(&mut message, (PROCEDURE, XID), false, false, Span::ZERO);
    w.message(&a, &message);
    assert_eq!((w.run(), w.said()), (0, late), "it came late");
    assert_eq!(w.counters().late, 2);
}

#[test]
fn a_cancelled_call_is_not_begun_and_a_running_one_can_ask() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    w.request(&a, XID, Mark::First, b"x");
    w.cancel(&requester(2, 1000, "n"));
    w.cancel(&a);
    assert_eq!((w.run(), w.said()), (0, vec![(1, Err(CallFailure::not_started(Why::Cancelled)))]));
    w.request(&a, XID, Mark::First, b"x");
    let job = w.job().expect("it runs");
    let waits = |w: &World| w.calls.server.caller_waits(w.now, job.run);
    assert!(waits(&w));
    assert_eq!(w.calls.server.time_left(w.now, job.run), SECOND);
    w.cancel(&a);
    assert!(!waits(&w));
    w.request(&a, XID, Mark::First, b"x");
    assert!(waits(&w), "it asks again");
    w.now = w.now + SECOND;
    assert!(!waits(&w));
    assert_eq!(w.calls.server.time_left(w.now, job.run), Span::ZERO);
    w.reply(&job, b"x").expect("still");
    assert!(!waits(&w));
}

#[test]
fn only_the_calls_whose_callers_wait_are_awaited() {
    let mut w = World::new(PLAIN);
    let (a, b, end) = (requester(1, 1000, "n"), requester(2, 1000, "n"), w.now + SECOND);
    let awaited = |w: &World| w.calls.server.awaited(w.now).collect::<Vec<_>>();
    assert_eq!(awaited(&w), []);
    w.request(&a, XID, Mark::First, b"x");
    let job = w.job().expect("it runs");
    w.now = w.now + Span::from_millis(1);
    w.request(&b, XID, Mark::First, b"x");
    w.request(&requester(3, 1000, "n"), XID, Mark::First, b"x");
    let later = w.now + SECOND;
    assert_eq!(awaited(&w), [end, later, later], "begun or not");
    w.cancel(&b);
    assert_eq!(awaited(&w), [end, later]);
    w.now = end;
    assert_eq!(awaited(&w), [later], "the first one's caller waits no more");
    w.now = w.now.minus(Span::from_millis(1));
    w.reply(&job, b"done").expect("it runs");
    assert_eq!(awaited(&w), [later]);
}

#[test]
fn a_handler_that_gives_no_reply_ran_and_its_repeats_are_told_the_same() {
    let mut w = World::with_cache(10);
    let a = requester(1, 1000, "n");
    w.request(&a, XID, Mark::First, b"x");
    let job = w.job().expect("it runs");
    w.calls.server.give_up(w.now, job.run, &mut w.calls.counters);
    let no_reply = vec![(1, Err(CallFailure::unknown(Why::NoReply)))];
    assert_eq!(w.said(), no_reply);
    w.request(&a, XID, Mark::Repeat, b"x");
    assert_eq!((w.run(), w.said()), (0, no_reply));
}

#[test]
fn what_is_not_served_has_not_started() {
    let mut w = World { calls: Calls::new([1; 16], [2; 16]), now: Time(1) };
    w.request(&requester(1, 1000, "n"), XID, Mark::First, b"x");
    assert_eq!((w.run(), w.said()), (0, vec![(1, Err(CallFailure::not_started(Why::NoProcedure)))]));
}

#[test]
fn what_came_before_the_process_asked_for_it_waits_for_its_procedure() {
    let mut w = World { calls: Calls::new([1; 16], [2; 16]), now: Time(1) };
    let (a, b) = (requester(1, 1000, "n"), requester(2, 1000, "n"));
    w.request(&a, XID, Mark::First, b"x");
    w.request(&b, XID, Mark::Repeat, b"x");
    assert_eq!(w.said(), []);
    w.calls.server.serve(PROCEDURE, PLAIN);
    let lost = (2, Err(CallFailure::unknown(Why::ReplyLost)));
    assert_eq!((w.run(), w.said()), (1, vec![(1, Ok(b"x".to_vec())), lost]));
    // From then on it is known what it serves.
    let mut message = Vec::new();
    put_request(&mut message, (Procedure(8), XID), false, false, SECOND);
    w.message(&a, &message);
    assert_eq!(w.said(), [(1, Err(CallFailure::not_started(Why::NoProcedure)))]);
}

#[test]
fn more_calls_than_may_be_are_busy() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    for n in 0..limits::MAX_SERVED_CALLS as u64 {
        w.request(&a, Xid(n), Mark::First, b"x");
    }
    assert_eq!(w.said(), []);
    w.request(&a, XID, Mark::First, b"x");
    assert_eq!(w.said(), [(1, Err(CallFailure::not_started(Why::Busy)))]);
    let job = w.job().expect("the first");
    w.reply(&job, b"x").expect("it runs");
    w.said();
    w.request(&a, XID, Mark::First, b"x");
    assert_eq!(w.said(), []);
}

#[test]
fn a_reply_that_is_too_large_or_for_which_there_is_no_room_can_be_given_again() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    let mib = vec![0; (1 << 20) - 16];
    for n in 0..33 {
        w.request(&a, Xid(n), Mark::First, b"x");
    }
    for _ in 0..32 {
        let job = w.job().expect("a call");
        if w.reply(&job, &mib) == Err(ReplyError::WouldBlock) {
            let reply = w.poll_reply().expect("one");
            w.calls.server.put_back(reply.clone());
            assert_eq!(w.poll_reply(), Some(reply));
            assert_eq!(w.reply(&job, &mib), Ok(()));
            return;
        }
    }
    let job = w.job().expect("a call");
    assert_eq!(w.reply(&job, &vec![0; (1 << 20) - 15]), Err(ReplyError::TooLarge));
    assert_eq!(w.reply(&job, &mib), Err(ReplyError::WouldBlock));
}

#[test]
fn a_reply_that_nobody_waits_for_any_more_is_not_sent() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    for n in 0..3 {
        w.request(&a, Xid(n), Mark::First, b"x");
    }
    w.run();
    let first = w.poll_reply().expect("there is room");
    w.calls.server.put_back(first);
    w.now = w.now + SECOND + Span::from_millis(limits::CALL_GRACE_MS - 1);
    let first = w.poll_reply().expect("its caller may wait for what is known of it");
    w.calls.server.put_back(first);
    w.now = w.now + Span::from_millis(1);
    assert_eq!(w.said(), []);
    assert!(!w.calls.server.has_unsent());
    assert_eq!(w.counters().lost_replies, 3);
}

#[test]
fn the_cache_cannot_be_made_smaller() {
    let mut w = World::with_cache(2);
    w.calls.server.enable_reply_cache(0.into());
    w.calls.server.enable_reply_cache(ReplyCacheLimits { entries: 1, bytes: 0, age: Span::ZERO });
    let a = requester(1, 1000, "n");
    for n in 0..2 {
        w.request(&a, Xid(n), Mark::First, b"x");
    }
    w.run();
    w.now = w.now + SECOND;
    for n in 0..2 {
        w.request(&a, Xid(n), Mark::Repeat, b"x");
    }
    assert_eq!((w.run(), w.counters().hits), (0, 2));
}

#[test]
fn a_server_knows_whether_the_caller_still_waits() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    let mut runs = Vec::new();
    for xid in 1..=3 {
        w.request(&a, Xid(xid), Mark::First, b"x");
        runs.push(w.job().expect("it runs").run);
    }
    let waits = |w: &World, run| w.calls.server.caller_waits(w.now, run);
    assert!(runs.iter().all(|run| waits(&w, *run)));
    let whom = w.calls.poll_watch().expect("its caller");
    assert_eq!((whom.instance, &*whom.node), (a.instance, "n"));
    let mut message = Vec::new();
    put_cancel(&mut message, PROCEDURE, Xid(1));
    w.message(&a, &message);
    assert_eq!(runs.iter().map(|run| waits(&w, *run)).collect::<Vec<_>>(), [false, true, true]);
    w.calls.handle_gone(requester(2, 1000, "n").instance);
    assert!(waits(&w, runs[1]), "somebody else");
    w.calls.handle_gone(a.instance);
    assert!(!waits(&w, runs[1]) && !waits(&w, runs[2]));
    assert_eq!(w.counters().abandoned, 3);
    // A repeat by the caller's next life waits for the run.
    let mut again = a;
    again.instance.incarnation.0 += 1;
    w.request(&again, Xid(2), Mark::Repeat, b"x");
    assert!(waits(&w, runs[1]) && !waits(&w, runs[2]));
    w.now = w.now + SECOND;
    assert!(!waits(&w, runs[1]), "its time is over");
}

#[test]
fn who_leaves_answers_what_it_knows_and_begins_nothing_new() {
    let mut w = World::with_cache(10);
    let a = requester(1, 1000, "n");
    for xid in 1..=2 {
        w.request(&a, Xid(xid), Mark::First, b"x");
    }
    let replied = w.job().expect("the first");
    w.reply(&replied, b"x").expect("it runs");
    let runs = w.job().expect("the second");
    w.said();
    w.calls.server.record_leaving(true);
    for xid in 1..=3 {
        w.request(&a, Xid(xid), Mark::AtLeastOnceRepeat, b"x");
    }
    let unknown = (1, Err(CallFailure::not_started(Why::Busy)));
    assert_eq!((w.job(), w.said()), (None, vec![(1, Ok(b"x".to_vec())), unknown]));
    w.reply(&runs, b"x").expect("it runs");
    assert_eq!(w.said(), [(1, Ok(b"x".to_vec()))]);
}
