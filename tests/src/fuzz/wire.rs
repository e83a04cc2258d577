//! Datagrams between daemons, and the control bodies of both formats.

use msg_proto::{
    control::{Hello, VersionRange},
    ids::{DatagramNumber, SessionId},
    limits::{MAX_ACK_RANGES, MAX_FRAGMENT_UNITS, MAX_MESSAGE_BYTES, MAX_MTU, MAX_NODE_NAME_BYTES, SEQ_SPAN},
    local::{ClientFrame, DaemonFrame, RawFrame, put},
    wire::{DatagramBuilder, Frame, Frames, HEADER_BYTES, Header, Kind, WireError},
};

/// Offset of the header's checksum.
const CHECKSUM_AT: usize = 8;

/// A datagram, as it came and with its checksum made right.
///
/// What can be read can be written, and gives the same bytes.
pub fn wire_datagram(data: &[u8]) {
    read(data);
    let mut sealed = data.to_vec();
    seal(&mut sealed);
    read(&sealed);
}

/// One body of bincode: the first byte says of which frame, the rest is the body.
///
/// Each has one encoding: what can be read is written with the same bytes.
pub fn control_bodies(data: &[u8]) {
    let Some((which, body)) = data.split_first() else { return };
    match which % 5 {
        0 => hello(body),
        1 => control(body),
        2 => local_body(body, 1),
        3 => local_body(body, 65),
        _ => local_body(body, 69),
    }
}

/// Makes the checksum right (SPEC.md, section 3.1).
pub(super) fn seal(datagram: &mut [u8]) {
    if datagram.len() < HEADER_BYTES {
        return;
    }
    datagram[CHECKSUM_AT..CHECKSUM_AT + 4].fill(0);
    let checksum = crc32c::crc32c(datagram);
    datagram[CHECKSUM_AT..CHECKSUM_AT + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// A sealed datagram with these bytes as its frames.
pub(super) fn datagram(kind: Kind, session: SessionId, number: u64, frames: &[u8]) -> Vec<u8> {
    let header = Header {
        version: 1,
        kind,
        speaks: VersionRange { lowest: 1, highest: 1 },
        session,
        number: DatagramNumber(number),
    };
    let mut out = Vec::new();
    // Only the header is the builder's: the frames may be anything.
    let _len = DatagramBuilder::new(&mut out, header, HEADER_BYTES).finish();
    out.extend_from_slice(frames);
    seal(&mut out);
    out
}

/// A frame between daemons with any body.
pub(super) fn frame(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let [low, high] = len.to_le_bytes();
    [&[kind, flags, low, high], &body[..usize::from(len)]].concat()
}

fn read(datagram: &[u8]) {
    let Ok((header, body)) = Header::parse(datagram) else { return };
    assert_eq!(datagram.len(), HEADER_BYTES + body.len());
    assert_eq!(header.kind == Kind::Hello, header.session == SessionId::NONE);
    assert!(header.speaks.lowest <= header.version && header.version <= header.speaks.highest);
    let mut frames = Frames::new(header.kind, body);
    let mut again = Vec::new();
    let mut builder = DatagramBuilder::new(&mut again, header, MAX_MTU);
    let mut is_same = datagram.len() <= MAX_MTU && header.kind == Kind::Frames;
    while let Some(frame) = frames.next() {
        match frame {
            Ok(frame) => {
                check(&frame);
                if is_same {
                    let before = builder.len();
                    is_same = write(&mut builder, &frame);
                    assert!(is_same || builder.len() == before, "refused, but written: {frame:?}");
                }
            }
            Err(error) => {
                assert_eq!(error, WireError::Malformed);
                assert!(frames.next().is_none(), "after an error it ends");
                is_same = false;
            }
        }
    }
    if is_same {
        let _len = builder.finish();
        assert_eq!(again, datagram, "written again");
    } else {
        builder.abandon();
    }
}

/// What a frame that was read promises to who uses it.
fn check(frame: &Frame<'_>) {
    match frame {
        Frame::Hello(hello) => {
            assert!((1..=MAX_NODE_NAME_BYTES).contains(&hello.node.len()));
            assert_ne!(hello.session, SessionId::NONE);
        }
        Frame::Fragment(f) => {
            assert!(!f.bytes.is_empty());
            assert!(f.offset as usize + f.bytes.len() <= f.total as usize);
            assert!(f.total as usize <= MAX_MESSAGE_BYTES);
        }
        Frame::Skip(skip) => assert!((1..=SEQ_SPAN).contains(&skip.count)),
        Frame::Ack(ack) => {
            assert!(ack.runs().count() > 0);
            assert!(ack.runs().all(|run| (1..=SEQ_SPAN).contains(&run.count)));
        }
        Frame::Nack(nack) => assert!(nack.entries().count() > 0),
        Frame::Partial(partial) => assert!((1..=MAX_FRAGMENT_UNITS / 8).contains(&partial.bitmap.len())),
        Frame::LinkAck(ack) => {
            assert!((1..=MAX_ACK_RANGES).contains(&ack.ranges().count()));
            let mut below = None;
            for (low, high) in ack.ranges() {
                assert!(low <= high && below.is_none_or(|below| high < below), "{ack:?}");
                below = Some(low);
            }
        }
        Frame::Control { seq, .. } => assert_ne!(*seq, 0),
        Frame::ControlAck { next } => assert_ne!(*next, 0),
        _ => {}
    }
}

/// Writes what was read; `false` for what a daemon would not write so.
fn write(d: &mut DatagramBuilder<'_>, frame: &Frame<'_>) -> bool {
    match frame {
        // Padding is written to a size; two of them in a row are never.
        Frame::Padding | Frame::Hello(_) => false,
        Frame::Heartbeat(heartbeat) => d.put_heartbeat(heartbeat),
        Frame::Flow(flow) => d.put_flow(flow, 0),
        Frame::Data(data) => d.put_data(data),
        Frame::Fragment(fragment) => d.put_fragment(fragment),
        Frame::Skip(skip) => d.put_skip(skip),
        Frame::Ack(ack) => {
            let runs: Vec<_> = ack.runs().collect();
            d.put_ack(&ack.flow, ack.send_time, &runs) == runs.len()
        }
        Frame::Nack(nack) => {
            let entries: Vec<_> = nack.entries().collect();
            d.put_nack(&nack.flow, nack.send_time, &entries) == entries.len()
        }
        Frame::Partial(p) => d.put_partial(&p.flow, p.send_time, p.msgid, p.seq, p.bitmap),
        Frame::Control { seq, body } => d.put_control(*seq, body),
        Frame::ControlAck { next } => d.put_control_ack(*next),
        Frame::LinkAck(ack) => d.put_link_ack(ack.delay, ack.window, ack.ranges()),
        Frame::Goodbye => d.put_goodbye(),
        Frame::Ping => d.put_ping(),
    }
}

fn hello(body: &[u8]) {
    let frames = frame(1, 0, body);
    let Some(Ok(Frame::Hello(hello))) = Frames::new(Kind::Hello, &frames).next() else { return };
    let written = hello_datagram(&hello);
    let Ok((_, body)) = Header::parse(&written) else { panic!("a hello that cannot be read") };
    assert_eq!(body[..frames.len()], frames, "{hello:?}");
}

/// The datagram that a daemon sends for a hello.
pub(super) fn hello_datagram(hello: &Hello) -> Vec<u8> {
    let header = Header {
        version: 1,
        kind: Kind::Hello,
        speaks: VersionRange { lowest: 1, highest: 1 },
        session: SessionId::NONE,
        number: DatagramNumber(0),
    };
    let mut out = Vec::new();
    let mut builder = DatagramBuilder::new(&mut out, header, MAX_MTU);
    assert!(builder.put_hello(hello), "{hello:?}");
    let _len = builder.finish();
    out
}

fn control(body: &[u8]) {
    let frames = frame(10, 0, body);
    read(&datagram(Kind::Frames, SessionId(1), 0, &frames));
}

/// REGISTER, REGISTERED, NACK.
fn local_body(body: &[u8], kind: u8) {
    let raw = RawFrame { kind, flags: 0, body };
    let mut out = Vec::new();
    match kind {
        1 => match ClientFrame::parse(raw) {
            Ok(ClientFrame::Register(register)) => put::register(&mut out, &register),
            _ => return,
        },
        _ => match DaemonFrame::parse(raw) {
            Ok(DaemonFrame::Registered(registered)) => put::registered(&mut out, &registered),
            // Its text is cut where it is written.
            Ok(DaemonFrame::Nack(nack)) if nack.text.len() <= msg_proto::limits::MAX_NACK_TEXT_BYTES => {
                put::nack(&mut out, &nack);
            }
            _ => return,
        },
    }
    assert_eq!(out[msg_proto::local::HEAD_BYTES..], *body, "written again");
}
