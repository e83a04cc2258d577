//! I6: what happens when a daemon goes and comes back.

use super::*;
use crate::local::{Failed, FlowTaken, Progress};

fn ids(bytes: &[u8]) -> Vec<(u32, u32)> {
    submits(bytes).iter().map(|m| (m.msgid.0, m.seq.0)).collect()
}

#[test]
fn the_unresolved_are_submitted_again_in_order() {
    let mut s = registered();
    let flags = SendFlags { unordered: true, at_least_once: true };
    for n in 0..4u8 {
        s.send(Time(0), DST, &[n], &[n; 3], if n == 2 { flags } else { SendFlags::default() }).expect("room");
    }
    let first = write_all(&mut s);
    feed(&mut s, Time(0), |out| put::resolved(out, &[(MsgId(2), 1)]));
    s.handle_disconnected(Time(0));
    // Sent in between: numbered behind, written with the rest.
    send(&mut s, Time(0));
    assert!(s.output().is_empty());
    s.handle_connected(Time(0));
    let again = write_all(&mut s);
    assert_eq!(ids(&again), [(1, 1), (3, 1), (4, 3), (5, 4)]);
    let (first, again) = (submits(&first), submits(&again));
    assert_eq!([first[0], first[2], first[3]], again[..3]);
}

#[test]
fn registration_goes_first_and_nothing_is_waited_for() {
    let mut s = session();
    send(&mut s, Time(0));
    s.handle_connected(Time(0));
    send(&mut s, Time(0));
    let bytes = write_all(&mut s);
    let [ClientFrame::Register(r), ClientFrame::Ready, ClientFrame::Submit(a), ClientFrame::Submit(b)] =
        &frames(&bytes)[..]
    else {
        panic!("REGISTER, READY, SUBMIT, SUBMIT")
    };
    assert_eq!((r.client, r.incarnation, r.name.as_str()), (ClientId(100), Incarnation::NONE, "test"));
    assert_eq!((a.msgid, b.msgid), (MsgId(1), MsgId(2)));
}

#[test]
fn a_reconnect_says_who_it_was_and_what_it_took() {
    let mut s = registered();
    feed(&mut s, Time(0), |out| {
        for (number, seq) in [(1, 1), (2, 2), (3, 5)] {
            let channel = if seq == 5 { Channel::Unordered } else { Channel::Ordered };
            put::deliver(out, &Deliver { channel, ..delivery(number, seq) });
        }
    });
    while s.poll_event(Time(0)).is_some() {}
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    let bytes = write_all(&mut s);
    let frames = frames(&bytes);
    let ClientFrame::Register(register) = &frames[0] else { panic!("REGISTER first") };
    assert_eq!(register.incarnation, Incarnation(5));
    let taken = |channel, bitmap| {
        ClientFrame::FlowTaken(FlowTaken {
            src: SRC,
            channel,
            floor: Seq(1),
            progress: Progress::Taken,
            bitmap,
        })
    };
    let want = [taken(Channel::Ordered, &[3]), taken(Channel::Unordered, &[16]), ClientFrame::Ready];
    assert_eq!(frames[1..], want);
}

#[test]
fn without_an_incarnation_nothing_written_is_repeated() {
    let mut s = session();
    s.handle_connected(Time(0));
    let written = send(&mut s, Time(0));
    write_all(&mut s);
    let never = send(&mut s, Time(0));
    s.handle_disconnected(Time(0));
    let unknown = verdict(Reason::NoAnswer, Certainty::Unknown);
    assert_eq!(failures(&mut s, Time(0)), [(written, unknown)]);
    s.handle_connected(Time(0));
    assert_eq!(ids(&write_all(&mut s)), [(never.0, 2)]);
}

#[test]
fn a_new_daemon_cannot_vouch_for_the_old_one() {
    let not_started = verdict(Reason::NoRoute, Certainty::NotStarted);
    let unknown = verdict(Reason::NoRoute, Certainty::Unknown);
    for (start, want) in [(1, not_started), (2, unknown)] {
        let mut s = registered();
        let written = send(&mut s, Time(0));
        write_all(&mut s);
        s.handle_disconnected(Time(0));
        let since = send(&mut s, Time(0));
        s.handle_connected(Time(0));
        write_all(&mut s);
        feed(&mut s, Time(0), |out| {
            put::registered(out, &grant(start));
            for msgid in [written, since] {
                let user = b"";
                put::failed(out, &Failed { msgid, dst: DST, tries: 0, verdict: not_started, user });
            }
        });
        assert_eq!(failures(&mut s, Time(0)), [(written, want), (since, not_started)]);
    }
}

#[test]
fn after_a_goodbye_sends_wait_for_the_next_daemon() {
    let mut s = registered();
    feed(&mut s, Time(0), put::daemon_goodbye);
    assert_eq!(s.poll_event(Time(0)), Some(Event::DaemonGone(Gone::Goodbye)));
    send(&mut s, Time(0));
    assert_eq!((s.state(), s.output().len()), (State::GoingAway, 0));
    s.handle_disconnected(Time(0));
    s.handle_connected(Time(0));
    assert_eq!(ids(&write_all(&mut s)), [(1, 1)]);
}

#[test]
fn a_daemon_that_cannot_be_read_is_left() {
    type Write = fn(&mut Vec<u8>);
    let broken: [Write; 6] = [
        |out| out.extend_from_slice(&[0; 8]),
        |out| put::taken(out, 1),
        |out| put::registered(out, &grant(1)),
        |out| put::deliver(out, &delivery(2, 1)),
        |out| put::deliver(out, &Deliver { seq: Seq(65_537), ..delivery(1, 1) }),
        |out| out.extend_from_slice(&[12, 0, 0, 0, 67, 0, 0, 0, 1, 2, 3, 4]),
    ];
    for write in broken {
        let mut s = registered();
        send(&mut s, Time(0));
        feed(&mut s, Time(0), write);
        assert!(matches!(s.poll_event(Time(0)), Some(Event::DaemonGone(Gone::Malformed(_)))));
        assert_eq!(s.poll_event(Time(0)), None);
        assert_eq!((s.state(), s.unresolved()), (State::Broken, 1));
        s.handle_disconnected(Time(0));
        s.handle_connected(Time(0));
        assert_eq!(ids(&write_all(&mut s)), [(1, 1)]);
    }
    let mut s = session();
    s.handle_connected(Time(0));
    feed(&mut s, Time(0), |out| put::deliver(out, &delivery(1, 1)));
    assert_eq!(s.state(), State::Broken);
}

#[test]
fn a_call_is_submitted_again_as_old_as_the_clock_says() {
    let mut s = registered();
    s.send_call(Time(1_000), ClientId(200), b"x", SendFlags::default()).unwrap();
    let plain = send(&mut s, Time(1_000));
    write_all(&mut s);
    s.handle_disconnected(Time(2_000));
    // The machine stood still for three seconds: the message has as much time as before, and the call's goes on.
    let later = Time(3_000_000);
    s.handle_timeout(later);
    s.handle_connected(later);
    let bytes = write_all(&mut s);
    let sent: Vec<_> = submits(&bytes).iter().map(|m| (m.msgid, m.send_time)).collect();
    assert_eq!(sent[0].1, Time(1_000));
    assert!(sent[1].0 == plain && sent[1].1 > Time(1_900_000), "{sent:?}");
}
