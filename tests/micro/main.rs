//! Micro-benches: the formats, the chain, and everything from a send to its outcome, without a socket.
//!
//! `cargo bench -p msg-tests --bench micro`. What a machine does meanwhile shows here; `bench/instructions.sh` counts.

use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use msg_proto::{
    ids::{Channel, ClientId, DatagramNumber, FlowId, Incarnation, Instance, MsgId, Seq, SessionId},
    local::{ClientFrame, Submit, put, split},
    units::{Span, Time},
    wire::{Data, DatagramBuilder, Flow, Frames, Header, Kind, VERSIONS},
};
use msg_tests::direct::{Pair, Waiting};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A datagram with four messages.
#[divan::bench]
fn datagram_write(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(2048);
    bencher.bench_local(|| {
        out.clear();
        write_datagram(&mut out)
    });
}

/// The same, read: checksum and every frame.
#[divan::bench]
fn datagram_read(bencher: Bencher<'_, '_>) {
    let mut datagram = Vec::new();
    write_datagram(&mut datagram);
    bencher.bench_local(|| {
        let (header, frames) = Header::parse(black_box(&datagram)).expect("our own datagram");
        Frames::new(header.kind, frames).filter(|frame| black_box(frame).is_ok()).count()
    });
}

/// A message from a client to its daemon.
#[divan::bench]
fn submit_write(bencher: Bencher<'_, '_>) {
    let mut out = Vec::with_capacity(2048);
    bencher.bench_local(|| {
        out.clear();
        put::submit(&mut out, black_box(&submit()));
    });
}

/// The same, read.
#[divan::bench]
fn submit_read(bencher: Bencher<'_, '_>) {
    let mut out = Vec::new();
    put::submit(&mut out, &submit());
    bencher.bench_local(|| {
        let (frame, _) = split(black_box(&out)).expect("our own").expect("whole");
        black_box(ClientFrame::parse(frame).is_ok())
    });
}

/// From one client's send to its outcome, through two engines: chain, datagrams, inbox, acks.
#[divan::bench(args = [64, 256, 16_384])]
fn one_at_a_time(bencher: Bencher<'_, '_>, bytes: usize) {
    let mut pair = Pair::new(bytes);
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| pair.send(1));
}

/// The same, of which 100 are on their way at a time.
#[divan::bench(args = [64, 256, 16_384])]
fn hundred_at_a_time(bencher: Bencher<'_, '_>, bytes: usize) {
    let mut pair = Pair::new(bytes);
    bencher.counter(ItemsCount::new(100_usize)).bench_local(|| pair.send(100));
}

/// A scan that finds nothing due, with so many messages in the chains.
#[divan::bench(args = [16, 1_000_000], sample_count = Waiting::SCANS, sample_size = 1)]
fn scan(bencher: Bencher<'_, '_>, messages: u32) {
    let mut waiting = Waiting::new(messages);
    bencher.bench_local(|| waiting.scan());
    assert_eq!(waiting.scanned().1, 0);
}

fn write_datagram(out: &mut Vec<u8>) -> usize {
    let header = Header {
        version: VERSIONS.highest,
        kind: Kind::Frames,
        speaks: VERSIONS,
        session: SessionId(7),
        number: DatagramNumber(1),
    };
    let instance = |client| Instance { client: ClientId(client), incarnation: Incarnation(1) };
    let id = FlowId { src: instance(100), dst: instance(200), channel: Channel::Ordered };
    let flow = Flow { id, send_time: Time(5), interval: Span::from_millis(1000), floor: Seq(1), presence: 1 };
    let mut datagram = DatagramBuilder::new(out, header, 1200);
    datagram.put_flow(&flow, 0);
    for number in 1..=4 {
        let (msgid, seq, payload) = (MsgId(number), Seq(number), &[0x5A; 256]);
        datagram.put_data(&Data { msgid, seq, at_least_once: false, call: None, payload });
    }
    datagram.finish()
}

const fn submit() -> Submit<'static> {
    Submit {
        dst: ClientId(200),
        msgid: MsgId(1),
        seq: Seq(1),
        channel: Channel::Ordered,
        at_least_once: false,
        is_call: false,
        to: None,
        send_time: Time(5),
        user: &[],
        payload: &[0x5A; 256],
    }
}
