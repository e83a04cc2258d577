//! The client's program: `crash client SOCKET ID LIFE INTERVAL_MS TIMES RATE ACK DST...`.
//!
//! It sends to the others, one after the other at random, until its input ends or says something; then it waits for every
//! outcome, says `quiet`, and goes on taking. It writes its ledger to its output, which nobody but the kernel buffers.

use std::{
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use clap::Parser;
use msg::{AckMode, Certainty, Client, ClientId, SendFlags, UserBuf};
use msg_proto::units::Span;
use msgd::clock;

use super::ledger::{Entry, Payload};
use crate::pattern::Random;

/// What a client is told on its command line.
#[derive(Parser, Clone, Debug)]
pub struct ClientArgs {
    /// Its daemon's socket.
    pub socket: PathBuf,
    /// Its clientid.
    pub id: u32,
    /// The number of its life: no other process of the run has it.
    pub life: u32,
    /// Its `interval`.
    pub interval_ms: u64,
    /// Its retransmissions.
    pub times: u8,
    /// Messages a second.
    pub rate: u64,
    /// Whether what it takes is acked only when its handler has returned.
    pub on_handled: u8,
    /// The others.
    pub dst: Vec<u32>,
}

/// Runs it.
///
/// # Panics
///
/// The library refuses what it must not refuse. The ledger then says so.
pub fn run(args: &ClientArgs) {
    let client = connect(args);
    client.on_failure(|_, failure| {
        let to = Payload::read_user(failure.user.as_bytes()).map(|sent| (sent.flow.1, sent.index));
        let to = to.filter(|(dst, _)| ClientId(*dst) == failure.dst);
        let unknown = failure.verdict.certainty == Certainty::Unknown;
        let why = format!("{:?}/{:?}", failure.verdict.reason, failure.verdict.certainty);
        write(&Entry::Failed { to, unknown, why, at: clock::now() });
    });
    let id = args.id;
    client.on_message(move |_, message| {
        let message = Payload::read(message.data).filter(|message| message.flow.1 == id);
        write(&Entry::Taken { message, at: clock::now() });
    });
    write(&Entry::Ready);
    let quiet = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                if let Err(error) = client.dispatch(None) {
                    write(&Entry::Broken(error.to_string()));
                    return;
                }
            }
        });
        scope.spawn(|| send(&client, args, &quiet));
        for line in io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
            quiet.store(true, Ordering::Relaxed);
        }
        // Who started it is gone.
        std::process::abort();
    });
}

fn connect(args: &ClientArgs) -> Client {
    let ack = if args.on_handled > 0 { AckMode::OnHandled } else { AckMode::OnTake };
    loop {
        let builder = Client::builder(ClientId(args.id)).socket(&args.socket).ack(ack).times(args.times);
        match builder.interval(Duration::from_millis(args.interval_ms)).connect() {
            Ok(client) => return client,
            // Its daemon may be dead just now, or not know yet that the life before is over.
            Err(_) => thread::park_timeout(Duration::from_millis(5)),
        }
    }
}

fn send(client: &Client, args: &ClientArgs, quiet: &AtomicBool) {
    let mut random = Random(u64::from(args.life));
    let mut next = vec![0_u32; args.dst.len()];
    let gap = Span(1_000_000 / args.rate.max(1));
    let mut due = clock::now();
    while !quiet.load(Ordering::Relaxed) {
        let now = clock::now();
        if now < due {
            thread::park_timeout(Duration::from(due.since(now)));
            continue;
        }
        // After a stop, not all at once what was not sent meanwhile.
        due = now.max(due + gap);
        let place = random.within(&(0..=args.dst.len() - 1));
        let (dst, index) = (args.dst[place], next[place]);
        let message = Payload { flow: (args.life, dst), index, at: now };
        let flags =
            if Payload::is_ordered(index) { SendFlags::WAIT } else { SendFlags::WAIT | SendFlags::UNORDERED };
        match client.send_with(ClientId(dst), &message.bytes(), UserBuf::from(&message.user()), flags) {
            Ok(_) => write(&Entry::Sent { to: (dst, index), at: now }),
            Err(error) => write(&Entry::Broken(format!("send: {error}"))),
        }
        next[place] += 1;
    }
    while client.unresolved() > 0 {
        thread::park_timeout(Duration::from_millis(2));
    }
    // The last callbacks have run when their number is the session's.
    let counters = client.counters();
    write(&Entry::Quiet { acked: counters.acked, failed: counters.failed });
}

fn write(entry: &Entry) {
    // Nobody may be reading any more; then nobody cares.
    if writeln!(io::stdout(), "{entry}").is_err() {}
}
