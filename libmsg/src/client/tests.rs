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
    local::{ClientFrame, Deliver, DrainCause, put, split},
    units::Span,
};

use super::*;
use crate::{CallOptions, Error, Procedure};

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

/// What stands in the socket, up to the `n`th SUBMIT.
fn submits(daemon: &mut UnixStream, n: usize) -> Vec<(MsgId, Time)> {
    let (mut bytes, mut found) = (Vec::new(), Vec::new());
    while found.len() < n {
        let mut some = [0; 1 << 10];
        let len = daemon.read(&mut some).expect("read");
        bytes.extend_from_slice(&some[..len]);
        while let Some((raw, len)) = split(&bytes).expect("frames") {
            if let ClientFrame::Submit(submit) = ClientFrame::parse(raw).expect("a client's frame") {
                found.push((submit.msgid, submit.send_time));
            }
            bytes.drain(..len);
        }
    }
    found
}

#[test]
fn a_send_with_more_in_a_callback_says_nothing_of_when_the_next_callback_runs() {
    let (client, mut daemon) = connected("burst");
    client.on_message(|client, _| {
        for _ in 0..2 {
            client.send_with(ClientId(2), b"x", UserBuf::EMPTY, SendFlags::MORE).expect("room");
        }
    });
    let deliver = |number: u64| {
        let src = Instance { client: ClientId(2), incarnation: Incarnation(1) };
        let seq = Seq(u32::try_from(number).expect("few"));
        let (channel, floor, msgid) = (Channel::Ordered, Seq(1), MsgId(seq.0));
        let (send_time, interval) = (clock::now(), Span::from_millis(1000));
        let deliver = Deliver {
            number,
            src,
            msgid,
            seq,
            floor,
            channel,
            send_time,
            interval,
            round: 0,
            call: None,
            payload: b"y",
        };
        let mut out = Vec::new();
        put::deliver(&mut out, &deliver);
        (out, send_time)
    };
    // One is unresolved: those behind it are not watched.
    let first = client.send(ClientId(2), b"x", UserBuf::EMPTY).expect("room");
    thread::scope(|scope| {
        let flush = scope.spawn(|| client.flush(Duration::from_secs(20)));
        daemon.write_all(&deliver(1).0).expect("written");
        let sent = submits(&mut daemon, 3);
        while clock::now() <= sent[2].1 + Span::from_millis(2) {
            thread::yield_now();
        }
        let (out, at) = deliver(2);
        daemon.write_all(&out).expect("written");
        let later = submits(&mut daemon, 2);
        assert!(later.iter().all(|(_, sent_at)| *sent_at >= at), "{sent:?}, then at {at:?}: {later:?}");
        let mut out = Vec::new();
        put::resolved(&mut out, &[(first, 5)]);
        daemon.write_all(&out).expect("written");
        assert_eq!(flush.join().expect("no panic"), Ok(()));
    });
}

/// What a callback has captured: when it is dropped, it calls the client.
struct Calls(std::sync::Weak<Client>, mpsc::Sender<usize>);

impl Drop for Calls {
    fn drop(&mut self) {
        let client = self.0.upgrade().expect("it is there");
        client.on_drain(|_, _| ());
        client.on_failure(|_, _| ());
        self.1.send(client.unresolved()).expect("somebody listens");
    }
}

#[test]
fn what_callbacks_have_captured_may_call_the_client_when_it_is_dropped() {
    const SERVED: Procedure = Procedure(7);
    let (client, _daemon) = connected("captured");
    let client = std::sync::Arc::new(client);
    let (tell, dropped) = mpsc::channel();
    let captured = || Calls(std::sync::Arc::downgrade(&client), tell.clone());
    // Then again as the thread that the lock favours.
    for _ in 0..2 {
        let (failure, message, presence) = (captured(), captured(), captured());
        client.on_failure(move |_, _| assert!(failure.0.upgrade().is_some()));
        client.on_failure(|_, _| ());
        client.on_message(move |_, _| assert!(message.0.upgrade().is_some()));
        client.on_message(|_, _| ());
        client.on_presence(move |_, _| assert!(presence.0.upgrade().is_some()));
        client.on_presence(|_, _| ());
        let (drain, handler, ended) = (captured(), captured(), captured());
        client.on_drain(move |_, _| assert!(drain.0.upgrade().is_some()));
        client.on_drain(|_, _| ());
        client.serve(SERVED, move |_, _| assert!(handler.0.upgrade().is_some()));
        client.serve(SERVED, |_, _| ());
        let too_large = vec![0; 2 << 20];
        let refused = client.start_call(
            ClientId(9),
            SERVED,
            &too_large,
            CallOptions::new(Duration::from_secs(1)),
            move |_, _| {
                assert!(ended.0.upgrade().is_some());
            },
        );
        assert!(refused.is_err());
        assert_eq!(dropped.try_iter().collect::<Vec<_>>(), [0; 6]);
        (0..2000).for_each(|_| assert_eq!(client.unresolved(), 0));
    }
}
