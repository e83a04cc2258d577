//! The relay's thread: reads in batches, sends on at once what has no delay, and holds back the rest in a heap.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    io,
    net::UdpSocket,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
};

use msg_proto::units::{Span, Time};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::sockopt,
};

use super::{
    Direction, Line, MAX_HELD, Shared,
    fate::{Fate, Fates, Passage, corrupt},
};
use crate::clock;

/// Datagrams read from one side before the other has its turn.
const BATCH: usize = 128;

/// The largest UDP payload.
const MAX_DATAGRAM: usize = 65_535;

/// What the sockets ask the kernel to buffer; it grants what it allows.
const SOCKET_BUFFER: usize = 4 << 20;

/// Buffers kept for reuse.
const MAX_SPARE: usize = 1024;

/// Starts the thread.
pub(super) fn spawn(
    sockets: [UdpSocket; 2],
    shared: Arc<Mutex<Shared>>,
    stop: Arc<OwnedFd>,
    seed: u64,
) -> io::Result<JoinHandle<()>> {
    for socket in &sockets {
        socket.set_nonblocking(true)?;
        sockopt::set_socket_recv_buffer_size(socket, SOCKET_BUFFER)?;
        sockopt::set_socket_send_buffer_size(socket, SOCKET_BUFFER)?;
    }
    let mut worker = Worker {
        sockets,
        // The directions differ even where both see the same datagrams.
        fates: [Fates::new(seed), Fates::new(!seed)],
        held: BinaryHeap::new(),
        order: 0,
        buffer: vec![0; MAX_DATAGRAM].into_boxed_slice(),
        spare: Vec::new(),
    };
    thread::Builder::new().name("relay".into()).spawn(move || worker.run(&shared, &stop))
}

struct Worker {
    sockets: [UdpSocket; 2],
    fates: [Fates; 2],
    held: BinaryHeap<Reverse<Held>>,
    order: u64,
    buffer: Box<[u8]>,
    spare: Vec<Vec<u8>>,
}

/// A copy that waits for its time. Ordered by the time, then by arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Held {
    due: Time,
    order: u64,
    /// [`Shared::cuts`] when it came.
    cuts: u64,
    direction: usize,
    datagram: Vec<u8>,
}

impl Worker {
    fn run(&mut self, shared: &Mutex<Shared>, stop: &OwnedFd) {
        let mut readable = [false; 2];
        loop {
            {
                let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
                for direction in Direction::BOTH {
                    if readable[direction as usize] {
                        self.read_side(&mut shared, direction as usize);
                    }
                }
                self.release_due(&mut shared, clock::now());
            }
            match self.wait(stop) {
                Some(sides) => readable = sides,
                None => return,
            }
        }
    }

    /// Waits for a datagram or for the first held copy's time. `None`: stop.
    fn wait(&self, stop: &OwnedFd) -> Option<[bool; 2]> {
        let timeout = self.held.peek().map(|Reverse(first)| timespec(first.due.since(clock::now())));
        let mut fds = [
            PollFd::new(&self.sockets[0], PollFlags::IN),
            PollFd::new(&self.sockets[1], PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) if !fds[2].revents().is_empty() => None,
            Ok(_) => Some([!fds[0].revents().is_empty(), !fds[1].revents().is_empty()]),
            Err(rustix::io::Errno::INTR) => Some([false; 2]),
            // The sockets are our own and open: nothing else can be said of them, but it must not spin.
            Err(_) => None,
        }
    }

    fn read_side(&mut self, shared: &mut Shared, side: usize) {
        for _ in 0..BATCH {
            let (len, from) = match self.sockets[side].recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // An error of an earlier send, reported here; the next read has the next datagram.
                Err(_) => continue,
            };
            if shared.endpoints.is_some_and(|endpoints| endpoints[side] == from) {
                shared.counts[side].received += 1;
                self.on_datagram(shared, side, len);
            } else {
                shared.counts[side].strangers += 1;
            }
        }
    }

    fn on_datagram(&mut self, shared: &mut Shared, direction: usize, len: usize) {
        let faults = &shared.faults[direction];
        let fate = self.fates[direction].decide(faults);
        let counts = &mut shared.counts[direction];
        if faults.line == Line::Cut {
            counts.cut += 1;
            return;
        }
        let Passage { delay, second, corruption, held } = match fate {
            Fate::Lost => {
                counts.lost += 1;
                return;
            }
            Fate::Passed(passage) => passage,
        };
        counts.duplicated += u64::from(second.is_some());
        counts.reordered += u64::from(held);
        if let Some(seed) = corruption {
            counts.corrupted += 1;
            corrupt(&mut self.buffer[..len], seed);
        }
        for delay in [Some(delay), second].into_iter().flatten() {
            if delay.is_zero() {
                let Self { sockets, buffer, .. } = self;
                forward(sockets, shared, direction, &buffer[..len]);
            } else {
                self.hold(shared, direction, len, clock::now() + Span::from(delay));
            }
        }
    }

    fn hold(&mut self, shared: &mut Shared, direction: usize, len: usize, due: Time) {
        if self.held.len() >= MAX_HELD {
            shared.counts[direction].overflowed += 1;
            return;
        }
        let mut datagram = self.spare.pop().unwrap_or_default();
        datagram.extend_from_slice(&self.buffer[..len]);
        self.held.push(Reverse(Held {
            due,
            order: self.order,
            cuts: shared.cuts[direction],
            direction,
            datagram,
        }));
        self.order += 1;
    }

    fn release_due(&mut self, shared: &mut Shared, now: Time) {
        while self.held.peek().is_some_and(|Reverse(first)| first.due <= now) {
            let Some(Reverse(mut copy)) = self.held.pop() else { return };
            if copy.cuts != shared.cuts[copy.direction] {
                shared.counts[copy.direction].cut += 1;
            } else {
                forward(&self.sockets, shared, copy.direction, &copy.datagram);
            }
            if self.spare.len() < MAX_SPARE {
                copy.datagram.clear();
                self.spare.push(copy.datagram);
            }
        }
    }
}

fn forward(sockets: &[UdpSocket; 2], shared: &mut Shared, direction: usize, datagram: &[u8]) {
    let Some(endpoints) = shared.endpoints else { return };
    let other = 1 - direction;
    match sockets[other].send_to(datagram, endpoints[other]) {
        Ok(_) => shared.counts[direction].forwarded += 1,
        Err(_) => shared.counts[direction].unsent += 1,
    }
}

fn timespec(span: Span) -> Timespec {
    // A wait is cut short at an hour: waking once too often costs nothing.
    let us = span.0.min(3_600_000_000).cast_signed();
    Timespec { tv_sec: us / 1_000_000, tv_nsec: us % 1_000_000 * 1000 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::relay::{Faults, Relay, RelayCounts, Share};

    /// A relay with a socket on each end.
    struct Ends {
        relay: Relay,
        a: UdpSocket,
        b: UdpSocket,
    }

    fn ends(seed: u64) -> Ends {
        let relay = Relay::start(seed).unwrap();
        let [a, b] = std::array::from_fn(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
        a.connect(relay.side_a()).unwrap();
        b.connect(relay.side_b()).unwrap();
        relay.connect(a.local_addr().unwrap(), b.local_addr().unwrap());
        for socket in [&a, &b] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        Ends { relay, a, b }
    }

    fn recv(socket: &UdpSocket) -> Vec<u8> {
        let mut buffer = [0; 2000];
        let n = socket.recv(&mut buffer).expect("a datagram within 5 s");
        buffer[..n].to_vec()
    }

    /// Sends `count` numbered datagrams from A, waits until the relay has dealt with all, and gives what B got,
    /// in order.
    fn pass(ends: &Ends, count: u32) -> Vec<Vec<u8>> {
        let before = ends.relay.counts(Direction::AToB);
        let mut got = Vec::new();
        for n in 0..count {
            ends.a.send(&n.to_be_bytes()).unwrap();
            // A few at a time, so that no kernel buffer overflows and the fates are the seed's alone.
            if n % 32 == 31 || n + 1 == count {
                let deadline = clock::now() + Span::from_millis(5_000);
                while ends.relay.counts(Direction::AToB).received < before.received + u64::from(n) + 1 {
                    assert!(clock::now() < deadline, "the relay stands still");
                    thread::yield_now();
                }
                let c = ends.relay.counts(Direction::AToB);
                let copies = |c: RelayCounts| c.received - c.lost - c.cut + c.duplicated;
                while (got.len() as u64) < copies(c) - copies(before) {
                    got.push(recv(&ends.b));
                }
            }
        }
        got
    }

    #[test]
    fn passes_both_ways_untouched_and_in_order() {
        let ends = ends(1);
        let got = pass(&ends, 100);
        assert_eq!(got, (0..100_u32).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
        ends.b.send(b"back").unwrap();
        assert_eq!(recv(&ends.a), b"back");
        assert_eq!(ends.relay.counts(Direction::BToA).forwarded, 1);
    }

    #[test]
    fn one_seed_loses_and_corrupts_the_same_ones() {
        let faults = Faults {
            loss: Share::percent(20),
            duplication: Share::percent(20),
            corruption: Share::percent(20),
            ..Faults::NONE
        };
        let run = |seed| {
            let ends = ends(seed);
            ends.relay.set_both(faults);
            (pass(&ends, 300), ends.relay.counts(Direction::AToB))
        };
        let (first, counts) = run(11);
        assert_eq!((&first, counts), (&run(11).0, counts));
        assert_ne!(first, run(12).0);
        assert_eq!(first.len() as u64, 300 - counts.lost + counts.duplicated);
        assert!(counts.corrupted > 20 && counts.lost > 20 && counts.duplicated > 20, "{counts:?}");
    }

    #[test]
    fn delay_is_at_least_what_was_asked() {
        let ends = ends(1);
        let delay = Duration::from_millis(30);
        ends.relay.set(Direction::AToB, Faults { delay_min: delay, delay_max: delay, ..Faults::NONE });
        let before = clock::now();
        ends.a.send(b"x").unwrap();
        recv(&ends.b);
        assert!(clock::now().since(before) >= Span::from(delay));
    }

    #[test]
    fn held_ones_are_overtaken() {
        let ends = ends(5);
        let hold = Duration::from_millis(20);
        ends.relay.set_both(Faults { reordering: Share::percent(20), hold, ..Faults::NONE });
        let mut got = pass(&ends, 32);
        assert!(!got.is_sorted(), "{got:?}");
        got.sort();
        assert_eq!(got, (0..32_u32).map(|n| n.to_be_bytes().to_vec()).collect::<Vec<_>>());
        assert!(ends.relay.counts(Direction::AToB).reordered > 0);
    }

    #[test]
    fn a_cut_is_one_way_and_takes_what_was_held() {
        let ends = ends(1);
        let held = Duration::from_millis(300);
        ends.relay.set(Direction::AToB, Faults { delay_min: held, delay_max: held, ..Faults::NONE });
        ends.a.send(b"held").unwrap();
        ends.b.send(b"back").unwrap();
        assert_eq!(recv(&ends.a), b"back");

        ends.relay.cut(Direction::AToB);
        assert_eq!(pass(&ends, 10), Vec::<Vec<u8>>::new());
        assert_eq!(ends.relay.counts(Direction::AToB).cut, 10);
        ends.b.send(b"still").unwrap();
        assert_eq!(recv(&ends.a), b"still");

        // Healed at once, and still what was held when it was cut does not come: the first is the later one.
        ends.relay.heal(Direction::AToB);
        ends.a.send(b"later").unwrap();
        assert_eq!(recv(&ends.b), b"later");
        assert_eq!(ends.relay.counts(Direction::AToB).cut, 11);

        ends.relay.set(Direction::AToB, Faults::NONE);
        ends.relay.cut_both();
        ends.relay.heal(Direction::AToB);
        assert_eq!(pass(&ends, 1).len(), 1);
        assert_eq!(ends.relay.faults(Direction::BToA).line, Line::Cut);
    }

    #[test]
    fn strangers_are_ignored() {
        let ends = ends(1);
        let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
        stranger.send_to(b"let me in", ends.relay.side_b()).unwrap();
        ends.b.send(b"known").unwrap();
        assert_eq!(recv(&ends.a), b"known");
        assert_eq!(ends.relay.counts(Direction::BToA).strangers, 1);
    }

    #[test]
    fn dropping_it_ends_it() {
        let ends = ends(1);
        let side = ends.relay.side_a();
        drop(ends.relay);
        UdpSocket::bind(side).expect("the relay's port is free again");
    }
}
