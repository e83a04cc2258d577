//! A client in a fork of its process.

use std::{
    io::{Read, Write},
    os::unix::net::UnixListener,
    thread,
};

use msg_proto::{control::Registered, local::put};

use super::*;
use crate::Error;

#[test]
fn a_fork_is_refused() {
    let path = std::env::temp_dir().join(format!("libmsg-fork-{}.sock", std::process::id()));
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
        let mut said = Vec::new();
        stream.read_to_end(&mut said).expect("read");
        said
    });
    let mut client = Client::builder(ClientId(1)).socket(&path).connect().expect("registered");
    client.fork = ForkMark::forked();
    assert_eq!(client.send(ClientId(2), b"x", UserBuf::EMPTY), Err(SendError::Forked));
    assert_eq!(client.try_recv(), Err(Error::Forked));
    assert_eq!(client.dispatch(None), Err(Error::Forked));
    assert_eq!(client.flush(None), Err(Error::Forked));
    drop(client);
    let mut goodbye = Vec::new();
    put::client_goodbye(&mut goodbye);
    assert!(!daemon.join().expect("no panic").ends_with(&goodbye), "the child said goodbye for its parent");
    std::fs::remove_file(&path).expect("removed");
}
