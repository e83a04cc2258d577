//! The client against a scripted daemon on a real socket.

mod connecting;
mod daemon;
mod drains;
mod errors;
mod instances;
mod messages;
mod outcomes;
mod threads;
mod waits;

use std::{path::Path, time::Duration};

use daemon::{Daemon, Socket, grant};
use msg::{Client, ClientId, UserBuf};
use msg_proto::control::Registered;

const ME: ClientId = ClientId(100);
const DST: ClientId = ClientId(200);
/// Longer than anything here takes; only a test that fails waits for it.
const LONG: Duration = Duration::from_secs(10);
/// Long enough for something to happen that must not.
const SHORT: Duration = Duration::from_millis(50);

/// A client that is registered with a scripted daemon.
fn pair() -> (Socket, Client, Daemon) {
    let socket = Socket::bind();
    let (client, daemon) = connect(&socket);
    (socket, client, daemon)
}

fn connect(socket: &Socket) -> (Client, Daemon) {
    connect_as(socket, &grant(1))
}

/// ... that grants this.
fn connect_as(socket: &Socket, granted: &Registered) -> (Client, Daemon) {
    std::thread::scope(|scope| {
        let daemon = scope.spawn(|| Daemon::register(socket, granted));
        let client = Client::builder(ME).socket(socket.path()).connect().expect("registered");
        (client, daemon.join().expect("no panic"))
    })
}

fn text(path: &Path) -> String {
    Client::builder(ME).socket(path).connect().expect_err("no daemon").to_string()
}

fn send(client: &Client) -> u32 {
    client.send(DST, b"payload", UserBuf::from(b"user")).expect("room").0
}
