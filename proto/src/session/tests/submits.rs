//! What stands in the stream, and what waits for room there.

use super::*;

/// Messages that are more than what is made ready at a time.
fn backlog(s: &mut Session) -> Vec<MsgId> {
    let send = |_| s.send_call(Time(0), DST, &[7; 30_000], SendFlags::default()).expect("room");
    (0..10).map(send).collect()
}

fn written(bytes: &[u8]) -> Vec<MsgId> {
    submits(bytes).iter().map(|m| m.msgid).collect()
}

#[test]
fn i7_what_a_daemon_does_not_read_is_held_once() {
    let mut s = registered();
    let all = backlog(&mut s);
    assert!((60_000..100_000).contains(&s.output_len()));
    assert!(s.memory_bytes() < 500_000);
    assert_eq!(written(&write_all(&mut s)), all);
}

#[test]
fn what_was_withdrawn_before_there_was_room_for_it_is_never_written() {
    let mut s = registered();
    let mut all = backlog(&mut s);
    let withdrawn = all.remove(8);
    assert!(s.withdraw(Time(0), withdrawn));
    let cancelled = verdict(Reason::Cancelled, Certainty::NotStarted);
    assert_eq!(s.poll_call_outcome(), Some((withdrawn, Err(cancelled))));
    let bytes = write_all(&mut s);
    assert_eq!(written(&bytes), all);
    assert!(!frames(&bytes).iter().any(|f| matches!(f, ClientFrame::Withdraw { .. })));
}

#[test]
fn what_an_earlier_daemon_may_have_read_is_submitted_before_it_is_withdrawn() {
    let mut s = registered();
    let all = backlog(&mut s);
    write_all(&mut s);
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    assert!(s.withdraw(Time(0), all[8]));
    assert_eq!(s.poll_call_outcome(), None, "the daemon has to say");
    let bytes = write_all(&mut s);
    let is = |f: &ClientFrame<'_>| matches!(f, ClientFrame::Withdraw { msgid } if *msgid == all[8]);
    let at = frames(&bytes).iter().position(is).expect("it is told");
    let before = frames(&bytes)[..at].iter().filter(|f| matches!(f, ClientFrame::Submit(_))).count();
    assert_eq!((before, written(&bytes)), (9, all));
}

#[test]
fn goodbye_is_said_behind_everything() {
    let mut s = registered();
    let all = backlog(&mut s);
    s.close(Time(0));
    let bytes = write_all(&mut s);
    assert_eq!(written(&bytes), all);
    assert!(matches!(frames(&bytes).last(), Some(ClientFrame::Goodbye)));
}

#[test]
fn a_daemon_that_goes_is_not_sent_what_waits() {
    let mut s = registered();
    let all = backlog(&mut s);
    feed(&mut s, Time(0), put::daemon_goodbye);
    let before = written(&write_all(&mut s));
    assert_eq!(before, all[..3]);
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    assert_eq!(written(&write_all(&mut s)), all);
}

#[test]
fn what_ended_while_it_waited_is_passed_over() {
    let mut s = registered();
    let all = backlog(&mut s);
    feed(&mut s, Time(0), |out| put::resolved(out, &[(all[4], 6)]));
    let next = send(&mut s, Time(0));
    assert_eq!(written(&write_all(&mut s)), [&all[..4], &[next]].concat());
    let last = send(&mut s, Time(0));
    assert_eq!(written(&write_all(&mut s)), [last]);
}

#[test]
fn a_stream_with_room_is_given_more_of_what_is_not_copied() {
    let mut s = registered();
    s.gather_output();
    assert_eq!(s.output_len(), 0);
    let payload = |n: u8, len| vec![n; len];
    let sent: Vec<_> = (0..40).map(|n| payload(n, if n < 20 { 30_000 } else { 3000 })).collect();
    for payload in &sent {
        s.send(Time(0), DST, payload, b"user", SendFlags::default()).expect("room");
    }
    let before = s.output_len();
    assert!((60_000..100_000).contains(&before), "{before}");
    s.gather_output();
    let gathered = s.output_len();
    assert!((256 << 10..300_000).contains(&gathered), "{gathered}");
    assert_eq!(s.output_parts().map(<[u8]>::len).sum::<usize>(), gathered);
    let mut bytes = s.output_parts().collect::<Vec<_>>().concat();
    s.consume_output(Time(0), gathered);
    for _ in 0..9 {
        s.gather_output();
        let most = s.output_len();
        assert!(most < 300_000);
        bytes.extend(s.output_parts().flatten());
        s.consume_output(Time(0), most);
    }
    let found: Vec<_> = submits(&bytes).iter().map(|m| (m.user, m.payload)).collect();
    let wanted: Vec<_> = sent.iter().map(|payload| (&b"user"[..], &payload[..])).collect();
    assert!(found == wanted, "each once, in order, as it was sent");

    // Small ones wait until there is room for them: they are copied.
    for _ in 0..100 {
        s.send(Time(0), DST, &[8; 3000], b"", SendFlags::default()).expect("room");
    }
    let before = s.output_len();
    s.gather_output();
    assert_eq!(s.output_len(), before);
    assert!(before < 70_000);
}

#[test]
fn what_waits_for_a_daemon_that_goes_is_not_gathered() {
    let mut s = registered();
    let all = backlog(&mut s);
    feed(&mut s, Time(0), put::daemon_goodbye);
    s.gather_output();
    assert_eq!(written(&write_all(&mut s)), all[..3]);
    s.handle_disconnected(Time(0));
    s.gather_output();
    assert_eq!(s.output_len(), 0);
    s.handle_connected(Time(0));
    s.gather_output();
    let mut bytes = s.output_parts().collect::<Vec<_>>().concat();
    assert!(bytes.len() > 256 << 10);
    s.consume_output(Time(0), bytes.len());
    bytes.extend(write_all(&mut s));
    assert_eq!(written(&bytes), all);
}

const LEN: usize = 16_000;
/// As many as the grant allows.
const ALL: usize = (8 << 20) / (LEN + 64);
const LOW_WATER: usize = 512 << 10;

/// Sends until there is no room. Returns how many.
fn fill(s: &mut Session) -> usize {
    let mut count = 0;
    loop {
        match s.send(Time(0), DST, &[7; LEN], b"", SendFlags::default()) {
            Ok(_) => count += 1,
            Err(error) => {
                assert_eq!(error, SendError::WouldBlock);
                return count;
            }
        }
    }
}

/// What is ready is written, and taken by its receiver.
fn take(s: &mut Session, taken: &mut u32) {
    let bytes = s.output().to_vec();
    s.consume_output(Time(0), bytes.len());
    let count = u32::try_from(written(&bytes).len()).expect("few");
    feed(s, Time(0), |out| put::resolved(out, &[(MsgId(*taken + 1), count)]));
    *taken += count;
}

#[test]
fn who_found_no_room_has_little_wait_for_the_stream_until_nothing_does() {
    let (mut s, mut taken) = (registered(), 0);
    assert_eq!(fill(&mut s), ALL, "a burst is taken as a whole");
    assert!(!s.poll_room(), "there is room when outcomes come");
    while s.unresolved.waiting_bytes() >= LOW_WATER {
        assert_eq!(fill(&mut s), 0);
        assert!(!s.poll_room());
        take(&mut s, &mut taken);
    }
    assert!(s.poll_room(), "who was turned away is told");
    assert!(!s.poll_room(), "once");
    let before = s.unresolved.waiting_bytes();
    for _ in 0..20 {
        assert!(fill(&mut s) > 0);
        assert!((LOW_WATER..LOW_WATER + LEN + 64).contains(&s.unresolved.waiting_bytes()));
        while s.unresolved.waiting_bytes() > before {
            take(&mut s, &mut taken);
        }
        assert!(s.poll_room());
    }
    while !s.output().is_empty() {
        take(&mut s, &mut taken);
    }
    assert_eq!((s.unresolved(), fill(&mut s)), (0, ALL), "the next burst is taken as a whole, too");
}

#[test]
fn what_waits_for_a_daemon_that_is_away_is_not_held_back() {
    let (mut s, mut taken) = (registered(), 0);
    fill(&mut s);
    take(&mut s, &mut taken);
    let room = taken as usize;
    assert_eq!((fill(&mut s), s.poll_room()), (0, false));
    s.handle_disconnected(Time(0));
    assert!(s.poll_room());
    assert_eq!(s.unresolved.waiting_bytes(), s.unresolved_bytes());
    assert_eq!(fill(&mut s), room);
    // To the next one it is written like any other.
    s.handle_connected(Time(0));
    assert_eq!((fill(&mut s), s.poll_room()), (0, false));
    assert_eq!(written(&write_all(&mut s)).len(), ALL);
    assert_eq!(s.unresolved.waiting_bytes(), 0);
}
