//! A daemon that does what a test says.

use std::{
    io::{ErrorKind, Read, Write},
    os::{
        fd::OwnedFd,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use msg_proto::{
    call::{Procedure, Xid, put_request},
    control::{Register, Registered},
    ids::{Channel, ClientId, Incarnation, Instance, MsgId, Seq},
    local::{CallOrigin, ClientFrame, Deliver, put, split},
    units::{Span, Time},
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, listen, socket_with};

pub(crate) const SRC: Instance = Instance { client: ClientId(7), incarnation: Incarnation(70) };

pub(crate) const PROCEDURE: Procedure = Procedure(3);

/// A listening socket in a directory of its own.
pub(crate) struct Socket {
    dir: PathBuf,
    listener: UnixListener,
}

/// One connection, as the daemon sees it.
pub(crate) struct Daemon {
    stream: UnixStream,
    bytes: Vec<u8>,
    delivered: u64,
}

/// What the client sent, as far as the tests look at it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Register(Register),
    FlowTaken(Vec<u8>),
    Ready,
    Submit {
        msgid: u32,
        seq: u32,
        payload: Vec<u8>,
    },
    Taken(u64),
    Stale(u64),
    Withdraw(u32),
    Drained,
    Subscribe(u32),
    Goodbye,
    /// End of the stream.
    End,
}

impl Socket {
    pub(crate) fn bind() -> Self {
        let dir = unused_dir();
        let listener = UnixListener::bind(dir.join("msgd.sock")).expect("a socket");
        Self { dir, listener }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.join("msgd.sock")
    }

    /// As many connections as wait to be accepted when no more can. They wait no longer once they are dropped.
    pub(crate) fn fill_backlog(&self) -> Vec<OwnedFd> {
        listen(&self.listener, 0).expect("its backlog is smaller now");
        let address = SocketAddrUnix::new(self.path()).expect("a short path");
        let connect = || {
            let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::NONBLOCK, None)
                .expect("a socket");
            connect(&socket, &address).map(|()| socket)
        };
        std::iter::from_fn(|| connect().ok()).collect()
    }

    pub(crate) fn accept(&self) -> Daemon {
        let (stream, _) = self.listener.accept().expect("a client");
        stream.set_read_timeout(Some(super::LONG)).expect("set");
        Daemon { stream, bytes: Vec::new(), delivered: 0 }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.dir).expect("removed");
    }
}

impl Daemon {
    /// Accepts a client that has nothing to replay, and registers it.
    pub(crate) fn register(socket: &Socket, granted: &Registered) -> Self {
        let mut daemon = socket.accept();
        assert!(matches!(daemon.hear(), Said::Register(_)));
        assert_eq!(daemon.hear(), Said::Ready);
        daemon.say(|out| put::registered(out, granted));
        daemon
    }

    pub(crate) fn say(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        self.stream.write_all(&out).expect("written");
    }

    pub(crate) fn deliver(&mut self, seq: u32, send_time: Time) {
        self.deliver_what(seq, send_time, None, &seq.to_le_bytes());
    }

    /// A call of [`PROCEDURE`], whose caller waits that long.
    pub(crate) fn deliver_call(&mut self, seq: u32, timeout: Duration) {
        let at = now();
        let origin = CallOrigin { sent_at: at, uid: 0, node: "vm-b", is_addressed: false };
        let mut request = Vec::new();
        put_request(&mut request, (PROCEDURE, Xid(seq.into())), false, false, timeout.into());
        self.deliver_what(seq, at, Some(origin), &request);
    }

    fn deliver_what(&mut self, seq: u32, send_time: Time, call: Option<CallOrigin<'_>>, payload: &[u8]) {
        self.delivered += 1;
        let number = self.delivered;
        self.say(|out| {
            let deliver = Deliver {
                number,
                src: SRC,
                msgid: MsgId(seq),
                seq: Seq(seq),
                floor: Seq(1),
                channel: Channel::Ordered,
                send_time,
                interval: Span::from_millis(1000),
                round: 0,
                call,
                payload,
            };
            put::deliver(out, &deliver);
        });
    }

    pub(crate) fn resolve(&mut self, first: u32, count: u32) {
        self.say(|out| put::resolved(out, &[(MsgId(first), count)]));
    }

    /// The next frame.
    pub(crate) fn hear(&mut self) -> Said {
        loop {
            if let Some((raw, len)) = split(&self.bytes).expect("a frame") {
                let said = match ClientFrame::parse(raw).expect("a client's frame") {
                    ClientFrame::Register(r) => Said::Register(r),
                    ClientFrame::FlowTaken(f) => Said::FlowTaken(f.bitmap.to_vec()),
                    ClientFrame::Ready => Said::Ready,
                    ClientFrame::Submit(m) => {
                        Said::Submit { msgid: m.msgid.0, seq: m.seq.0, payload: m.payload.to_vec() }
                    }
                    ClientFrame::Taken { upto } => Said::Taken(upto),
                    ClientFrame::Stale { number } => Said::Stale(number),
                    ClientFrame::Goodbye => Said::Goodbye,
                    ClientFrame::Withdraw { msgid } => Said::Withdraw(msgid.0),
                    ClientFrame::Drained => Said::Drained,
                    ClientFrame::Subscribe { client } => Said::Subscribe(client.0),
                    // It is of no use to a script: nobody goes.
                    ClientFrame::Watch(_) => {
                        self.bytes.drain(..len);
                        continue;
                    }
                    other => panic!("{other:?}"),
                };
                self.bytes.drain(..len);
                return said;
            }
            let mut read = [0; 65_536];
            match self.stream.read(&mut read).expect("the client says something") {
                0 => return Said::End,
                n => self.bytes.extend_from_slice(&read[..n]),
            }
        }
    }

    pub(crate) fn hear_submit(&mut self) -> u32 {
        match self.hear() {
            Said::Submit { msgid, .. } => msgid,
            other => panic!("{other:?} instead of a SUBMIT"),
        }
    }

    /// Whether the client says nothing for a while.
    pub(crate) fn hears_nothing(&mut self) -> bool {
        assert!(self.bytes.is_empty());
        self.stream.set_read_timeout(Some(super::SHORT)).expect("set");
        let mut read = [0; 1];
        let heard = self.stream.read(&mut read);
        self.stream.set_read_timeout(Some(super::LONG)).expect("set");
        match heard {
            Ok(n) => {
                self.bytes.extend_from_slice(&read[..n]);
                false
            }
            Err(error) => error.kind() == ErrorKind::WouldBlock,
        }
    }
}

pub(crate) fn grant(start: u64) -> Registered {
    Registered {
        version: 1,
        node: "vm-a".to_owned(),
        start,
        incarnation: Incarnation(5),
        interval_ms: 1000,
        times: 10,
        max_stored: 1000,
        max_stored_bytes: 8 << 20,
        max_message_bytes: 1 << 20,
    }
}

/// The clock that a daemon stamps deliveries with.
pub(crate) fn now() -> Time {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let since =
        Duration::new(u64::try_from(t.tv_sec).expect("after boot"), u32::try_from(t.tv_nsec).expect("ns"));
    Time(Span::from(since).0)
}

pub(crate) fn unused_dir() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("libmsg-{}-{n}", std::process::id()));
    std::fs::create_dir(&dir).expect("a directory");
    dir
}

pub(crate) fn remove(dir: &Path) {
    std::fs::remove_dir_all(dir).expect("removed");
}
