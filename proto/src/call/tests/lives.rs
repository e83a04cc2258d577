//! Callers that die, and come back.

use super::{
    SECOND, XID, requester,
    server::{Mark, PLAIN, World},
};
use crate::{
    call::{CallFailure, ProcedureOptions, Why, Xid},
    limits,
};

#[test]
fn a_cancellation_is_of_the_newest_instance_that_asked() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    let mut next = a.clone();
    next.instance.incarnation.0 += 1;
    w.request(&a, XID, Mark::First, b"x");
    w.cancel(&next);
    let job = w.job().expect("another instance with that XID cancels nothing");
    w.request(&next, XID, Mark::Repeat, b"x");
    w.cancel(&a);
    let waits = |w: &World| w.calls.server.caller_waits(w.now, job.run);
    assert!(waits(&w), "its next life waits for that run now");
    w.cancel(&next);
    assert!(!waits(&w));
    assert_eq!(w.counters().cancelled, 1);
}

#[test]
fn a_request_of_an_earlier_life_that_comes_late_leaves_the_answer_to_the_later_one() {
    let mut w = World::with_cache(10);
    let a = requester(1, 1000, "n");
    let mut next = a.clone();
    next.instance.incarnation.0 += 1;
    w.request(&next, XID, Mark::AtLeastOnceRepeat, b"x");
    let job = w.job().expect("it runs");
    w.request(&a, XID, Mark::First, b"x");
    assert_eq!(w.job(), None);
    w.calls.handle_gone(a.instance);
    assert!(w.calls.server.caller_waits(w.now, job.run));
    w.reply(&job, b"done").expect("it runs");
    let reply = w.poll_reply().expect("one");
    assert_eq!((reply.to.instance, w.poll_reply()), (next.instance, None));
}

#[test]
fn a_call_of_a_dead_caller_is_not_begun_unless_it_is_repeated() {
    let mut w = World::with_cache(10);
    let a = requester(1, 1000, "n");
    for xid in 1..=2 {
        w.request(&a, Xid(xid), Mark::First, b"x");
    }
    w.calls.handle_gone(a.instance);
    assert_eq!((w.run(), w.calls.server.len()), (0, 0));
    // It is known that it did not run: its repeat is no repeat of anything.
    let mut again = a.clone();
    again.instance.incarnation.0 += 1;
    w.request(&again, Xid(2), Mark::Repeat, b"x");
    let job = w.job().expect("it is begun");
    assert_eq!((job.xid, job.is_repeat, job.from.instance), (Xid(2), false, again.instance));
    assert_eq!(w.reply(&job, b"x"), Ok(()));
    assert_eq!(w.said(), [(1, Ok(b"x".to_vec()))]);
    // The other one's time is over: nothing is left of it.
    w.now = w.now + SECOND;
    assert_eq!(w.run(), 0);
    w.request(&again, Xid(1), Mark::Repeat, b"x");
    assert_eq!((w.run(), w.said()), (0, vec![(1, Err(CallFailure::unknown(Why::ReplyLost)))]));
}

#[test]
fn at_least_once_is_begun_though_its_caller_be_gone() {
    let mut w = World::new(ProcedureOptions { is_idempotent: true, ..PLAIN });
    let a = requester(1, 1000, "n");
    w.request(&a, XID, Mark::AtLeastOnceRepeat, b"x");
    w.calls.handle_gone(a.instance);
    assert_eq!(w.run(), 1);
}

#[test]
fn calls_put_aside_make_room() {
    let mut w = World::new(PLAIN);
    let a = requester(1, 1000, "n");
    for xid in 0..limits::MAX_SERVED_CALLS as u64 {
        w.request(&a, Xid(xid), Mark::First, b"");
        w.calls.poll_watch();
    }
    w.calls.handle_gone(a.instance);
    assert_eq!(w.run(), 0);
    let b = requester(2, 1000, "n");
    w.request(&b, XID, Mark::First, b"");
    assert_eq!((w.run(), w.said().len(), w.counters().busy), (1, 1, 0));
}
