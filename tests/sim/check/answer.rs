//! R8: a copy of what was taken is answered again.

use msg_proto::{
    ids::{FlowId, MsgId},
    wire::{Frame, Frames, HEADER_BYTES, Kind},
};

use super::{Checker, ESTIMATE_MEMORY, Invariant, Violation, sent::KIND_AT, violation};

impl Checker {
    /// A daemon took a datagram in, and dropped nothing of it.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub fn on_arrival(&mut self, now: u64, bytes: &[u8]) -> Result<(), Violation> {
        let Some(frames) = bytes.get(HEADER_BYTES..) else { return Ok(()) };
        if bytes.get(KIND_AT) == Some(&(Kind::Hello as u8)) {
            return Ok(());
        }
        let mut flow = None;
        for frame in Frames::new(Kind::Frames, frames).flatten() {
            match (frame, flow) {
                (Frame::Flow(f), _) => flow = Some(f.id),
                (Frame::Data(data), Some(id)) => self.expect_answer(now, &id, data.msgid)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn expect_answer(&mut self, now: u64, flow: &FlowId, msgid: MsgId) -> Result<(), Violation> {
        let (src, dst) = (self.by_instance.get(&flow.src).copied(), self.by_instance.get(&flow.dst).copied());
        let (Some(src), Some(dst)) = (src, dst) else { return Ok(()) };
        if self.lives[dst].is_dead || self.lives[dst].reconnected || self.lives[dst].is_away {
            return Ok(());
        }
        // A daemon whose clock was touched answers nothing until it knows its peer's clock again.
        let nodes = [self.lives[src].plan.node, self.lives[dst].plan.node];
        if nodes.iter().any(|n| self.touched.get(n).is_some_and(|at| now < at + ESTIMATE_MEMORY)) {
            return Ok(());
        }
        let flood = if self.has_fast_streams { 0 } else { self.lives[dst].floods_until + FLOOD_TAIL };
        let stalled_until = self.lives[dst].stalled_until.max(self.lives[dst].handles_until).max(flood);
        let Some(sent) = self.lives[src].find_mut(msgid) else { return Ok(()) };
        // What was taken a moment ago is not known to be, and what has ended is below the floor.
        let is_told = |at: u64| now > at.max(stalled_until) + TAKEN_SLACK;
        let is_known = sent.taken.iter().any(|(by, at)| *by == dst && is_told(*at));
        if !is_known || sent.decided.is_some() {
            return Ok(());
        }
        sent.unanswered += 1;
        if sent.unanswered > MAX_UNANSWERED {
            let text = format!("taken, and {} copies since were not answered", sent.unanswered);
            return Err(violation(Invariant::R8Answered, now, Some((src, msgid.0)), text));
        }
        Ok(())
    }
}

/// TAKEN is on its way to the daemon; a client that stalls keeps it for longer, and is not asked.
const TAKEN_SLACK: u64 = 20_000;
/// Until what was sent in a flood has gone through a slow socket.
const FLOOD_TAIL: u64 = 5_000_000;
/// An association that is new on one side knows no clock for a moment.
const MAX_UNANSWERED: u32 = 5;
