//! What goes along with other messages when it is overdue, while the link loses datagrams.

use std::{cell::Cell, rc::Rc};

use msg_proto::{
    control::Register,
    counters::Counter,
    engine::{EngineConfig, Recovery},
    ids::{ConnId, FlowId, Incarnation, MsgId, Seq},
    local::{Submit, put},
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
    wire::{AckRun, Data, DatagramBuilder, Frame, Frames, Header, NackEntry},
};

use super::{
    Fate, Random, World,
    by_hand::{ByHand, register, submit},
};

/// Our client, and its node, on a link.
struct Link {
    w: ByHand,
    conn: ConnId,
    incarnation: Incarnation,
    /// The number of the last datagram.
    last: u64,
}

impl Link {
    /// Client 100 has sent messages 1 to 5; the datagrams of so many of the first were lost. All are acknowledged by now.
    fn after_loss(lost: u64, body: &Register, change: impl FnOnce(&mut EngineConfig)) -> Self {
        let mut w = ByHand::with(change);
        w.link_up(&[200]);
        let (conn, incarnation) = w.try_client(7, body);
        let mut link = Self { w, conn, incarnation: incarnation.expect("it is free"), last: 0 };
        link.apply_control();
        for n in 1..6 {
            assert_eq!(link.send(&submit(200, n, link.w.now, b"x")), [n]);
        }
        link.w.now = link.w.now + ROUND_TRIP;
        let (last, now, flow) = (link.last, link.w.now, link.flow());
        link.w.peer_says(|b| {
            let first = if lost == 0 { 0 } else { last - 4 + lost };
            assert!(b.put_link_ack(Span(1), 1 << 20, [(first, last)]));
            assert_eq!(b.put_ack(&flow, now, &[AckRun { msgid: MsgId(1), seq: Seq(1), count: 5 }]), 1);
        });
        link.datagrams();
        link.acknowledge_datagrams();
        link
    }

    fn new() -> Self {
        Self::after_loss(1, &register(100), |_| ())
    }

    /// The peer has applied what it was told of our clients.
    fn apply_control(&mut self) {
        let steps = self.w.peer_hears(|f| if let Frame::Control { seq, .. } = f { Some(seq) } else { None });
        let last = *steps.last().expect("a client that came");
        self.w.peer_says(|b| assert!(b.put_control_ack(last + 1)));
    }

    /// The flow from our client to the peer's.
    fn flow(&self) -> FlowId {
        let back = self.w.flow(200, 100, self.incarnation).id;
        FlowId { src: back.dst, dst: back.src, channel: back.channel }
    }

    fn count(&self, counter: Counter) -> u64 {
        self.w.engine.counters().value(counter)
    }

    /// Which messages the datagrams that leave carry.
    fn datagrams(&mut self) -> Vec<u32> {
        let mut found = Vec::new();
        for datagram in self.w.datagrams() {
            let (header, frames) = Header::parse(&datagram).expect("our own");
            self.last = header.number.0;
            for frame in Frames::new(header.kind, frames).map(Result::unwrap) {
                if let Frame::Data(data) = frame {
                    found.push(data.msgid.0);
                }
            }
        }
        found
    }

    /// Our client sends a message; what leaves.
    fn send(&mut self, message: &Submit<'_>) -> Vec<u32> {
        self.w.say(self.conn, |out| put::submit(out, message));
        self.w.hear(self.conn);
        self.datagrams()
    }

    /// A message, when what left before is overdue.
    fn send_later(&mut self, n: u32) -> Vec<u32> {
        self.pass(OVERDUE);
        self.send(&submit(200, n, self.w.now, b"x"))
    }

    fn pass(&mut self, span: Span) {
        self.w.now = self.w.now + span;
    }

    /// All datagrams have come to the peer.
    fn acknowledge_datagrams(&mut self) {
        let last = self.last;
        self.w.peer_says(|b| assert!(b.put_link_ack(Span(1), 1 << 20, [(0, last)])));
        assert_eq!(self.datagrams(), []);
    }
}

const ROUND_TRIP: Span = Span::from_millis(5);
/// More than 9/8 of it (RFC 9002, section 6.1.2).
const OVERDUE: Span = Span::from_millis(6);

#[test]
fn what_is_overdue_goes_along_with_what_follows() {
    let mut link = Link::new();
    assert_eq!(link.send_later(6), [6]);
    assert_eq!(link.send_later(7), [7, 6]);
    assert_eq!(link.send_later(8), [8, 6, 7]);
    assert_eq!(link.send_later(9), [9, 6, 7, 8]);
    assert_eq!(link.send_later(10), [10, 7, 8, 9], "6 has left four times");
    assert_eq!(link.send_later(11), [11, 8, 9, 10], "no more than three");
    assert_eq!(link.count(Counter::RedundantCopies), 12);
    let chain = link.w.engine.chain_status(link.w.now, None, 10);
    assert_eq!(chain.iter().map(|entry| entry.copies).collect::<Vec<_>>(), [4, 4, 4, 3, 2, 1]);
    link.acknowledge_datagrams();
    assert_eq!(link.send_later(12), [12], "the peer has them");
    assert_eq!(link.send_later(13), [13, 12]);
    let (flow, now) = (link.flow(), link.w.now);
    let run = AckRun { msgid: MsgId(12), seq: Seq(12), count: 2 };
    link.w.peer_says(|b| assert_eq!(b.put_ack(&flow, now, &[run]), 1));
    assert_eq!(link.send_later(14), [14], "they have an outcome");
    assert_eq!(link.count(Counter::Retransmits), 0);
}

#[test]
fn what_may_still_be_acknowledged_does_not() {
    let mut link = Link::new();
    assert_eq!(link.send_later(6), [6]);
    link.pass(ROUND_TRIP);
    assert_eq!(link.send(&submit(200, 7, link.w.now, b"x")), [7]);
    link.pass(Span::from_millis(1));
    assert_eq!(link.send(&submit(200, 8, link.w.now, b"x")), [8, 6]);
}

#[test]
fn what_came_ahead_of_it_does_not() {
    let mut link = Link::new();
    assert_eq!(link.send_later(6), [6]);
    assert_eq!(link.send(&submit(200, 7, link.w.now, b"x")), [7]);
    let last = link.last;
    link.w.peer_says(|b| assert!(b.put_link_ack(Span(1), 1 << 20, [(last, last)])));
    assert_eq!(link.datagrams(), []);
    assert_eq!(link.send_later(8), [8, 6]);
}

#[test]
fn what_the_peer_would_not_take_yet_does_not() {
    let mut link = Link::new();
    let (conn, _) = link.w.try_client(7, &register(101));
    link.pass(OVERDUE);
    let other = |w: &ByHand| Submit { msgid: MsgId(1), seq: Seq(1), ..submit(200, 1, w.now, b"y") };
    let message = other(&link.w);
    link.w.say(conn, |out| put::submit(out, &message));
    link.w.hear(conn);
    assert_eq!(link.datagrams(), [1]);
    assert_eq!(link.send_later(6), [6], "the peer has not said that it knows client 101");
    link.w.peer_says(|b| assert!(b.put_control_ack(4)));
    assert_eq!(link.send_later(7), [7, 1, 6]);
}

#[test]
fn nothing_is_redundant_without_loss_nor_with_the_timer_alone() {
    let timer_only = |config: &mut EngineConfig| config.chain.recovery = Recovery::TimerOnly;
    let mut links =
        [Link::after_loss(0, &register(100), |_| ()), Link::after_loss(1, &register(100), timer_only)];
    for link in &mut links {
        for n in 6..10 {
            assert_eq!(link.send_later(n), [n]);
        }
    }
}

#[test]
fn only_what_is_small_goes_along() {
    for (len, is_small) in [(512, true), (513, false)] {
        let mut link = Link::new();
        let now = link.w.now;
        let large = vec![1; len];
        // What the budget has for it.
        for n in 6..10 {
            link.send(&submit(200, n, now, &large));
        }
        link.acknowledge_datagrams();
        assert_eq!(link.send(&submit(200, 10, now, &large)), [10]);
        let both: &[u32] = if is_small { &[11, 10] } else { &[11] };
        assert_eq!(link.send_later(11), both, "{len}");
    }
}

#[test]
fn several_at_once_take_none_of_the_room_of_what_is_new() {
    let mut link = Link::new();
    let now = link.w.now;
    assert_eq!(link.send_later(6), [6]);
    link.pass(OVERDUE);
    link.w.say(link.conn, |out| {
        for n in 7..10 {
            put::submit(out, &submit(200, n, now, &[0; 400]));
        }
    });
    assert_eq!(link.datagrams(), [7, 8, 9], "two datagrams, that go together");
    assert_eq!(link.send_later(10)[0], 10);
}

#[test]
fn no_datagram_is_larger_for_it_than_every_path_carries() {
    for (len, fits) in [(800, true), (1200, false)] {
        let mut link =
            Link::after_loss(1, &register(100), |config| (config.mtu, config.max_mtu) = (2000, 2000));
        let now = link.w.now;
        link.send(&submit(200, 6, now, &[1; 1000]));
        link.acknowledge_datagrams();
        assert_eq!(link.send(&submit(200, 7, now, &[1; 100])), [7]);
        link.pass(OVERDUE);
        let both: &[u32] = if fits { &[8, 7] } else { &[8] };
        assert_eq!(link.send(&submit(200, 8, now, &vec![1; len])), both);
    }
}

#[test]
fn what_the_timer_sends_again_is_in_no_datagram_twice() {
    let body = Register { interval_ms: 10, ..register(100) };
    let mut link = Link::after_loss(1, &body, |_| ());
    assert_eq!(link.send_later(6), [6]);
    link.pass(Span::from_millis(15));
    link.w.engine.handle_timeout(link.w.now);
    assert_eq!(link.datagrams(), [6], "R4");
    assert_eq!(link.count(Counter::Retransmits), 1);
    assert_eq!(link.send_later(7), [7, 6]);
}

#[test]
fn a_call_goes_along_with_its_age() {
    let mut link = Link::new();
    let call = |n, now: Time| Submit { is_call: true, ..submit(200, n, now, b"x") };
    assert_eq!(link.send(&call(6, link.w.now)), [6]);
    link.pass(OVERDUE);
    let now = link.w.now;
    link.w.say(link.conn, |out| put::submit(out, &call(7, now)));
    let ages = link.w.peer_hears(|f| match f {
        Frame::Data(data) => Some((data.msgid.0, data.call.expect("a call").age)),
        _ => None,
    });
    assert_eq!(ages, [(7, Span::ZERO), (6, OVERDUE)]);
}

#[test]
fn i3_what_was_refused_does_not_go_along() {
    let mut link = Link::new();
    assert_eq!(link.send_later(6), [6]);
    let (flow, now) = (link.flow(), link.w.now);
    let verdict = Verdict { reason: Reason::GoingAway, certainty: Certainty::NotStarted };
    let entry = NackEntry { msgid: MsgId(6), seq: Seq(6), verdict };
    link.w.peer_says(|b| assert_eq!(b.put_nack(&flow, now, &[entry]), 1));
    assert_eq!(link.send_later(7), [7]);
}

#[test]
fn i4_what_may_not_leave_any_more_does_not_go_along() {
    for (times, is_open) in [(0, false), (1, true)] {
        let body = Register { interval_ms: 10, times: Some(times), ..register(100) };
        let mut link = Link::after_loss(1, &body, |_| ());
        assert_eq!(link.send_later(6), [6]);
        let both: &[u32] = if is_open { &[7, 6] } else { &[7] };
        assert_eq!(link.send_later(7), both);
    }
}

#[test]
fn only_messages_take_messages_along() {
    let mut link = Link::new();
    assert_eq!(link.send_later(6), [6]);
    link.pass(OVERDUE);
    // Enough that an acknowledgement goes out alone.
    (0..40).for_each(|_| link.w.peer_says(|b| assert!(b.put_ping())));
    let before = link.last;
    assert_eq!(link.datagrams(), []);
    assert!(link.last > before);
    let flow = link.w.flow(200, 100, link.incarnation);
    link.w.peer_says(|b| {
        let data = Data { msgid: MsgId(1), seq: Seq(1), at_least_once: false, call: None, payload: b"y" };
        assert!(b.put_flow(&flow, 0) && b.put_data(&data));
    });
    link.w.hear(link.conn);
    link.w.say(link.conn, |out| put::taken(out, 1));
    assert_eq!(link.datagrams(), [], "the ack of it");
    assert_eq!(link.send_later(7), [7, 6]);
}

/// Messages of 256 bytes, one every `gap`, `delay` on the way, with so many datagrams of a hundred lost in either direction.
/// How late 99 of a hundred of them are at most, in microseconds like all times here; which share of a daemon's bytes is redundant.
fn paced(loss_percent: u64, delay: u64, gap: u64) -> (u64, f64) {
    const MESSAGES: usize = 10_000;
    let mut w = World::new();
    let (a, b) = (w.client(0, 100, 1000, 10), w.client(1, 200, 1000, 10));
    w.run(50);
    let mut random = Random(loss_percent);
    w.network = Box::new(move |_, _| match random.next(100) < loss_percent {
        true => Fate::Drop,
        false => Fate::Arrive(vec![delay]),
    });
    let bytes = w.counter(0, Counter::BytesSent);
    let mut sent = Vec::new();
    for _ in 0..MESSAGES {
        sent.push(w.now);
        w.send(a, 200, &[7; 256], b"").expect("there is room");
        w.run_micros(gap);
    }
    let bytes = w.counter(0, Counter::BytesSent) - bytes;
    let redundant = w.counter(0, Counter::RedundantCopies) * DatagramBuilder::data_bytes(256) as u64;
    w.run(3000);
    let mut late: Vec<_> = w.clients[b].taken.iter().zip(&sent).map(|(taken, at)| taken.2 - at).collect();
    assert_eq!(late.len(), MESSAGES);
    late.sort_unstable();
    (late[MESSAGES * 99 / 100], redundant as f64 / bytes as f64)
}

#[test]
fn a_loss_costs_light_traffic_less_than_a_round_trip() {
    for (loss, delay, gap, most_late, most_redundant) in [
        (0, 30, 500, 30, 0.0),
        // Without redundant copies: 1.1 and 4.1 ms, 25 and 55 ms.
        (5, 30, 500, 530, 0.1),
        (20, 30, 500, 2000, 0.25),
        (5, 5000, 5000, 20_000, 0.05),
        (20, 5000, 5000, 40_000, 0.15),
    ] {
        let (late, redundant) = paced(loss, delay, gap);
        assert!(late <= most_late && redundant <= most_redundant, "{loss} %: {late} us, {redundant}");
    }
}

/// A message of 256 bytes every half a millisecond through a network that carries a little more, `delay` on the way, with a queue of so
/// many microseconds; for a second one datagram of twenty is lost on top. How many the queue has no room for in the fifth second.
fn overflows_after_loss(load_percent: u64, delay: u64, buffer: u64) -> u64 {
    let mut w = World::new();
    let (a, _) = (w.client(0, 100, 1000, 10), w.client(1, 200, 1000, 10));
    w.run(50);
    let rate = 2000 * 393 * 100 / load_percent;
    let [time, is_lossy, overflows] = [0, 0, 0].map(|n| Rc::new(Cell::new(n)));
    let (t, l, o) = (Rc::clone(&time), Rc::clone(&is_lossy), Rc::clone(&overflows));
    let (mut free_at, mut random) = ([0; 2], Random(5));
    w.network = Box::new(move |from, datagram| {
        if random.next(100) < 5 * l.get() {
            return Fate::Drop;
        }
        let start = t.get().max(free_at[from]);
        if start - t.get() > buffer {
            o.set(o.get() + 1);
            return Fate::Drop;
        }
        free_at[from] = start + (datagram.len() as u64 + 28) * 1_000_000 / rate;
        Fate::Arrive(vec![free_at[from] - t.get() + delay])
    });
    let mut before = 0;
    for n in 0..5 * 2000 {
        is_lossy.set(u64::from(n < 2000));
        if n == 4 * 2000 {
            before = overflows.get();
        }
        w.send(a, 200, &[7; 256], b"").expect("there is room");
        // In steps so fine that the network knows the time.
        for _ in 0..10 {
            time.set(w.now);
            w.run_micros(50);
        }
    }
    overflows.get() - before
}

#[test]
fn copies_do_not_keep_a_queue_overflowing() {
    for (load_percent, delay, buffer) in [(55, 300, 5000), (75, 5000, 20_000), (85, 300, 5000)] {
        assert_eq!(overflows_after_loss(load_percent, delay, buffer), 0, "{load_percent} %");
    }
}
