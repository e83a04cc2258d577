//! Who is there: what a library makes of what its daemon says.

use super::*;
use crate::local::PresentInstance;

fn instance(incarnation: u64, priority: u8) -> PresentInstance {
    PresentInstance { incarnation: Incarnation(incarnation), priority }
}

fn say(s: &mut Session, client: ClientId, is_partial: bool, all: &[(u64, u8)]) {
    let all: Vec<_> = all.iter().map(|(i, p)| instance(*i, *p)).collect();
    feed(s, Time(0), |out| put::presence(out, client, is_partial, &all));
}

/// What is told, as text: `+` up, `-` down, `*` active.
fn told(s: &mut Session) -> String {
    let mut text = String::new();
    while let Some(PresenceEvent { client, change }) = s.poll_presence() {
        assert_eq!(client, DST);
        let (sign, incarnation) = match change {
            PresenceChange::Up(i) => ('+', i.incarnation.0),
            PresenceChange::Down(i) => ('-', i.incarnation.0),
            PresenceChange::Active(i) => ('*', i.map_or(0, |i| i.incarnation.0)),
        };
        text.push_str(&format!("{sign}{incarnation} "));
    }
    text.trim_end().to_owned()
}

fn subscribed() -> Session {
    let mut s = registered();
    s.subscribe(Time(0), DST).expect("room");
    assert_eq!(frames(&write_all(&mut s)), [ClientFrame::Subscribe { client: DST }]);
    s
}

#[test]
fn each_change_is_told_and_nothing_else() {
    let mut s = subscribed();
    say(&mut s, DST, false, &[]);
    assert_eq!(told(&mut s), "");
    say(&mut s, DST, false, &[(5, 0), (3, 0)]);
    assert_eq!(told(&mut s), "+5 +3 *5");
    say(&mut s, DST, false, &[(5, 0), (3, 0)]);
    assert_eq!(told(&mut s), "");
    say(&mut s, DST, false, &[(9, 0), (5, 0)]);
    assert_eq!(told(&mut s), "+9 -3 *9");
    say(&mut s, DST, false, &[(5, 0)]);
    assert_eq!(told(&mut s), "-9 *5");
    say(&mut s, ClientId(999), false, &[(1, 0)]);
    assert_eq!(told(&mut s), "", "nobody asked for that one");
    say(&mut s, DST, false, &[]);
    assert_eq!(told(&mut s), "-5 *0");
}

#[test]
fn a_daemon_that_was_just_started_takes_nobody_away() {
    let mut s = subscribed();
    say(&mut s, DST, false, &[(5, 1), (3, 0)]);
    assert_eq!(told(&mut s), "+5 +3 *5");
    say(&mut s, DST, true, &[]);
    assert_eq!(told(&mut s), "");
    say(&mut s, DST, true, &[(4, 1), (3, 0)]);
    assert_eq!(told(&mut s), "+4", "5 has the priority and is newer");
    say(&mut s, DST, false, &[(4, 1)]);
    assert_eq!(told(&mut s), "-5 -3 *4");
}

#[test]
fn it_comes_in_its_place_among_the_messages() {
    let mut s = subscribed();
    feed(&mut s, Time(0), |out| put::deliver(out, &delivery(1, 1)));
    say(&mut s, DST, false, &[(5, 0)]);
    feed(&mut s, Time(0), |out| put::deliver(out, &delivery(2, 2)));
    assert!(!s.has_presence() && s.poll_presence().is_none());
    assert!(s.poll_message(Time(0)).is_some());
    assert!(s.has_presence());
    assert!(s.poll_message(Time(0)).is_none(), "first who is there");
    assert!(s.poll_presence().is_some() && s.has_presence());
    assert!(s.poll_message(Time(0)).is_none(), "and all of that");
    assert_eq!(told(&mut s), "*5");
    assert!(!s.has_presence() && s.poll_message(Time(0)).is_some());
    // As events, too.
    say(&mut s, DST, false, &[(5, 0), (6, 0)]);
    assert!(matches!(s.poll_event(Time(0)), Some(Event::Presence(_))));
}

#[test]
fn what_a_driver_does_not_ask_for_is_told_shortly() {
    let mut s = subscribed();
    s.subscribe(Time(0), ClientId(7)).expect("room");
    for n in 1..=200_u64 {
        say(&mut s, DST, false, &[(n, 0)]);
    }
    // Sixty-four stand each in its place; of more, the last counts, and one that is partial is followed by one that is not.
    say(&mut s, DST, true, &[(999, 0)]);
    let all = told(&mut s);
    assert!(all.starts_with("+1 *1 +2 -1 *2 +3 -2 *3 "), "{all}");
    assert!(all.ends_with("+63 -62 *63 +200 -63 *200"), "{all}");
}

#[test]
fn every_daemon_is_asked_again_and_forgets_what_came_between() {
    let mut s = subscribed();
    s.subscribe(Time(0), DST).expect("it is known");
    assert!(s.output().is_empty(), "and is not asked for twice");
    feed(&mut s, Time(0), |out| put::deliver(out, &delivery(1, 1)));
    say(&mut s, DST, false, &[(5, 0)]);
    s.handle_disconnected(Time(0));
    s.subscribe(Time(0), ClientId(300)).expect("room");
    s.handle_connected(Time(0));
    let bytes = write_all(&mut s);
    let asked = frames(&bytes).into_iter().filter(|f| matches!(f, ClientFrame::Subscribe { .. })).count();
    assert_eq!(asked, 2);
    // The delivery that stood before it will come again; it waits for that no more.
    assert_eq!(told(&mut s), "+5 *5");
}

#[test]
fn so_many_may_be_asked_for() {
    let mut s = registered();
    let most = u32::try_from(limits::MAX_SUBSCRIPTIONS).expect("small");
    for n in 0..most {
        s.subscribe(Time(0), ClientId(n)).expect("room");
    }
    assert_eq!(s.subscribe(Time(0), ClientId(most)), Err(SendError::TooManyFlows));
    assert_eq!(s.subscribe(Time(0), ClientId(0)), Ok(()), "it is one of them");
    s.close(Time(0));
    assert_eq!(s.subscribe(Time(0), ClientId(0)), Err(SendError::Closed));
}
