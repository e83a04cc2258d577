//! How messages end, and what the sender is told.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use msg::{Certainty, Error, Failure, MsgId, Reason, SendError, SendFlags, Verdict};
use msg_proto::local::{Failed, put};

use super::*;
use crate::daemon::Said;

const UNKNOWN: Verdict = Verdict { reason: Reason::NoAnswer, certainty: Certainty::Unknown };

fn failures(client: &Client) -> mpsc::Receiver<Failure> {
    let (told, heard) = mpsc::channel();
    client.on_failure(move |_, failure| told.send(*failure).expect("heard"));
    heard
}

fn fail(daemon: &mut Daemon, msgid: u32, user: &[u8]) {
    let failed = Failed { msgid: MsgId(msgid), dst: DST, tries: 11, verdict: UNKNOWN, user };
    daemon.say(|out| put::failed(out, &failed));
}

#[test]
fn a_failure_hands_back_the_user_data() {
    let (_socket, client, mut daemon) = pair();
    let heard = failures(&client);
    let user: [u8; 64] = std::array::from_fn(|i| u8::try_from(i * 3).expect("small"));
    client.send(DST, b"a", UserBuf::EMPTY).expect("room");
    client.send(DST, b"b", user.into()).expect("room");
    assert_eq!([daemon.hear_submit(), daemon.hear_submit()], [1, 2]);
    assert_eq!(client.flush(Duration::ZERO), Err(Error::Timeout { unresolved: 2, unanswered: 0 }));
    daemon.resolve(1, 1);
    fail(&mut daemon, 2, &user);
    assert_eq!(client.flush(LONG), Ok(()));
    let failure = Failure { msgid: MsgId(2), dst: DST, verdict: UNKNOWN, tries: 11, user: user.into() };
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [failure]);
    let counters = client.counters();
    assert_eq!((counters.acked, counters.failed, client.unresolved()), (1, 1, 0));
}

#[test]
fn the_1001st_has_to_wait() {
    let (_socket, client, mut daemon) = pair();
    for _ in 0..1000 {
        send(&client);
    }
    assert_eq!(client.send(DST, b"", UserBuf::EMPTY), Err(SendError::WouldBlock));
    daemon.resolve(7, 1);
    // A send that finds no room reads what makes room.
    assert_eq!(send(&client), 1001);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while daemon.hear_submit() != 1001 {}
            daemon.resolve(1, 1);
        });
        let sent = client.send_with(DST, b"", UserBuf::EMPTY, SendFlags::WAIT);
        assert_eq!(sent, Ok(MsgId(1002)));
    });
}

#[test]
fn a_send_that_waits_runs_failure_callbacks() {
    let (_socket, client, mut daemon) = pair();
    let heard = failures(&client);
    for _ in 0..1000 {
        send(&client);
    }
    fail(&mut daemon, 5, b"user");
    let sent = client.send_with(DST, b"", UserBuf::EMPTY, SendFlags::WAIT);
    assert_eq!(sent, Ok(MsgId(1001)));
    assert_eq!(heard.try_iter().map(|f| f.msgid.0).collect::<Vec<_>>(), [5]);
}

#[test]
fn more_is_written_with_what_follows() {
    let (_socket, client, mut daemon) = pair();
    let more = |client: &Client| client.send_with(DST, b"", UserBuf::EMPTY, SendFlags::MORE).expect("room");
    more(&client);
    more(&client);
    assert!(daemon.hears_nothing());
    send(&client);
    assert_eq!([daemon.hear_submit(), daemon.hear_submit(), daemon.hear_submit()], [1, 2, 3]);
    more(&client);
    assert_eq!(client.dispatch(Duration::ZERO), Ok(0));
    assert_eq!(daemon.hear_submit(), 4);
}

#[test]
fn a_daemon_that_stays_away_does_not_keep_outcomes_away() {
    let socket = Socket::bind();
    let (client, mut daemon) = std::thread::scope(|scope| {
        let daemon = scope.spawn(|| {
            let mut daemon = socket.accept();
            assert!(matches!((daemon.hear(), daemon.hear()), (Said::Register(_), Said::Ready)));
            let grant = Registered { interval_ms: 20, times: 1, ..grant(1) };
            daemon.say(|out| put::registered(out, &grant));
            daemon
        });
        let client = Client::builder(ME).socket(socket.path()).connect().expect("registered");
        (client, daemon.join().expect("no panic"))
    });
    let heard = failures(&client);
    send(&client);
    daemon.hear_submit();
    drop(daemon);
    drop(socket);
    assert_eq!(client.dispatch(LONG), Ok(0), "the daemon is gone");
    send(&client);
    assert_eq!(client.flush(LONG), Ok(()));
    let never = Verdict { reason: Reason::NoRoute, certainty: Certainty::NotStarted };
    assert_eq!(heard.try_iter().map(|f| f.verdict).collect::<Vec<_>>(), [UNKNOWN, never]);
}

#[test]
fn a_callback_may_send_and_its_sends_go_out_together() {
    let (_socket, client, mut daemon) = pair();
    let client = Arc::new(client);
    client.on_failure(|client, failure| {
        // Again, and again.
        client.send(failure.dst, b"again", failure.user).expect("room");
        client.send(failure.dst, b"again", failure.user).expect("room");
        assert_eq!(client.try_recv(), Ok(None));
        assert_eq!(client.dispatch(None), Err(Error::InCallback));
        assert_eq!(client.flush(None), Err(Error::InCallback));
        client.on_failure(|_, failure| panic!("{failure:?}"));
    });
    send(&client);
    daemon.hear_submit();
    fail(&mut daemon, 1, b"user");
    assert_eq!(client.dispatch(LONG), Ok(1));
    assert_eq!([daemon.hear_submit(), daemon.hear_submit()], [2, 3]);
    // The callback that was set in the callback is the one that stays, and a panic in it costs nobody else.
    fail(&mut daemon, 2, b"user");
    let panicked = std::thread::spawn({
        let client = Arc::clone(&client);
        move || client.dispatch(LONG)
    });
    assert!(panicked.join().is_err());
    let seen = Arc::new(Mutex::new(Vec::new()));
    client.on_failure({
        let seen = Arc::clone(&seen);
        move |_, failure| seen.lock().expect("no panic").push(failure.msgid)
    });
    fail(&mut daemon, 3, b"user");
    assert_eq!(client.flush(LONG), Ok(()));
    assert_eq!(*seen.lock().expect("no panic"), [MsgId(3)]);
}
