//! I1, I3, I7: each message ends once, in time, with what is known.

use super::*;
use crate::{
    control::{LocalNack, LocalRule},
    local::Failed,
};

const NOT_STARTED: Verdict = Verdict { reason: Reason::NoRoute, certainty: Certainty::NotStarted };
const UNKNOWN: Verdict = Verdict { reason: Reason::NoAnswer, certainty: Certainty::Unknown };

/// interval * (times + 1) + interval / 2 + 10 ms, in microseconds.
const LIFETIME: u64 = 11_510_000;

fn fail(s: &mut Session, msgid: MsgId, verdict: Verdict) {
    let user = b"not what was given";
    feed(s, Time(0), |out| put::failed(out, &Failed { msgid, dst: DST, tries: 11, verdict, user }));
}

#[test]
fn a_failure_hands_back_the_user_data() {
    let mut s = registered();
    let user: [u8; 64] = std::array::from_fn(|i| u8::try_from(i).expect("small"));
    let msgid = s.send(Time(0), DST, b"x", &user, SendFlags::default()).expect("room");
    write_all(&mut s);
    fail(&mut s, msgid, UNKNOWN);
    let failure = Failure { msgid, dst: DST, verdict: UNKNOWN, tries: 11, user: user.into() };
    assert_eq!(s.poll_event(Time(0)), Some(Event::Failed(failure)));
    assert_eq!(s.poll_event(Time(0)), None);
    // Only once.
    fail(&mut s, msgid, UNKNOWN);
    feed(&mut s, Time(0), |out| put::resolved(out, &[(msgid, 1), (MsgId(77), 2)]));
    assert_eq!(s.poll_event(Time(0)), None);
    assert_eq!((s.counters().failed, s.counters().unmatched_outcomes), (1, 4));
}

#[test]
fn a_run_of_resolved_is_walked_no_further_than_the_unresolved() {
    let mut s = registered();
    let msgid = send(&mut s, Time(0));
    let (later, last) = (send(&mut s, Time(0)), send(&mut s, Time(0)));
    write_all(&mut s);
    // A frame's worth of runs as long as they may be would keep a process busy for minutes.
    let longest = limits::MSGID_SPAN;
    let runs = vec![(MsgId(1000), longest); (limits::MAX_LOCAL_FRAME_BYTES - 8) / 8];
    feed(&mut s, Time(0), |out| put::resolved(out, &runs));
    let unmatched = runs.len() as u64 * u64::from(longest);
    assert_eq!((s.counters().unmatched_outcomes, s.unresolved()), (unmatched, 3));
    // One that begins before the oldest, and one that ends behind the newest.
    feed(&mut s, Time(0), |out| put::resolved(out, &[(MsgId(msgid.0.wrapping_sub(5)), 6)]));
    assert_eq!((s.counters().acked, s.counters().unmatched_outcomes), (1, unmatched + 5));
    feed(&mut s, Time(0), |out| put::resolved(out, &[(MsgId(msgid.0.wrapping_sub(5)), 5), (last, 7)]));
    assert_eq!((s.counters().acked, s.counters().unmatched_outcomes), (2, unmatched + 5 + 5 + 6));
    feed(&mut s, Time(0), |out| put::resolved(out, &[(later, 1)]));
    assert_eq!(s.unresolved(), 0);
}

#[test]
fn acks_are_events_only_when_asked_for() {
    let mut s = Session::new(SessionConfig { outcomes: Outcomes::All, ..config() }, MsgId(1), Seq(1));
    s.handle_connected(Time(0));
    send(&mut s, Time(0));
    let second = send(&mut s, Time(0));
    write_all(&mut s);
    feed(&mut s, Time(0), |out| {
        put::registered(out, &grant(1));
        put::resolved(out, &[(second, 1)]);
    });
    assert!(matches!(s.poll_event(Time(0)), Some(Event::Registered(_))));
    assert_eq!(s.poll_event(Time(0)), Some(Event::Acked { msgid: second }));
    assert_eq!((s.unresolved(), s.unresolved_bytes()), (1, 64 + 11));

    let mut s = registered();
    let msgid = send(&mut s, Time(0));
    feed(&mut s, Time(0), |out| put::resolved(out, &[(msgid, 1)]));
    assert_eq!(s.poll_event(Time(0)), None);
    assert_eq!(s.unresolved(), 0);
}

#[test]
fn at_the_limit_nothing_changes() {
    let mut s = registered();
    for _ in 0..1000 {
        send(&mut s, Time(0));
    }
    let before = s.output().len();
    let sent = s.send(Time(0), ClientId(1), b"", b"", SendFlags::default());
    assert_eq!(sent, Err(SendError::WouldBlock));
    assert_eq!((s.unresolved(), s.output().len()), (1000, before));
    write_all(&mut s);
    feed(&mut s, Time(0), |out| put::resolved(out, &[(MsgId(500), 1)]));
    assert_eq!(send(&mut s, Time(0)), MsgId(1001));
}

#[test]
fn failures_that_nobody_polls_count_against_the_limit() {
    let mut s = registered();
    for _ in 0..1000 {
        send(&mut s, Time(0));
    }
    s.handle_disconnected(Time(0));
    pass(&mut s, Time(LIFETIME));
    assert_eq!(s.unresolved(), 0);
    assert_eq!(s.send(Time(0), DST, b"", b"", SendFlags::default()), Err(SendError::WouldBlock));
    assert!(matches!(s.poll_event(Time(0)), Some(Event::Failed(_))));
    send(&mut s, Time(0));
}

#[test]
fn bytes_are_limited() {
    let mut s = registered();
    let big = vec![0; 1 << 20];
    let mut sent = 0;
    while s.send(Time(0), DST, &big, b"", SendFlags::default()).is_ok() {
        sent += 1;
    }
    assert_eq!(sent, 7);
    assert_eq!(s.send(Time(0), DST, &big, b"", SendFlags::default()), Err(SendError::WouldBlock));
    write_all(&mut s);
    feed(&mut s, Time(0), |out| put::resolved(out, &[(MsgId(1), 1)]));
    assert!(s.send(Time(0), DST, &big, b"", SendFlags::default()).is_ok());
    assert_eq!(s.send(Time(0), DST, &big, b"", SendFlags::default()), Err(SendError::WouldBlock));
}

#[test]
fn what_is_out_of_range_is_refused() {
    let mut s = registered();
    let flags = SendFlags::default();
    let huge = vec![0; (1 << 20) + 1];
    assert_eq!(s.send(Time(0), DST, &huge, b"", flags), Err(SendError::TooLarge { limit: 1 << 20 }));
    assert_eq!(s.send(Time(0), DST, b"", &[0; 65], flags), Err(SendError::UserDataTooLong { limit: 64 }));
    let flows = u32::try_from(limits::MAX_FLOWS_PER_CLIENT).expect("fits");
    for dst in 0..flows {
        let msgid = s.send(Time(0), ClientId(dst), b"", b"", flags).expect("room");
        feed(&mut s, Time(0), |out| put::resolved(out, &[(msgid, 1)]));
    }
    assert_eq!(s.send(Time(0), ClientId(flows), b"", b"", flags), Err(SendError::TooManyFlows));
    s.close(Time(0));
    assert_eq!(s.send(Time(0), ClientId(0), b"", b"", flags), Err(SendError::Closed));
    assert_eq!(frames(&write_all(&mut s)).last(), Some(&ClientFrame::Goodbye));
}

#[test]
fn a_flow_waits_at_its_span() {
    let mut s = registered();
    let stuck = s.send(Time(0), DST, b"", b"", SendFlags::default()).expect("room");
    // Nothing of its own: another client's, and the other flow to this one.
    let unordered = SendFlags { unordered: true, ..SendFlags::default() };
    for (dst, flags) in [(ClientId(300), SendFlags::default()), (DST, unordered)] {
        assert!(s.send(Time(0), dst, b"", b"", flags).is_ok());
    }
    for _ in 1..limits::SEQ_SPAN {
        let msgid = s.send(Time(0), DST, b"", b"", SendFlags::default()).expect("room");
        write_all(&mut s);
        feed(&mut s, Time(0), |out| put::resolved(out, &[(msgid, 1)]));
    }
    let flags = SendFlags::default();
    assert_eq!(s.send(Time(0), DST, b"", b"", flags), Err(SendError::WouldBlock));
    // Another flow goes on until the msgids' span is used up.
    let mut sent = limits::SEQ_SPAN + 2;
    while let Ok(msgid) = s.send(Time(0), ClientId(sent % 4), b"", b"", unordered) {
        write_all(&mut s);
        feed(&mut s, Time(0), |out| put::resolved(out, &[(msgid, 1)]));
        sent += 1;
    }
    assert_eq!(sent, limits::MSGID_SPAN - limits::SEQ_SPAN);
    feed(&mut s, Time(0), |out| put::resolved(out, &[(stuck, 1)]));
    assert!(s.send(Time(0), DST, b"", b"", flags).is_ok());
}

#[test]
fn without_a_daemon_each_message_fails_in_time() {
    let mut s = session();
    assert_eq!(s.poll_timeout(), None);
    let first = send(&mut s, Time(5));
    let second = send(&mut s, Time(9));
    assert_eq!(s.poll_timeout(), Some(Time(5) + INTERVAL));
    let at = |us: u64| Time(us + LIFETIME);
    pass(&mut s, at(4));
    assert_eq!(failures(&mut s, at(4)), []);
    assert_eq!(s.poll_timeout(), Some(at(5)));
    pass(&mut s, at(5));
    assert_eq!(failures(&mut s, at(5)), [(first, NOT_STARTED)]);
    pass(&mut s, at(9));
    assert_eq!(failures(&mut s, at(9)), [(second, NOT_STARTED)]);
    assert_eq!((s.poll_timeout(), s.counters().given_up), (None, 2));
    // Never submitted afterwards.
    s.handle_connected(Time(0));
    assert_eq!(submits(&write_all(&mut s)), []);
}

#[test]
fn what_was_written_even_in_part_may_have_started() {
    let mut s = registered();
    let whole = send(&mut s, Time(0));
    let part = send(&mut s, Time(0));
    let never = send(&mut s, Time(0));
    let frame = s.output().len() / 3;
    s.consume_output(Time(0), frame + 1);
    s.handle_disconnected(Time(0));
    pass(&mut s, Time(LIFETIME));
    let want = [(whole, UNKNOWN), (part, UNKNOWN), (never, NOT_STARTED)];
    assert_eq!(failures(&mut s, Time(0)), want);
}

#[test]
fn a_daemon_that_hangs_is_given_up() {
    let mut s = registered();
    assert_eq!(s.poll_timeout(), None);
    let msgid = send(&mut s, Time(0));
    write_all(&mut s);
    let at = Time(LIFETIME + 500_000 + 500_000);
    pass(&mut s, Time(at.0 - 1));
    assert_eq!(failures(&mut s, at), []);
    pass(&mut s, at);
    assert_eq!(failures(&mut s, at), [(msgid, UNKNOWN)]);
    assert_eq!(s.state(), State::Registered);
}

#[test]
fn a_daemon_that_goes_on_is_told_what_was_given_up() {
    let mut s = registered();
    let msgid = send(&mut s, Time(0));
    write_all(&mut s);
    let at = Time(LIFETIME + 1_000_000);
    pass(&mut s, at);
    let later = send(&mut s, at);
    let told = |bytes: &[u8]| match &frames(bytes)[..] {
        [.., ClientFrame::GivenUp { upto }, ClientFrame::Submit(m)] => (*upto, m.msgid),
        others => panic!("{others:?}"),
    };
    assert_eq!(told(&write_all(&mut s)), (msgid, later));
    assert!(s.output().is_empty(), "once");
    // It may not have read that.
    s.handle_disconnected(at);
    s.handle_connected(at);
    assert_eq!(told(&write_all(&mut s)), (msgid, later));
}

#[test]
fn what_was_given_up_long_ago_is_told_no_more() {
    for (later, is_told) in [(limits::MSGID_SPAN - 1, true), (limits::MSGID_SPAN, false)] {
        let mut s = registered();
        send(&mut s, Time(0));
        write_all(&mut s);
        let at = Time(LIFETIME + 1_000_000);
        pass(&mut s, at);
        assert_eq!(failures(&mut s, at).len(), 1);
        for _ in 0..later {
            let msgid = send(&mut s, at);
            write_all(&mut s);
            feed(&mut s, at, |out| put::resolved(out, &[(msgid, 1)]));
        }
        s.handle_disconnected(at);
        s.handle_connected(at);
        let bytes = write_all(&mut s);
        assert_eq!(
            frames(&bytes).iter().any(|f| matches!(f, ClientFrame::GivenUp { .. })),
            is_told,
            "{later}"
        );
    }
}

#[test]
fn i4_a_standstill_of_the_machine_is_not_the_daemons() {
    let mut s = registered();
    let msgid = send(&mut s, Time(0));
    write_all(&mut s);
    pass(&mut s, Time(1_300_000));
    // The machine was suspended for an hour, and its clock went on. The daemon has as much to do as before.
    let hour = 3_600_000_000;
    s.handle_timeout(Time(hour));
    assert_eq!(failures(&mut s, Time(hour)), []);
    let left = LIFETIME + 1_000_000 - 1_300_000;
    pass(&mut s, Time(hour + left - 300_000));
    assert_eq!(failures(&mut s, Time(hour + left)), []);
    pass(&mut s, Time(hour + left));
    assert_eq!(failures(&mut s, Time(hour + left)), [(msgid, UNKNOWN)]);
}

#[test]
fn what_failed_in_the_output_is_never_written() {
    let mut s = registered();
    let msgid = send(&mut s, Time(0));
    pass(&mut s, Time(2_000_000));
    let later = send(&mut s, Time(2_000_000));
    let at = Time(LIFETIME + 1_000_000);
    pass(&mut s, at);
    assert_eq!((s.state(), s.output().len()), (State::Broken, 0));
    assert_eq!(s.poll_event(at), Some(Event::DaemonGone(Gone::Silent)));
    assert_eq!(failures(&mut s, at), [(msgid, NOT_STARTED)]);
    s.handle_disconnected(at);
    s.handle_connected(at);
    let bytes = write_all(&mut s);
    assert_eq!(submits(&bytes).iter().map(|m| m.msgid).collect::<Vec<_>>(), [later]);
}

#[test]
fn a_refused_registration_has_started_nothing() {
    let mut s = session();
    s.handle_connected(Time(0));
    let msgid = send(&mut s, Time(0));
    write_all(&mut s);
    let nack = LocalNack { rule: LocalRule::ClientIdTaken, text: "clientid 100 is pid 7's".to_owned() };
    feed(&mut s, Time(0), |out| put::nack(out, &nack));
    assert_eq!(s.poll_event(Time(0)), Some(Event::Refused(nack)));
    let refused = verdict(Reason::Refused, Certainty::NotStarted);
    assert_eq!(failures(&mut s, Time(0)), [(msgid, refused)]);
    let again = s.send(Time(0), DST, b"", b"", SendFlags::default());
    assert_eq!(again, Err(SendError::Refused(LocalRule::ClientIdTaken)));
    assert_eq!((s.state(), s.poll_timeout()), (State::Refused, None));
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    assert_eq!((s.state(), s.output()), (State::Refused, &[][..]));
}

#[test]
fn refused_later_on_what_was_written_may_have_started() {
    let mut s = registered();
    let written = send(&mut s, Time(0));
    write_all(&mut s);
    let waiting = send(&mut s, Time(0));
    let nack = LocalNack { rule: LocalRule::Superseded, text: String::new() };
    feed(&mut s, Time(0), |out| put::nack(out, &nack));
    let refused = |certainty| verdict(Reason::Refused, certainty);
    let want = [(written, refused(Certainty::Unknown)), (waiting, refused(Certainty::NotStarted))];
    assert_eq!(failures(&mut s, Time(0)), want);
    assert!(s.output().is_empty());
}

#[test]
fn what_waits_to_be_polled_is_told() {
    let mut s = registered();
    assert!(!s.has_outcomes() && !s.has_messages());
    let msgid = send(&mut s, Time(0));
    write_all(&mut s);
    assert!(!s.has_outcomes());
    let verdict = verdict(Reason::NoAnswer, Certainty::Unknown);
    let failed = Failed { msgid, dst: DST, tries: 1, verdict, user: b"user" };
    feed(&mut s, Time(0), |out| put::failed(out, &failed));
    assert!(s.has_outcomes() && !s.has_messages());
    feed(&mut s, Time(0), |out| put::deliver(out, &delivery(1, 1)));
    assert!(s.has_messages());
    assert_eq!(failures(&mut s, Time(0)).len(), 1);
    assert!(!s.has_outcomes() && !s.has_messages());
}

#[test]
fn i7_all_that_a_session_holds_is_counted() {
    let mut s = registered();
    let mut last = s.memory_bytes();
    let mut grew = |s: &Session, what: &str, least: usize, most: usize| {
        let (before, now) = (last, s.memory_bytes());
        assert!((before + least..=before + most).contains(&now), "{what}: {before}, then {now}");
        last = now;
    };
    // Entries, and some of them in the output.
    for n in 0..100 {
        s.send(Time(0), ClientId(n), &[1; 10_000], b"", SendFlags::default()).expect("room");
    }
    grew(&s, "100 messages to 100 destinations", 1_000_000, 1_500_000);
    for number in 1..=1000_u64 {
        let src = Instance { client: ClientId(u32::try_from(number).expect("small")), ..SRC };
        feed(&mut s, Time(0), |out| {
            put::deliver(out, &Deliver { src, payload: &[1; 100], ..delivery(number, 1) })
        });
    }
    grew(&s, "1,000 deliveries", 100_000, 500_000);
    while s.poll_message(Time(0)).is_some() {}
    grew(&s, "1,000 flows", 40_000, 500_000);
}

#[test]
fn i3_a_call_that_a_daemon_may_have_read_is_not_said_to_be_unstarted_when_it_is_withdrawn() {
    let mut s = registered();
    let sent = s.send_call(Time(0), ClientId(200), b"x", SendFlags::default()).unwrap();
    write_all(&mut s);
    let waits = s.send_call(Time(0), ClientId(200), b"z", SendFlags::default()).unwrap();
    // Nothing more is sent to it, and it has what it was sent; it may still read what stands in the output.
    feed(&mut s, Time(10), put::daemon_goodbye);
    let kept = s.send_call(Time(20), ClientId(200), b"y", SendFlags::default()).unwrap();
    for msgid in [sent, waits, kept] {
        assert!(s.withdraw(Time(30), msgid));
    }
    let cancelled = verdict(Reason::Cancelled, Certainty::NotStarted);
    assert_eq!(s.poll_call_outcome(), Some((kept, Err(cancelled))));
    assert_eq!(s.poll_call_outcome(), None);
}

#[test]
fn i3_what_stands_in_the_output_of_a_closed_session_is_still_written() {
    let mut s = registered();
    let msgid = s.send_call(Time(0), ClientId(200), b"x", SendFlags::default()).unwrap();
    s.close(Time(10));
    assert!(s.withdraw(Time(20), msgid));
    assert_eq!(s.poll_call_outcome(), None);
    assert_eq!(submits(&write_all(&mut s)).len(), 1);
}

#[test]
fn i3_a_call_of_which_not_a_byte_was_written_when_the_stream_broke_is_unstarted() {
    for (written, is_unstarted) in [(0, true), (1, false)] {
        let mut s = registered();
        let msgid = s.send_call(Time(0), ClientId(200), b"x", SendFlags::default()).unwrap();
        s.consume_output(Time(0), written);
        let _taken = s.handle_bytes(Time(10), b"nonsense");
        assert_eq!(s.state(), State::Broken);
        assert!(s.withdraw(Time(20), msgid));
        let cancelled = verdict(Reason::Cancelled, Certainty::NotStarted);
        assert_eq!(s.poll_call_outcome(), is_unstarted.then_some((msgid, Err(cancelled))));
    }
}
