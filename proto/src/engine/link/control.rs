//! The ordered stream of presences on a link.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    control::Control,
    limits::MAX_CONTROL_QUEUE,
    units::{Span, Time},
};

/// The stream's sending side. Steps count from 1.
#[derive(Debug, Default)]
pub(crate) struct ControlOut {
    /// Not acknowledged yet; the first one's number is `acknowledged + 1`.
    steps: VecDeque<Control>,
    acknowledged: u32,
    /// How many of `steps` are out.
    sent: usize,
    /// When what is out goes out again.
    pub(crate) resend_at: Option<Time>,
}

impl ControlOut {
    /// Adds a step and gives its number; `None` when too many wait: the link must start anew.
    pub(crate) fn push(&mut self, step: Control) -> Option<u32> {
        if self.steps.len() >= MAX_CONTROL_QUEUE {
            return None;
        }
        self.steps.push_back(step);
        Some(self.last())
    }

    /// The number of the last step.
    pub(crate) fn last(&self) -> u32 {
        self.acknowledged.wrapping_add(u32::try_from(self.steps.len()).unwrap_or(u32::MAX))
    }

    /// Whether the peer has applied that step.
    pub(crate) const fn is_applied(&self, seq: u32) -> bool {
        seq <= self.acknowledged
    }

    /// The next step to send.
    pub(crate) fn next(&self) -> Option<(u32, &Control)> {
        let step = self.steps.get(self.sent)?;
        Some((self.acknowledged.wrapping_add(u32::try_from(self.sent).ok()?).wrapping_add(1), step))
    }

    /// That step has left.
    pub(crate) fn record_sent(&mut self, now: Time) {
        self.sent += 1;
        self.resend_at.get_or_insert(now + RESEND);
    }

    /// The peer has applied all steps below `next`.
    pub(crate) fn handle_ack(&mut self, next: u32) {
        let done = next.wrapping_sub(1).wrapping_sub(self.acknowledged) as usize;
        if done > self.sent {
            return;
        }
        self.steps.drain(..done);
        self.acknowledged = next.wrapping_sub(1);
        self.sent -= done;
        if self.sent == 0 {
            self.resend_at = None;
        }
    }

    /// A datagram with that step was lost: it goes again, and what follows it.
    pub(crate) fn handle_lost(&mut self, seq: u32) {
        let index = seq.wrapping_sub(self.acknowledged).wrapping_sub(1) as usize;
        if index < self.sent {
            self.sent = index;
        }
    }

    /// What is out goes out again, if it is time.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.resend_at.is_some_and(|at| at <= now) {
            self.sent = 0;
            self.resend_at = None;
        }
    }
}

/// The stream's receiving side.
#[derive(Debug)]
pub(crate) struct ControlIn {
    next: u32,
    early: BTreeMap<u32, Control>,
    /// The peer is to be told how far it came.
    pub(crate) wants_ack: bool,
}

impl Default for ControlIn {
    fn default() -> Self {
        Self { next: 1, early: BTreeMap::new(), wants_ack: false }
    }
}

impl ControlIn {
    /// A step has come.
    pub(crate) fn handle(&mut self, seq: u32, step: Control) {
        self.wants_ack = true;
        if (self.next..self.next.saturating_add(MAX_EARLY)).contains(&seq) {
            self.early.insert(seq, step);
        }
    }

    /// The next step in order.
    pub(crate) fn poll(&mut self) -> Option<Control> {
        let step = self.early.remove(&self.next)?;
        self.next += 1;
        Some(step)
    }

    /// The next step that is wanted: all below have been applied.
    pub(crate) const fn next(&self) -> u32 {
        self.next
    }
}

/// Without an acknowledgement, control steps go again after this.
const RESEND: Span = Span::from_millis(100);
/// Steps that may come ahead of a missing one. About 100 bytes each.
const MAX_EARLY: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_in_order_and_go_again() {
        let (mut out, mut inward) = (ControlOut::default(), ControlIn::default());
        for _ in 0..3 {
            out.push(Control::Synced);
        }
        assert_eq!(out.last(), 3);
        let mut sent = Vec::new();
        while let Some((seq, _)) = out.next() {
            sent.push(seq);
            out.record_sent(Time(0));
        }
        assert_eq!(sent, [1, 2, 3]);
        inward.handle(3, Control::Synced);
        inward.handle(1, Control::Synced);
        assert!(inward.poll().is_some() && inward.poll().is_none());
        assert_eq!(inward.next(), 2);
        out.handle_ack(2);
        out.handle_ack(2);
        out.handle_ack(9);
        out.handle_lost(2);
        assert_eq!(out.next().map(|(s, _)| s), Some(2));
        out.record_sent(Time(0));
        out.handle_timeout(Time(100_000));
        assert_eq!(out.next().map(|(s, _)| s), Some(2));
        inward.handle(2, Control::Synced);
        inward.handle(2, Control::Synced);
        assert!(inward.poll().is_some() && inward.poll().is_some() && inward.poll().is_none());
        out.record_sent(Time(0));
        out.record_sent(Time(0));
        out.handle_ack(4);
        assert!(out.next().is_none() && out.resend_at.is_none());
    }

    #[test]
    fn what_is_out_goes_again_when_its_time_has_come_and_not_before() {
        let mut out = ControlOut::default();
        (0..2).for_each(|_| assert!(out.push(Control::Synced).is_some()));
        out.record_sent(Time(50));
        out.record_sent(Time(70));
        let at = Time(50) + RESEND;
        assert_eq!(out.resend_at, Some(at), "counted from the first");
        out.handle_timeout(Time(at.0 - 1));
        assert!(out.next().is_none());
        out.handle_timeout(at);
        assert_eq!((out.next().map(|(seq, _)| seq), out.resend_at), (Some(1), None));
        out.record_sent(at);
        out.record_sent(at);
        out.handle_ack(2);
        assert!(out.resend_at.is_some(), "one is out still");
        out.handle_lost(3);
        assert!(out.next().is_none(), "it is none that is out");
        out.handle_lost(1);
        assert!(out.next().is_none(), "it is acknowledged");
        out.handle_lost(2);
        assert_eq!(out.next().map(|(seq, _)| seq), Some(2));
    }

    #[test]
    fn so_many_steps_wait_and_so_many_come_early() {
        let mut out = ControlOut::default();
        for _ in 0..MAX_CONTROL_QUEUE {
            assert!(out.push(Control::Synced).is_some());
        }
        assert_eq!(out.push(Control::Synced), None);
        let mut inward = ControlIn::default();
        inward.handle(1 + MAX_EARLY, Control::Synced);
        assert!(inward.early.is_empty() && inward.wants_ack, "the peer learns what is wanted");
        inward.handle(MAX_EARLY, Control::Synced);
        inward.handle(0, Control::Synced);
        assert_eq!(inward.early.len(), 1);
    }
}
