//! What the library reads from its daemon's socket.

use msg_proto::{
    control::Registered,
    ids::{ClientId, Incarnation, Instance, MsgId, Seq},
    limits,
    local::{DaemonFrame, put, split},
    session::{AckMode, Event, Outcomes, SendFlags, Session, SessionConfig, State, TICK_MS, Taker},
    units::{Span, Time},
};

const START: Time = Time(1 << 40);

/// A daemon's stream: the first byte says how it is cut into reads, whether a REGISTERED stands before it, and how the
/// library acknowledges.
///
/// What can be read can be written, and gives the same bytes; whatever the daemon says, every send ends in exactly one
/// outcome, and memory is bounded.
pub fn local_daemon_frames(data: &[u8]) {
    let Some((options, stream)) = data.split_first() else { return };
    rewrite(stream);
    let mut bytes = Vec::new();
    if options & 1 != 0 {
        put::registered(&mut bytes, &granted());
    }
    bytes.extend_from_slice(stream);
    let ack = if options & 2 == 0 { AckMode::OnTake } else { AckMode::OnHandled };
    let mut library = Library::new(ack);
    library.connect();
    library.hear(START, &bytes, 1 + usize::from(options >> 2) * 16);
    // The daemon dies, is back, says the same, and dies.
    library.session.handle_disconnected(START);
    library.connect();
    library.hear(START, &bytes, bytes.len().max(1));
    library.session.handle_disconnected(START);
    library.finish();
}

/// What a daemon grants.
pub(super) fn granted() -> Registered {
    Registered {
        version: 1,
        node: "fuzz".to_owned(),
        start: 1,
        incarnation: Incarnation(5),
        interval_ms: 1000,
        times: 3,
        max_stored: 100,
        max_stored_bytes: 1 << 20,
        max_message_bytes: 1 << 20,
    }
}

fn rewrite(mut stream: &[u8]) {
    while let Ok(Some((raw, len))) = split(stream) {
        let Ok(frame) = DaemonFrame::parse(raw) else { return };
        let mut out = Vec::new();
        match &frame {
            DaemonFrame::Registered(registered) => put::registered(&mut out, registered),
            DaemonFrame::Deliver(deliver) => put::deliver(&mut out, deliver),
            DaemonFrame::Resolved(resolved) => {
                let runs: Vec<_> = resolved.runs().collect();
                put::resolved(&mut out, &runs);
            }
            DaemonFrame::Failed(failed) => put::failed(&mut out, failed),
            // Its text is cut where it is written.
            DaemonFrame::Nack(nack) if nack.text.len() > limits::MAX_NACK_TEXT_BYTES => return,
            DaemonFrame::Nack(nack) => put::nack(&mut out, nack),
            DaemonFrame::Goodbye => put::daemon_goodbye(&mut out),
            DaemonFrame::Bound(bound) => put::bound(&mut out, bound),
            DaemonFrame::Drain(cause) => put::drain(&mut out, *cause),
            DaemonFrame::Presence(p) => {
                let instances: Vec<_> = p.instances().collect();
                put::presence(&mut out, p.client, p.is_partial, &instances);
            }
            DaemonFrame::Gone(instance) => put::gone(&mut out, *instance),
            DaemonFrame::Unbound { dst, channel } => put::unbound(&mut out, *dst, *channel),
        }
        assert_eq!(out, stream[..len], "{frame:?}");
        stream = &stream[len..];
    }
}

/// A library that counts what it was told.
struct Library {
    session: Session,
    ack: AckMode,
    accepted: usize,
    outcomes: usize,
}

impl Library {
    fn new(ack: AckMode) -> Self {
        let config = SessionConfig {
            client: ClientId(100),
            incarnation: Incarnation::NONE,
            interval_ms: 0,
            times: None,
            max_stored: 0,
            priority: 0,
            arrival: msg_proto::control::Arrival::Alone,
            ack,
            outcomes: Outcomes::All,
            name: "fuzz".to_owned(),
        };
        let session = Session::new(config, MsgId(1), Seq(1));
        Self { session, ack, accepted: 0, outcomes: 0 }
    }

    fn connect(&mut self) {
        self.send(START);
        self.session.handle_connected(START);
        self.send(START);
        self.write(START, usize::MAX);
    }

    /// Some sends: ordered and not, to two others.
    fn send(&mut self, now: Time) {
        for n in 0..4 {
            let flags = SendFlags { unordered: n & 1 != 0, at_least_once: n & 2 != 0 };
            let dst = ClientId(200 + n % 2);
            self.accepted += usize::from(self.session.send(now, dst, b"payload", b"user", flags).is_ok());
        }
        let instance = Instance { client: ClientId(200), incarnation: Incarnation(0xa1) };
        let whom = Taker { instance, node: "b".into() };
        self.session.watch(now, &whom);
        self.accepted += usize::from(self.session.send_call_to(now, &whom, b"reply").is_ok());
    }

    /// The daemon's bytes, with whatever they bring about.
    fn hear(&mut self, now: Time, bytes: &[u8], cut: usize) {
        for part in bytes.chunks(cut) {
            let mut rest = part;
            while !rest.is_empty() {
                let n = self.session.handle_bytes(now, rest);
                rest = &rest[n..];
                let polled = self.poll(now);
                if n == 0 && polled == 0 {
                    break;
                }
            }
            self.write(now, 10);
            self.check(now);
            if matches!(self.session.state(), State::Broken | State::Refused) {
                return;
            }
        }
        self.send(now);
    }

    fn poll(&mut self, now: Time) -> usize {
        let mut polled = 0;
        while self.session.poll_call_outcome().is_some() {
            self.outcomes += 1;
        }
        while self.session.poll_gone().is_some() {}
        self.session.take_messages(now, |message| {
            polled += 1;
            message.data.len() <= limits::MAX_MESSAGE_BYTES
        });
        while let Some(event) = self.session.poll_event(now) {
            polled += 1;
            match event {
                Event::Acked { .. } | Event::Failed(_) => self.outcomes += 1,
                Event::Message(message) => {
                    assert!(message.data.len() <= limits::MAX_MESSAGE_BYTES);
                    if self.ack == AckMode::OnHandled {
                        self.session.message_handled();
                    }
                }
                _ => {}
            }
        }
        polled
    }

    fn write(&mut self, now: Time, most: usize) {
        let n = self.session.output().len().min(most);
        self.session.consume_output(now, n);
    }

    fn check(&self, now: Time) {
        let s = &self.session;
        assert_eq!(self.outcomes + s.unresolved(), self.accepted, "exactly one outcome each");
        let counted = s.counters().acked + s.counters().failed;
        assert_eq!(counted, self.outcomes as u64);
        let granted = s.granted();
        assert!(granted.max_stored <= limits::MAX_STORED_CEILING as usize);
        // Input, and room to grow; output and store as granted.
        let bound = 8 << 20;
        assert!(s.memory_bytes() <= bound + 4 * granted.max_stored_bytes, "{} bytes", s.memory_bytes());
        let longest = Span::from_millis(u64::from(limits::MAX_INTERVAL_MS) * 257);
        assert!(s.poll_timeout().is_none_or(|at| at <= now + longest), "{:?}", s.poll_timeout());
    }

    /// No daemon comes back: everything ends, unless it was granted more time than a test has.
    fn finish(&mut self) {
        let mut now = START;
        self.poll(now);
        for _ in 0..MAX_TICKS {
            let Some(at) = self.session.poll_timeout() else { break };
            now = Time(now.0.max(at.0));
            self.session.handle_timeout(now);
            self.poll(now);
            self.check(now);
        }
        assert!(!self.session.has_outcomes());
        let granted = self.session.granted();
        let lifetime_ms = granted.interval.as_millis() * (u64::from(granted.times) + 2);
        if lifetime_ms < MAX_TICKS * TICK_MS {
            assert_eq!(self.session.poll_timeout(), None);
            assert_eq!((self.outcomes, self.session.unresolved()), (self.accepted, 0));
        }
    }
}

/// How often a library is called while it waits for an outcome.
const MAX_TICKS: u64 = 100;
