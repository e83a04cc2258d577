//! Between the status threads and the I/O loop: questions go through a bounded channel, each answer through one of its
//! own. The loop never waits for either.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;
use msg_proto::{
    engine::Engine,
    ids::ClientId,
    status::{ChainEntry, StatusDocument},
    units::{Span, Time},
};

use crate::limits::{STATUS_CONNECTIONS, STATUS_GAP_US};

/// What an observer may ask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    Status,
    Chain {
        client: Option<ClientId>,
        limit: usize,
    },
    /// Not a question: clients are to take no more, all or those with that number.
    Drain {
        client: Option<ClientId>,
    },
}

/// What it is told.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(Arc<StatusDocument>),
    Chain(Vec<ChainEntry>),
    /// So many clients were asked.
    Drain(usize),
}

#[derive(Debug)]
struct Slip {
    question: Question,
    answer: Sender<Answer>,
}

/// The observers' side.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    questions: Sender<Slip>,
    waker: Arc<Waker>,
}

/// The loop's side.
#[derive(Debug)]
pub(crate) struct Desk {
    questions: Receiver<Slip>,
    /// There may be some: each is put in before the event that says so.
    may_be_asked: bool,
    started: Time,
    last: Option<Time>,
    reloads: u64,
    reload_error: Option<String>,
}

/// The two sides.
pub(crate) fn bridge(waker: Arc<Waker>, started: Time) -> (Visitor, Desk) {
    let (sender, receiver) = bounded(STATUS_CONNECTIONS);
    let desk = Desk {
        questions: receiver,
        may_be_asked: false,
        started,
        last: None,
        reloads: 0,
        reload_error: None,
    };
    (Visitor { questions: sender, waker }, desk)
}

impl Visitor {
    /// Asks, and waits for the answer; `None`: not in that time.
    pub(crate) fn ask(&self, question: Question, timeout: Duration) -> Option<Answer> {
        let (answer, answers) = bounded(1);
        self.questions.try_send(Slip { question, answer }).ok()?;
        self.waker.wake().ok()?;
        answers.recv_timeout(timeout).ok()
    }
}

impl Desk {
    /// The waker's event has come.
    pub(crate) const fn on_event(&mut self) {
        self.may_be_asked = true;
    }

    /// When to answer, if somebody asks.
    pub(crate) fn due(&self) -> Option<Time> {
        if !self.may_be_asked || self.questions.is_empty() {
            return None;
        }
        Some(self.last.map_or(Time(0), |last| last + Span(STATUS_GAP_US)))
    }

    /// The config was reread, and not taken if there is an error.
    pub(crate) fn record_reload(&mut self, error: Option<String>) {
        self.reloads += 1;
        self.reload_error = error;
    }

    /// Answers who waits, if it is time: all who ask for the status get one document, and one question about chains is
    /// answered at most. `own` are the driver's counters, which the engine does not know.
    pub(crate) fn answer(&mut self, now: Time, engine: &mut Engine, own: &[(&str, u64)]) {
        if self.due().is_none_or(|due| now < due) {
            return;
        }
        self.last = Some(now);
        let mut document = None;
        for slip in self.questions.try_iter().take(STATUS_CONNECTIONS) {
            match slip.question {
                Question::Status => {
                    let document = document.get_or_insert_with(|| Arc::new(self.document(now, engine, own)));
                    give(&slip.answer, Answer::Status(Arc::clone(document)));
                }
                Question::Drain { client } => {
                    let asked = engine.handle_drain(now, client);
                    let whom = client.map_or("all clients".to_owned(), |id| format!("client {id}"));
                    tracing::info!("drain of {whom}: {asked} asked");
                    give(&slip.answer, Answer::Drain(asked));
                }
                Question::Chain { client, limit } => {
                    give(&slip.answer, Answer::Chain(engine.chain_status(now, client, limit)));
                    break;
                }
            }
        }
        // What is asked from here on has an event of its own.
        self.may_be_asked = !self.questions.is_empty();
    }

    fn document(&self, now: Time, engine: &Engine, own: &[(&str, u64)]) -> StatusDocument {
        let mut document = engine.status(now);
        env!("CARGO_PKG_VERSION").clone_into(&mut document.version);
        document.uptime_ms = now.since(self.started).as_millis();
        document.pid = std::process::id();
        (document.reloads, document.reload_error) = (self.reloads, self.reload_error.clone());
        let own: BTreeMap<_, _> = own.iter().map(|&(name, value)| (name.to_owned(), value)).collect();
        document.counters.extend(own);
        document
    }
}

fn give(to: &Sender<Answer>, answer: Answer) {
    // The channel has room for the one answer; who no longer waits for it has gone.
    if to.try_send(answer).is_err() {}
}
