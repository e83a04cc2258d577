//! A seeded fault injector for UDP: what stands between two daemons in `msgctl demo` and in the tests.
//!
//! ```text
//!   daemon A  <-->  [side A | relay | side B]  <-->  daemon B
//! ```
//!
//! Each side has a socket of its own. Daemon A is told side A's address as that of its peer, daemon B side B's.
//! What comes from A on side A goes to B from side B, and the other way round; what comes from anybody else is
//! ignored and counted. Each direction has its [`Faults`], which can be changed at any time.
//!
//! **Determinism.** Whether the `n`-th datagram of a direction is lost, doubled, corrupted or delayed depends on the
//! seed, on `n` and on the faults in force, on nothing else. When it goes out is the clock's business.
//!
//! **Limits.** At most [`MAX_HELD`] copies are held back, about 1.5 KiB each with usual datagrams; more are dropped and
//! counted. Datagrams that come faster than the relay reads are dropped by the kernel, uncounted, as on any host.
//!
//! * `faults`: the settings and the counts. `fate`: the decisions. `worker`: sockets and the thread.

mod fate;
mod faults;
mod worker;

pub(crate) use fate::Rng;
pub use faults::{Faults, Line, RelayCounts, Share, ShareError};

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use rustix::event::{EventfdFlags, eventfd};

/// Copies that may be held back at one time, both directions together.
pub const MAX_HELD: usize = 65_536;

/// One of the two ways through the relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From A to B.
    AToB,
    /// From B to A.
    BToA,
}

impl Direction {
    /// Both ways.
    pub const BOTH: [Self; 2] = [Self::AToB, Self::BToA];
}

/// A relay that runs on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct Relay {
    side_a: SocketAddr,
    side_b: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    stop: Arc<OwnedFd>,
    worker: Option<JoinHandle<()>>,
}

/// What the handle and the thread share. The thread holds the lock while it works and not while it waits.
#[derive(Debug)]
struct Shared {
    faults: [Faults; 2],
    counts: [RelayCounts; 2],
    /// How often each line was cut: what was held back before a cut does not outlive it.
    cuts: [u64; 2],
    endpoints: Option<[SocketAddr; 2]>,
}

impl Relay {
    /// Binds both sides to free ports of 127.0.0.1 and starts. Nothing passes before
    /// [`connect`](Self::connect) has said who A and B are.
    ///
    /// # Errors
    ///
    /// No socket, or no thread, is to be had.
    pub fn start(seed: u64) -> io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::start_on([any, any], seed)
    }

    /// As [`start`](Self::start), with side A and side B on these addresses.
    ///
    /// # Errors
    ///
    /// An address is in use or not of this host; no socket, or no thread, is to be had.
    pub fn start_on(sides: [SocketAddr; 2], seed: u64) -> io::Result<Self> {
        let sockets = [UdpSocket::bind(sides[0])?, UdpSocket::bind(sides[1])?];
        let (side_a, side_b) = (sockets[0].local_addr()?, sockets[1].local_addr()?);
        let shared = Arc::new(Mutex::new(Shared {
            faults: [Faults::NONE; 2],
            counts: [RelayCounts::default(); 2],
            cuts: [0; 2],
            endpoints: None,
        }));
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let worker = worker::spawn(sockets, Arc::clone(&shared), Arc::clone(&stop), seed)?;
        Ok(Self { side_a, side_b, shared, stop, worker: Some(worker) })
    }

    /// Says where daemon A and daemon B listen. Can be said again, when one has moved.
    pub fn connect(&self, a: SocketAddr, b: SocketAddr) {
        self.lock().endpoints = Some([a, b]);
    }

    /// Sets one direction's faults. Once this has returned they are in force for all that comes out.
    pub fn set(&self, direction: Direction, faults: Faults) {
        self.lock().set(direction, faults);
    }

    /// Sets the faults of both directions.
    pub fn set_both(&self, faults: Faults) {
        let mut shared = self.lock();
        Direction::BOTH.into_iter().for_each(|direction| shared.set(direction, faults));
    }

    /// Cuts one direction and leaves its other faults as they are. Once this has returned, nothing comes out in that
    /// direction any more; what was held back is lost, even if the line is healed before its time.
    pub fn cut(&self, direction: Direction) {
        self.lock().set_line(direction, Line::Cut);
    }

    /// Cuts both directions, at the same moment.
    pub fn cut_both(&self) {
        let mut shared = self.lock();
        Direction::BOTH.into_iter().for_each(|direction| shared.set_line(direction, Line::Cut));
    }

    /// Makes one direction's line whole again.
    pub fn heal(&self, direction: Direction) {
        self.lock().set_line(direction, Line::Whole);
    }

    /// Makes both lines whole again.
    pub fn heal_both(&self) {
        let mut shared = self.lock();
        Direction::BOTH.into_iter().for_each(|direction| shared.set_line(direction, Line::Whole));
    }

    /// The address that daemon A is to have for its peer.
    #[must_use]
    pub const fn side_a(&self) -> SocketAddr {
        self.side_a
    }

    /// The address that daemon B is to have for its peer.
    #[must_use]
    pub const fn side_b(&self) -> SocketAddr {
        self.side_b
    }

    /// The faults in force.
    #[must_use]
    pub fn faults(&self, direction: Direction) -> Faults {
        self.lock().faults[direction as usize]
    }

    /// What was done in one direction so far.
    #[must_use]
    pub fn counts(&self, direction: Direction) -> RelayCounts {
        self.lock().counts[direction as usize]
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn set(&mut self, direction: Direction, faults: Faults) {
        let direction = direction as usize;
        self.cuts[direction] += u64::from(faults.line == Line::Cut);
        self.faults[direction] = faults;
    }

    fn set_line(&mut self, direction: Direction, line: Line) {
        let faults = Faults { line, ..self.faults[direction as usize] };
        self.set(direction, faults);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let stopped = rustix::io::write(&*self.stop, &1_u64.to_ne_bytes());
        debug_assert!(stopped.is_ok(), "the counter is far from full");
        if let Some(worker) = self.worker.take() {
            // A panic of the thread was reported when it happened.
            worker.join().ok();
        }
    }
}
