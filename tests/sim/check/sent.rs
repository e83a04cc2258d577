//! What leaves: submissions, datagrams, deliveries.

use msg_proto::{
    ids::{FlowId, Instance, MsgId, Seq},
    local::{Deliver, Submit},
    outcome::Certainty,
    units::Time,
    wire::{Ack, Frame, Frames, HEADER_BYTES, Kind, Nack},
};

use super::{About, Checker, Invariant, LEFT_SESSION_MEMORY, LifeId, Moment, Outcome, Violation, violation};

/// A datagram that leaves a node.
#[derive(Clone, Copy, Debug)]
pub struct Leaving<'a> {
    /// When.
    pub now: u64,
    /// From which node.
    pub from: usize,
    /// To which.
    pub to: usize,
    /// What that one's clock shows now.
    pub clock: Time,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Checker {
    /// A daemon reads a SUBMIT.
    ///
    /// # Errors
    ///
    /// The message was never sent.
    pub fn on_submit(&mut self, at: Moment, life: LifeId, submit: &Submit<'_>) -> Result<(), Violation> {
        let about = Some((life, submit.msgid.0));
        if submit.is_call {
            self.on_call_submit(life, submit.msgid);
        }
        let Some(sent) = self.lives[life].find_mut(submit.msgid) else {
            let text = "a SUBMIT of what was not sent".to_owned();
            return Err(violation(Invariant::NothingInvented, at.now, about, text));
        };
        sent.accepted_at.get_or_insert(at);
        let is_open = match sent.told {
            None => true,
            // It stood whole in a slow socket when its library gave it up; its daemon finds it overdue.
            Some((_, Outcome::Failed(verdict))) => verdict.certainty == Certainty::Unknown,
            Some((_, Outcome::Acked)) => false,
        };
        if !is_open {
            let text = "a SUBMIT of what has ended".to_owned();
            return Err(violation(Invariant::I4FailedIsFinal, at.now, about, text));
        }
        self.note(at.now, about, || format!("SUBMIT seq {}", submit.seq.0));
        Ok(())
    }

    /// A daemon writes a DELIVER for a life.
    ///
    /// # Errors
    ///
    /// Nobody sent that.
    pub fn on_deliver(&mut self, now: u64, to: LifeId, d: &Deliver<'_>) -> Result<(), Violation> {
        let about = self.copy(now, &d.src, d.msgid, None)?;
        self.check_addressed(now, to, about)?;
        self.note(now, about, || {
            format!(
                "DELIVER {} to life {to}, seq {}, floor {}, stamp {}",
                d.number, d.seq.0, d.floor.0, d.send_time.0
            )
        });
        Ok(())
    }

    /// A datagram leaves.
    ///
    /// # Errors
    ///
    /// It says what is not true.
    pub fn on_datagram(&mut self, d: &Leaving<'_>) -> Result<(), Violation> {
        let Some(frames) = d.bytes.get(HEADER_BYTES..) else { return Ok(()) };
        if d.bytes.get(KIND_AT) == Some(&(Kind::Hello as u8)) {
            return Ok(());
        }
        let mut flow = None;
        for frame in Frames::new(Kind::Frames, frames).flatten() {
            match frame {
                Frame::Flow(f) => {
                    self.check_stamp(d, f.send_time)?;
                    flow = Some(f);
                }
                Frame::Data(data) => self.on_copy(d, flow.map(|f| f.id), data.msgid, data.seq, "DATA")?,
                Frame::Fragment(part) => {
                    self.on_copy(d, flow.map(|f| f.id), part.msgid, part.seq, "FRAGMENT")?;
                }
                Frame::Ack(ack) => self.on_ack(d, &ack)?,
                Frame::Nack(nack) => self.on_nack(d, &nack)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn on_copy(
        &mut self,
        d: &Leaving<'_>,
        flow: Option<FlowId>,
        msgid: MsgId,
        seq: Seq,
        what: &str,
    ) -> Result<(), Violation> {
        let Some(flow) = flow else {
            return Err(violation(Invariant::NothingInvented, d.now, None, format!("{what} without FLOW")));
        };
        let about = self.copy(d.now, &flow.src, msgid, Some(flow.dst))?;
        let (from, to) = (d.from, d.to);
        self.note(d.now, about, || format!("{what} seq {} from node {from} to {to} for {}", seq.0, flow.dst));
        Ok(())
    }

    /// What comes from another node was sent to this instance, and not to an earlier or another one.
    fn check_addressed(&self, now: u64, to: LifeId, about: About) -> Result<(), Violation> {
        let Some((from, msgid)) = about else { return Ok(()) };
        let (from, to) = (&self.lives[from], &self.lives[to]);
        let Some(incarnation) = to.incarnation.filter(|_| from.plan.node != to.plan.node) else {
            return Ok(());
        };
        let instance = Instance { client: to.plan.client, incarnation };
        if from.find(MsgId(msgid)).is_some_and(|s| s.addressed.contains(&instance)) {
            return Ok(());
        }
        let text = format!("delivered to {instance}, to whom no copy was sent");
        Err(violation(Invariant::NothingInvented, now, about, text))
    }

    /// A copy of a message is on its way.
    fn copy(
        &mut self,
        now: u64,
        src: &Instance,
        msgid: MsgId,
        to: Option<Instance>,
    ) -> Result<About, Violation> {
        let life = self.by_instance.get(src).copied();
        let about = life.map(|l| (l, msgid.0));
        let Some(sent) = life.and_then(|l| self.lives[l].find_mut(msgid)) else {
            let text = format!("a copy of message {msgid} of {src}, which was not sent");
            return Err(violation(Invariant::NothingInvented, now, about, text));
        };
        sent.copies += 1;
        sent.addressed.extend(to.filter(|to| !sent.addressed.contains(to)));
        Ok(about)
    }

    /// An ack leaves: its messages were taken, all of them, already.
    fn on_ack(&mut self, d: &Leaving<'_>, ack: &Ack<'_>) -> Result<(), Violation> {
        self.check_stamp(d, ack.send_time)?;
        let life = self.by_instance.get(&ack.flow.src).copied();
        for run in ack.runs() {
            for i in 0..run.count {
                let msgid = run.msgid.plus(i);
                let about = life.map(|l| (l, msgid.0));
                self.note(d.now, about, || format!("ACK from node {} to {}", d.from, d.to));
                let taker = self.by_instance.get(&ack.flow.dst).copied();
                let sent = life.and_then(|l| self.sent(l, msgid));
                let is_taken =
                    sent.is_some_and(|s| s.is_call || s.taken.iter().any(|(by, _)| Some(*by) == taker));
                if let Some(sent) = life.and_then(|l| self.lives[l].find_mut(msgid)) {
                    sent.unanswered = 0;
                }
                if !is_taken {
                    let text = format!("an ack from {}, which has not taken it", ack.flow.dst);
                    return Err(violation(Invariant::I2AckedMeansTaken, d.now, about, text));
                }
            }
        }
        Ok(())
    }

    fn on_nack(&mut self, d: &Leaving<'_>, nack: &Nack<'_>) -> Result<(), Violation> {
        self.check_stamp(d, nack.send_time)?;
        let life = self.by_instance.get(&nack.flow.src).copied();
        for entry in nack.entries() {
            let about = life.map(|l| (l, entry.msgid.0));
            if let Some(sent) = life.and_then(|l| self.lives[l].find_mut(entry.msgid)) {
                sent.unanswered = 0;
            }
            self.note(d.now, about, || format!("NACK from node {} to {}: {:?}", d.from, d.to, entry.verdict));
        }
        Ok(())
    }

    /// DESIGN section 3: a stamp is early by at most a delay, and never late.
    fn check_stamp(&self, d: &Leaving<'_>, stamp: Time) -> Result<(), Violation> {
        let ahead = stamp.0.saturating_sub(d.clock.0);
        let falsified = self.falsified_for(d.from, d.to, d.now, LEFT_SESSION_MEMORY);
        if ahead <= STAMP_ROUNDING || falsified > 0 {
            return Ok(());
        }
        let text = format!("node {} stamps {ahead} us ahead of node {}'s clock", d.from, d.to);
        Err(violation(Invariant::Stamp, d.now, None, text))
    }
}

/// Clocks are read in whole microseconds.
const STAMP_ROUNDING: u64 = 2;
/// Where a datagram's head says what kind it is.
pub(super) const KIND_AT: usize = 3;
