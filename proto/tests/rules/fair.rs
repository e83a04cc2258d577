//! Clients and links beside each other: nobody is in another's way.

use msg_proto::{
    control::VersionRange,
    engine::{PeerConfig, Recovery},
    ids::{Channel, FlowId, MsgId, Seq},
    limits,
    local::{Submit, put},
    units::Span,
    wire::{DatagramBuilder, Frame, HEADER_BYTES},
};

use super::{
    by_hand::{ByHand, register, submit},
    world::address,
};

fn timer_only() -> ByHand {
    ByHand::with(|config| config.chain.recovery = Recovery::TimerOnly)
}

#[test]
fn clients_have_their_turns_by_bytes_also_within_a_large_message() {
    for (large, small) in [(0, 1), (1, 0)] {
        let mut w = timer_only();
        w.link_up(&[200]);
        let conns = [100, 101].map(|id| w.client(7, &register(id)));
        let now = w.now;
        let say = |w: &mut ByHand, client: usize| {
            w.say(conns[client], |out| {
                if client == large {
                    (1..=8).for_each(|n| put::submit(out, &submit(200, n, now, &[7; 100_000])));
                } else {
                    (1..=200).for_each(|n| put::submit(out, &submit(200, n, now, &[7; 1000])));
                }
            });
        };
        say(&mut w, large);
        say(&mut w, small);
        conns.iter().for_each(|conn| drop(w.hear(*conn)));
        let left = w.peer_hears(|f| match f {
            Frame::Data(d) => Some((false, d.payload.len())),
            Frame::Fragment(f) => Some((true, f.bytes.len())),
            _ => None,
        });
        // While both have something, none is ahead by more than a turn's 16 KiB, and what heads count for.
        let (mut by_large, mut by_small) = (0_i64, 0_i64);
        for (is_large, len) in left {
            let len = i64::try_from(len).unwrap();
            if is_large {
                by_large += len
            } else {
                by_small += len
            }
            if by_small < 200_000 && by_large < 800_000 {
                assert!((by_large - by_small).abs() <= 18_000 + by_small / 16, "{by_large} and {by_small}");
            }
        }
        assert_eq!((by_large, by_small), (800_000, 200_000));
    }
}

#[test]
fn one_send_is_counted_from_where_the_buffer_was() {
    let mut w = ByHand::new();
    w.pass(1000);
    let mut out = vec![7; 100];
    while w.engine.poll_transmit(w.now, &mut out, 10).is_some() {}
    out.truncate(100);
    w.link_up(&[200]);
    let conn = w.client(7, &register(100));
    let now = w.now;
    w.say(conn, |out| (1..20).for_each(|n| put::submit(out, &submit(200, n, now, &[7; 1000]))));
    w.hear(conn);
    let transmit = w.engine.poll_transmit(now, &mut out, 10).expect("messages");
    assert!(out.len() - 100 == transmit.len && transmit.segment <= limits::MIN_MTU);
    assert_eq!(transmit.len.div_ceil(transmit.segment), 10);
}

#[test]
fn a_peer_of_another_version_is_named_and_no_other() {
    let mut w = ByHand::with(|config| {
        config.peers.push(PeerConfig { name: "c".to_owned(), addresses: vec![address(2)] });
    });
    let mut datagram = w.hello(77, 0);
    // Its version, and the range that it speaks.
    (datagram[2], datagram[4], datagram[5]) = (99, 98, 99);
    w.engine.handle_datagram(w.now, 0, address(2), &datagram);
    let status = w.engine.status(w.now);
    let named: Vec<_> = status.peers.iter().map(|p| (p.name.as_str(), p.mismatch.is_some())).collect();
    assert_eq!(named, [("b", false), ("c", true)]);
    let speaks = VersionRange { lowest: 98, highest: 99 }.to_string();
    assert!(status.peers[1].mismatch.as_ref().is_some_and(|text| text.contains(&speaks)));
}

#[test]
fn what_a_peer_has_lost_of_a_large_message_goes_at_once_unless_only_the_timer_counts() {
    for recovery in [Recovery::Adaptive, Recovery::TimerOnly] {
        let mut w = ByHand::with(|config| config.chain.recovery = recovery);
        w.link_up(&[200]);
        let (conn, incarnation) = w.try_client(7, &register(100));
        w.datagrams();
        let now = w.now;
        w.say(conn, |out| put::submit(out, &submit(200, 1, now, &[7; 5000])));
        w.hear(conn);
        let fragments = |w: &mut ByHand| {
            w.peer_hears(|f| if let Frame::Fragment(f) = f { Some(f.offset / 1024) } else { None })
        };
        assert_eq!(fragments(&mut w), [0, 1, 2, 3, 4]);
        let back = w.flow(200, 100, incarnation.unwrap()).id;
        let flow = FlowId { src: back.dst, dst: back.src, channel: Channel::Ordered };
        let report = |w: &mut ByHand, have: u8| {
            w.now = w.now + Span(10);
            let at = w.now;
            w.peer_says(|b| assert!(b.put_partial(&flow, at, MsgId(1), Seq(1), &[have])));
        };
        report(&mut w, 0b111);
        assert_eq!(fragments(&mut w), [0_u32; 0], "what is missing may be on its way");
        report(&mut w, 0b101);
        let again = fragments(&mut w);
        assert_eq!(again, if recovery == Recovery::Adaptive { vec![1] } else { vec![] });
    }
}

#[test]
fn floors_of_the_living_are_told_when_a_dead_client_is_forgotten() {
    let mut w = timer_only();
    w.link_up(&[200]);
    let clients = [100, 101].map(|id| w.try_client(7, &register(id)));
    let now = w.now;
    for (conn, _) in &clients {
        w.say(*conn, |out| {
            put::submit(out, &Submit { user: b"id", ..submit(200, 1, now, b"x") });
        });
        w.hear(*conn);
    }
    assert!(!w.datagrams().is_empty());
    let fails_at = w.now + Span::from_millis(11_510);
    while let Some(at) = w.engine.poll_timeout().filter(|_| w.engine.chain_depth() > 0 && w.now < fails_at) {
        w.now = w.now.max(at);
        w.engine.handle_timeout(w.now);
        if w.engine.chain_depth() > 0 {
            w.control(&msg_proto::control::Control::Synced);
            w.datagrams();
        }
    }
    // Both have failed, and their floors were not told yet.
    assert_eq!(w.engine.chain_depth(), 0);
    w.hang_up(clients[0].0);
    let flow = |f: Frame<'_>| {
        if let Frame::Flow(flow) = f { Some((flow.id.src.client.0, flow.floor)) } else { None }
    };
    assert!(w.peer_hears(flow).iter().any(|(src, _)| *src == 101));
}

#[test]
fn what_fits_exactly_goes_in_one_datagram() {
    let heads = HEADER_BYTES + DatagramBuilder::flow_bytes() + 2 * DatagramBuilder::data_bytes(0);
    for (more, datagrams) in [(0, 1), (1, 2)] {
        let mut w = ByHand::new();
        w.link_up(&[200]);
        let conn = w.client(7, &register(100));
        w.datagrams();
        let now = w.now;
        let second = vec![7; limits::MIN_MTU - heads - 500 + more];
        w.say(conn, |out| {
            put::submit(out, &submit(200, 1, now, &[7; 500]));
            put::submit(out, &submit(200, 2, now, &second));
        });
        w.hear(conn);
        assert_eq!(w.datagrams().len(), datagrams);
    }
}
