//! Draining: what was begun is finished first, and what was taken is begun before others go on.

use std::{sync::mpsc, thread};

use msg::{Call, CallOptions, DrainCause, Error};
use msg_proto::{control::Registered, local::put};

use super::*;
use crate::{
    daemon::{PROCEDURE, Said, grant, now},
    instances::while_dispatching,
    messages::readable,
};

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
    assert_eq!(client.drain(Duration::ZERO), Err(Error::Timeout { unresolved: 0, unanswered: 1 }));
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
    assert_eq!(client.drain(Duration::ZERO), Err(Error::Timeout { unresolved: 0, unanswered: 1 }));
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
fn a_call_that_another_thread_gives_up_is_answered_though_nothing_else_happens() {
    let (_socket, client, mut daemon, call) = with_a_call(LONG);
    thread::scope(|scope| scope.spawn(|| drop(call)).join().expect("no panic"));
    // Nobody wakes the one that waits.
    assert!(readable(&client, LONG), "there is something to do");
    client.dispatch(Duration::ZERO).expect("no error");
    let reply = daemon.hear_submit();
    daemon.resolve(reply, 1);
    assert_eq!(client.flush(LONG), Ok(()));
    assert!(!readable(&client, Duration::from_millis(250)), "nobody has a call any more");
}

#[test]
fn a_drain_waits_for_the_calls_that_were_made() {
    let (_socket, client, mut daemon) = pair();
    let (told, result) = mpsc::channel();
    let options = CallOptions::new(Duration::from_millis(300));
    client
        .start_call(DST, PROCEDURE, b"", options, move |_, result| told.send(result).expect("heard"))
        .expect("room");
    let request = daemon.hear_submit();
    daemon.resolve(request, 1);
    assert_eq!(client.flush(LONG), Ok(()), "the request was taken");
    assert_eq!(client.drain(Duration::ZERO), Err(Error::Timeout { unresolved: 0, unanswered: 1 }));
    assert_eq!(client.drain(LONG), Ok(()));
    result.try_recv().expect("it has ended").expect_err("nobody answered");
}

#[test]
fn a_drain_waits_for_an_answer_no_longer_than_its_caller() {
    let timeout = Duration::from_millis(300);
    let (_socket, client, _daemon, call) = with_a_call(timeout);
    let begun = now();
    assert_eq!(client.drain(Duration::ZERO), Err(Error::Timeout { unresolved: 0, unanswered: 1 }));
    assert_eq!(client.drain(LONG), Ok(()));
    assert_eq!(call.responder.time_left(), Duration::ZERO);
    assert!(now().since(begun) < LONG.into());
}

/// Has each message's handler say that it has begun, and wait until it may go on.
fn hold_messages(client: &Client) -> (mpsc::Receiver<u32>, mpsc::Sender<()>) {
    let (begun, order) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    client.on_message(move |_, message| {
        begun.send(message.msgid.0).expect("heard");
        may_go_on.recv_timeout(LONG).expect("told");
    });
    (order, go_on)
}

/// Whether DRAINED is among what the client has said before this message.
fn has_said_drained(client: &Client, daemon: &mut Daemon) -> bool {
    let marker = send(client);
    let mut has_said = false;
    loop {
        match daemon.hear() {
            Said::Submit { msgid, .. } if msgid == marker => {
                daemon.resolve(marker, 1);
                return has_said;
            }
            Said::Drained => has_said = true,
            Said::Taken(_) | Said::Submit { .. } | Said::Withdraw(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn hear_drained(daemon: &mut Daemon) {
    while daemon.hear() != Said::Drained {}
}

/// Has this thread read DRAIN, while another one may be at its callbacks.
fn read_drain(client: &Client, daemon: &mut Daemon) {
    daemon.say(|out| put::drain(out, DrainCause::Superseded));
    while !client.is_draining() {
        client.dispatch(Duration::ZERO).expect("no error");
    }
}

#[test]
fn messages_that_were_taken_are_begun_before_the_successor_gets_the_next() {
    let (_socket, client, mut daemon) = pair();
    let (order, go_on) = hold_messages(&client);
    daemon.deliver(1, now());
    daemon.deliver(2, now());
    assert!(readable(&client, LONG));
    thread::scope(|scope| {
        scope.spawn(|| client.dispatch(LONG).expect("no error"));
        assert_eq!(order.recv_timeout(LONG), Ok(1));
        read_drain(&client, &mut daemon);
        assert!(!has_said_drained(&client, &mut daemon), "2 is not begun");
        go_on.send(()).expect("heard");
        assert_eq!(order.recv_timeout(LONG), Ok(2));
        go_on.send(()).expect("heard");
        hear_drained(&mut daemon);
    });
}

#[test]
fn calls_that_were_taken_are_begun_before_the_successor_gets_the_next() {
    let (_socket, client, mut daemon) = pair();
    let (begun, order) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    client.serve(PROCEDURE, move |client, call| {
        begun.send(call.xid.0).expect("heard");
        may_go_on.recv_timeout(LONG).expect("told");
        client.reply(&call.responder, b"").expect("its caller waits");
    });
    for seq in 1..=3 {
        daemon.deliver_call(seq, LONG);
    }
    assert!(readable(&client, LONG));
    thread::scope(|scope| {
        scope.spawn(|| {
            while client.call_counters().runs < 3 {
                client.dispatch(LONG).expect("no error");
            }
        });
        for n in 1..=3 {
            assert_eq!(order.recv_timeout(LONG), Ok(n));
            if n == 1 {
                read_drain(&client, &mut daemon);
            }
            assert!(!has_said_drained(&client, &mut daemon), "{n} runs");
            go_on.send(()).expect("heard");
        }
        hear_drained(&mut daemon);
    });
}

#[test]
fn messages_that_wait_for_recv_are_given_before_the_successor_gets_the_next() {
    let (_socket, client, mut daemon) = pair();
    daemon.deliver(1, now());
    assert_eq!(client.recv(LONG).expect("no error").expect("one").msgid.0, 1);
    // A call that waits takes what comes, and keeps it.
    daemon.deliver(2, now());
    let options = CallOptions::new(SHORT);
    client.call(DST, PROCEDURE, b"", options).expect_err("nobody answers");
    read_drain(&client, &mut daemon);
    assert!(!has_said_drained(&client, &mut daemon), "2 waits");
    assert_eq!(client.recv(LONG).expect("no error").expect("one").msgid.0, 2);
    assert_eq!(client.recv(LONG), Err(Error::Draining));
    hear_drained(&mut daemon);
}

#[test]
fn messages_that_nobody_asks_for_hold_up_no_successor() {
    for asks in [false, true] {
        let (_socket, client, mut daemon) = pair();
        if asks {
            assert_eq!(client.try_recv(), Ok(None));
        }
        daemon.deliver(1, now());
        let options = CallOptions::new(SHORT);
        client.call(DST, PROCEDURE, b"", options).expect_err("nobody answers");
        if asks {
            // Who drains asks for no more.
            assert!(matches!(client.drain(Duration::ZERO), Err(Error::Timeout { .. })));
        } else {
            read_drain(&client, &mut daemon);
        }
        hear_drained(&mut daemon);
    }
}

#[test]
fn who_comes_back_as_leaving_says_drained_when_it_has_begun_what_it_took() {
    let (socket, client, mut daemon) = pair();
    let (begun, go_on) = hold_messages(&client);
    daemon.deliver(1, now());
    daemon.deliver(2, now());
    assert!(readable(&client, LONG));
    thread::scope(|scope| {
        scope.spawn(|| client.dispatch(LONG).expect("no error"));
        assert_eq!(begun.recv_timeout(LONG), Ok(1));
        read_drain(&client, &mut daemon);
        drop(daemon);
        let mut daemon = while_dispatching(&client, || {
            let mut daemon = socket.accept();
            let Said::Register(register) = daemon.hear() else { panic!("no REGISTER") };
            assert_eq!(register.arrival, msg::Arrival::Leaving);
            while daemon.hear() != Said::Ready {}
            daemon.say(|out| put::registered(out, &grant(2)));
            daemon
        });
        assert!(!has_said_drained(&client, &mut daemon), "2 is not begun");
        for _ in 1..=2 {
            go_on.send(()).expect("heard");
        }
        hear_drained(&mut daemon);
    });
}

/// A daemon is there again, and registers a client that leaves.
fn come_back(socket: &Socket) -> Daemon {
    let mut daemon = socket.accept();
    let Said::Register(register) = daemon.hear() else { panic!("no REGISTER") };
    assert_eq!(register.arrival, msg::Arrival::Leaving);
    while daemon.hear() != Said::Ready {}
    daemon
}

#[test]
fn a_drain_waits_for_a_daemon_that_is_away_and_tells_it() {
    let (socket, client, mut daemon) = pair();
    daemon.deliver(1, now());
    assert!(readable(&client, LONG));
    drop(daemon);
    assert_eq!(client.drain(SHORT), Err(Error::Timeout { unresolved: 0, unanswered: 0 }));
    thread::scope(|scope| {
        let drained = scope.spawn(|| client.drain(LONG));
        let mut daemon = come_back(&socket);
        hear_drained(&mut daemon);
        // Nothing of it counts before the daemon knows who says it.
        assert!(daemon.hears_nothing() && !drained.is_finished());
        daemon.say(|out| put::registered(out, &grant(2)));
        assert_eq!(drained.join().expect("no panic"), Ok(()));
    });
}

#[test]
fn a_drain_waits_for_a_daemon_no_longer_than_a_message_lives() {
    let socket = Socket::bind();
    let (client, daemon) = brief(&socket);
    drop((daemon, socket));
    let begun = now();
    assert_eq!(client.drain(None), Ok(()));
    let waited = now().since(begun);
    assert!(waited >= LIFE.into() && waited < LONG.into(), "{waited:?}");
    // That time is over, and is not waited for again; nor does it keep an event loop busy.
    assert_eq!(client.drain(Duration::ZERO), Ok(()));
    assert_eq!(client.dispatch(SHORT), Ok(0));
}

#[test]
fn a_daemon_that_reads_nothing_is_waited_for_no_longer_either() {
    let socket = Socket::bind();
    let (client, _daemon) = brief(&socket);
    // More than a socket holds.
    client.send(DST, &vec![0; 1 << 20], UserBuf::EMPTY).expect("room");
    client.flush(LONG).expect("its time is over");
    assert_eq!(client.drain(SHORT), Err(Error::Timeout { unresolved: 0, unanswered: 0 }));
    assert_eq!(client.drain(None), Ok(()));
}

#[test]
fn a_drain_in_an_event_loop_waits_for_a_daemon_too() {
    let (socket, client, daemon) = pair();
    drop(daemon);
    assert_eq!(client.drain(Duration::ZERO), Err(Error::Timeout { unresolved: 0, unanswered: 0 }));
    thread::scope(|scope| {
        let daemon = scope.spawn(|| {
            let mut daemon = come_back(&socket);
            daemon.say(|out| put::registered(out, &grant(2)));
            daemon
        });
        while client.drain(Duration::ZERO) == Err(Error::Timeout { unresolved: 0, unanswered: 0 }) {
            assert!(readable(&client, LONG));
        }
        hear_drained(&mut daemon.join().expect("no panic"));
    });
}

/// A client whose messages live for no longer than [`LIFE`] and a little.
fn brief(socket: &Socket) -> (Client, Daemon) {
    let interval_ms = u32::try_from(LIFE.as_millis()).expect("short");
    connect_as(socket, &Registered { interval_ms, times: 0, ..grant(1) })
}

const LIFE: Duration = Duration::from_millis(200);
