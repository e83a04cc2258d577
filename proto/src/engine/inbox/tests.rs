use super::*;
use crate::{
    ids::{ClientId, Incarnation, Instance},
    outcome::{Certainty, Reason},
};

fn inbox(channel: Channel, floor: u32) -> Inbox {
    let instance =
        |client, incarnation| Instance { client: ClientId(client), incarnation: Incarnation(incarnation) };
    let id = FlowId { src: instance(1, 10), dst: instance(2, 20), channel };
    Inbox::new(id, Source::Local, None, Seq(floor), 1)
}

fn held(msgid: u32) -> Held {
    let (send_time, interval) = (Time(100), Span(1000));
    Held { msgid: MsgId(msgid), send_time, interval, call: None, payload: vec![1], is_parked: false }
}

const GONE: Verdict = Verdict { reason: Reason::ReceiverGone, certainty: Certainty::NotStarted };

#[test]
fn i5_what_is_held_waits_for_what_is_missing() {
    let mut inbox = inbox(Channel::Ordered, u32::MAX);
    assert!(inbox.is_next(Seq(u32::MAX)) && !inbox.is_next(Seq(0)));
    inbox.hold(Seq(0), held(2));
    inbox.hold(Seq(1), held(3));
    assert!(inbox.deliverable().is_none());
    inbox.record_given(Seq(u32::MAX));
    assert_eq!(inbox.deliverable().map(|(s, h)| (s, h.msgid)), Some((Seq(0), MsgId(2))));
    assert!(inbox.unhold(Seq(0)).is_some());
    inbox.record_given(Seq(0));
    assert_eq!(inbox.deliverable().map(|(s, _)| s), Some(Seq(1)));
}

#[test]
fn r8_every_state_has_its_answer() {
    let mut inbox = inbox(Channel::Ordered, 5);
    assert_eq!(inbox.arrival(Seq(4)), Arrival::Decided);
    assert_eq!(inbox.arrival(Seq(5)), Arrival::New);
    assert_eq!(inbox.arrival(Seq(5 + SEQ_SPAN)), Arrival::TooFar);
    inbox.hold(Seq(6), held(1));
    assert_eq!(inbox.arrival(Seq(6)), Arrival::Waiting);
    inbox.record_given(Seq(5));
    assert_eq!(inbox.arrival(Seq(5)), Arrival::Given);
    assert!(inbox.record_taken(Seq(5)));
    assert_eq!(inbox.arrival(Seq(5)), Arrival::Taken);
    inbox.record_refused(Seq(7), GONE);
    assert_eq!(inbox.arrival(Seq(7)), Arrival::Refused(GONE));
    inbox.advance_floor(Seq(6), |_| ());
    assert_eq!(inbox.arrival(Seq(5)), Arrival::Decided);
    assert!(!inbox.record_taken(Seq(5)));
}

#[test]
fn a_floor_or_a_skip_lets_go_on_what_waited() {
    let mut inbox = inbox(Channel::Ordered, 0);
    inbox.hold(Seq(2), held(1));
    inbox.hold(Seq(4), held(2));
    let mut dropped = 0;
    inbox.advance_floor(Seq(2), |_| dropped += 1);
    assert_eq!(inbox.deliverable().map(|(s, _)| s), Some(Seq(2)));
    inbox.skip(Seq(2), 2, |_| dropped += 1);
    assert_eq!(dropped, 1);
    assert_eq!(inbox.deliverable().map(|(s, _)| s), Some(Seq(4)));
    assert_eq!(inbox.arrival(Seq(3)), Arrival::Decided);
}

#[test]
fn what_was_skipped_in_order_is_not_looked_at_again() {
    let mut inbox = inbox(Channel::Ordered, 0);
    assert_eq!(inbox.skip(Seq(0), SEQ_SPAN, |_| ()), SEQ_SPAN);
    assert_eq!(inbox.skip(Seq(0), SEQ_SPAN, |_| ()), 0);
    assert_eq!(inbox.skip(Seq(40_000), u32::MAX, |_| ()), 40_000);
}

#[test]
fn a_stale_delivery_is_given_again_in_its_place() {
    let mut inbox = inbox(Channel::Ordered, 0);
    for seq in 0..3 {
        inbox.record_given(Seq(seq));
    }
    inbox.record_taken(Seq(0));
    inbox.record_stale(Seq(1), 0);
    inbox.record_stale(Seq(2), 0);
    assert_eq!(inbox.round, 1);
    assert!(inbox.is_next(Seq(1)));
    assert_eq!(inbox.arrival(Seq(2)), Arrival::New);
}

#[test]
fn r6_what_waits_goes_stale_unless_refreshed() {
    let mut inbox = inbox(Channel::Unordered, 0);
    inbox.hold(Seq(3), held(1));
    inbox.hold(Seq(1), held(2));
    inbox.refresh(Seq(1), Time(900), Span(1000));
    let mut dropped = Vec::new();
    inbox.drop_expired(Time(2100), |h| dropped.push(h.msgid));
    assert_eq!(dropped, [], "the next copy may still be on its way");
    inbox.drop_expired(Time(2101), |h| dropped.push(h.msgid));
    assert_eq!(dropped, [MsgId(1)]);
    assert_eq!(inbox.deliverable().map(|(s, _)| s), Some(Seq(1)));
    assert_eq!(inbox.held_bytes(), 1);
}

#[test]
fn what_went_stale_out_of_order_waits_for_a_new_copy_and_keeps_nobody_waiting() {
    let mut inbox = inbox(Channel::Unordered, 0);
    inbox.hold(Seq(0), held(1));
    inbox.hold(Seq(1), held(2));
    assert!(inbox.park(Seq(0)));
    assert_eq!(inbox.deliverable().map(|(s, _)| s), Some(Seq(1)));
    assert_eq!(inbox.arrival(Seq(0)), Arrival::Waiting);
    inbox.refresh(Seq(0), Time(1200), Span(1000));
    inbox.refresh(Seq(0), Time(1300), Span(1000));
    assert!(inbox.unhold(Seq(1)).is_some());
    assert_eq!(inbox.deliverable().map(|(s, _)| s), Some(Seq(0)));
    assert!(inbox.unhold(Seq(0)).is_some());
    assert!(inbox.deliverable().is_none(), "it stood in the line once");
}

#[test]
fn i7_what_is_furthest_from_its_turn_makes_room() {
    let mut inbox = inbox(Channel::Ordered, 0);
    for seq in [0, 2, 5] {
        inbox.hold(Seq(seq), held(seq));
    }
    assert_eq!(inbox.queued_behind(), 2);
    assert_eq!(inbox.drop_last(Seq(5)), None);
    assert_eq!(inbox.drop_last(Seq(4)), Some((vec![1], 1)));
    assert_eq!(inbox.arrival(Seq(5)), Arrival::New);
    assert_eq!(inbox.drop_last(Seq(0)), Some((vec![1], 1)));
    assert_eq!((inbox.drop_last(Seq(0)), inbox.queued_behind()), (None, 0), "the next in order stays");
    assert_eq!(inbox.arrival(Seq(0)), Arrival::Waiting);
}

#[test]
fn ack_runs_join_only_where_both_numbers_follow() {
    let mut inbox = inbox(Channel::Ordered, 0);
    for (msgid, seq) in [(7, 0), (8, 1), (10, 2), (11, 3), (12, 5)] {
        inbox.push_ack(MsgId(msgid), Seq(seq));
    }
    let runs: Vec<_> = inbox.acks.iter().map(|r| (r.msgid.0, r.seq.0, r.count)).collect();
    assert_eq!(runs, [(7, 0, 2), (10, 2, 2), (12, 5, 1)]);
}

#[test]
fn i5_what_a_library_has_passed_is_not_given_to_it() {
    let mut inbox = inbox(Channel::Ordered, 5);
    for seq in [6, 8] {
        inbox.record_given(Seq(seq));
        inbox.record_taken(Seq(seq));
    }
    inbox.refuse_below_taken(GONE);
    assert_eq!([5, 7].map(|seq| inbox.arrival(Seq(seq))), [Arrival::Refused(GONE); 2]);
    assert_eq!((inbox.arrival(Seq(6)), inbox.arrival(Seq(9))), (Arrival::Taken, Arrival::New));
    assert!(inbox.is_next(Seq(9)));
}

#[test]
fn i7_a_flow_has_so_many_slots() {
    let mut inbox = inbox(Channel::Ordered, 5);
    inbox.hold(Seq(5 + SEQ_SPAN), held(1));
    assert_eq!((inbox.held_messages(), inbox.slots.len()), (0, 0));
    inbox.hold(Seq(4 + SEQ_SPAN), held(1));
    assert_eq!((inbox.held_messages(), inbox.slots.len()), (1, SEQ_SPAN as usize));
    inbox.hold(Seq(4), held(1));
    assert_eq!(inbox.held_messages(), 1);
}

#[test]
fn r6_what_waits_is_stale_beyond_its_interval_and_useless_beyond_two() {
    let held = held(1);
    assert!(!held.is_stale(Time(1100)) && held.is_stale(Time(1101)));
    assert!(!held.is_expired(Time(2100)) && held.is_expired(Time(2101)));
}

#[test]
fn r4_an_earlier_copy_that_is_late_makes_nothing_older() {
    let mut inbox = inbox(Channel::Ordered, 0);
    inbox.hold(Seq(0), held(1));
    inbox.refresh(Seq(0), Time(99), Span(7));
    inbox.refresh(Seq(9), Time(5000), Span(7));
    let (_, kept) = inbox.deliverable().unwrap();
    assert_eq!((kept.send_time, kept.interval), (Time(100), Span(7)));
}

#[test]
fn what_is_next_and_comes_in_parts_is_no_backlog() {
    let partial = |seq| {
        let (msgid, send_time, interval) = (MsgId(seq), Time(100), Span(1000));
        let copy = crate::engine::accept::Copy { msgid, seq: Seq(seq), send_time, interval, call: None };
        (Seq(seq), Reassembly::new(vec![0; 2000], &copy))
    };
    let mut inbox = inbox(Channel::Ordered, 0);
    assert!(!inbox.holds_anything());
    inbox.partials.push(partial(0));
    assert!(inbox.holds_anything());
    assert_eq!((inbox.queued_behind(), inbox.held_bytes()), (0, 2000), "it is the one that is waited for");
    inbox.partials.push(partial(3));
    inbox.hold(Seq(2), held(2));
    assert_eq!((inbox.queued_behind(), inbox.held_bytes()), (2, 4001));
    // What is last goes first, whether it has come whole or not.
    assert_eq!(inbox.drop_last(Seq(0)).map(|(bytes, held)| (bytes.len(), held)), Some((2000, 0)));
    assert_eq!(inbox.drop_last(Seq(0)), Some((vec![1], 1)));
    assert_eq!(inbox.drop_last(Seq(0)), None);
    assert_eq!((inbox.queued_behind(), inbox.held_bytes()), (0, 2000));
    inbox.advance_floor(Seq(1), |_| ());
    assert!(!inbox.holds_anything());
}

#[test]
fn a_run_of_acks_is_no_longer_than_what_may_be_said_of_a_flow() {
    let mut inbox = inbox(Channel::Ordered, 1);
    for n in 1..SEQ_SPAN + 2 {
        inbox.push_ack(MsgId(n), Seq(n));
    }
    assert_eq!(inbox.acks.iter().map(|run| run.count).collect::<Vec<_>>(), [SEQ_SPAN, 1]);
}
