//! What stands in a datagram, and what does not fit.

use msg_proto::{
    control::Register,
    ids::{Channel, ClientId, ConnId, FlowId, Incarnation, Instance, MsgId, Seq},
    limits::{FRAGMENT_UNIT, MIN_MTU},
    local::{Submit, put},
    outcome::{Certainty, Reason, Verdict},
    units::{Span, Time},
    wire::{DatagramBuilder, Frame, Frames, Header, NackEntry},
};

use super::by_hand::{ByHand, register, submit};

/// A node with client 100, and its peer's clients.
fn world(clients: &[u32], mtu: usize) -> (ByHand, ConnId, Instance) {
    let mut w = ByHand::with(|config| (config.mtu, config.max_mtu) = (mtu, mtu));
    w.link_up(clients);
    let (conn, incarnation) = w.try_client(7, &register(100));
    let us = Instance { client: ClientId(100), incarnation: incarnation.expect("it is free") };
    (w, conn, us)
}

/// A flow of client 100's.
fn flow_to(us: Instance, dst: u32) -> FlowId {
    let dst = Instance { client: ClientId(dst), incarnation: Incarnation(1) };
    FlowId { src: us, dst, channel: Channel::Ordered }
}

/// The peer refuses messages of a flow.
fn put_refusals(b: &mut DatagramBuilder<'_>, now: Time, flow: &FlowId, numbers: &[(u32, u32)]) {
    let verdict = Verdict { reason: Reason::Refused, certainty: Certainty::NotStarted };
    let entry = |(msgid, seq): &(u32, u32)| NackEntry { msgid: MsgId(*msgid), seq: Seq(*seq), verdict };
    let entries: Vec<_> = numbers.iter().map(entry).collect();
    assert_eq!(b.put_nack(flow, now, &entries), entries.len());
}

/// The frames of a datagram.
fn content(datagram: &[u8]) -> Vec<Frame<'_>> {
    let (header, frames) = Header::parse(datagram).expect("our own");
    Frames::new(header.kind, frames).map(Result::unwrap).collect()
}

#[test]
fn a_message_is_cut_up_where_it_does_not_fit_one_datagram() {
    let most = DatagramBuilder::max_data(MIN_MTU);
    for (len, parts) in [(most, 0), (most + 1, 2)] {
        let (mut w, conn, _) = world(&[200], MIN_MTU);
        let now = w.now;
        w.say(conn, |out| put::submit(out, &submit(200, 1, now, &vec![7; len])));
        w.hear(conn);
        let fragments = w.peer_hears(|f| match f {
            Frame::Fragment(f) => Some(Some(f.offset)),
            Frame::Data(_) => Some(None),
            _ => None,
        });
        assert_eq!(fragments.iter().flatten().count(), parts, "{len}");
        assert_eq!(fragments.len(), parts.max(1));
    }
}

#[test]
fn all_holes_are_told_however_many_datagrams_that_takes() {
    let clients = [200, 201, 202, 203, 204, 205, 206, 207];
    let (mut w, conn, us) = world(&clients, MIN_MTU);
    let (now, per_flow) = (w.now, 33);
    w.say(conn, |out| {
        for (i, dst) in (0..).zip(clients) {
            for n in 1..=per_flow {
                put::submit(out, &Submit { msgid: MsgId(i * per_flow + n), ..submit(dst, n, now, b"x") });
            }
        }
    });
    w.hear(conn);
    let data = |f: Frame<'_>| if let Frame::Data(_) = f { Some(()) } else { None };
    assert_eq!(w.peer_hears(data).len(), clients.len() * per_flow as usize);
    // Every other one is refused.
    w.peer_says(|b| {
        for (i, dst) in (0..).zip(clients) {
            let numbers: Vec<_> = (2..per_flow).step_by(2).map(|n| (i * per_flow + n, n)).collect();
            put_refusals(b, now, &flow_to(us, dst), &numbers);
        }
    });
    let holes =
        w.peer_hears(|f| if let Frame::Skip(skip) = f { Some((skip.seq.0, skip.count)) } else { None });
    assert_eq!(holes.len(), clients.len() * 16);
    assert!(holes.iter().all(|(seq, count)| seq % 2 == 0 && *count == 1), "{holes:?}");
}

#[test]
fn no_datagram_ends_with_the_flow_of_what_did_not_fit() {
    // What stands before it leaves any room from too little to enough.
    for room in 0..120 {
        for (is_large, len) in [(true, 5000), (false, 500)] {
            let (mut w, conn, us) = world(&[200, 201], 2000);
            let now = w.now;
            w.say(conn, |out| (1..3).for_each(|n| put::submit(out, &submit(200, n, now, b"x"))));
            w.say(conn, |out| put::submit(out, &Submit { seq: Seq(1), ..submit(201, 3, now, b"x") }));
            w.hear(conn);
            w.datagrams();
            // The hole before the next one is told with it.
            w.peer_says(|b| put_refusals(b, now, &flow_to(us, 200), &[(2, 2)]));
            w.datagrams();
            let needed = if is_large { FRAGMENT_UNIT } else { len };
            let before = DatagramBuilder::max_data(2000) - needed - room;
            w.say(conn, |out| {
                put::submit(out, &Submit { seq: Seq(2), ..submit(201, 4, now, &vec![1; before]) });
                let next = submit(200, 5, now, &[2; 5000][..len]);
                put::submit(out, &Submit { seq: Seq(3), is_call: is_large, ..next });
            });
            for datagram in w.datagrams() {
                let frames = content(&datagram);
                let is_idle = matches!(frames.last(), Some(Frame::Flow(_) | Frame::Skip(_)));
                assert!(!is_idle, "{room}, {is_large}: {frames:?}");
            }
        }
    }
}

#[test]
fn r4_what_came_of_a_large_message_is_not_sent_again() {
    let (mut w, conn, _) = world(&[200], MIN_MTU);
    let now = w.now;
    w.say(conn, |out| put::submit(out, &submit(200, 1, now, &[7; 5000])));
    w.hear(conn);
    let all = [0, 1024, 2048, 3072, 4096];
    let (mut offsets, mut last) = (Vec::new(), 0);
    for datagram in w.datagrams() {
        last = Header::parse(&datagram).expect("our own").0.number.0;
        let offset = |f: &Frame<'_>| if let Frame::Fragment(f) = f { Some(f.offset) } else { None };
        offsets.extend(content(&datagram).iter().filter_map(offset));
    }
    assert_eq!(offsets, all);
    w.peer_says(|b| assert!(b.put_link_ack(Span(1), 1 << 20, [(0, last)])));
    let offset = |f: Frame<'_>| if let Frame::Fragment(f) = f { Some(f.offset) } else { None };
    let mut again = Vec::new();
    for _ in 0..11 {
        w.now = w.now + Span::from_millis(100);
        w.engine.handle_timeout(w.now);
        again.extend(w.peer_hears(offset));
    }
    again.dedup();
    assert_eq!(again, [0], "it asks");
}

#[test]
fn what_was_lost_goes_out_again_once_and_what_was_refused_does_not() {
    for is_refused in [false, true] {
        let mut w = ByHand::new();
        w.link_up(&[200]);
        let (conn, incarnation) = w.try_client(7, &Register { interval_ms: 10, ..register(100) });
        let now = w.now;
        w.say(conn, |out| put::submit(out, &submit(200, 1, now, b"x")));
        w.hear(conn);
        let data = |f: Frame<'_>| if let Frame::Data(d) = f { Some(d.msgid.0) } else { None };
        assert_eq!(w.peer_hears(data), [1]);
        w.now = w.now + Span::from_millis(15);
        w.engine.handle_timeout(w.now);
        assert_eq!(w.peer_hears(data), [1], "the second copy");
        // What leaves from here on comes.
        let (now, mut last) = (w.now, 0);
        for n in 2..6 {
            w.say(conn, |out| put::submit(out, &submit(200, n, now, b"x")));
            for datagram in w.datagrams() {
                last = Header::parse(&datagram).expect("our own").0.number.0;
            }
        }
        w.peer_says(|b| {
            let us = Instance { client: ClientId(100), incarnation: incarnation.expect("it is free") };
            let verdict = Verdict { reason: Reason::GoingAway, certainty: Certainty::NotStarted };
            let entry = NackEntry { msgid: MsgId(1), seq: Seq(1), verdict };
            assert!(!is_refused || b.put_nack(&flow_to(us, 200), now, &[entry]) == 1);
            assert!(b.put_link_ack(Span(1), 1 << 20, [(last - 3, last)]));
        });
        assert_eq!(w.engine.check_invariants(), Ok(()));
        assert_eq!(w.peer_hears(data), if is_refused { vec![] } else { vec![1] });
    }
}
