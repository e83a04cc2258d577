//! Processes with one clientid: how they register, are told of each other, and leave.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use msg::{
    AckMode, Arrival, DrainCause, Error, Incarnation, LocalNack, LocalRule, PresenceChange, PresentInstance,
};
use msg_proto::local::put;

use super::*;
use crate::{
    daemon::{Said, grant, now},
    messages::readable,
};

const ONE: PresentInstance = PresentInstance { incarnation: Incarnation(11), priority: 7 };
const TWO: PresentInstance = PresentInstance { incarnation: Incarnation(12), priority: 3 };

#[test]
fn priority_and_takeover_are_told_at_registration() {
    let socket = Socket::bind();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let builder = Client::builder(ME).socket(socket.path());
            builder.priority(9).arrival(Arrival::Takeover).connect().expect("registered")
        });
        let mut daemon = socket.accept();
        let Said::Register(register) = daemon.hear() else { panic!("no REGISTER") };
        assert_eq!((register.priority, register.arrival), (9, Arrival::Takeover));
        daemon.say(|out| put::registered(out, &grant(1)));
        drop(client.join().expect("no panic"));
    });
}

#[test]
fn a_drain_reports_what_was_taken_and_leaves_the_rest() {
    let (_socket, client, mut daemon) = pair();
    for seq in 1..=3 {
        daemon.deliver(seq, now());
    }
    assert_eq!(client.recv(LONG).expect("no error").expect("a message").msgid.0, 1);
    assert_eq!(daemon.hear(), Said::Taken(1));
    assert!(!client.is_draining());
    assert_eq!(client.drain(LONG), Ok(()));
    assert!(client.is_draining());
    assert_eq!(daemon.hear(), Said::Drained);
    daemon.deliver(4, now());
    assert_eq!(client.recv(LONG), Err(Error::Draining));
    assert_eq!(client.drain(SHORT), Ok(()));
    assert!(daemon.hears_nothing(), "2 to 4 go to another instance");
}

#[test]
fn a_drain_waits_for_the_outcomes_of_what_was_sent() {
    let (_socket, client, mut daemon) = pair();
    let msgid = send(&client);
    assert_eq!(daemon.hear_submit(), msgid);
    assert_eq!(client.drain(SHORT), Err(Error::Timeout { unresolved: 1, unanswered: 0 }));
    assert_eq!(daemon.hear(), Said::Drained);
    let (told, heard) = mpsc::channel();
    client.on_message(move |_, _| told.send(()).expect("heard"));
    daemon.deliver(1, now());
    daemon.resolve(msgid, 1);
    assert_eq!(client.drain(LONG), Ok(()));
    assert!(heard.try_recv().is_err(), "no message callback runs in it");
}

#[test]
fn a_handler_that_runs_returns_before_the_daemon_is_told() {
    let socket = Socket::bind();
    let (client, mut daemon) = std::thread::scope(|scope| {
        let daemon = scope.spawn(|| Daemon::register(&socket, &grant(1)));
        let builder = Client::builder(ME).socket(socket.path()).ack(AckMode::OnHandled);
        (builder.connect().expect("registered"), daemon.join().expect("no panic"))
    });
    let (began, begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    client.on_message(move |_, _| {
        began.send(()).expect("heard");
        may_go_on.recv().expect("told");
    });
    daemon.deliver(1, now());
    std::thread::scope(|scope| {
        scope.spawn(|| client.dispatch(LONG).expect("no error"));
        begun.recv_timeout(LONG).expect("begun");
        scope.spawn(|| assert_eq!(client.drain(LONG), Ok(())));
        assert!(daemon.hears_nothing(), "neither TAKEN nor DRAINED");
        go_on.send(()).expect("heard");
        assert_eq!(daemon.hear(), Said::Taken(1));
        assert_eq!(daemon.hear(), Said::Drained);
    });
}

#[test]
fn a_client_that_is_asked_to_leave_is_told_once_and_goes_on_with_what_it_has() {
    for cause in [DrainCause::Superseded, DrainCause::Asked] {
        let (socket, client, mut daemon) = pair();
        let causes = Arc::new(Mutex::new(Vec::new()));
        let told = causes.clone();
        client.on_drain(move |client, cause| {
            assert!(client.is_draining());
            told.lock().expect("no panic").push(cause);
        });
        assert!(!readable(&client, Duration::ZERO));
        daemon.deliver(1, now());
        daemon.say(|out| put::drain(out, cause));
        assert!(readable(&client, LONG));
        assert_eq!(client.dispatch(LONG), Ok(1));
        assert_eq!(daemon.hear(), Said::Drained, "what came before it was not taken, so it is not now");
        assert!(!readable(&client, Duration::ZERO));
        assert_eq!(client.recv(LONG), Err(Error::Draining));
        // What it sends has outcomes.
        let msgid = send(&client);
        assert_eq!(daemon.hear_submit(), msgid);
        daemon.resolve(msgid, 1);
        assert_eq!(client.flush(LONG), Ok(()));
        // A daemon that is started again does not take it for a new instance, and does not ask again.
        drop(daemon);
        let mut daemon = while_dispatching(&client, || {
            let mut daemon = socket.accept();
            let Said::Register(register) = daemon.hear() else { panic!("no REGISTER") };
            assert_eq!((register.arrival, register.incarnation), (Arrival::Leaving, Incarnation(5)));
            assert_eq!(
                [daemon.hear(), daemon.hear()],
                [Said::Ready, Said::Drained],
                "which this one does not know"
            );
            daemon.say(|out| put::registered(out, &grant(2)));
            daemon
        });
        assert_eq!(client.drain(LONG), Ok(()));
        assert!(daemon.hears_nothing());
        assert_eq!(*causes.lock().expect("no panic"), [cause]);
    }
}

#[test]
fn a_client_that_is_refused_as_superseded_says_so() {
    let (_socket, client, mut daemon) = pair();
    let nack =
        LocalNack { rule: LocalRule::Superseded, text: "clientid 100 was taken over by pid 7".to_owned() };
    daemon.say(|out| put::nack(out, &nack));
    let refused = loop {
        if let Err(error) = client.dispatch(LONG) {
            break error;
        }
    };
    assert_eq!(refused, Error::Refused(nack.clone()));
    assert_eq!(client.refusal(), Some(nack));
    let refused = client.send(DST, b"", UserBuf::EMPTY).expect_err("refused").to_string();
    assert!(refused.contains("Superseded"), "{refused}");
}

#[test]
fn presence_comes_in_its_place_among_the_messages() {
    let (socket, client, mut daemon) = pair();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (changes, messages) = (seen.clone(), seen.clone());
    client.on_presence(move |_, event| {
        assert_eq!(event.client, DST);
        let change = match event.change {
            PresenceChange::Up(i) => format!("up {i:?}"),
            PresenceChange::Down(i) => format!("down {i:?}"),
            PresenceChange::Active(i) => format!("active {:?}", i.map(|i| i.incarnation.0)),
        };
        changes.lock().expect("no panic").push(change);
    });
    client.on_message(move |_, message| {
        messages.lock().expect("no panic").push(format!("message {}", message.msgid.0));
    });
    let expect = |expected: &[String]| {
        while seen.lock().expect("no panic").len() < expected.len() {
            client.dispatch(LONG).expect("no error");
        }
        assert_eq!(std::mem::take(&mut *seen.lock().expect("no panic")), expected);
    };
    client.subscribe(DST).expect("room");
    client.subscribe(DST).expect("as before");
    assert_eq!(daemon.hear(), Said::Subscribe(DST.0));
    daemon.say(|out| put::presence(out, DST, false, &[]));
    daemon.deliver(1, now());
    daemon.say(|out| put::presence(out, DST, false, &[ONE, TWO]));
    // Nobody asked for it.
    daemon.say(|out| put::presence(out, ME, false, &[ONE]));
    daemon.deliver(2, now());
    daemon.say(|out| put::presence(out, DST, false, &[TWO]));
    let (one, two) = (format!("{ONE:?}"), format!("{TWO:?}"));
    expect(
        &[
            "message 1",
            &format!("up {one}"),
            &format!("up {two}"),
            "active Some(11)",
            "message 2",
            &format!("down {one}"),
            "active Some(12)",
        ]
        .map(str::to_owned),
    );
    // The next daemon is asked again, and only what changed is told.
    drop(daemon);
    while_dispatching(&client, || {
        let mut daemon = socket.accept();
        loop {
            match daemon.hear() {
                Said::Subscribe(id) => assert_eq!(id, DST.0),
                Said::Ready => break,
                Said::Register(_) | Said::FlowTaken(_) => {}
                other => panic!("{other:?}"),
            }
        }
        daemon.say(|out| put::registered(out, &grant(2)));
        daemon.say(|out| put::presence(out, DST, true, &[]));
        daemon.say(|out| put::presence(out, DST, false, &[ONE, TWO]));
        daemon
    });
    expect(&[format!("up {one}"), "active Some(11)".to_owned()]);
}

/// Does something while a thread has the client do what is due.
pub(crate) fn while_dispatching<T>(client: &Client, act: impl FnOnce() -> T) -> T {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                client.dispatch(SHORT).expect("no error");
            }
        });
        // A thread that panics here is not to be waited for.
        let done = catch_unwind(AssertUnwindSafe(act));
        is_over.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| resume_unwind(panic))
    })
}
