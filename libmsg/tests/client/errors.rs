//! Why there is no connection: what, where, and what to do.

use std::{os::unix::net::UnixListener, thread, time::Duration};

use msg::{Client, ConnectError, Error, LocalNack, LocalRule, SendError, UserBuf};
use msg_proto::{control::Registered, local::put};

use super::*;
use crate::daemon::{Said, grant, remove, unused_dir};

#[test]
fn no_daemon() {
    let dir = unused_dir();
    let path = dir.join("msgd.sock");
    let shown = path.display();
    assert_eq!(
        text(&path),
        format!(
            "no socket at {shown}: is msgd running, with this runtime directory? ($MSGD_SOCKET names another socket)"
        )
    );
    drop(UnixListener::bind(&path).expect("a socket"));
    assert_eq!(text(&path), format!("nobody listens at {shown}: msgd is not running; start it"));
    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, "").expect("a file");
    let not_a_socket = format!("{shown} is not a stream socket: give the path of msgd's msgd.sock");
    assert_eq!(text(&path), not_a_socket);
    let long = dir.join("x".repeat(108));
    assert_eq!(text(&long), format!("{} is too long for a Unix socket: at most 107 bytes", long.display()));
    remove(&dir);
}

#[test]
fn a_refused_registration_says_why() {
    let socket = Socket::bind();
    let said = "clientid 100 is registered by pid 7 of uid 0: stop it, or take it over";
    let nack = LocalNack { rule: LocalRule::ClientIdTaken, text: said.to_owned() };
    let shown = socket.path().display().to_string();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut daemon = socket.accept();
            daemon.hear();
            daemon.say(|out| put::nack(out, &nack));
        });
        let error = Client::builder(ME).socket(socket.path()).connect().expect_err("refused");
        assert_eq!(error.to_string(), format!("msgd at {shown} refused this client: {said} (ClientIdTaken)"));
        assert!(matches!(error, ConnectError::Refused { .. }));
    });
}

#[test]
fn a_daemon_that_does_not_answer() {
    let socket = Socket::bind();
    let builder = Client::builder(ME).socket(socket.path()).connect_timeout(SHORT);
    let error = builder.connect().expect_err("no answer");
    let want = format!(
        "msgd at {} did not answer within 50 ms: it hangs, or is not started yet",
        socket.path().display()
    );
    assert_eq!(error.to_string(), want);
    assert!(matches!(socket.accept().hear(), Said::Register(_)));
    thread::scope(|scope| {
        scope.spawn(|| drop(socket.accept()));
        assert!(matches!(
            Client::builder(ME).socket(socket.path()).connect(),
            Err(ConnectError::Lost { .. })
        ));
    });
}

#[test]
fn what_answers_is_no_msgd() {
    let socket = Socket::bind();
    thread::scope(|scope| {
        scope.spawn(|| socket.accept().say(|out| out.extend_from_slice(b"HTTP/1.1 400 Bad Request\r\n\r\n")));
        let error = Client::builder(ME).socket(socket.path()).connect().expect_err("not msgd");
        assert!(matches!(error, ConnectError::NotMsgd { .. }), "{error}");
        assert!(error.to_string().ends_with("give the path of msgd.sock"), "{error}");
    });
}

#[test]
fn a_daemon_that_goes_on_in_an_unknown_version_is_left() {
    for version in [0, 2] {
        let socket = Socket::bind();
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut daemon = socket.accept();
                daemon.say(|out| put::registered(out, &Registered { version, ..grant(1) }));
                while daemon.hear() != Said::End {}
            });
            let error = Client::builder(ME).socket(socket.path()).connect().expect_err("refused");
            let ConnectError::Refused { nack, .. } = error else { panic!("{error}") };
            assert_eq!(nack.rule, LocalRule::Version);
            let said =
                format!("the daemon goes on in local protocol version {version}, this library speaks 1..1");
            assert!(nack.text.starts_with(&said), "{}", nack.text);
        });
    }
}

#[test]
fn options_are_checked_before_anything_is_done() {
    let bad = |builder: msg::Builder| builder.connect().expect_err("a bad option").to_string();
    let builder = || Client::builder(ME).socket("/nowhere");
    assert_eq!(bad(builder().interval(Duration::from_micros(9_999))), "interval: 10 ms to 10 minutes");
    assert_eq!(bad(builder().interval(Duration::from_secs(601))), "interval: 10 ms to 10 minutes");
    assert_eq!(bad(builder().max_stored(0)), "max_stored: 1 to 65,536 messages");
    assert_eq!(bad(builder().max_stored(65_537)), "max_stored: 1 to 65,536 messages");
    assert_eq!(bad(builder().name("x".repeat(65))), "name: at most 64 bytes");
}

#[test]
fn refused_later_on_everything_ends() {
    let (_socket, client, mut daemon) = pair();
    let (told, failures) = std::sync::mpsc::channel();
    client.on_failure(move |_, failure| told.send(failure.msgid.0).expect("heard"));
    send(&client);
    daemon.hear_submit();
    let nack = LocalNack { rule: LocalRule::Superseded, text: "taken over by pid 9".to_owned() };
    daemon.say(|out| put::nack(out, &nack));
    assert_eq!(client.dispatch(LONG), Ok(1));
    assert_eq!(failures.try_iter().collect::<Vec<_>>(), [1]);
    assert_eq!(client.dispatch(LONG), Err(Error::Refused(nack.clone())));
    assert_eq!(client.recv(LONG), Err(Error::Refused(nack)));
    let sent = client.send(DST, b"", UserBuf::EMPTY);
    assert_eq!(sent, Err(SendError::Refused(LocalRule::Superseded)));
    assert_eq!(daemon.hear(), Said::End);
}
