//! Exactly one outcome for each accepted send (I1), whatever the daemon and the stream do.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{ids::Seq, local::Failed};

#[derive(Clone, Debug)]
enum Step {
    Send { unordered: bool, dst: u32, len: usize },
    Write(usize),
    Resolve(Vec<usize>),
    ResolveRun(usize, u32),
    Fail(usize),
    Connect,
    Register,
    Disconnect,
    Goodbye,
    Wait(u64),
    Poll,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (any::<bool>(), 0..3u32, 0..40usize)
            .prop_map(|(unordered, dst, len)| Step::Send { unordered, dst, len }),
        4 => (0..400usize).prop_map(Step::Write),
        3 => prop::collection::vec(0..50usize, 1..5).prop_map(Step::Resolve),
        1 => (0..50usize, 1..6u32).prop_map(|(n, count)| Step::ResolveRun(n, count)),
        3 => (0..50usize).prop_map(Step::Fail),
        3 => Just(Step::Connect),
        4 => Just(Step::Register),
        2 => Just(Step::Disconnect),
        1 => Just(Step::Goodbye),
        2 => (0..8_000_000u64).prop_map(Step::Wait),
        4 => Just(Step::Poll),
    ]
}

/// What a naive bookkeeper knows of one message.
#[derive(Debug, Default)]
struct Sent {
    order: usize,
    seq: Option<Seq>,
    user: Vec<u8>,
    outcomes: usize,
    written: bool,
    given_up: bool,
}

/// The daemon and the stream, as far as they are needed.
struct Model {
    session: Session,
    now: Time,
    connected: bool,
    start: u64,
    sent: BTreeMap<u32, Sent>,
    next: Option<MsgId>,
    flows: BTreeMap<(u32, bool), Seq>,
    chunk: usize,
    stream: Vec<u8>,
}

impl Model {
    fn apply(&mut self, step: &Step) {
        match step {
            Step::Send { unordered, dst, len } => self.send(*unordered, *dst, *len),
            Step::Write(n) => self.write(*n),
            Step::Resolve(picks) => {
                let runs: Vec<_> = picks.iter().filter_map(|n| Some((self.pick(*n)?, 1))).collect();
                if !runs.is_empty() {
                    self.feed(|out| put::resolved(out, &runs));
                }
            }
            Step::ResolveRun(n, count) => {
                if let Some(first) = self.pick(*n) {
                    self.feed(|out| put::resolved(out, &[(first, *count)]));
                }
            }
            Step::Fail(n) => {
                if let Some(msgid) = self.pick(*n) {
                    let verdict = verdict(Reason::NoAnswer, Certainty::Unknown);
                    self.feed(|out| {
                        put::failed(out, &Failed { msgid, dst: DST, tries: TRIES, verdict, user: b"" });
                    });
                }
            }
            Step::Connect => self.connect(),
            Step::Register => {
                if self.session.state() == State::Registering {
                    let grant = Registered { max_stored: 20, ..grant(self.start) };
                    self.feed(|out| put::registered(out, &grant));
                }
            }
            Step::Disconnect => self.disconnect(),
            Step::Goodbye => self.feed(put::daemon_goodbye),
            Step::Wait(us) => {
                self.now = self.now + Span(*us);
                pass(&mut self.session, self.now);
                assert!(self.session.poll_timeout().is_none_or(|at| at > self.now));
            }
            Step::Poll => self.poll(),
        }
        if self.session.state() == State::Broken {
            self.disconnect();
        }
    }

    fn send(&mut self, unordered: bool, dst: u32, len: usize) {
        let user = vec![u8::try_from(len).expect("small"); len];
        let flags = SendFlags { unordered, at_least_once: false };
        match self.session.send(self.now, ClientId(dst), &user, &user, flags) {
            Ok(msgid) => {
                assert!(self.next.is_none_or(|next| next == msgid), "msgids follow");
                self.next = Some(msgid.next());
                let next = self.flows.entry((dst, unordered)).or_insert(FIRST_SEQ);
                let (order, seq) = (self.sent.len(), Some(*next));
                *next = next.next();
                let old = self.sent.insert(msgid.0, Sent { order, seq, user, ..Sent::default() });
                assert!(old.is_none(), "a msgid twice");
            }
            Err(error) => {
                assert_eq!(error, SendError::WouldBlock);
                self.poll();
                assert!(self.open() == 20 || self.session.unresolved() < 20, "blocked without need");
            }
        }
    }

    fn write(&mut self, n: usize) {
        let output = self.session.output();
        let n = n.min(output.len());
        self.stream.extend_from_slice(&output[..n]);
        self.session.consume_output(self.now, n);
        let mut rest = &self.stream[..];
        while let Some((raw, len)) = split(rest).expect("a frame") {
            if let ClientFrame::Submit(m) = ClientFrame::parse(raw).expect("a client's frame") {
                let sent = self.sent.get_mut(&m.msgid.0).expect("sent");
                assert_eq!((m.user, m.payload, Some(m.seq)), (&sent.user[..], &sent.user[..], sent.seq));
                assert!(!sent.given_up, "submitted after the session gave it up");
                sent.written = true;
            }
            rest = &rest[len..];
        }
        let half = rest.len();
        self.stream.drain(..self.stream.len() - half);
    }

    /// Feeds a daemon's frame in chunks, if there is a daemon that would say so.
    fn feed(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let registers = bytes[4] == 65;
        if self.connected && (registers || self.session.state() != State::Registering) {
            for chunk in bytes.chunks(self.chunk) {
                assert_eq!(self.session.handle_bytes(self.now, chunk), chunk.len());
            }
        }
    }

    fn connect(&mut self) {
        if !self.connected {
            self.poll();
            self.session.handle_connected(self.now);
            (self.connected, self.start) = (true, self.start + 1);
        }
    }

    fn disconnect(&mut self) {
        self.session.handle_disconnected(self.now);
        self.connected = false;
        self.stream.clear();
    }

    fn poll(&mut self) {
        while let Some(event) = self.session.poll_event(self.now) {
            let (msgid, failure) = match event {
                Event::Acked { msgid } => (msgid, None),
                Event::Failed(f) => (f.msgid, Some(f)),
                _ => continue,
            };
            let sent = self.sent.get_mut(&msgid.0).expect("sent");
            sent.outcomes += 1;
            assert_eq!(sent.outcomes, 1, "{msgid} ends twice");
            if let Some(failure) = failure {
                assert_eq!(failure.user.as_bytes(), sent.user);
                sent.given_up = failure.tries != TRIES;
                let certain = failure.verdict.certainty == Certainty::NotStarted;
                assert!(!(certain && sent.written), "{msgid} was written whole");
            }
        }
    }

    fn open(&self) -> usize {
        self.sent.values().filter(|s| s.outcomes == 0).count()
    }

    /// A msgid that a daemon may say something of.
    fn pick(&self, n: usize) -> Option<MsgId> {
        let order = n.checked_rem(self.sent.len())?;
        self.sent.iter().find(|(_, s)| s.order == order && s.written).map(|(id, _)| MsgId(*id))
    }
}

/// What the daemon says; the session itself never does.
const TRIES: u32 = 3;

const FIRST_SEQ: Seq = Seq(u32::MAX - 2);

proptest! {
    #[test]
    fn i1_every_send_has_exactly_one_outcome(
        steps in prop::collection::vec(step(), 1..250),
        chunk in 1..40usize,
    ) {
        let config = SessionConfig { max_stored: 20, outcomes: Outcomes::All, times: Some(2), ..config() };
        let session = Session::new(config, MsgId(u32::MAX - 5), FIRST_SEQ);
        let mut model = Model {
            session,
            now: Time(0),
            connected: false,
            start: 0,
            sent: BTreeMap::new(),
            next: None,
            flows: BTreeMap::new(),
            chunk,
            stream: Vec::new(),
        };
        for step in &steps {
            model.apply(step);
            prop_assert_eq!(model.session.unresolved_bytes() == 0, model.session.unresolved() == 0);
            model.session.unresolved.check();
        }
        // The daemon is gone for good: everything ends.
        model.disconnect();
        model.apply(&Step::Wait(60_000_000));
        model.poll();
        prop_assert_eq!(model.open(), 0);
        prop_assert_eq!((model.session.unresolved(), model.session.poll_timeout()), (0, None));
    }
}
