//! `msg-test-client SOCKET ID INTERVAL_MS TIMES SEED FROM TO [MODE]...`: a client that tests can stop and kill.
//!
//! It says `ready` when it is registered. Told `send DST COUNT` it sends that many messages of the pattern and says
//! `sent`; told `flush` it says `flushed ACKED FAILED` when every message has its outcome. For each message that
//! comes, and each that fails, it says so. Calls of [`ECHO`] it answers with the request, and tells of each that it runs as
//! of a message. Asked by its daemon to take no more, it says `drained` when it is, and ends.

use std::{
    env,
    io::{self, BufRead as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    str::FromStr,
    thread,
    time::Duration,
};

use msg::{AckMode, Arrival, Client, ClientId, Failure, Instance, Message, SendFlags};
use msg_tests::{
    client_process::{ECHO, taken_line},
    party::Taken,
    pattern,
};
use msgd::clock;

fn main() -> ExitCode {
    match Options::from_command_line() {
        Some(options) => run(&options),
        None => {
            say("usage: msg-test-client SOCKET ID INTERVAL_MS TIMES SEED FROM TO");
            ExitCode::from(2)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "what a service does with a message takes its time")]
fn do_work(work: Duration) {
    thread::sleep(work);
}

struct Options {
    socket: PathBuf,
    id: ClientId,
    interval: Duration,
    times: u8,
    seed: u64,
    sizes: (usize, usize),
    modes: Vec<String>,
}

impl Options {
    fn from_command_line() -> Option<Self> {
        let mut words = env::args().skip(1);
        let socket = words.next()?.into();
        Some(Self {
            socket,
            id: ClientId(number(words.next())?),
            interval: Duration::from_millis(number(words.next())?),
            times: number(words.next())?,
            seed: number(words.next())?,
            sizes: (number(words.next())?, number(words.next())?),
            modes: words.collect(),
        })
    }
}

fn run(options: &Options) -> ExitCode {
    let Options { socket, id, interval, times, seed, sizes, modes } = options;
    let mut builder = Client::builder(*id).socket(socket).interval(*interval).times(*times);
    for mode in modes {
        builder = match mode.as_str() {
            "beside" => builder.arrival(Arrival::Beside),
            "takeover" => builder.arrival(Arrival::Takeover),
            "handled" => builder.ack(AckMode::OnHandled),
            "slow" | "threads" => builder,
            _ => builder.priority(1),
        };
    }
    let client = match builder.connect() {
        Ok(client) => client,
        Err(error) => {
            say(&error.to_string());
            return ExitCode::FAILURE;
        }
    };
    client.on_failure(|_, Failure { msgid, dst, verdict, .. }| {
        say(&format!("failed {dst} {msgid} {:?} {:?}", verdict.reason, verdict.certainty));
    });
    let (seed, id, sizes) = (*seed, *id, *sizes);
    let work = if modes.iter().any(|mode| mode == "slow") { WORK } else { Duration::ZERO };
    client.on_message(move |_, Message { src, data, .. }| {
        let taken =
            Taken { src: src.client, incarnation: src.incarnation, data: data.to_vec(), at: clock::now() };
        say(&taken_line(&taken, seed, id, sizes));
        do_work(work);
    });
    client.serve(ECHO, move |client, call| {
        let Instance { client: src, incarnation } = call.from.instance;
        let ran = Taken { src, incarnation, data: call.request, at: clock::now() };
        say(&taken_line(&ran, seed, id, sizes));
        do_work(work);
        client.reply(&call.responder, &ran.data).expect("it waits for it");
    });
    say("ready");
    let client = &client;
    thread::scope(|scope| {
        scope.spawn(|| {
            // Until the process is ended: that is what it is for.
            while !client.is_draining() && client.dispatch(None).is_ok() {}
            if client.drain(None).is_ok() {
                say("drained");
                std::process::abort();
            }
        });
        if modes.iter().any(|mode| mode == "threads") {
            // They read what the first one does not, while it runs callbacks, and the other way round.
            for _ in 0..3 {
                scope.spawn(|| {
                    while !client.is_draining() && client.dispatch(Duration::from_millis(1)).is_ok() {}
                });
            }
        }
        obey(client, options);
    });
    ExitCode::SUCCESS
}

fn obey(client: &Client, options: &Options) {
    let mut next = 0;
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["send", dst, count] => {
                let dst = ClientId(dst.parse().expect("a clientid"));
                let count: u32 = count.parse().expect("a count");
                for index in next..next + count {
                    send(client, options, dst, index);
                }
                next += count;
                say("sent");
            }
            ["flush"] => {
                while client.unresolved() > 0 {
                    thread::park_timeout(Duration::from_millis(5));
                }
                let counters = client.counters();
                say(&format!("flushed {} {}", counters.acked, counters.failed));
            }
            _ => say("what?"),
        }
    }
    // Who told it what to do is gone.
    std::process::abort();
}

fn send(client: &Client, options: &Options, dst: ClientId, index: u32) {
    let Options { id, seed, sizes, .. } = options;
    let payload = pattern::payload(*seed, (*id, dst), index, &(sizes.0..=sizes.1));
    let user = pattern::user(*seed, (*id, dst), index);
    client.send_with(dst, &payload, user, SendFlags::WAIT).expect("sent");
}

/// What a slow one takes for each message and each call: more come, so it is always at one, and others wait for it.
const WORK: Duration = Duration::from_millis(1);

fn say(line: &str) {
    // Nobody may be reading any more; then nobody cares.
    if writeln!(io::stdout(), "{line}").is_err() {}
}

fn number<T: FromStr>(word: Option<String>) -> Option<T> {
    word?.parse().ok()
}
