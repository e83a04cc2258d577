//! What libraries take.

use msg_proto::{
    ids::{Channel, Instance, MsgId},
    outcome::Certainty,
    session::Message,
};

use super::{Checker, Invariant, LifeId, Outcome, Violation, ledger::payload, violation};

impl Checker {
    /// A library takes a message (I2 to I5, and the bytes).
    ///
    /// # Errors
    ///
    /// It must not.
    pub fn on_taken(&mut self, now: u64, by: LifeId, m: &Message<'_>) -> Result<(), Violation> {
        let Some(life) = self.by_instance.get(&m.src).copied() else {
            let text = format!("a message from {}, which nobody is", m.src);
            return Err(violation(Invariant::NothingInvented, now, None, text));
        };
        let about = Some((life, m.msgid.0));
        self.note(now, about, || format!("taken by life {by}, age {} us", m.age.0));
        if self.lives[by].is_drained {
            let text = format!("taken by life {by}, which takes no more");
            return Err(violation(Invariant::NothingInvented, now, about, text));
        }
        self.check_same(now, by, life, m)?;
        self.check_open(now, by, life, m)?;
        if m.channel == Channel::Ordered {
            self.check_unhandled(now, by, life, m)?;
            let index = m.msgid.0.wrapping_sub(self.lives[life].plan.first.0) as usize;
            if let Some(last) = self.order.insert((life, by), index).filter(|last| *last >= index) {
                let last = self.lives[life].plan.first.plus(last as u32);
                let text = format!("handed over behind message {last} of the same flow");
                return Err(violation(Invariant::I5InOrder, now, about, text));
            }
        }
        if let Some(sent) = self.lives[life].find_mut(m.msgid) {
            sent.taken.push((by, now));
        }
        Ok(())
    }

    /// A life that acks what is handled begins a message that it took; its handler runs until then.
    pub fn on_begun(&mut self, by: LifeId, src: Instance, msgid: MsgId, until: u64) {
        if let Some(life) = self.by_instance.get(&src) {
            self.handling.insert(by, (*life, msgid));
            self.lives[by].handles_until = until;
        }
    }

    /// Its handler has returned.
    pub fn on_handled(&mut self, by: LifeId) {
        self.handling.remove(&by);
    }

    /// I5 across instances: nobody takes a message while another's handler runs with an earlier one of the flow, whose end is to
    /// be acked, unless that has failed meanwhile.
    fn check_unhandled(&self, now: u64, by: LifeId, life: LifeId, m: &Message<'_>) -> Result<(), Violation> {
        let first = self.lives[life].plan.first;
        let index = |msgid: MsgId| msgid.0.wrapping_sub(first.0);
        let client = self.lives[by].plan.client;
        for (other, (src, msgid)) in &self.handling {
            let Some(sent) = self.sent(*src, *msgid).filter(|_| *src == life && *other != by) else {
                continue;
            };
            let is_before = sent.dst == client
                && sent.channel == Channel::Ordered
                && index(*msgid) < index(m.msgid)
                && !sent.at_least_once;
            let is_open = sent.decided.is_none() && sent.told.is_none();
            if is_before && is_open && !self.lives[*other].is_dead && !self.lives[life].is_dead {
                let text =
                    format!("taken by life {by} while life {other} has message {msgid} in its handler");
                return Err(violation(Invariant::I5InOrder, now, Some((life, m.msgid.0)), text));
            }
        }
        Ok(())
    }

    /// It was sent, so, and to this client.
    fn check_same(&mut self, now: u64, by: LifeId, life: LifeId, m: &Message<'_>) -> Result<(), Violation> {
        let about = Some((life, m.msgid.0));
        let wrong = |text: &str| Err(violation(Invariant::NothingInvented, now, about, text.to_owned()));
        let Some(sent) = self.lives[life].find(m.msgid) else { return wrong("it was never sent") };
        if sent.dst != self.lives[by].plan.client {
            return wrong("it was for another client");
        }
        if sent.channel != m.channel {
            return wrong("it came in the other flow");
        }
        let mut bytes = std::mem::take(&mut self.scratch);
        payload(sent.uid, sent.len, &mut bytes);
        let is_same = bytes == m.data;
        self.scratch = bytes;
        if is_same { Ok(()) } else { wrong("its bytes are others") }
    }

    /// Nothing was said of it that this would belie.
    fn check_open(&mut self, now: u64, by: LifeId, life: LifeId, m: &Message<'_>) -> Result<(), Violation> {
        let about = Some((life, m.msgid.0));
        let Some(sent) = self.lives[life].find(m.msgid) else { return Ok(()) };
        let before = sent.taken.iter().find(|(who, _)| *who == by || !sent.at_least_once);
        if let Some((who, at)) = before {
            let text = format!("taken by life {by}, and before by life {who} at {at} us");
            return Err(violation(Invariant::I2AckedMeansTaken, now, about, text));
        }
        let daemon = sent.decided.filter(|_| !self.lives[life].reconnected);
        for (at, outcome) in [sent.told, daemon].into_iter().flatten() {
            let Outcome::Failed(verdict) = outcome else { continue };
            if verdict.certainty == Certainty::NotStarted {
                let text = format!("handed over after it failed with {verdict:?}");
                return Err(violation(Invariant::I3Certainty, now, about, text));
            }
            let late = now.saturating_sub(at);
            let (from, to) = (self.lives[life].plan.node, self.lives[by].plan.node);
            let mut falsified = self.falsified(from, to, sent.sent_at.now);
            if self.lives[life].hung_until > sent.sent_at.now {
                // A daemon that stood still alone has nothing but this clock to tell for how long.
                falsified += self.lost_time(from, sent.sent_at.now);
            }
            if late > falsified + falsified / 500 {
                let text = format!("handed over {late} us after it failed with {verdict:?}");
                return Err(violation(Invariant::I4FailedIsFinal, now, about, text));
            }
            self.excused += 1;
            break;
        }
        Ok(())
    }
}
