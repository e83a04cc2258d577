//! To whom a reply goes: to the very process that called, through the library and real daemons.

use std::{
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use msg::{
    Arrival, CallError, CallFailure, CallOptions, Certainty, Client, ClientId, Responder, Semantics, Why, Xid,
};
use msg_tests::{node::Node, wait};

use super::calls::{PATIENT, Server, nodes};

const SERVER: ClientId = ClientId(200);
const PROCEDURE: msg::Procedure = msg::Procedure(1);

/// Has what is called wait until somebody answers.
fn hold(server: &Server) -> mpsc::Receiver<Responder> {
    let (send, held) = mpsc::channel();
    let send = Mutex::new(send);
    server.client.serve(PROCEDURE, move |_, call| {
        send.lock().expect("no panic").send(call.responder).expect("the test waits");
    });
    held
}

fn caller(node: &Node, arrival: Arrival) -> Client {
    node.client(100).arrival(arrival).connect().expect("registered")
}

#[test]
fn a_caller_that_was_superseded_or_drained_gets_its_reply() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    let held = hold(&server);
    for node in [&a, &b] {
        for is_drained in [false, true] {
            let old = caller(node, Arrival::Alone);
            let (new, result) = thread::scope(|scope| {
                let call = scope.spawn(|| old.call(SERVER, PROCEDURE, b"", PATIENT));
                let responder = held.recv().expect("it runs");
                let drain = is_drained.then(|| {
                    let drain = scope.spawn(|| old.drain(wait::PATIENCE));
                    wait::until("it takes no more", || old.is_draining());
                    drain
                });
                let new = caller(node, Arrival::Takeover);
                wait::until("the old one knows", || old.is_draining());
                server.client.reply(&responder, b"reply").expect("it waits");
                if let Some(drain) = drain {
                    drain.join().expect("no panic").expect("its call has ended");
                }
                (new, call.join().expect("no panic"))
            });
            assert_eq!(result.expect("a reply").data, b"reply");
            // The new one was given nothing, and calls on its own.
            thread::scope(|scope| {
                let call = scope.spawn(|| new.call(SERVER, PROCEDURE, b"", PATIENT));
                let responder = held.recv().expect("it runs");
                server.client.reply(&responder, b"its own").expect("it waits");
                assert_eq!(call.join().expect("no panic").expect("a reply").data, b"its own");
            });
            assert_eq!(new.call_counters().unknown_replies, 0);
        }
    }
    assert_eq!(server.client.call_counters().lost_replies, 0);
}

#[test]
fn a_server_that_was_superseded_answers_and_can_be_told_that_nobody_waits() {
    let (a, b) = nodes();
    let old = Server::start(&b, 200);
    let held = hold(&old);
    let caller = Server::start(&a, 100);
    let (told, results) = mpsc::channel();
    let start = || {
        let told = told.clone();
        let done = move |_: &Client, result| told.send(result).expect("the test waits");
        caller.client.start_call(SERVER, PROCEDURE, b"", PATIENT, done).expect("room")
    };
    let _answered = start();
    let first = held.recv().expect("it runs");
    let cancelled = start();
    let second = held.recv().expect("it runs");
    wait::until("its requests are known to be taken", || caller.client.unresolved() == 0);
    let new = b.client(200).arrival(Arrival::Takeover).connect().expect("registered");
    wait::until("the old one knows", || old.client.is_draining());
    assert!(old.client.caller_waits(&second));
    assert!(caller.client.cancel_call(cancelled));
    let failure = CallFailure { certainty: Certainty::Unknown, why: Why::Cancelled };
    assert_eq!(results.recv().expect("an outcome"), Err(CallError::Failed(failure)));
    wait::until("it is told", || !old.client.caller_waits(&second));
    old.client.reply(&first, b"of the old one").expect("it waits");
    assert_eq!(results.recv().expect("an outcome").expect("a reply").data, b"of the old one");
    assert_eq!(new.call_counters().cancelled, 0);
}

#[test]
fn a_server_that_was_superseded_is_asked_again_and_its_successor_is_not() {
    let (a, b) = nodes();
    for node in [&a, &b] {
        let old = Server::start(&b, 200);
        let held = hold(&old);
        let caller = caller(node, Arrival::Alone);
        let options = CallOptions { semantics: Semantics::AtLeastOnce, ..PATIENT };
        let result = thread::scope(|scope| {
            let call = scope.spawn(|| caller.call(SERVER, PROCEDURE, b"", options));
            let responder = held.recv().expect("it runs");
            let new = b.client(200).arrival(Arrival::Takeover).connect().expect("registered");
            new.serve(PROCEDURE, |_, _| panic!("its predecessor lives, and runs it"));
            wait::until("it was asked again, twice", || {
                new.dispatch(Duration::from_millis(10)).expect("not refused");
                old.client.call_counters().in_progress_hits >= 2
            });
            old.client.reply(&responder, b"of the old one").expect("it waits");
            call.join().expect("no panic")
        });
        assert_eq!(result.expect("a reply").data, b"of the old one");
    }
}

#[test]
fn a_reply_to_a_process_that_is_gone_goes_to_nobody() {
    let (a, b) = nodes();
    let server = Server::start(&b, 200);
    let held = hold(&server);
    for (node, lost) in [(&a, 1), (&b, 2)] {
        let gone = caller(node, Arrival::Alone);
        let own = CallOptions { xid: Some(Xid(7 + lost)), ..PATIENT };
        gone.start_call(SERVER, PROCEDURE, b"", own, |_, _| {}).expect("room");
        let responder = held.recv().expect("it runs");
        drop(gone);
        // It takes whatever comes.
        let next = Server::start(node, 100);
        server.client.reply(&responder, b"reply").expect("it waits");
        wait::until("it has failed", || server.client.call_counters().lost_replies == lost);
        assert_eq!(next.client.call_counters().unknown_replies, 0);
        let failed = CallFailure { certainty: Certainty::Unknown, why: Why::ReplyLost };
        let repeat = CallOptions { is_repeat: true, ..own };
        assert_eq!(next.client.call(SERVER, PROCEDURE, b"", repeat), Err(CallError::Failed(failed)));
    }
}
