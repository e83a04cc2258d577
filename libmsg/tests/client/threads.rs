//! One client, several threads.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use msg::SendFlags;

use super::*;
use crate::daemon::{PROCEDURE, now};

#[test]
fn threads_wait_for_different_things_at_once() {
    let (_socket, client, mut daemon) = pair();
    send(&client);
    thread::scope(|scope| {
        let receivers: Vec<_> = (0..3).map(|_| scope.spawn(|| client.recv(LONG))).collect();
        let flushers: Vec<_> = (0..3).map(|_| scope.spawn(|| client.flush(LONG))).collect();
        daemon.hear_submit();
        for seq in 1..=3 {
            daemon.deliver(seq, now());
        }
        let mut got: Vec<u32> = receivers
            .into_iter()
            .map(|thread| thread.join().expect("no panic").expect("no error").expect("a message").msgid.0)
            .collect();
        got.sort_unstable();
        assert_eq!(got, [1, 2, 3]);
        daemon.resolve(1, 1);
        for thread in flushers {
            assert_eq!(thread.join().expect("no panic"), Ok(()));
        }
    });
}

#[test]
fn a_wake_ends_a_wait_that_has_begun_or_is_about_to() {
    let (_socket, client, _daemon) = pair();
    client.wake();
    client.wake();
    assert_eq!(client.dispatch(None), Ok(0));
    assert_eq!(client.dispatch(Duration::ZERO), Ok(0));
    let woken = AtomicUsize::new(0);
    thread::scope(|scope| {
        // One of them sleeps in the poller, the others behind it.
        for _ in 0..3 {
            scope.spawn(|| {
                assert_eq!(client.dispatch(None), Ok(0));
                woken.fetch_add(1, Ordering::Relaxed);
            });
        }
        let receiver = scope.spawn(|| client.recv(SHORT));
        while woken.load(Ordering::Relaxed) < 3 {
            client.wake();
            thread::yield_now();
        }
        assert_eq!(receiver.join().expect("no panic"), Ok(None));
    });
}

#[test]
fn every_thread_may_send_and_dispatch() {
    const THREADS: usize = 4;
    const EACH: usize = 2000;
    let (_socket, client, mut daemon) = pair();
    let echoed = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Acks in order, each on its own.
            for n in 1..=u32::try_from(THREADS * EACH).expect("fits") {
                assert_eq!(daemon.hear_submit(), n);
                daemon.resolve(n, 1);
            }
        });
        for t in 0..THREADS {
            let (client, echoed) = (&client, &echoed);
            scope.spawn(move || {
                for n in 0..EACH {
                    let flags = if n % 3 == 0 { SendFlags::MORE | SendFlags::WAIT } else { SendFlags::WAIT };
                    client.send_with(DST, b"x", UserBuf::EMPTY, flags).expect("room");
                    if n % 7 == t {
                        client.dispatch(Duration::ZERO).expect("no error");
                    }
                }
                client.flush(LONG).expect("outcomes");
                echoed.fetch_add(EACH, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(echoed.into_inner(), THREADS * EACH);
    assert_eq!((client.unresolved(), client.counters().acked), (0, 8000));
}

/// What a handler has captured: when it is dropped, it calls the client.
struct Calls(Weak<Client>, mpsc::Sender<usize>);

impl Drop for Calls {
    fn drop(&mut self) {
        let client = self.0.upgrade().expect("it is there");
        self.1.send(client.unresolved()).expect("somebody listens");
    }
}

#[test]
fn a_handler_that_replaces_itself_is_dropped_where_the_client_can_be_called() {
    let (_socket, client, mut daemon) = pair();
    let client = Arc::new(client);
    let (tell, dropped) = mpsc::channel();
    let captured = Calls(Arc::downgrade(&client), tell);
    client.serve(PROCEDURE, move |client, _| {
        assert!(captured.0.upgrade().is_some());
        client.serve(PROCEDURE, |_, _| ());
    });
    daemon.deliver_call(1, LONG);
    let dispatch = thread::spawn({
        let client = Arc::clone(&client);
        move || client.dispatch(LONG)
    });
    assert_eq!(dropped.recv_timeout(LONG), Ok(0), "else it waits for itself");
    assert_eq!(dispatch.join().expect("no panic"), Ok(1));
}
