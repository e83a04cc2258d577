//! A client that sends known messages, and remembers all that it sent, was given, and was told.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use msg::{Builder, Client, ClientId, Incarnation, MsgId, SendError, SendFlags, Verdict};
use msg_proto::units::Time;
use msgd::clock;

use crate::{pattern, wait};

/// A message that was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Its number in its process.
    pub msgid: MsgId,
    /// When.
    pub at: Time,
    /// Whether it waits for those before it.
    pub is_ordered: bool,
}

/// A message that failed.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its number in its process.
    pub msgid: MsgId,
    /// Whom it was for.
    pub dst: ClientId,
    /// Why, and what is known.
    pub verdict: Verdict,
    /// The user data that came back.
    pub user: Vec<u8>,
    /// When its callback ran.
    pub at: Time,
}

/// A message that was taken.
#[derive(Clone, Debug)]
pub struct Taken {
    /// Who sent it.
    pub src: ClientId,
    /// Which of that client's lives.
    pub incarnation: Incarnation,
    /// Its bytes.
    pub data: Vec<u8>,
    /// When its callback ran.
    pub at: Time,
}

/// What a party remembers.
#[derive(Debug, Default)]
pub struct Log {
    /// What it sent to each client, in the order of sending; a message's number in its pattern is its place here.
    pub sent: BTreeMap<ClientId, Vec<Sent>>,
    /// What failed, in the order of the callbacks.
    pub failed: Vec<Failed>,
    /// What it was given, in the order of the callbacks.
    pub taken: Vec<Taken>,
}

/// A client with a thread that dispatches, and a log.
#[derive(Debug)]
pub struct Party {
    id: ClientId,
    seed: u64,
    sizes: RangeInclusive<usize>,
    client: Arc<Client>,
    log: Arc<Mutex<Log>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Party {
    /// Connects a client with number `id`, and has its thread dispatch. What it sends is drawn from `seed`, of a length
    /// within `sizes`.
    ///
    /// # Panics
    ///
    /// The daemon refuses it.
    #[must_use]
    pub fn join(id: u32, builder: Builder, seed: u64, sizes: RangeInclusive<usize>) -> Self {
        let client = Arc::new(builder.connect().expect("registered"));
        let log = Arc::new(Mutex::new(Log::default()));
        let (failures, messages) = (Arc::clone(&log), Arc::clone(&log));
        client.on_failure(move |_, failure| {
            lock(&failures).failed.push(Failed {
                msgid: failure.msgid,
                dst: failure.dst,
                verdict: failure.verdict,
                user: failure.user.as_bytes().to_vec(),
                at: clock::now(),
            });
        });
        client.on_message(move |_, message| {
            lock(&messages).taken.push(Taken {
                src: message.src.client,
                incarnation: message.src.incarnation,
                data: message.data.to_vec(),
                at: clock::now(),
            });
        });
        let stop = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let (client, stop) = (Arc::clone(&client), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    client.dispatch(DISPATCH).expect("the daemon does not refuse it");
                }
            }
        });
        Self { id: ClientId(id), seed, sizes, client, log, stop, thread: Some(thread) }
    }

    /// Sends the next `count` messages to a client, each as soon as there is room for it.
    ///
    /// # Panics
    ///
    /// One is refused for another reason than room.
    pub fn send(&self, dst: u32, count: u32) {
        self.send_with(dst, count, SendFlags::NONE);
    }

    /// [`send`](Self::send), with flags.
    ///
    /// # Panics
    ///
    /// One is refused for another reason than room.
    pub fn send_with(&self, dst: u32, count: u32, flags: SendFlags) {
        for _ in 0..count {
            self.try_send(dst, flags | SendFlags::WAIT).expect("sent");
        }
    }

    /// Sends the next message to a client.
    ///
    /// # Errors
    ///
    /// Those of the client. Nothing was sent then.
    pub fn try_send(&self, dst: u32, flags: SendFlags) -> Result<MsgId, SendError> {
        let dst = ClientId(dst);
        let index = lock(&self.log).sent.get(&dst).map_or(0, Vec::len);
        let index = u32::try_from(index).expect("few messages");
        let payload = pattern::payload(self.seed, (self.id, dst), index, &self.sizes);
        let at = clock::now();
        let msgid =
            self.client.send_with(dst, &payload, pattern::user(self.seed, (self.id, dst), index), flags)?;
        let is_ordered = !flags.contains(SendFlags::UNORDERED);
        lock(&self.log).sent.entry(dst).or_default().push(Sent { msgid, at, is_ordered });
        Ok(msgid)
    }

    /// Waits until everything that it sent has its outcome.
    ///
    /// # Panics
    ///
    /// Something has none for long.
    pub fn flush(&self) {
        wait::until("every message has its outcome", || {
            let log = self.log();
            let sent: usize = log.sent.values().map(Vec::len).sum();
            let acked = usize::try_from(self.client.counters().acked).unwrap_or(usize::MAX);
            acked + log.failed.len() >= sent
        });
    }

    /// Waits until it was given that many messages, of all senders together.
    pub fn wait_for_taken(&self, count: usize) {
        wait::until(&format!("client {} has taken {count} messages", self.id), || self.taken() >= count);
    }

    /// How many messages it was given.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.log().taken.len()
    }

    /// What it remembers.
    pub fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    /// The client itself.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its number.
    #[must_use]
    pub const fn id(&self) -> ClientId {
        self.id
    }

    /// What its messages are drawn from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// How long its messages are.
    #[must_use]
    pub const fn sizes(&self) -> &RangeInclusive<usize> {
        &self.sizes
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !thread::panicking()
        {
            panic!("the thread of client {} panicked", self.id);
        }
    }
}

fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest that a party's thread does not look whether it is to stop.
const DISPATCH: Duration = Duration::from_millis(20);
