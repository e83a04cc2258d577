//! Flows that a client which comes back knew before its daemon did.

use msg_proto::{
    control::Register,
    ids::{Channel, ClientId, ConnId, Incarnation, Instance, Seq},
    local::{Bound, DaemonFrame, Submit, put},
    outcome::Certainty,
    units::Time,
    wire::Frame,
};

use super::by_hand::{ByHand, frames, register, submit};

/// Client 100 comes back: of what it sent to 200 up to `upto`, an instance of that node may have begun some.
fn come_back(w: &mut ByHand, channel: Channel, upto: u32, node: &str) -> ConnId {
    let conn = w.connect(7);
    let dst = Instance { client: ClientId(200), incarnation: Incarnation(9) };
    w.say(conn, |out| {
        put::register(out, &Register { incarnation: Incarnation(5), ..register(100) });
        put::flow_bound(out, &Bound { dst, channel, upto: Seq(upto), node });
        put::ready(out);
    });
    conn
}

/// The msgids of the messages that leave for the peer.
fn left_for_the_peer(w: &mut ByHand) -> Vec<u32> {
    w.peer_hears(|f| if let Frame::Data(d) = f { Some(d.msgid.0) } else { None })
}

#[test]
fn i5_what_may_have_begun_at_a_node_that_is_none_goes_to_no_other() {
    for (node, left) in [("b", vec![1]), ("c", vec![])] {
        let mut w = ByHand::new();
        w.link_up(&[]);
        let conn = come_back(&mut w, Channel::Ordered, 1, node);
        let now = w.now;
        w.say(conn, |out| put::submit(out, &submit(200, 1, now, b"x")));
        w.hear(conn);
        assert_eq!(left_for_the_peer(&mut w), left, "{node}");
    }
}

/// A client comes back a minute after its daemon was started, and submits three messages that an instance on that node may have begun,
/// and one more; another instance is active. Which fail, and which that one is given.
fn submitted_late(node: &str, at_least_once: bool) -> (Vec<(u32, Certainty)>, Vec<u32>) {
    let mut w = ByHand::new();
    let server = w.client(7, &register(200));
    // Longer than the grace, and than a peer is waited for.
    w.pass(60_000);
    let conn = come_back(&mut w, Channel::Unordered, 3, node);
    let now = w.now;
    for n in 1..=4 {
        let submit = Submit { channel: Channel::Unordered, at_least_once, ..submit(200, n, now, b"x") };
        w.say(conn, |out| put::submit(out, &submit));
        w.pass(1);
    }
    let mut failed = Vec::new();
    for _ in 0..300 {
        w.pass(10);
        let bytes = w.hear(conn);
        failed.extend(frames(&bytes).iter().filter_map(|f| match f {
            DaemonFrame::Failed(f) => Some((f.msgid.0, f.verdict.certainty)),
            _ => None,
        }));
    }
    let bytes = w.hear(server);
    let given = frames(&bytes)
        .iter()
        .filter_map(|f| if let DaemonFrame::Deliver(d) = f { Some(d.seq.0) } else { None })
        .collect();
    (failed, given)
}

#[test]
fn i2_what_may_have_begun_elsewhere_goes_to_no_other_however_late_its_sender_comes_back() {
    for node in ["a", "b", "c"] {
        let unknown = [1, 2, 3].map(|n| (n, Certainty::Unknown)).to_vec();
        assert_eq!(submitted_late(node, false), (unknown, vec![4]), "{node}");
        assert_eq!(submitted_late(node, true), (vec![], vec![1, 2, 3, 4]), "{node}");
    }
}

#[test]
fn i4_what_comes_back_late_ends_no_sooner_than_what_an_earlier_daemon_may_have_sent_last() {
    for age in [350, 405, 440] {
        let mut w = ByHand::new();
        w.pass(1000);
        let conn = w.client(7, &Register { interval_ms: 100, times: Some(3), ..register(100) });
        let sent_at = Time(w.now.0 - age * 1000);
        w.say(conn, |out| put::submit(out, &submit(200, 1, sent_at, b"x")));
        while w.engine.chain_depth() > 0 {
            w.now = w.engine.poll_timeout().expect("its end");
            w.engine.handle_timeout(w.now);
        }
        // Its last copy may have left half an interval behind its time, and is handed over for one interval.
        let lived = w.now.since(sent_at).as_millis();
        assert!((450..=460).contains(&lived), "{age} ms old, ended after {lived}");
    }
}
