//! How long waits last, and that they sleep meanwhile. One timer is set for all of them, and may fire for an earlier one.

use std::{thread, time::Duration};

use msg::{ConnectError, MsgId, SendError, SendFlags, UserBuf};
use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::daemon::now;

/// Processor time of this thread.
fn busy() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).expect("less than a second"))
}

/// That a wait ends neither early nor far too late, and sleeps meanwhile.
fn lasts(wait: Duration, run: impl FnOnce(Duration)) {
    let (begin, busy_before) = (now(), busy());
    run(wait);
    let lasted = Duration::from(now().since(begin));
    assert!(lasted >= wait && lasted < LONG / 2, "{wait:?} lasted {lasted:?}");
    assert!(busy() - busy_before < wait / 2, "it slept");
}

fn recv_nothing(client: &Client) -> impl Fn(Duration) + '_ {
    |wait| assert_eq!(client.recv(wait), Ok(None))
}

#[test]
fn a_wait_ends_in_its_time_whatever_was_waited_for_before() {
    let (_socket, client, mut daemon) = pair();
    for (seq, before) in (1..).zip([LONG, SHORT, SHORT / 5, Duration::MAX]) {
        // A wait that is cut short leaves its timer set.
        daemon.deliver(seq, now());
        assert!(client.recv(before).expect("no error").is_some());
        lasts(SHORT * 4, recv_nothing(&client));
        lasts(SHORT, recv_nothing(&client));
    }
    assert_eq!(client.dispatch(SHORT), Ok(0));
    assert_eq!(client.recv(Duration::ZERO), Ok(None));
}

/// Of several threads one sleeps on the descriptors, and which one changes whenever they are woken.
#[test]
fn each_of_several_threads_waits_for_as_long_as_it_wants() {
    let (_socket, client, mut daemon) = pair();
    let begin = now();
    for _ in 0..10 {
        thread::scope(|scope| {
            let client = &client;
            let waits = [SHORT / 2, SHORT * 2, SHORT, SHORT];
            let threads = waits.map(|wait| scope.spawn(move || lasts(wait, recv_nothing(client))));
            for _ in 0..10 {
                client.wake();
                thread::park_timeout(SHORT / 50);
            }
            while Duration::from(now().since(begin)) < LONG
                && !threads.iter().all(thread::ScopedJoinHandle::is_finished)
            {
                thread::park_timeout(SHORT / 5);
            }
            // One whose time does not end has a message for an answer.
            let late = (1..).zip(&threads).filter(|(_, it)| !it.is_finished());
            late.for_each(|(seq, _)| daemon.deliver(seq, now()));
        });
    }
}

#[test]
fn a_message_ends_a_wait_that_has_no_limit() {
    let (_socket, client, mut daemon) = pair();
    for (seq, limit) in (1..).zip([None, Some(Duration::MAX)]) {
        // A timer of before that fires meanwhile is nothing that was waited for.
        lasts(SHORT / 5, recv_nothing(&client));
        thread::scope(|scope| {
            let received = scope.spawn(|| client.recv(limit));
            thread::park_timeout(SHORT);
            daemon.deliver(seq, now());
            let received = received.join().expect("no panic").expect("no error");
            assert_eq!(received.map(|message| message.msgid.0), Some(seq));
        });
    }
}

#[test]
fn connecting_sleeps_until_its_time_is_over() {
    let socket = Socket::bind();
    let times_out = |wait| {
        let connected = Client::builder(ME).socket(socket.path()).connect_timeout(wait).connect();
        assert!(matches!(connected, Err(ConnectError::Timeout { .. })), "{connected:?}");
    };
    // It is connected, and hears nothing.
    lasts(SHORT * 4, times_out);
    // It is not even connected, and tries again and again.
    let _others = socket.fill_backlog();
    lasts(SHORT * 4, times_out);
}

/// What a daemon reads makes room before any outcome comes, and who waits for room wakes for that.
#[test]
fn what_is_written_makes_room_for_who_waits() {
    let send = |client: &Client, flags| client.send_with(DST, &[7; 16_000], UserBuf::EMPTY, flags);
    let is_full = |client: &Client| send(client, SendFlags::MORE) == Err(SendError::WouldBlock);
    let dispatch = |client: &Client| {
        assert_eq!(client.dispatch(2 * LONG), Ok(0), "room is what it waited for");
        send(client, SendFlags::NONE)
    };
    let waits: [&dyn Fn(&Client) -> _; 2] = [&dispatch, &|client| send(client, SendFlags::WAIT)];
    for wait in waits {
        // Nothing falls due meanwhile that would wake it.
        let socket = Socket::bind();
        let (client, mut daemon) = connect_as(&socket, &Registered { interval_ms: 60_000, ..grant(1) });
        let all = (0..).find(|_| is_full(&client)).expect("it gets full");
        assert_eq!(all, (8 << 20) / 16_064);
        for n in 1..=10 {
            assert_eq!(daemon.hear_submit(), n);
        }
        daemon.resolve(1, 10);
        assert!(is_full(&client), "the others wait for a daemon that does not read");
        assert_eq!((client.dispatch(SHORT), client.unresolved()), (Ok(0), all as usize - 10));
        assert!(is_full(&client));
        thread::scope(|scope| {
            let mut daemon = daemon;
            let daemon = scope.spawn(move || {
                (11..=all + 1).for_each(|n| assert_eq!(daemon.hear_submit(), n));
                daemon
            });
            assert_eq!(wait(&client), Ok(MsgId(all + 1)));
            while !daemon.is_finished() {
                client.dispatch(SHORT).expect("no error");
            }
            drop(daemon.join().expect("it heard all"));
        });
    }
}
