//! A client in a fork of its process, and in several threads.

use std::{
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::mpsc,
    thread,
};

use msg_proto::{
    control::Registered,
    ids::{Channel, Instance, MsgId, Seq},
    local::{Deliver, DrainCause, put},
    units::Span,
};

use super::*;
use crate::Error;

/// A client, and its daemon's end of the socket.
fn connected(name: &str) -> (Client, UnixStream) {
    let path = std::env::temp_dir().join(format!("libmsg-{name}-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).expect("a socket");
    let daemon = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let registered = Registered {
            version: 1,
            node: "n".to_owned(),
            start: 1,
            incarnation: Incarnation(1),
            interval_ms: 1000,
            times: 1,
            max_stored: 10,
            max_stored_bytes: 1 << 20,
            max_message_bytes: 1 << 20,
        };
        let mut out = Vec::new();
        put::registered(&mut out, &registered);
        stream.write_all(&out).expect("written");
        stream
    });
    let client = Client::builder(ClientId(1)).socket(&path).connect().expect("registered");
    std::fs::remove_file(&path).expect("removed");
    (client, daemon.join().expect("no panic"))
}

#[test]
fn a_fork_is_refused() {
    let (mut client, mut daemon) = connected("fork");
    client.fork = ForkMark::forked();
    assert_eq!(client.send(ClientId(2), b"x", UserBuf::EMPTY), Err(SendError::Forked));
    assert_eq!(client.try_recv(), Err(Error::Forked));
    assert_eq!(client.dispatch(None), Err(Error::Forked));
    assert_eq!(client.flush(None), Err(Error::Forked));
    drop(client);
    let (mut said, mut goodbye) = (Vec::new(), Vec::new());
    daemon.read_to_end(&mut said).expect("read");
    put::client_goodbye(&mut goodbye);
    assert!(!said.ends_with(&goodbye), "the child said goodbye for its parent");
}

#[test]
fn who_waits_is_told_though_another_thread_looks_first() {
    let (client, mut daemon) = connected("threads");
    let (began, has_begun) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    client.on_message(move |_, _| {
        began.send(()).expect("the test waits");
        may_go.recv().expect("the test lets it go");
    });
    let patience = Duration::from_secs(20);
    thread::scope(|scope| {
        let (ended, has_ended) = mpsc::channel();
        for _ in 0..2 {
            let (ended, client) = (ended.clone(), &client);
            scope.spawn(move || ended.send(client.dispatch(None)));
        }
        let begun = clock::now();
        while !{
            let inner = client.lock();
            inner.sleeping && inner.waiting == 1
        } {
            assert!(clock::now().since(begun) < Span::from(patience), "one in the poller, one behind it");
            thread::yield_now();
        }
        let mut out = Vec::new();
        let (src, now) = (Instance { client: ClientId(2), incarnation: Incarnation(1) }, clock::now());
        let deliver = Deliver {
            number: 1,
            src,
            msgid: MsgId(1),
            seq: Seq(1),
            floor: Seq(1),
            channel: Channel::Ordered,
            send_time: now,
            interval: Span::from(2 * patience),
            round: 0,
            call: None,
            payload: b"x",
        };
        put::deliver(&mut out, &deliver);
        daemon.write_all(&out).expect("written");
        has_begun.recv_timeout(patience).expect("the callback runs");
        assert_eq!(client.dispatch(Duration::ZERO), Ok(0), "there is nothing for it");
        go.send(()).expect("it waits");
        let mut ran = [(); 2].map(|()| has_ended.recv_timeout(patience).unwrap_or(Ok(99)));
        (0..2).for_each(|_| client.wake());
        ran.sort_by_key(|ran| ran.clone().ok());
        assert_eq!(ran, [Ok(0), Ok(1)], "each that waited returns, with what it ran");
    });
}

#[test]
fn a_dispatch_that_begins_after_another_thread_read_that_nothing_more_is_taken_returns() {
    let (client, mut daemon) = connected("drain");
    let mut out = Vec::new();
    put::drain(&mut out, DrainCause::Asked);
    daemon.write_all(&out).expect("written");
    // Whoever asked just before this whether the client drains goes on to wait.
    assert_eq!(client.recv(Duration::from_secs(20)), Err(Error::Draining));
    let (ended, has_ended) = mpsc::channel();
    thread::scope(|scope| {
        let client = &client;
        scope.spawn(move || ended.send([client.dispatch(None), client.dispatch(Duration::from_millis(1))]));
        let ran = has_ended.recv_timeout(Duration::from_secs(20));
        client.wake();
        assert_eq!(ran, Ok([Ok(0), Ok(0)]));
    });
    assert_eq!(client.lock().drain_told.len(), 1, "once in each thread");
}
