//! Frames about instances: where a flow's messages go, who is there, and who is to go.

use super::{
    LocalError,
    frame::{DaemonFrame, channel, check_incarnation, flag},
};
use crate::{
    bytes::Reader,
    ids::{Channel, ClientId, Incarnation, Instance, Seq},
    limits,
};

pub(super) const PRESENCE_ENTRY: usize = 16;

/// To which instance a flow's messages go: no other may have begun any that are unresolved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound<'a> {
    /// The destination, and which of its instances.
    pub dst: Instance,
    /// Which of the two flows.
    pub channel: Channel,
    /// From a client: the last message that the instance may have begun. From the daemon: 0.
    pub upto: Seq,
    /// The instance's node.
    pub node: &'a str,
}

/// An instance that a client wants to know the end of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Watch<'a> {
    /// Which.
    pub instance: Instance,
    /// Its node.
    pub node: &'a str,
}

/// Why a client is to take no more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DrainCause {
    /// A newer process took the clientid over.
    Superseded,
    /// Somebody asked for it.
    Asked,
}

/// The instances of a clientid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Presence<'a> {
    /// Which.
    pub client: ClientId,
    /// The daemon was just started: there may be others.
    pub is_partial: bool,
    entries: &'a [u8],
}

/// One of several instances.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PresentInstance {
    /// Which of the clientid's lives.
    pub incarnation: Incarnation,
    /// The highest is active; of equal ones the newest incarnation.
    pub priority: u8,
}

impl<'a> Presence<'a> {
    /// The active one first; parsing has checked them.
    pub fn instances(&self) -> impl Iterator<Item = PresentInstance> + use<'a> {
        self.entries.chunks_exact(PRESENCE_ENTRY).filter_map(|c| {
            let mut r = Reader::new(c);
            Some(PresentInstance { incarnation: Incarnation(r.u64()?), priority: r.u8()? })
        })
    }
}

pub(super) fn parse_bound(mut r: Reader<'_>, flags: u8) -> Result<Bound<'_>, LocalError> {
    let mut fields = || Some((r.u32()?, r.u32()?, r.u64()?));
    let Some((client, upto, incarnation)) = fields() else {
        return Err(LocalError("frame length: BOUND has at least 16 bytes of body"));
    };
    let dst = Instance { client: ClientId(client), incarnation: Incarnation(incarnation) };
    check_incarnation(dst.incarnation)?;
    let node = std::str::from_utf8(r.rest()).ok().filter(|n| n.len() <= limits::MAX_NODE_NAME_BYTES);
    let node = node.ok_or(LocalError("BOUND node: UTF-8, at most 64 bytes"))?;
    Ok(Bound { dst, channel: channel(flags), upto: Seq(upto), node })
}

pub(super) fn parse_clientid(mut r: Reader<'_>) -> Result<ClientId, LocalError> {
    let client = r.u32().filter(|_| r.is_empty());
    client.map(ClientId).ok_or(LocalError("frame length: a clientid is 4 bytes"))
}

pub(super) fn parse_watch(mut r: Reader<'_>) -> Result<Watch<'_>, LocalError> {
    let instance = read_instance(&mut r)?;
    let node = std::str::from_utf8(r.rest()).ok().filter(|n| n.len() <= limits::MAX_NODE_NAME_BYTES);
    let node = node.ok_or(LocalError("WATCH node: UTF-8, at most 64 bytes"))?;
    Ok(Watch { instance, node })
}

pub(super) fn parse_gone(mut r: Reader<'_>) -> Result<DaemonFrame<'_>, LocalError> {
    let instance = read_instance(&mut r)?;
    if r.is_empty() {
        Ok(DaemonFrame::Gone(instance))
    } else {
        Err(LocalError("frame length: GONE has 16 bytes of body"))
    }
}

fn read_instance(r: &mut Reader<'_>) -> Result<Instance, LocalError> {
    let mut fields = || Some((r.u32()?, r.u32()?, r.u64()?));
    let Some((client, zero, incarnation)) = fields() else {
        return Err(LocalError("frame length: an instance is 16 bytes"));
    };
    if zero != 0 {
        return Err(LocalError("WATCH, GONE: bytes 4 to 7 of the body are zero"));
    }
    check_incarnation(Incarnation(incarnation))?;
    Ok(Instance { client: ClientId(client), incarnation: Incarnation(incarnation) })
}

pub(super) fn parse_drain(mut r: Reader<'_>) -> Result<DaemonFrame<'_>, LocalError> {
    match r.u32().filter(|_| r.is_empty()) {
        Some(0) => Ok(DaemonFrame::Drain(DrainCause::Superseded)),
        Some(1) => Ok(DaemonFrame::Drain(DrainCause::Asked)),
        _ => Err(LocalError("DRAIN: 4 bytes, 0 or 1")),
    }
}

pub(super) fn parse_presence(mut r: Reader<'_>, flags: u8) -> Result<DaemonFrame<'_>, LocalError> {
    let client = r.u32().map(ClientId).ok_or(LocalError("frame length: a clientid is 4 bytes"))?;
    let entries = r.rest();
    if !entries.len().is_multiple_of(PRESENCE_ENTRY) {
        return Err(LocalError("frame length: PRESENCE has entries of 16 bytes"));
    }
    if entries.len() > limits::MAX_PRESENT * PRESENCE_ENTRY {
        return Err(LocalError("PRESENCE: at most 512 instances"));
    }
    if entries.chunks_exact(PRESENCE_ENTRY).any(|e| e[..8] == [0; 8] || e[9..] != [0; 7]) {
        return Err(LocalError("PRESENCE: an incarnation is not 0, bytes 9 to 15 of an entry are zero"));
    }
    Ok(DaemonFrame::Presence(Presence { client, is_partial: flags & flag::PARTIAL != 0, entries }))
}
