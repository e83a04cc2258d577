//! Hellos: how a link comes up (SPEC.md, section 3.3).
//!
//! Each side draws a session of its own for an attempt. A side is established when a hello echoes its session,
//! or when a datagram comes for it while the other's is known. A peer that began anew opens a second attempt beside
//! what is up, and replaces it only when a datagram for that attempt has come: a forged hello tears nothing down.

use super::{
    Engine,
    link::{Attempt, HeartbeatDue, LinkKey, Opening, Remote},
};
use crate::{
    control::{Hello, VersionRange},
    counters::Counter,
    ids::{DatagramNumber, SessionId},
    limits,
    units::Span,
    wire::{DatagramBuilder, Header, Kind, VERSIONS},
};

impl Engine {
    /// A hello has come, from the peer's address number `path` if it is one of the config.
    pub(super) fn on_hello(
        &mut self,
        hello: &Hello,
        speaks: VersionRange,
        len: usize,
        from: std::net::SocketAddr,
    ) {
        let Some(key) =
            self.links.iter().find(|(_, l)| l.name == hello.node && !l.is_removed).map(|(k, _)| k)
        else {
            self.count(Counter::RefusedHellos);
            return;
        };
        let Some(version) = VERSIONS.agree(speaks) else {
            self.on_foreign(Some(key), speaks);
            return;
        };
        if len < limits::HELLO_DATAGRAM_BYTES || hello.session == SessionId::NONE || self.is_shutting_down {
            self.count(Counter::RefusedHellos);
            return;
        }
        let link = &self.links[key];
        let path = link.path_to(from).unwrap_or(link.active);
        if let Some(current) = &link.current
            && current.remote.session == hello.session
        {
            if hello.echo == current.local {
                // It knows us, and waits for a datagram of ours.
                self.links[key].paths[path].heartbeat = Some(HeartbeatDue { wants_reply: false });
                self.wake_link(key);
            } else {
                // It is to enter the session. An attempt beside that would be answered with this hello again, for ever.
                self.answer_hello(key, path, Opening::Session);
            }
            return;
        }
        if self.is_echo_of_another(key, hello) {
            self.count(Counter::RefusedHellos);
            return;
        }
        self.on_opening(key, path, hello, version);
    }

    /// SPEC, section 7: a datagram whose sender speaks no version that we do; of what peer, if it is one.
    pub(super) fn on_foreign(&mut self, key: Option<LinkKey>, speaks: VersionRange) {
        self.count(Counter::VersionMismatches);
        if let Some(link) = key.map(|key| &mut self.links[key])
            && link.current.is_none()
            && VERSIONS.agree(speaks).is_none()
        {
            link.foreign = Some(speaks);
        }
    }

    /// Whether the process that we have a session with answers a hello that was not ours: somebody else's, in our name.
    /// Answering would make the two of us renew a session that nothing is wrong with.
    fn is_echo_of_another(&self, key: LinkKey, hello: &Hello) -> bool {
        let link = &self.links[key];
        let Some(current) = &link.current else { return false };
        let is_ours = hello.echo == current.local || link.attempt.is_some_and(|a| a.local == hello.echo);
        hello.echo != SessionId::NONE && !is_ours && hello.start == current.remote.start
    }

    fn on_opening(&mut self, key: LinkKey, path: usize, hello: &Hello, version: u8) {
        // Our number stays, whosever hello it is, or two sides whose hellos cross would draw for ever. What comes of an
        // earlier session with it carries another number.
        let attempt = self.links[key].attempt;
        let mut attempt = attempt.unwrap_or_else(|| Attempt::new(self.new_session()));
        attempt.record_hello(Remote::from_hello(hello, version, self.clock.raw()));
        self.set_attempt(key, Some(attempt));
        if hello.echo == attempt.local {
            self.establish(key, attempt);
        } else {
            self.answer_hello(key, path, Opening::Attempt);
        }
    }

    /// Answers a hello, unless so many were answered that these are copies or a flood: who needs one more asks again.
    fn answer_hello(&mut self, key: LinkKey, path: usize, opening: Opening) {
        let now = self.clock.steady();
        let link = &mut self.links[key];
        if now.since(link.answers_since) >= Span::from_millis(limits::HELLO_MS) {
            (link.answers_since, link.answers) = (now, 0);
        }
        if link.answers >= limits::MAX_HELLO_ANSWERS {
            return self.count(Counter::RefusedHellos);
        }
        link.answers += 1;
        link.push_hello(path, opening);
        self.wake_link(key);
    }

    /// Links whose next hello is due.
    pub(super) fn send_hellos(&mut self) {
        let now = self.clock.steady();
        let mut from = 0;
        while let Some(key) = self.links.next_key(&mut from) {
            let link = &mut self.links[key];
            if link.current.is_some() || link.is_removed || link.hello_at > now {
                continue;
            }
            let attempt = link.attempt.map(Attempt::aged);
            for path in 0..link.paths.len() {
                link.push_hello(path, Opening::Attempt);
            }
            link.hello_at = now + link.hello_backoff;
            link.hello_backoff = link.hello_backoff.times(2).min(Span::from_millis(limits::HEARTBEAT_MS));
            self.set_attempt(key, attempt);
            self.wake_link(key);
        }
    }

    /// Writes a hello for a link.
    pub(super) fn write_hello(&self, key: LinkKey, opening: Opening, out: &mut Vec<u8>) -> Option<usize> {
        let link = &self.links[key];
        let attempt = link.attempt.map(|a| (a.local, a.remote.map_or(SessionId::NONE, |r| r.session)));
        let current = link.current.as_ref().map(|c| (c.local, c.remote.session));
        let (session, echo) = match opening {
            Opening::Session => current.or(attempt),
            Opening::Attempt => attempt.or(current),
        }?;
        let hello = Hello {
            node: self.config.node.clone(),
            session,
            echo,
            start: self.config.start,
            clock: self.clock.raw(),
            max_message_bytes: u32::try_from(self.config.limits.max_message_bytes).unwrap_or(u32::MAX),
            receive_window: self.config.receive_window,
        };
        let header = Header {
            version: VERSIONS.lowest,
            kind: Kind::Hello,
            speaks: VERSIONS,
            session: SessionId::NONE,
            number: DatagramNumber(0),
        };
        let mut builder = DatagramBuilder::new(out, header, limits::HELLO_DATAGRAM_BYTES);
        builder.put_hello(&hello);
        Some(builder.finish())
    }
}
