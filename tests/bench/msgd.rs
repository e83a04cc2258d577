//! msgd's endpoint: the library, as its users have it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use msg::{Client, ClientId, SendError, SendFlags, UserBuf};

use crate::{
    endpoint::{Bounce, Endpoint, MOMENT, Stamp, lock},
    party::{PartyArgs, Side},
};

pub(crate) struct Msgd {
    client: Client,
    other: ClientId,
    flags: SendFlags,
    came: Arc<Mutex<Came>>,
    failed: Arc<AtomicU64>,
}

/// What the callback leaves for the caller.
#[derive(Default)]
struct Came {
    stamps: Vec<Stamp>,
    /// Each is sent back instead.
    bounce: Option<Bounce>,
    message: Vec<u8>,
}

impl Msgd {
    pub(crate) fn open(args: &PartyArgs) -> Result<Self, String> {
        let (id, other) = match args.side {
            Side::A => (ClientId(100), ClientId(200)),
            Side::B => (ClientId(200), ClientId(100)),
        };
        let client = Client::builder(id).socket(&args.local).connect().map_err(|error| error.to_string())?;
        let came = Arc::new(Mutex::new(Came::default()));
        let failed = Arc::new(AtomicU64::new(0));
        client.on_failure({
            let failed = Arc::clone(&failed);
            move |_, _| {
                failed.fetch_add(1, Ordering::Relaxed);
            }
        });
        client.on_message({
            let (came, failed) = (Arc::clone(&came), Arc::clone(&failed));
            move |client, message| {
                let Came { stamps, bounce, message: back } = &mut *lock(&came);
                let Some(bounce) = bounce else { return stamps.push(Stamp::read(message.data)) };
                back.clear();
                back.extend_from_slice(message.data);
                lock(bounce)(back);
                if client.send(message.src.client, back, UserBuf::EMPTY).is_err() {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let flags = if args.work.is_a_stream() { SendFlags::MORE } else { SendFlags::NONE };
        Ok(Self { client, other, flags, came, failed })
    }

    fn dispatch(&self, timeout: Duration) {
        // A client that was refused is seen by what it does not send.
        self.client.dispatch(timeout).ok();
    }
}

impl Endpoint for Msgd {
    fn send(&mut self, message: &[u8]) -> bool {
        match self.client.send_with(self.other, message, UserBuf::EMPTY, self.flags) {
            Ok(_) => true,
            // Outcomes make room.
            Err(SendError::WouldBlock) => {
                self.dispatch(MOMENT);
                false
            }
            Err(_) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                false
            }
        }
    }

    fn flush(&mut self) {
        self.dispatch(Duration::ZERO);
    }

    fn receive(&mut self, each: &mut dyn FnMut(Stamp)) {
        self.dispatch(MOMENT);
        lock(&self.came).stamps.drain(..).for_each(each);
    }

    fn echo(&mut self, bounce: &Bounce) {
        lock(&self.came).bounce.get_or_insert_with(|| Arc::clone(bounce));
        self.dispatch(MOMENT);
    }

    fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}
