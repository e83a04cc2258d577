//! What a client that comes back says of the flows that it takes.

use super::{
    LocalError,
    frame::{channel, check_incarnation, flag},
};
use crate::{
    bytes::Reader,
    ids::{Channel, ClientId, Incarnation, Instance, Seq},
    limits,
};

/// What a client has taken of one flow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowTaken<'a> {
    /// Who sends.
    pub src: Instance,
    /// Which of the two flows.
    pub channel: Channel,
    /// Everything below is decided.
    pub floor: Seq,
    /// What the bits say.
    pub progress: Progress,
    /// A bit for each number from `floor` on, lowest first: taken.
    pub bitmap: &'a [u8],
}

/// How far a client has come with a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// Its handler runs, and it acks what is handled.
    Begun,
    /// It is acked.
    Taken,
}

pub(super) fn parse_flow_taken(mut r: Reader<'_>, flags: u8) -> Result<FlowTaken<'_>, LocalError> {
    let mut fields = || Some((r.u32()?, r.u32()?, r.u64()?));
    let Some((client, floor, incarnation)) = fields() else {
        return Err(LocalError("frame length: FLOW_TAKEN has at least 16 bytes of body"));
    };
    let bitmap = r.rest();
    if bitmap.len() > limits::SEQ_SPAN as usize / 8 {
        return Err(LocalError("FLOW_TAKEN bitmap: at most 8,192 bytes"));
    }
    let src = Instance { client: ClientId(client), incarnation: Incarnation(incarnation) };
    check_incarnation(src.incarnation)?;
    let progress = if flags & flag::BEGUN == 0 { Progress::Taken } else { Progress::Begun };
    Ok(FlowTaken { src, channel: channel(flags), floor: Seq(floor), progress, bitmap })
}
