//! A link: the association with one peer, over one path or several.
//!
//! * `received`: which datagram numbers have come: replay protection, and what is acknowledged.
//! * `sent`: which datagrams are out and what they carried. `recovery`: when they are lost (RFC 9002). `congestion`:
//!   how much may be out, and how fast it leaves. `path_mtu`: how large datagrams may be (RFC 8899).
//! * `redundancy`: how many bytes of copies may go along.
//! * `control`: the ordered stream of presences. `queue`: entries that wait for the link, fair between clients.

pub(crate) mod congestion;
pub(crate) mod control;
pub(crate) mod path_mtu;
pub(crate) mod queue;
pub(crate) mod received;
pub(crate) mod recovery;
pub(crate) mod redundancy;
pub(crate) mod sent;

use std::net::SocketAddr;

use control::{ControlIn, ControlOut};
use path_mtu::PathMtu;
use queue::TransmitQueue;
use received::Received;
use recovery::Recovery;

use super::{arena::key, chain::FlowKey, client::ClientKey, clock::PeerClock, inbox::InboxKey, map::Map};
use crate::{
    control::{Hello, VersionRange},
    ids::SessionId,
    limits::{HEARTBEAT_MS, HELLO_MS},
    units::{Span, Time},
};

key! {
    /// A configured peer's link.
    LinkKey
}

/// The link to a configured peer.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) name: String,
    pub(crate) paths: Vec<Path>,
    /// The path that messages take.
    pub(crate) active: usize,
    /// The association that is up.
    pub(crate) current: Option<Association>,
    /// The one that is being opened: always while none is up, and beside one when the peer begins anew.
    pub(crate) attempt: Option<Attempt>,
    /// When the next hello goes out.
    pub(crate) hello_at: Time,
    pub(crate) hello_backoff: Span,
    /// Hellos to send now: to which path, and of what.
    pub(crate) hellos: Vec<(usize, Opening)>,
    /// Hellos answered since then.
    pub(crate) answers: u32,
    pub(crate) answers_since: Time,
    pub(crate) queue: TransmitQueue,
    /// Flows whose floor or holes the peer is to be told.
    pub(crate) floors: Vec<FlowKey>,
    /// Inboxes with acks, nacks or reports of partial messages.
    pub(crate) dirty: Vec<InboxKey>,
    /// The inbox of the last flow that came, found again without a look-up.
    pub(crate) last_inbox: Option<InboxKey>,
    /// It stands in the engine's list of links with something to send.
    pub(crate) is_ready: bool,
    /// When the peer's clock last stepped, as seen from here.
    pub(crate) clock_step: Option<Time>,
    pub(crate) heard: Option<Time>,
    /// What its peer speaks, if that is nothing that we do.
    pub(crate) foreign: Option<VersionRange>,
    /// Its peer is in the config no more. It stays, never up, while messages or inboxes refer to it.
    pub(crate) is_removed: bool,
}

/// One address pair.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) listener: usize,
    pub(crate) remote: SocketAddr,
    pub(crate) heard: Option<Time>,
    /// A heartbeat is to go out on it; whether it asks for one back.
    pub(crate) heartbeat: Option<HeartbeatDue>,
    pub(crate) mtu: PathMtu,
}

impl Path {
    /// The paths to a peer's addresses.
    pub(crate) fn all(addresses: &[SocketAddr], listeners: usize, mtu: &PathMtu) -> Vec<Self> {
        let path = |(i, remote): (usize, &SocketAddr)| Self {
            listener: i % listeners.max(1),
            remote: *remote,
            heard: None,
            heartbeat: None,
            mtu: mtu.clone(),
        };
        addresses.iter().enumerate().map(path).collect()
    }
}

/// A heartbeat that is to go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HeartbeatDue {
    pub(crate) wants_reply: bool,
}

/// What a hello carries the number of, where there are both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Opening {
    /// The session that is up here, and not yet with the peer.
    Session,
    /// The attempt.
    Attempt,
}

/// An association that is being opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    pub(crate) local: SessionId,
    /// What the peer's hello told.
    pub(crate) remote: Option<Remote>,
    /// A hello of ours that was due has echoed it.
    is_asked: bool,
}

impl Attempt {
    pub(crate) const fn new(local: SessionId) -> Self {
        Self { local, remote: None, is_asked: false }
    }

    /// What datagrams of the peer carry that open it.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.remote.map(|remote| SessionId::of_session(self.local, remote.session))
    }

    /// A hello of the peer came.
    pub(crate) const fn record_hello(&mut self, remote: Remote) {
        (self.remote, self.is_asked) = (Some(remote), false);
    }

    /// The next hello is due. An echo that was not answered is not repeated: the hello that it echoes may have been
    /// one of a session long past that came late, and a peer for which that is not the session it has with us refuses
    /// it. One without an echo asks anew.
    pub(crate) fn aged(self) -> Self {
        let remote = self.remote.filter(|_| !self.is_asked);
        Self { remote, is_asked: remote.is_some(), ..self }
    }
}

/// What a peer's hello told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Remote {
    pub(crate) session: SessionId,
    pub(crate) version: u8,
    pub(crate) start: u64,
    pub(crate) max_message_bytes: usize,
    pub(crate) window: usize,
    pub(crate) clock: Time,
    pub(crate) clock_came: Time,
}

impl Remote {
    pub(crate) const fn from_hello(hello: &Hello, version: u8, now: Time) -> Self {
        Self {
            session: hello.session,
            version,
            start: hello.start,
            max_message_bytes: hello.max_message_bytes as usize,
            window: hello.receive_window as usize,
            clock: hello.clock,
            clock_came: now,
        }
    }
}

/// An association that is up: both sides know both sessions.
#[derive(Debug)]
pub(crate) struct Association {
    pub(crate) local: SessionId,
    pub(crate) remote: Remote,
    pub(crate) next_number: u64,
    pub(crate) received: Received,
    pub(crate) clock: PeerClock,
    /// The last clock value from the peer, and when it came: it is echoed.
    pub(crate) echo: Option<(Time, Time)>,
    pub(crate) heard_at: Time,
    pub(crate) heartbeat_at: Time,
    pub(crate) control_out: ControlOut,
    pub(crate) control_in: ControlIn,
    pub(crate) recovery: Recovery,
    /// A GOODBYE is to go out.
    pub(crate) goodbye: bool,
    /// The peer has announced everything that it had when the link came up.
    pub(crate) is_synced: bool,
    /// At which step of the control stream a client of this node was announced.
    pub(crate) announced: Map<ClientKey, u32>,
}

impl Association {
    pub(crate) fn new(local: SessionId, remote: Remote, small: usize, now: Time) -> Self {
        let mut clock = PeerClock::default();
        clock.record(remote.clock, remote.clock_came, None);
        Self {
            local,
            remote,
            next_number: 0,
            received: Received::default(),
            clock,
            echo: Some((remote.clock, remote.clock_came)),
            heard_at: now,
            heartbeat_at: now + Span::from_millis(HEARTBEAT_MS),
            control_out: ControlOut::default(),
            control_in: ControlIn::default(),
            recovery: Recovery::new(remote.window, small, now),
            goodbye: false,
            is_synced: false,
            announced: Map::default(),
        }
    }

    /// What datagrams of the peer carry.
    pub(crate) const fn session(&self) -> SessionId {
        SessionId::of_session(self.local, self.remote.session)
    }

    /// What datagrams to the peer carry.
    pub(crate) const fn peers_session(&self) -> SessionId {
        SessionId::of_session(self.remote.session, self.local)
    }
}

impl Link {
    pub(crate) fn new(
        name: String,
        addresses: &[SocketAddr],
        listeners: usize,
        mtu: &PathMtu,
        local: SessionId,
        now: Time,
    ) -> Self {
        Self {
            name,
            paths: Path::all(addresses, listeners, mtu),
            active: 0,
            current: None,
            attempt: Some(Attempt::new(local)),
            hello_at: now,
            hello_backoff: Span::from_millis(HELLO_MS),
            hellos: Vec::new(),
            answers: 0,
            answers_since: now,
            queue: TransmitQueue::default(),
            floors: Vec::new(),
            dirty: Vec::new(),
            last_inbox: None,
            is_ready: false,
            clock_step: None,
            heard: None,
            foreign: None,
            is_removed: false,
        }
    }

    /// A hello is to go out. What waits already is not sent twice.
    pub(crate) fn push_hello(&mut self, path: usize, opening: Opening) {
        if !self.hellos.contains(&(path, opening)) {
            self.hellos.push((path, opening));
        }
    }

    /// The path that goes to an address, or the active one for an address that is not in the config.
    pub(crate) fn path_to(&self, from: SocketAddr) -> Option<usize> {
        self.paths.iter().position(|p| p.remote == from)
    }

    /// The path to use from now on: the one most recently heard, when the active one has been silent for
    /// two heartbeats.
    pub(crate) fn choose_path(&mut self, now: Time) {
        let silent =
            |p: &Path| p.heard.is_none_or(|at| now.since(at) > Span::from_millis(2 * HEARTBEAT_MS + 500));
        if silent(&self.paths[self.active])
            && let Some(best) = (0..self.paths.len())
                .filter(|i| !silent(&self.paths[*i]))
                .max_by_key(|i| self.paths[*i].heard)
        {
            self.active = best;
        }
    }

    pub(crate) const fn state_name(&self) -> &'static str {
        match (&self.current, self.heard) {
            (Some(a), _) if a.is_synced => "up",
            (Some(_), _) => "connecting",
            (None, None) => "connecting",
            (None, Some(_)) => "down",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Span;

    /// A link with paths that were heard so many milliseconds ago; which one it chooses.
    fn chosen(active: usize, heard: &[Option<u64>]) -> usize {
        let addresses: Vec<_> = (0..heard.len())
            .map(|n| SocketAddr::from(([127, 0, 0, u8::try_from(n).unwrap()], 7400)))
            .collect();
        let mtu = PathMtu::new(1200, 1200);
        let now = Time(100_000_000);
        let mut link = Link::new("b".to_owned(), &addresses, 1, &mtu, SessionId(1), now);
        for (path, ago) in link.paths.iter_mut().zip(heard) {
            path.heard = ago.map(|ms| now.minus(Span::from_millis(ms)));
        }
        link.active = active;
        link.choose_path(now);
        link.active
    }

    #[test]
    fn a_path_is_left_after_two_heartbeats_and_a_half_for_the_one_heard_last() {
        const SILENT: u64 = 2 * HEARTBEAT_MS + 500;
        assert_eq!(chosen(0, &[Some(SILENT), Some(0)]), 0, "not yet");
        assert_eq!(chosen(0, &[Some(SILENT + 1), Some(0)]), 1);
        assert_eq!(chosen(2, &[Some(900), Some(700), None, Some(800)]), 1);
        assert_eq!(chosen(0, &[None, None]), 0, "there is no better one");
        assert_eq!(chosen(0, &[Some(SILENT + 9), Some(SILENT + 1)]), 0);
        assert_eq!(chosen(1, &[Some(0), Some(1000)]), 1, "it works");
    }
}
