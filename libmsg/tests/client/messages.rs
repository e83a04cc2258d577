//! What comes in, and when the event loop is told.

use std::{sync::mpsc, thread, time::Duration};

use msg::AckMode;
use msg_proto::{local::put, units::Span};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;
use crate::daemon::{SRC, Said, grant, now};

pub(crate) fn readable(client: &Client, timeout: Duration) -> bool {
    let mut fds = [PollFd::new(client, PollFlags::IN)];
    let timeout = Timespec::try_from(timeout).expect("short");
    poll(&mut fds, Some(&timeout)).expect("polled") == 1
}

#[test]
fn messages_come_in_order_and_are_acked_at_once() {
    let (_socket, client, mut daemon) = pair();
    assert_eq!(client.recv(Duration::ZERO), Ok(None));
    for seq in 1..=3 {
        daemon.deliver(seq, now());
    }
    for seq in 1..=3u32 {
        let message = client.recv(LONG).expect("no error").expect("a message");
        assert_eq!((message.src, message.msgid.0), (SRC, seq));
        assert_eq!(message.data, seq.to_le_bytes());
        // Not only when the process asks for the next one.
        assert_eq!(daemon.hear(), Said::Taken(u64::from(seq)));
    }
    assert_eq!(client.recv(SHORT), Ok(None));
}

#[test]
fn r6_what_grew_stale_in_the_socket_is_not_taken() {
    let (_socket, client, mut daemon) = pair();
    daemon.deliver(1, now().minus(Span::from_millis(1001)));
    assert_eq!(client.recv(SHORT), Ok(None));
    assert_eq!(daemon.hear(), Said::Stale(1));
}

#[test]
fn callbacks_get_messages_and_their_sends_follow_the_ack() {
    let (_socket, client, mut daemon) = pair();
    let (told, heard) = mpsc::channel();
    client.on_message(move |client, message| {
        client.send(message.src.client, message.data, UserBuf::EMPTY).expect("room");
        told.send(message.msgid.0).expect("heard");
    });
    for seq in 1..=100 {
        daemon.deliver(seq, now());
    }
    let mut count = 0;
    while count < 100 {
        count += client.dispatch(LONG).expect("no error");
    }
    assert_eq!((count, heard.try_iter().collect::<Vec<_>>()), (100, (1..=100).collect()));
    let (mut taken, mut submitted) = (0, 0);
    while (taken, submitted) != (100, 100) {
        match daemon.hear() {
            Said::Taken(upto) => taken = upto,
            Said::Submit { .. } => submitted += 1,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn on_handled_acks_after_the_handler() {
    let socket = Socket::bind();
    let (client, mut daemon) = thread::scope(|scope| {
        let daemon = scope.spawn(|| Daemon::register(&socket, &grant(1)));
        let client = Client::builder(ME).socket(socket.path()).ack(AckMode::OnHandled).connect();
        (client.expect("registered"), daemon.join().expect("no panic"))
    });
    daemon.deliver(1, now());
    daemon.deliver(2, now());
    client.recv(LONG).expect("no error").expect("a message");
    assert!(daemon.hears_nothing());
    client.recv(LONG).expect("no error").expect("a message");
    assert_eq!(daemon.hear(), Said::Taken(1));
    assert_eq!(client.try_recv(), Ok(None));
    assert_eq!(daemon.hear(), Said::Taken(2));
    client.on_message(|_, _| {});
    daemon.deliver(3, now());
    assert_eq!(client.dispatch(LONG), Ok(1));
    assert_eq!(daemon.hear(), Said::Taken(3));
}

#[test]
fn the_fd_is_readable_while_there_is_something_to_do() {
    let (_socket, client, mut daemon) = pair();
    assert!(!readable(&client, SHORT));
    daemon.deliver(1, now());
    daemon.deliver(2, now());
    assert!(readable(&client, LONG));
    client.recv(LONG).expect("no error").expect("the first");
    // The second was read with it, so the socket is empty.
    assert!(readable(&client, Duration::ZERO));
    client.try_recv().expect("no error").expect("the second");
    assert!(!readable(&client, SHORT));
    send(&client);
    assert!(!readable(&client, SHORT));
    daemon.resolve(1, 1);
    assert!(readable(&client, LONG));
    assert_eq!(client.dispatch(Duration::ZERO), Ok(0));
    assert_eq!((client.unresolved(), readable(&client, SHORT)), (0, false));
    // Always the same one.
    assert_eq!(format!("{:?}", client.as_fd()), format!("{:?}", client.as_fd()));
}

#[test]
fn a_wake_shows_at_the_fd() {
    let (_socket, client, _daemon) = pair();
    assert!(!readable(&client, Duration::ZERO));
    client.wake();
    assert!(readable(&client, Duration::ZERO));
    assert_eq!(client.dispatch(Duration::ZERO), Ok(0));
    assert!(!readable(&client, Duration::ZERO));
}

#[test]
fn messages_in_a_callback_begin_where_any_type_may() {
    let (_socket, client, mut daemon) = pair();
    client.on_message(|_, message| assert!(message.data.as_ptr().addr().is_multiple_of(16)));
    for seq in 1..=5 {
        daemon.deliver(seq, now());
    }
    let mut count = 0;
    while count < 5 {
        count += client.dispatch(LONG).expect("no error");
    }
}

#[test]
fn the_fd_tells_when_the_socket_takes_more() {
    let (_socket, client, mut daemon) = pair();
    let big = vec![0; 1 << 20];
    let mut sent = 0;
    while client.send(DST, &big, UserBuf::EMPTY).is_ok() {
        sent += 1;
    }
    assert!(!readable(&client, SHORT));
    thread::scope(|scope| {
        let daemon = scope.spawn(|| (0..sent).for_each(|n| assert_eq!(daemon.hear_submit(), n + 1)));
        while !daemon.is_finished() {
            if readable(&client, SHORT) {
                client.dispatch(Duration::ZERO).expect("no error");
            }
        }
        daemon.join().expect("all of it was heard");
    });
}

#[test]
fn the_fd_alone_leads_to_the_next_daemon() {
    let (socket, client, daemon) = pair();
    drop(daemon);
    let mut daemon = thread::scope(|scope| {
        let daemon = scope.spawn(|| {
            let mut daemon = socket.accept();
            assert!(matches!((daemon.hear(), daemon.hear()), (Said::Register(_), Said::Ready)));
            daemon.say(|out| put::registered(out, &grant(2)));
            daemon
        });
        while !daemon.is_finished() {
            if readable(&client, SHORT) {
                client.dispatch(Duration::ZERO).expect("no error");
            }
        }
        daemon.join().expect("no panic")
    });
    send(&client);
    assert_eq!(daemon.hear_submit(), 1);
}

#[test]
fn a_goodbye_waits_for_a_daemon_that_has_yet_to_read_what_was_taken() {
    let (_socket, client, mut daemon) = pair();
    // Each that is taken is told apart, and a socket holds so many small writes only.
    let most = 2000;
    for seq in 1..=most {
        daemon.deliver(seq, now());
        client.recv(LONG).expect("no error").expect("delivered");
    }
    thread::scope(|scope| {
        let (done, has_ended) = mpsc::channel();
        scope.spawn(move || {
            drop(client);
            done.send(()).expect("heard");
        });
        let waited = has_ended.recv_timeout(Duration::from_millis(20));
        assert_eq!(waited, Err(mpsc::RecvTimeoutError::Timeout), "there is no room for it");
        let mut last = Said::Taken(0);
        loop {
            match daemon.hear() {
                said @ Said::Taken(_) => last = said,
                said => break assert_eq!((last, said), (Said::Taken(u64::from(most)), Said::Goodbye)),
            }
        }
    });
}
