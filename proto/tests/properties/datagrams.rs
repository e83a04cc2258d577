//! Whole datagrams: sequences of frames within a size, corrupted, cut short.

use msg_proto::{
    control::VersionRange,
    ids::{DatagramNumber, SessionId},
    limits,
    wire::{DatagramBuilder, Frames, HEADER_BYTES, Header, Kind},
};
use proptest::{collection::vec, prelude::*, sample::Index, strategy::ValueTree, test_runner::TestRunner};

use super::{
    bytes, config,
    frames::{Owned, frame, hello},
};

/// The datagram that `put` writes within `size` bytes.
pub(crate) fn build(kind: Kind, size: usize, put: impl FnOnce(&mut DatagramBuilder<'_>)) -> Vec<u8> {
    let (session, number) = if kind == Kind::Hello { (0, 0) } else { (1, 0) };
    let header = Header {
        version: 1,
        kind,
        speaks: VersionRange { lowest: 1, highest: 1 },
        session: SessionId(session),
        number: DatagramNumber(number),
    };
    build_with(header, size, put)
}

fn build_with(header: Header, size: usize, put: impl FnOnce(&mut DatagramBuilder<'_>)) -> Vec<u8> {
    let mut out = b"before".to_vec();
    let mut datagram = DatagramBuilder::new(&mut out, header, size);
    put(&mut datagram);
    let len = datagram.finish();
    assert_eq!(out.len(), 6 + len);
    assert!(out.starts_with(b"before"));
    out.split_off(6)
}

fn header() -> impl Strategy<Value = Header> {
    (1..=u64::MAX, any::<u64>(), 1..=u8::MAX).prop_map(|(session, number, highest)| Header {
        version: 1,
        kind: Kind::Frames,
        speaks: VersionRange { lowest: 1, highest },
        session: SessionId(session),
        number: DatagramNumber(number),
    })
}

/// As many of `frames` as fit, in order, without messages that no FLOW precedes; and what was written.
fn pack(header: Header, size: usize, frames: &[Owned]) -> (Vec<u8>, Vec<Owned>) {
    let mut written = Vec::new();
    let out = build_with(header, size, |d| {
        for frame in frames {
            let has_flow = written.iter().any(|f| matches!(f, Owned::Flow(_)));
            if has_flow || !frame.needs_flow() {
                written.extend(frame.put(d));
            }
        }
    });
    (out, written)
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![HEADER_BYTES..limits::MIN_MTU, Just(limits::MIN_MTU), HEADER_BYTES..=limits::MAX_MTU]
}

fn read(body: &[u8]) -> (Vec<Owned>, bool) {
    let frames: Vec<_> = Frames::new(Kind::Frames, body).collect();
    let failed = frames.last().is_some_and(Result::is_err);
    (frames.into_iter().filter_map(Result::ok).map(Owned::of).collect(), failed)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn frames_come_back_in_order(header in header(), size in size(), frames in vec(frame(), 0..12)) {
        let (out, written) = pack(header, size, &frames);
        prop_assert!(out.len() <= size);
        let (head, body) = Header::parse(&out).expect("a datagram");
        prop_assert_eq!(head, header);
        prop_assert_eq!(read(body), (written, false));
    }

    #[test]
    fn a_changed_bit_is_refused(header in header(), frames in vec(frame(), 0..4), at in any::<Index>()) {
        let (mut out, _) = pack(header, 4000, &frames);
        let bit = at.index(out.len() * 8);
        out[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(Header::parse(&out).is_err(), "bit {bit} of {} bytes", out.len());
    }

    /// Cut anywhere: the frames before the cut are read as they were, and it ends with the cut.
    #[test]
    fn a_cut_datagram_ends_at_the_cut(header in header(), frames in vec(frame(), 0..4)) {
        let (out, written) = pack(header, limits::MIN_MTU, &frames);
        let body = &out[HEADER_BYTES..];
        for cut in 0..body.len() {
            let (frames, failed) = read(&body[..cut]);
            prop_assert!(written.starts_with(&frames));
            let whole: usize = ends(body).filter(|end| *end <= cut).count();
            let at_a_frames_end = cut == 0 || ends(body).any(|end| end == cut);
            prop_assert_eq!((frames.len(), failed), (whole, !at_a_frames_end), "cut at {}", cut);
        }
    }

    #[test]
    fn no_datagram_does_harm(garbage in bytes(200), tail in bytes(200)) {
        for kind in 0..4 {
            let mut ours = [&b"md\x01"[..], &[kind, 1, 1, 0, 0], &garbage].concat();
            prop_assert!(Header::parse(&garbage).is_err() || garbage.starts_with(b"md"));
            let _any = Header::parse(&ours).is_ok();
            ours.extend_from_slice(&[0; HEADER_BYTES]);
            ours.extend_from_slice(&tail);
            ours[8..12].fill(0);
            let checksum = crc32c::crc32c(&ours);
            ours[8..12].copy_from_slice(&checksum.to_le_bytes());
            if let Ok((header, body)) = Header::parse(&ours) {
                prop_assert_eq!(body, &ours[HEADER_BYTES..]);
                Frames::new(header.kind, body).filter_map(Result::ok).map(Owned::of).for_each(drop);
            }
        }
    }
}

/// Where each frame ends, by its length field alone.
fn ends(body: &[u8]) -> impl Iterator<Item = usize> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let len = body.get(at + 2..at + 4)?;
        at += 4 + usize::from(u16::from_le_bytes([len[0], len[1]]));
        Some(at)
    })
}

/// Every bit of one datagram of each kind, and every length.
#[test]
fn each_bit_and_each_length_counts() {
    let mut runner = TestRunner::deterministic();
    let hello = hello().new_tree(&mut runner).expect("a hello").current();
    let frames = vec(frame(), 8).new_tree(&mut runner).expect("frames").current();
    let header = header().new_tree(&mut runner).expect("a header").current();
    let datagrams = [
        build(Kind::Hello, 1200, |d| assert!(d.put_hello(&hello))),
        pack(header, limits::MIN_MTU, &frames).0,
    ];
    for datagram in datagrams {
        assert!(Header::parse(&datagram).is_ok() && datagram.len() > 100);
        for bit in 0..datagram.len() * 8 {
            let mut changed = datagram.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&changed).is_err(), "bit {bit}");
        }
        for len in 0..datagram.len() {
            assert!(Header::parse(&datagram[..len]).is_err(), "{len} bytes of {}", datagram.len());
        }
    }
}
