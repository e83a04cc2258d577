//! Draining with calls that are answered later: they are finished first.

use std::{sync::mpsc, thread};

use msg::{Call, Error};

use super::*;
use crate::daemon::{PROCEDURE, Said, now};

/// A client that hands the calls of its procedure to whoever answers them, and has begun one.
fn with_a_call(timeout: Duration) -> (Socket, Client, Daemon, Call) {
    let (socket, client, mut daemon) = pair();
    let (begun, calls) = mpsc::channel();
    client.serve(PROCEDURE, move |_, call| begun.send(call).expect("heard"));
    daemon.deliver_call(1, timeout);
    assert_eq!(client.dispatch(LONG), Ok(1));
    assert_eq!(daemon.hear(), Said::Taken(1));
    (socket, client, daemon, calls.recv().expect("begun"))
}

#[test]
fn a_drain_waits_for_a_call_that_another_thread_answers() {
    let (_socket, client, mut daemon, call) = with_a_call(LONG);
    assert_eq!(client.flush(LONG), Ok(()), "a flush is of messages only");
    assert_eq!(client.drain(Duration::ZERO), Err(Error::Timeout { unresolved: 1 }));
    assert_eq!(daemon.hear(), Said::Drained);
    thread::scope(|scope| {
        let drained = scope.spawn(|| client.drain(LONG));
        client.reply(&call.responder, b"done").expect("its caller waits");
        let reply = daemon.hear_submit();
        assert!(!drained.is_finished(), "the reply has no outcome yet");
        daemon.resolve(reply, 1);
        assert_eq!(drained.join().expect("no panic"), Ok(()));
    });
}

#[test]
fn a_drain_waits_for_a_call_that_another_thread_gives_up() {
    let (_socket, client, mut daemon, call) = with_a_call(LONG);
    assert_eq!(client.drain(Duration::ZERO), Err(Error::Timeout { unresolved: 1 }));
    assert_eq!(daemon.hear(), Said::Drained);
    thread::scope(|scope| {
        let drained = scope.spawn(|| client.drain(LONG));
        // Nobody wakes the one that waits.
        drop(call);
        let reply = daemon.hear_submit();
        daemon.resolve(reply, 1);
        assert_eq!(drained.join().expect("no panic"), Ok(()));
    });
}

#[test]
fn a_drain_waits_for_an_answer_no_longer_than_its_caller() {
    let timeout = Duration::from_millis(300);
    let (_socket, client, _daemon, call) = with_a_call(timeout);
    let begun = now();
    assert_eq!(client.drain(Duration::ZERO), Err(Error::Timeout { unresolved: 1 }));
    assert_eq!(client.drain(LONG), Ok(()));
    assert_eq!(call.responder.time_left(), Duration::ZERO);
    assert!(now().since(begun) < LONG.into());
}
