//! Several instances of a clientid: who is active, and what becomes of messages when another one is.

use msg_proto::{
    control::{Control, Departure},
    ids::{ClientId, Incarnation},
    local::{DaemonFrame, put},
    outcome::{Certainty, Reason},
    session::{PresenceChange, SendFlags, SessionConfig},
    wire::Frame,
};

use super::{
    by_hand::{ByHand, frames, register},
    world::{Fate, Options, Random, World, cut, session_config},
};

/// Three nodes: a caller on the first, instances of 200 on the others.
struct Service {
    w: World,
    caller: usize,
    /// The one that is active at first.
    first: usize,
    second: usize,
    sent: u32,
}

impl Service {
    fn new() -> Self {
        let mut w =
            World::with(&Options { clocks: vec![1_000_000, 90_000_000_000, 5], ..Options::default() });
        w.run(50);
        let quick =
            |priority| SessionConfig { interval_ms: 100, times: Some(100), priority, ..session_config(200) };
        let caller = SessionConfig { client: ClientId(100), ..quick(0) };
        let (caller, first, second) =
            (w.client_with(0, caller), w.client_with(1, quick(1)), w.client_with(2, quick(0)));
        w.run(50);
        Self { w, caller, first, second, sent: 0 }
    }

    fn send(&mut self, count: u32, flags: SendFlags) {
        for _ in 0..count {
            self.w.send_with(self.caller, 200, &self.sent.to_le_bytes(), b"", flags).expect("room");
            self.sent += 1;
        }
    }

    /// What instances took, in the order of taking.
    fn taken(&self, instances: &[usize]) -> Vec<u32> {
        let taken = instances.iter().flat_map(|i| self.w.clients[*i].taken.iter());
        let mut taken: Vec<_> = taken.map(|(_, payload, at)| (*at, number(payload))).collect();
        taken.sort_unstable();
        taken.into_iter().map(|(_, number)| number).collect()
    }

    fn failed(&self) -> Vec<(Reason, Certainty)> {
        let failed = &self.w.clients[self.caller].failed;
        failed.iter().map(|(f, _)| (f.verdict.reason, f.verdict.certainty)).collect()
    }
}

fn number(payload: &[u8]) -> u32 {
    u32::from_le_bytes(payload.try_into().expect("four bytes"))
}

fn is_increasing(numbers: &[u32]) -> bool {
    numbers.windows(2).all(|pair| pair[0] < pair[1])
}

const PLAIN: SendFlags = SendFlags { unordered: false, at_least_once: false };
const AT_LEAST_ONCE: SendFlags = SendFlags { unordered: false, at_least_once: true };

#[test]
fn the_highest_priority_is_active_and_the_next_one_takes_over_when_it_dies() {
    let mut s = Service::new();
    s.send(10, PLAIN);
    s.w.run(10);
    assert_eq!(s.taken(&[s.first]), (0..10).collect::<Vec<_>>());
    // It stands still: some are in its socket, and may have begun when it dies.
    s.w.clients[s.first].is_stopped = true;
    s.send(10, PLAIN);
    s.w.run(10);
    s.w.kill(s.first);
    s.send(10, PLAIN);
    s.w.run(300);
    assert_eq!(s.taken(&[s.second]), (20..30).collect::<Vec<_>>());
    assert_eq!(s.failed(), vec![(Reason::ReceiverGone, Certainty::Unknown); 10]);
}

#[test]
fn what_a_dead_instance_cannot_have_begun_goes_to_the_next_one_in_order() {
    let mut s = Service::new();
    s.w.clients[s.first].is_stopped = true;
    // More than the window of deliveries holds: the rest waits in the daemon.
    let big = vec![7_u8; 200_000];
    for _ in 0..6 {
        s.w.send(s.caller, 200, &big, b"").expect("room");
    }
    s.w.run(40);
    s.w.kill(s.first);
    s.w.run(300);
    let failed = s.failed().len();
    assert!((1..6).contains(&failed), "{failed} were given");
    assert!(s.failed().iter().all(|f| *f == (Reason::ReceiverGone, Certainty::Unknown)));
    let msgids: Vec<_> = s.w.clients[s.second].taken.iter().map(|(msgid, ..)| *msgid).collect();
    let first = u32::try_from(failed).unwrap() + 1;
    assert_eq!(msgids, (first..7).collect::<Vec<_>>());
}

#[test]
fn at_least_once_goes_on_to_the_next_one() {
    let mut s = Service::new();
    s.w.clients[s.first].is_stopped = true;
    s.send(5, AT_LEAST_ONCE);
    s.w.run(10);
    s.w.kill(s.first);
    s.send(5, AT_LEAST_ONCE);
    s.w.run(300);
    assert_eq!(s.taken(&[s.second]), (0..10).collect::<Vec<_>>());
    assert_eq!(s.failed(), []);
    assert_eq!(s.w.clients[s.caller].acked.len(), 10);
}

#[test]
fn a_lost_node_is_given_up_and_the_next_one_goes_on() {
    for flags in [PLAIN, AT_LEAST_ONCE] {
        let mut s = Service::new();
        s.w.cuts = vec![(0, 1), (1, 0), (1, 2), (2, 1)];
        s.send(3, flags);
        s.w.run(1000);
        s.send(3, flags);
        s.w.run(3000);
        assert_eq!(s.taken(&[s.first, s.second]), [0; 0], "nobody knows yet");
        s.w.run(1500);
        s.send(1, flags);
        s.w.run(100);
        let expected: Vec<u32> = if flags == PLAIN { vec![6] } else { (0..7).collect() };
        assert_eq!(s.taken(&[s.second]), expected);
        let unknown = if flags == PLAIN { 6 } else { 0 };
        assert_eq!(s.failed(), vec![(Reason::NoAnswer, Certainty::Unknown); unknown]);
        // The partition ends: the rule settles who is active, and what was given up is never handed over (I4).
        s.w.cuts.clear();
        s.w.run(3000);
        s.send(1, flags);
        s.w.run(100);
        assert_eq!(s.taken(&[s.first]), [7]);
    }
}

#[test]
fn without_an_instance_messages_wait_out_their_time() {
    let mut s = Service::new();
    s.w.kill(s.first);
    s.w.kill(s.second);
    s.w.run(10);
    let config = SessionConfig { interval_ms: 100, times: Some(2), ..session_config(101) };
    s.caller = s.w.client_with(0, config);
    s.send(2, PLAIN);
    s.w.run(400);
    assert_eq!(s.failed(), [(Reason::NoRoute, Certainty::NotStarted); 2]);
}

#[test]
fn a_new_active_instance_takes_over_behind_what_the_old_one_has_begun() {
    let mut s = Service::new();
    s.w.clients[s.first].is_stopped = true;
    s.send(5, PLAIN);
    s.w.run(10);
    let config = SessionConfig { interval_ms: 100, times: Some(100), priority: 9, ..session_config(200) };
    let third = s.w.client_with(0, config);
    s.send(5, PLAIN);
    s.w.run(50);
    assert_eq!(s.taken(&[third]), [0; 0], "they would overtake those that the old one has");
    s.w.clients[s.first].is_stopped = false;
    s.w.run(50);
    assert_eq!(s.taken(&[s.first]), (0..5).collect::<Vec<_>>());
    assert_eq!(s.taken(&[third]), (5..10).collect::<Vec<_>>());
    assert_eq!(s.failed(), []);
}

#[test]
fn i6_what_an_instance_took_before_the_senders_daemon_died_is_not_given_to_the_next_one() {
    let mut s = Service::new();
    // The acks are lost, the sender's daemon is killed, and then the instance that took the messages.
    s.w.cuts = vec![(1, 0)];
    s.send(5, PLAIN);
    s.w.run(10);
    assert_eq!(s.taken(&[s.first]).len(), 5);
    s.w.restart(0);
    s.send(2, PLAIN);
    s.w.kill(s.first);
    s.w.cuts.clear();
    s.w.run(4000);
    assert_eq!(s.taken(&[s.second]), [5, 6]);
    assert_eq!(s.failed(), []);
    assert_eq!(s.w.clients[s.caller].acked.len(), 7, "its node knows what it took");
}

#[test]
fn i6_no_message_is_given_twice_whatever_dies() {
    for seed in 0..60 {
        let mut s = Service::new();
        let mut random = Random(seed);
        let mut instances = vec![s.first, s.second];
        for _ in 0..80 {
            match random.next(12) {
                0 => {
                    let node = usize::try_from(random.next(3)).unwrap();
                    s.w.clients.iter_mut().filter(|c| c.node == node).for_each(|c| c.is_stopped = false);
                    s.w.restart(node);
                }
                1 => {
                    let index = usize::try_from(random.next(instances.len() as u64)).unwrap();
                    let node = s.w.clients[instances[index]].node;
                    s.w.kill(instances[index]);
                    let priority = u8::try_from(random.next(3)).unwrap();
                    let config =
                        SessionConfig { interval_ms: 100, times: Some(100), priority, ..session_config(200) };
                    if !s.w.is_registered(node, 200) {
                        instances.push(s.w.client_with(node, config));
                    }
                }
                2 => {
                    let index = usize::try_from(random.next(instances.len() as u64)).unwrap();
                    let client = &mut s.w.clients[instances[index]];
                    client.is_stopped = !client.is_stopped;
                }
                3 => s.w.cuts = vec![(0, usize::try_from(1 + random.next(2)).unwrap())],
                4 => s.w.cuts = vec![(usize::try_from(1 + random.next(2)).unwrap(), 0)],
                5 => s.w.cuts.clear(),
                _ => {}
            }
            s.send(3, PLAIN);
            let longest = if random.next(10) == 0 { 3000 } else { 40 };
            let ms = 1 + random.next(longest);
            s.w.run(ms);
            for engine in &s.w.engines {
                engine.check_invariants().unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            }
        }
        s.w.cuts.clear();
        for instance in &instances {
            s.w.clients[*instance].is_stopped = false;
        }
        s.w.run(20_000);
        let all = s.taken(&instances);
        assert!(is_increasing(&all), "seed {seed}: {all:?}");
        assert_eq!(s.w.clients[s.caller].session.unresolved(), 0, "seed {seed}");
        let caller = &s.w.clients[s.caller];
        for (failure, _) in &caller.failed {
            let was_taken = all.contains(&(failure.msgid.0 - 1));
            let says_not = failure.verdict.certainty == Certainty::NotStarted;
            assert!(!(was_taken && says_not), "seed {seed}: {failure:?}");
        }
        for (msgid, _) in &caller.acked {
            assert!(all.contains(&(msgid - 1)), "seed {seed}: I2");
        }
    }
}

/// Ups, downs and actives as text: instances by their priorities.
fn presence(s: &Service, client: usize) -> Vec<(String, usize)> {
    let text = |change| match change {
        PresenceChange::Up(i) => format!("up {}", i.priority),
        PresenceChange::Down(i) => format!("down {}", i.priority),
        PresenceChange::Active(Some(i)) => format!("active {}", i.priority),
        PresenceChange::Active(None) => "none".to_owned(),
    };
    s.w.clients[client].presence.iter().map(|(event, taken)| (text(event.change), *taken)).collect()
}

#[test]
fn who_subscribes_is_told_of_instances_in_the_order_of_messages() {
    let mut s = Service::new();
    let (now, caller) = (s.w.clock(0), s.caller);
    s.w.clients[caller].session.subscribe(now, ClientId(200)).unwrap();
    s.w.run(2500);
    let first = vec![("up 1".to_owned(), 0), ("up 0".to_owned(), 0), ("active 1".to_owned(), 0)];
    assert_eq!(presence(&s, caller), first);
    // While the caller stands still: messages of the first, its death, and those of a new one.
    s.w.clients[caller].is_stopped = true;
    s.w.send(s.first, 100, b"of the first", b"").unwrap();
    s.w.run(10);
    s.w.kill(s.first);
    s.w.run(10);
    let config = SessionConfig { interval_ms: 100, times: Some(100), priority: 7, ..session_config(200) };
    let third = s.w.client_with(1, config);
    s.w.send(third, 100, b"of the third", b"").unwrap();
    s.w.run(10);
    s.w.clients[caller].presence.clear();
    s.w.clients[caller].is_stopped = false;
    s.w.run(10);
    let then = [("down 1", 1), ("active 0", 1), ("up 7", 1), ("active 7", 1)];
    assert_eq!(presence(&s, caller), then.map(|(text, taken)| (text.to_owned(), taken)));
    assert_eq!(s.w.clients[caller].taken.len(), 2);
    // Its daemon dies: what has not changed is not told again, what changed meanwhile is, when it is sure.
    s.w.clients[caller].presence.clear();
    s.w.cuts = vec![(2, 0), (0, 2)];
    s.w.restart(0);
    s.w.run(1500);
    assert_eq!(presence(&s, caller), []);
    s.w.run(1000);
    assert_eq!(presence(&s, caller), [("down 0".to_owned(), 2)]);
    s.w.clients[caller].presence.clear();
    s.w.cuts.clear();
    s.w.kill(third);
    s.w.run(2000);
    let last = [("down 7", 2), ("none", 2), ("up 0", 2), ("active 0", 2)];
    assert_eq!(presence(&s, caller), last.map(|(text, taken)| (text.to_owned(), taken)));
}

#[test]
fn i7_presence_costs_a_client_that_does_not_read_a_bounded_queue() {
    let mut s = Service::new();
    let (now, caller) = (s.w.clock(0), s.caller);
    s.w.clients[caller].session.subscribe(now, ClientId(200)).unwrap();
    s.w.run(2500);
    s.w.clients[caller].is_stopped = true;
    for _ in 0..300 {
        let config = SessionConfig { priority: 9, ..session_config(200) };
        let third = s.w.client_with(0, config);
        s.w.run(1);
        s.w.kill(third);
    }
    s.w.clients[caller].presence.clear();
    s.w.clients[caller].is_stopped = false;
    s.w.run(10);
    let told = presence(&s, caller);
    assert!(told.len() <= 64 * 4, "{}", told.len());
    assert_eq!(told.last().map(|(text, _)| text.as_str()), Some("active 1"));
}

#[test]
fn i4_what_may_have_begun_at_a_lost_node_ends_an_interval_after_that_is_given_up() {
    let mut w = World::new();
    let instance = |priority| SessionConfig { priority, ..session_config(200) };
    let long = SessionConfig { interval_ms: 10_000, times: Some(5), ..session_config(100) };
    let caller = w.client_with(0, long);
    let (first, second) = (w.client_with(1, instance(1)), w.client_with(0, instance(0)));
    w.run(500);
    w.clients[first].is_stopped = true;
    let sent_at = w.now;
    w.send(caller, 200, b"begun there", b"").unwrap();
    w.run(10);
    w.network = cut();
    w.run(7_000);
    w.send(caller, 200, b"waits for that", b"").unwrap();
    w.run(30_000);
    let [(failure, at)] = &w.clients[caller].failed[..] else { panic!("{:?}", w.clients[caller].failed) };
    assert_eq!((failure.verdict.reason, failure.verdict.certainty), (Reason::NoAnswer, Certainty::Unknown));
    let took = (at - sent_at) / 1000;
    assert!((10_000 + 4_000..=10_000 + 6_500).contains(&took), "{took} ms, and not a minute");
    assert_eq!(w.payloads(second), [b"waits for that"]);
}

#[test]
fn who_subscribed_and_is_gone_is_told_nothing() {
    let mut w = ByHand::new();
    let gone = w.client(7, &register(100));
    w.say(gone, |out| put::subscribe(out, ClientId(200)));
    w.hang_up(gone);
    let other = w.client(7, &register(101));
    w.hear(other);
    w.link_up(&[200]);
    assert!(w.hear(other).is_empty());
}

#[test]
fn what_goes_on_to_another_node_goes_there_whole() {
    let mut s = Service::new();
    s.w.clients[s.first].is_stopped = true;
    // The first node has all of it; of what the second one has nothing is heard.
    let flags = SendFlags { at_least_once: true, ..PLAIN };
    s.w.send_with(s.caller, 200, &[7; 40_000], b"", flags).unwrap();
    s.w.run(50);
    s.w.cuts = vec![(0, 1), (1, 0)];
    s.w.network = Box::new(|_, datagram| {
        let is_report = super::frames(datagram).iter().any(|f| matches!(f, Frame::Partial(_)));
        if is_report { Fate::Drop } else { Fate::Arrive(vec![100]) }
    });
    s.w.run(9000);
    assert_eq!(s.w.payloads(s.second), [vec![7; 40_000]]);
}

#[test]
fn i7_a_subscriber_that_does_not_read_is_told_in_the_end_what_is_true_then() {
    let mut w = ByHand::new();
    let conn = w.client(7, &register(100));
    w.say(conn, |out| put::subscribe(out, ClientId(200)));
    w.link_up(&[]);
    let (client, cause) = (ClientId(200), Departure::Died);
    for n in 1..3000 {
        w.control(&Control::Announce { client, incarnation: Incarnation(n), priority: 0, uid: 7 });
        if n < 2999 {
            w.control(&Control::Withdraw { client, incarnation: Incarnation(n), cause });
        }
        w.datagrams();
    }
    let len = w.engine.output(conn).len();
    assert!((64 << 10..65 << 10).contains(&len), "{len}");
    let last = |bytes: &[u8]| match frames(bytes).last() {
        Some(DaemonFrame::Presence(p)) => p.instances().map(|i| i.incarnation.0).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_ne!(last(&w.hear(conn)), [2999]);
    assert_eq!(last(&w.hear(conn)), [2999]);
    assert!(w.hear(conn).is_empty());
}

#[test]
fn i6_what_a_lost_node_may_have_begun_goes_on_elsewhere_also_after_a_start() {
    let mut s = Service::new();
    s.w.clients[s.first].is_stopped = true;
    let flags = SendFlags { at_least_once: true, ..PLAIN };
    s.w.send_with(s.caller, 200, b"x", b"", flags).unwrap();
    s.w.run(50);
    // The other node is back at once, and says nothing of the first one's.
    s.w.cuts = vec![(0, 1), (1, 0)];
    s.w.restart(0);
    s.w.run(6000);
    assert_eq!(s.w.payloads(s.second), [[0; 0]; 0]);
    s.w.run(3000);
    assert_eq!(s.w.payloads(s.second), [b"x"]);
}
