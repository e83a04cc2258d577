//! One engine whose clients' frames and whose peer's datagrams are written by hand.

use msg_proto::{
    control::{Arrival, Control, Hello, LocalRule, Register, VersionRange},
    engine::{Credentials, Engine, EngineConfig},
    ids::{Channel, ClientId, ConnId, DatagramNumber, FlowId, Incarnation, Instance, MsgId, Seq, SessionId},
    limits,
    local::{DaemonFrame, Submit, put, split},
    units::{Span, Time},
    wire::{DatagramBuilder, Flow, Frame, Frames, Header, Kind, VERSIONS},
};

use super::world::{Options, address, config};

pub(crate) struct ByHand {
    pub(crate) engine: Engine,
    pub(crate) now: Time,
    /// The engine's session of the link, and the next datagram's number.
    session: SessionId,
    number: u64,
    /// The next step of the peer's control stream.
    step: u32,
}

/// What a library that is new asks for.
pub(crate) fn register(id: u32) -> Register {
    Register {
        versions: VersionRange { lowest: 1, highest: 1 },
        client: ClientId(id),
        incarnation: Incarnation::NONE,
        interval_ms: 0,
        times: None,
        max_stored: 0,
        priority: 0,
        arrival: Arrival::Alone,
        name: "test".to_owned(),
    }
}

/// A message in order to a client; its msgid is its sequence number.
pub(crate) fn submit(dst: u32, n: u32, now: Time, payload: &[u8]) -> Submit<'_> {
    Submit {
        dst: ClientId(dst),
        msgid: MsgId(n),
        seq: Seq(n),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call: false,
        to: None,
        send_time: now,
        user: b"",
        payload,
    }
}

pub(crate) fn frames(mut output: &[u8]) -> Vec<DaemonFrame<'_>> {
    let mut frames = Vec::new();
    while let Ok(Some((raw, len))) = split(output) {
        frames.extend(DaemonFrame::parse(raw).ok());
        output = &output[len..];
    }
    assert!(output.is_empty(), "half a frame");
    frames
}

impl ByHand {
    /// Node "a", whose peer is "b", after the grace.
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut config = config(&Options::default(), 0, 0);
        change(&mut config);
        let now = Time(1_000_000);
        let mut by_hand =
            Self { engine: Engine::new(config, now), now, session: SessionId::NONE, number: 0, step: 1 };
        by_hand.pass(3000);
        by_hand
    }

    /// Time passes; what goes to the peer is lost.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + Span::from_millis(ms);
        while let Some(at) = self.engine.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.handle_timeout(self.now);
            self.datagrams();
        }
        self.now = end;
        self.engine.handle_timeout(end);
        assert_eq!(self.engine.check_invariants(), Ok(()));
    }

    pub(crate) fn connect(&mut self, uid: u32) -> ConnId {
        let peer = Credentials { pid: 7, uid, gid: 50 };
        self.engine.handle_connect(self.now, peer).expect("few connections")
    }

    pub(crate) fn say(&mut self, conn: ConnId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.engine.handle_client_bytes(self.now, conn, &bytes);
        assert_eq!(self.engine.check_invariants(), Ok(()));
    }

    /// A process connects, and says REGISTER and READY.
    pub(crate) fn client(&mut self, uid: u32, body: &Register) -> ConnId {
        let conn = self.connect(uid);
        self.say(conn, |out| {
            put::register(out, body);
            put::ready(out);
        });
        conn
    }

    /// The same; why it was refused, or its incarnation.
    pub(crate) fn try_client(
        &mut self,
        uid: u32,
        body: &Register,
    ) -> (ConnId, Result<Incarnation, LocalRule>) {
        let conn = self.client(uid, body);
        let bytes = self.hear(conn);
        let answer = match frames(&bytes).into_iter().next() {
            Some(DaemonFrame::Registered(body)) => Ok(body.incarnation),
            Some(DaemonFrame::Nack(nack)) => Err(nack.rule),
            other => panic!("{other:?}"),
        };
        (conn, answer)
    }

    /// All that is written to a connection; it counts as read.
    pub(crate) fn hear(&mut self, conn: ConnId) -> Vec<u8> {
        while self.engine.poll_writable().is_some() {}
        let bytes = self.engine.output(conn).to_vec();
        self.engine.consume_output(self.now, conn, bytes.len());
        bytes
    }

    pub(crate) fn hang_up(&mut self, conn: ConnId) {
        self.engine.handle_disconnect(self.now, conn);
        assert_eq!(self.engine.check_invariants(), Ok(()));
    }

    /// The datagrams that leave.
    pub(crate) fn datagrams(&mut self) -> Vec<Vec<u8>> {
        let (mut datagrams, mut out) = (Vec::new(), Vec::new());
        while let Some(transmit) = self.engine.poll_transmit_parts(self.now, &mut out, 10) {
            let whole = self.engine.parts(&out).collect::<Vec<_>>().concat();
            assert_eq!(whole.len(), transmit.len);
            datagrams.extend(whole.chunks(transmit.segment).map(<[u8]>::to_vec));
            out.clear();
        }
        datagrams
    }

    /// The frames of the datagrams that leave, each given to `each`.
    pub(crate) fn peer_hears<T>(&mut self, each: impl Fn(Frame<'_>) -> Option<T>) -> Vec<T> {
        let mut all = Vec::new();
        for datagram in self.datagrams() {
            let (header, frames) = Header::parse(&datagram).expect("our own");
            all.extend(Frames::new(header.kind, frames).map(Result::unwrap).filter_map(&each));
        }
        all
    }

    /// A datagram of the peer's comes.
    pub(crate) fn receive(&mut self, datagram: &[u8]) {
        self.engine.handle_datagram(self.now, 0, address(1), datagram);
    }

    /// The peer's hello.
    pub(crate) fn hello(&self, session: u64, echo: u64) -> Vec<u8> {
        let hello = Hello {
            node: "b".to_owned(),
            session: SessionId(session),
            echo: SessionId(echo),
            start: 5,
            clock: self.now,
            max_message_bytes: 1 << 20,
            receive_window: 1 << 20,
        };
        let number = DatagramNumber(0);
        let mut out = Vec::new();
        let header = header(Kind::Hello, SessionId::NONE, number);
        let mut builder = DatagramBuilder::new(&mut out, header, limits::HELLO_DATAGRAM_BYTES);
        assert!(builder.put_hello(&hello));
        let _len = builder.finish();
        out
    }

    /// The link comes up; the peer's clock is ours, and it has these clients, their incarnations 1.
    pub(crate) fn link_up(&mut self, clients: &[u32]) {
        self.pass(1000);
        self.receive(&self.hello(77, 0));
        let sessions =
            self.peer_hears(|f| if let Frame::Hello(hello) = f { Some(hello.session) } else { None });
        let local = *sessions.last().expect("an answer");
        self.session = SessionId::of_session(local, SessionId(77));
        (self.number, self.step) = (0, 1);
        self.receive(&self.hello(77, local.0));
        for client in clients {
            let (client, incarnation) = (ClientId(*client), Incarnation(1));
            self.control(&Control::Announce { client, incarnation, priority: 0, uid: 7 });
        }
        self.control(&Control::Synced);
        self.datagrams();
        assert_eq!(self.engine.status(self.now).peers[0].state, "up");
    }

    pub(crate) fn control(&mut self, step: &Control) {
        let seq = self.step;
        self.step += 1;
        self.peer_says(|b| assert!(b.put_control(seq, step)));
    }

    /// A datagram of the peer's with these frames.
    pub(crate) fn peer_says(&mut self, write: impl FnOnce(&mut DatagramBuilder<'_>)) {
        let mut out = Vec::new();
        let header = header(Kind::Frames, self.session, DatagramNumber(self.number));
        self.number += 1;
        let mut builder = DatagramBuilder::new(&mut out, header, limits::MAX_MTU);
        write(&mut builder);
        let _len = builder.finish();
        self.receive(&out);
    }

    /// The flow from a peer's client to the one of this node that has that incarnation.
    pub(crate) fn flow(&self, src: u32, dst: u32, incarnation: Incarnation) -> Flow {
        let src = Instance { client: ClientId(src), incarnation: Incarnation(1) };
        let dst = Instance { client: ClientId(dst), incarnation };
        Flow {
            id: FlowId { src, dst, channel: Channel::Ordered },
            send_time: self.now,
            interval: Span::from_millis(1000),
            floor: Seq(1),
            presence: 1,
        }
    }
}

fn header(kind: Kind, session: SessionId, number: DatagramNumber) -> Header {
    Header { version: VERSIONS.lowest, kind, speaks: VERSIONS, session, number }
}
