//! Registration, and what happens when the daemon goes and comes back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use msg::{Incarnation, SendFlags};
use msg_proto::{
    control::{Register, VersionRange},
    local::put,
    units::Span,
};

use super::*;
use crate::daemon::{Said, grant, now};

#[test]
fn the_daemon_hears_what_was_asked_for() {
    let socket = Socket::bind();
    thread::scope(|scope| {
        let heard = scope.spawn(|| {
            let mut daemon = socket.accept();
            let heard = daemon.hear();
            daemon.say(|out| put::registered(out, &grant(1)));
            assert_eq!(daemon.hear(), Said::Ready);
            assert_eq!(daemon.hear(), Said::Goodbye);
            assert_eq!(daemon.hear(), Said::End);
            heard
        });
        let builder = Client::builder(ME).socket(socket.path()).interval(Duration::from_millis(250));
        let client = builder.times(3).max_stored(50).priority(9).name("bgpd").connect().expect("registered");
        assert_eq!(client.incarnation(), Incarnation(5));
        drop(client);
        let asked = Register {
            versions: VersionRange { lowest: 1, highest: 1 },
            client: ME,
            incarnation: Incarnation::NONE,
            interval_ms: 250,
            times: Some(3),
            max_stored: 50,
            priority: 9,
            arrival: msg_proto::control::Arrival::Alone,
            name: "bgpd".to_owned(),
        };
        assert_eq!(heard.join().expect("no panic"), Said::Register(asked));
    });
}

#[test]
fn a_new_daemon_gets_the_unresolved_again() {
    let (socket, client, mut daemon) = pair();
    for _ in 0..3 {
        send(&client);
    }
    assert_eq!([daemon.hear_submit(), daemon.hear_submit(), daemon.hear_submit()], [1, 2, 3]);
    daemon.resolve(2, 1);
    daemon.deliver(1, now());
    drop(daemon);
    // What stands in the old socket is taken first.
    let message = client.recv(LONG).expect("no error").expect("a message");
    assert_eq!(message.msgid.0, 1);
    thread::scope(|scope| {
        let daemon = scope.spawn(|| {
            let mut daemon = socket.accept();
            let Said::Register(register) = daemon.hear() else { panic!("REGISTER first") };
            assert_eq!(register.incarnation, Incarnation(5));
            assert_eq!(daemon.hear(), Said::FlowTaken(vec![1]));
            assert_eq!(daemon.hear(), Said::Ready);
            let payload = b"payload".to_vec();
            assert_eq!(daemon.hear(), Said::Submit { msgid: 1, seq: 1, payload: payload.clone() });
            assert_eq!(daemon.hear(), Said::Submit { msgid: 3, seq: 3, payload });
            daemon.say(|out| put::registered(out, &grant(2)));
            daemon.resolve(1, 3);
            daemon
        });
        assert_eq!(client.flush(LONG), Ok(()));
        let mut daemon = daemon.join().expect("no panic");
        assert_eq!(send(&client), 4);
        assert_eq!(daemon.hear_submit(), 4);
    });
}

#[test]
fn sends_alone_find_the_new_daemon() {
    let (socket, client, daemon) = pair();
    drop(daemon);
    thread::scope(|scope| {
        let heard = scope.spawn(|| {
            let mut daemon = socket.accept();
            daemon.hear();
            daemon.hear();
            daemon.hear_submit()
        });
        while !heard.is_finished() {
            // A full chain is as good: what is to be shown is that somebody connects.
            if client.send_with(DST, b"", UserBuf::EMPTY, SendFlags::UNORDERED).is_err() {
                thread::yield_now();
            }
        }
        // The first write may have gone into the socket that was just closed.
        assert!(heard.join().expect("no panic") >= 1);
    });
}

/// A daemon that is away, or turns everybody away, is looked for less and less often: from 10 ms to a quarter of the time
/// that it was away.
#[test]
fn who_is_turned_away_comes_back_ever_later() {
    let (socket, client, daemon) = pair();
    drop(daemon);
    let begin = now();
    let stop = AtomicBool::new(false);
    let attempts = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                client.dispatch(SHORT).expect("not refused");
            }
        });
        let mut attempts = 0;
        while now().since(begin) < Span::from_millis(1_000) {
            drop(socket.accept());
            attempts += 1;
        }
        stop.store(true, Ordering::Relaxed);
        attempts
    });
    // Four of 10 ms, then each 5/4 of the one before; a slow machine makes fewer.
    assert!((2..=25).contains(&attempts), "{attempts} in a second");
}
