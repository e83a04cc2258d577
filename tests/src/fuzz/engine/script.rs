//! Bytes become steps. A step is a byte that says which, one that says where, and what it needs; where the bytes end,
//! zeros follow. `seeds` writes such scripts.

use arbitrary::Unstructured;
use msg_proto::{session::SendFlags, units::Time};

use super::{
    crafted,
    world::{SLOTS, World},
};

/// The steps, by number.
pub(in crate::fuzz) mod op {
    pub(in crate::fuzz) const EXCHANGE: u8 = 0;
    pub(in crate::fuzz) const SEND: u8 = 1;
    pub(in crate::fuzz) const PASS: u8 = 2;
    pub(in crate::fuzz) const CLIENT_FRAME: u8 = 3;
    pub(in crate::fuzz) const CLIENT_GARBAGE: u8 = 4;
    pub(in crate::fuzz) const PEER_FRAMES: u8 = 5;
    pub(in crate::fuzz) const PEER_GARBAGE: u8 = 6;
    pub(in crate::fuzz) const WIRE: u8 = 7;
    pub(in crate::fuzz) const CONNECT_LIBRARY: u8 = 8;
    pub(in crate::fuzz) const CONNECT_RAW: u8 = 9;
    pub(in crate::fuzz) const DISCONNECT: u8 = 10;
    pub(in crate::fuzz) const CLOCK: u8 = 11;
    pub(in crate::fuzz) const RESTART: u8 = 12;
    pub(in crate::fuzz) const SHUTDOWN: u8 = 13;
    pub(in crate::fuzz) const STOP: u8 = 14;
    pub(in crate::fuzz) const HELLO: u8 = 15;
    pub(in crate::fuzz) const COUNT: u8 = 16;
}

/// The next byte; 0 behind the end.
pub(super) fn byte(bytes: &mut Unstructured<'_>) -> u8 {
    bytes.arbitrary().unwrap_or(0)
}

/// The next bytes, at most `most`: how many is said by a byte before them.
pub(super) fn some_bytes<'a>(bytes: &mut Unstructured<'a>, most: usize) -> &'a [u8] {
    let n = usize::from(byte(bytes)).min(most).min(bytes.len());
    bytes.bytes(n).unwrap_or_default()
}

/// Takes one step.
pub(super) fn step(world: &mut World, bytes: &mut Unstructured<'_>) {
    let (op, place) = (byte(bytes) % op::COUNT, byte(bytes));
    let (node, slot) = (usize::from(place & 1), usize::from(place >> 1) % SLOTS);
    match op {
        op::EXCHANGE => world.exchange(),
        op::SEND => send(world, node, slot, bytes),
        op::PASS => world.pass(SPANS[usize::from(byte(bytes)) % SPANS.len()]),
        op::CLIENT_FRAME => {
            let frame = crafted::client_frame(bytes);
            world.client_bytes(node, slot, &frame);
        }
        op::CLIENT_GARBAGE => {
            let garbage = some_bytes(bytes, 255);
            world.client_bytes(node, slot, garbage);
        }
        op::PEER_FRAMES => {
            if let Some(datagram) = crafted::peer_frames(world, node, bytes) {
                world.datagram(node, &datagram);
            }
        }
        op::PEER_GARBAGE => {
            let datagram = crafted::peer_garbage(world, node, bytes);
            world.datagram(node, &datagram);
        }
        op::WIRE => wire(world, bytes),
        op::CONNECT_LIBRARY => {
            // Now and then a number that another one has.
            let id = if place & 0x80 == 0 {
                100 * (1 + u32::from(place & 1)) + u32::from(place >> 1) % 4
            } else {
                100
            };
            world.connect_library(node, slot, id);
        }
        op::CONNECT_RAW => world.connect_raw(node, slot),
        op::DISCONNECT => world.disconnect(node, slot),
        op::CLOCK => clock(world, node, bytes),
        op::RESTART => world.restart(node),
        op::SHUTDOWN => {
            let now = world.nodes[node].now;
            world.nodes[node].engine.handle_shutdown(now);
        }
        op::STOP => world.nodes[node].slots[slot].is_stopped ^= true,
        _ => {
            let datagram = crafted::hello(world, node, bytes);
            world.datagram(node, &datagram);
        }
    }
}

fn send(world: &mut World, node: usize, slot: usize, bytes: &mut Unstructured<'_>) {
    let (what, size, dst) = (byte(bytes), byte(bytes), byte(bytes));
    let flags = SendFlags { unordered: what & 1 != 0, at_least_once: what & 2 != 0 };
    let len = SIZES[usize::from(size) % SIZES.len()];
    let payload = vec![dst; len];
    for _ in 0..=what >> 4 {
        world.send(node, slot, client_id(dst), &payload, flags);
    }
}

/// What becomes of the datagrams that are on their way, one after the other.
fn wire(world: &mut World, bytes: &mut Unstructured<'_>) {
    let fates = some_bytes(bytes, 16).to_vec();
    for fate in fates {
        let Some((to, mut datagram)) = world.wire.pop_front() else { return };
        match fate % 5 {
            0 => {}
            1 => world.datagram(to, &datagram),
            2 => {
                world.datagram(to, &datagram);
                world.datagram(to, &datagram);
            }
            3 => world.wire.push_back((to, datagram)),
            _ => {
                let at = usize::from(fate) * 7 % datagram.len();
                datagram[at] ^= fate;
                world.datagram(to, &datagram);
            }
        }
    }
}

/// One node's clock goes on alone, jumps, or goes back.
fn clock(world: &mut World, node: usize, bytes: &mut Unstructured<'_>) {
    let (way, much) = (byte(bytes), byte(bytes));
    let now = world.nodes[node].now.0;
    let jump = 1 << (u64::from(much) % 34);
    let jumped = if way & 1 == 0 { now + jump } else { now.saturating_sub(jump).max(1) };
    world.nodes[node].now = Time(jumped);
    world.time_out();
}

/// One of the clients that there may be.
pub(super) fn client_id(byte: u8) -> u32 {
    match byte % 10 {
        n @ 0..4 => 100 + u32::from(n),
        n @ 4..8 => 200 + u32::from(n) - 4,
        n => 292 + u32::from(n),
    }
}

const SPANS: [u64; 8] = [0, 1, 100, 1_000, 20_000, 50_000, 150_000, 1_100_000];
const SIZES: [usize; 8] = [0, 1, 10, 100, 1_100, 5_000, 30_000, 65_536];
