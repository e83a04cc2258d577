//! Large payloads go from where the chain has them, in datagrams that carry them alone.

use msg_proto::{
    engine::{MAX_PARTS, Transmit},
    ids::ConnId,
    local::put,
    wire::{Frame, Frames, Header},
};

use super::by_hand::{ByHand, register, submit};

/// A client that has sent messages of these sizes over a path that carries `mtu` bytes, and a message whose flow is known before.
fn world(mtu: usize, sizes: &[usize]) -> (ByHand, ConnId) {
    let mut w = ByHand::with(|config| (config.mtu, config.max_mtu) = (mtu, mtu));
    w.link_up(&[200]);
    let conn = w.client(0, &register(100));
    let now = w.now;
    w.say(conn, |out| put::submit(out, &submit(200, 1, now, b"first")));
    w.hear(conn);
    w.datagrams();
    w.say(conn, |out| {
        for (n, size) in (2_u32..).zip(sizes) {
            let payload: Vec<u8> =
                (0..*size).map(|at| at.to_le_bytes()[at % 2] ^ n.to_le_bytes()[0]).collect();
            put::submit(out, &submit(200, n, now, &payload));
        }
    });
    (w, conn)
}

/// Everything that leaves, once as one buffer and once in parts.
fn both(mtu: usize, sizes: &[usize]) -> Vec<(Transmit, Vec<u8>, Vec<usize>)> {
    let (mut whole, mut parted) = (world(mtu, sizes).0, world(mtu, sizes).0);
    let (mut all, mut out, mut own) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        out.clear();
        own.clear();
        let transmit = whole.engine.poll_transmit(whole.now, &mut out, 10);
        assert_eq!(parted.engine.poll_transmit_parts(parted.now, &mut own, 10), transmit);
        let Some(transmit) = transmit else { return all };
        let parts: Vec<_> = parted.engine.parts(&own).collect();
        assert!(parts.concat() == out && out.len() == transmit.len, "{transmit:?}");
        assert!((1..=MAX_PARTS).contains(&parts.len()));
        let elsewhere: Vec<_> =
            parts.iter().filter(|part| !own.as_ptr_range().contains(&part.as_ptr())).collect();
        let elsewhere = elsewhere.iter().map(|part| part.len()).collect();
        all.push((transmit, out.clone(), elsewhere));
    }
}

#[test]
fn what_goes_in_parts_is_what_goes_as_one() {
    let sizes = [16_384, 10, 16_384, 4095, 16_384, 4096, 0, 60_000, 200_000, 5000, 300, 16_384];
    let mut spliced = 0;
    for (transmit, bytes, elsewhere) in both(65_000, &sizes) {
        assert_eq!(transmit.segment, transmit.len, "each alone");
        let (header, frames) = Header::parse(&bytes).expect("our own");
        let large = Frames::new(header.kind, frames).filter_map(|frame| match frame.expect("a frame") {
            Frame::Data(data) => Some(data.payload.len()),
            Frame::Fragment(fragment) => Some(fragment.bytes.len()),
            _ => None,
        });
        assert_eq!(elsewhere, large.filter(|len| *len >= 4096).collect::<Vec<_>>());
        spliced += elsewhere.iter().sum::<usize>();
    }
    assert!(spliced > 100_000, "{spliced}");
}

#[test]
fn datagrams_that_go_together_are_one_buffer() {
    for mtu in [1200, 9000, 32_000] {
        for (transmit, _, elsewhere) in both(mtu, &[16_384; 12]) {
            assert!(elsewhere.is_empty() && transmit.segment <= mtu);
        }
    }
}

#[test]
fn what_was_to_be_sent_is_gone_with_its_client() {
    let (mut w, conn) = world(65_000, &[16_384; 3]);
    let mut own = Vec::new();
    let transmit = w.engine.poll_transmit_parts(w.now, &mut own, 10).expect("messages");
    assert!(own.len() < 1000 && transmit.len > 3 * 16_384);
    assert_eq!(w.engine.parts(&own).map(<[u8]>::len).sum::<usize>(), transmit.len);
    w.hang_up(conn);
    // Nothing is polled meanwhile, which would begin anew.
    while let Some(at) = w.engine.poll_timeout().filter(|_| w.engine.chain_depth() > 0) {
        w.now = w.now.max(at);
        w.engine.handle_timeout(w.now);
    }
    assert_eq!(w.engine.chain_depth(), 0);
    // A driver that comes this late has nothing to send, and no harm done.
    assert_eq!(w.engine.parts(&own).map(<[u8]>::len).sum::<usize>(), own.len());
}
