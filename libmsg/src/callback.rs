//! Running callbacks, with the lock released.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt, iter, mem,
    ops::Range,
};

use msg_proto::{
    call::Procedure,
    ids::{Channel, Instance, MsgId},
    local::DrainCause,
    session::{Delivery, Event, Failure, Message, PresenceEvent, Session},
    units::{Span, Time},
};

use crate::{
    Call, Client, Received,
    call::{CallResult, DoneFn, OnCall},
    client::Inner,
    clock,
    lock::Guard,
    thread::Thread,
};

pub(crate) type OnFailure = Box<dyn FnMut(&Client, &Failure) + Send>;
pub(crate) type OnMessage = Box<dyn FnMut(&Client, &Message<'_>) + Send>;
pub(crate) type OnPresence = Box<dyn FnMut(&Client, &PresenceEvent) + Send>;
pub(crate) type OnDrain = Box<dyn FnMut(&Client, DrainCause) + Send>;

/// The user's callbacks. While they run they are not here. Dropping one runs the user's code, which may call the client: never with
/// the lock.
#[derive(Default)]
pub(crate) struct Callbacks {
    on_failure: Option<OnFailure>,
    on_message: Option<OnMessage>,
    on_presence: Option<OnPresence>,
    on_drain: Option<OnDrain>,
    /// Set or removed since the running callbacks were taken out: those do not come back.
    new_on_failure: bool,
    new_on_message: bool,
    new_on_presence: bool,
    new_on_drain: bool,
    takes_messages: bool,
    handlers: HashMap<Procedure, OnCall>,
    /// The next batch's memory.
    batch: Option<Box<Batch>>,
    /// The last batch took so long that what was taken had better be acked before the next.
    slow: bool,
}

/// Which callbacks a call runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kinds {
    All,
    Failures,
    /// As `Failures`; the messages are the caller's.
    Messages,
}

/// What one release of the lock hands out. Its memory is used again.
#[derive(Default)]
struct Batch {
    failures: Vec<Failure>,
    drain: Option<DrainCause>,
    /// In the order in which they came, and how many messages before each.
    presences: Vec<(usize, PresenceEvent)>,
    messages: Vec<Head>,
    data: Vec<u8>,
    /// Alone in its batch: what is judged when it is begun must not wait behind others.
    call: Option<Call>,
    ended: Vec<(DoneFn, CallResult)>,
}

/// A message whose bytes are in the batch.
struct Head {
    src: Instance,
    msgid: MsgId,
    channel: Channel,
    age: Span,
    data: Range<usize>,
}

/// The callbacks while they run. Dropping it, in a panic too, puts them back and lets others run them.
struct Turn<'a> {
    client: &'a Client,
    on_failure: Option<OnFailure>,
    on_message: Option<OnMessage>,
    on_presence: Option<OnPresence>,
    on_drain: Option<OnDrain>,
    handler: Option<(Procedure, OnCall)>,
}

impl Client {
    /// Runs callbacks until nothing that was read waits for one. Returns how many. None, if another thread (or a
    /// callback) is at it. `now` is later afterwards, if any ran.
    pub(crate) fn run_callbacks<'a>(
        &'a self,
        mut inner: Guard<'a, Inner>,
        kinds: Kinds,
        now: &mut Time,
    ) -> (Guard<'a, Inner>, usize) {
        let mut count = 0;
        let mut written = *now;
        while inner.running.is_none() && inner.may_have_for(kinds) {
            let begun = *now;
            let mut batch = inner.callbacks.batch.take().unwrap_or_default();
            batch.fill(&mut inner, kinds, begun);
            if batch.is_empty() {
                inner.callbacks.batch = Some(batch);
                break;
            }
            inner.handing_over = batch.messages.len() + usize::from(batch.call.is_some());
            if inner.callbacks.slow || batch.call.is_some() || batch.drain.is_some() {
                // R7: what was taken is acked at once, not when all of it was handled. A procedure may take long, and so
                // may what is done about a drain.
                inner.write(begun);
                written = begun;
            }
            inner.running = Some(Thread::here());
            let procedure = batch.call.as_ref().map(|call| call.procedure);
            let turn = Turn {
                client: self,
                on_failure: inner.callbacks.on_failure.take(),
                on_message: inner.callbacks.on_message.take(),
                on_presence: inner.callbacks.on_presence.take(),
                on_drain: inner.callbacks.on_drain.take(),
                handler: procedure.and_then(|p| inner.callbacks.handlers.remove_entry(&p)),
            };
            (inner.callbacks.new_on_failure, inner.callbacks.new_on_message) = (false, false);
            (inner.callbacks.new_on_presence, inner.callbacks.new_on_drain) = (false, false);
            drop(inner);
            count += turn.run(&mut batch);
            inner = self.lock();
            inner.link.session.message_handled();
            let ended = clock::now();
            *now = ended;
            inner.turn_calls(ended);
            inner.callbacks.slow = ended.since(begun) > SLOW_BATCH;
            // Whoever called writes what is left when no more waits.
            if ended.since(written) > WRITE_AFTER || inner.link.has_a_chunk() {
                inner.write(ended);
                written = ended;
            }
            batch.clear();
            inner.callbacks.batch = Some(batch);
        }
        (inner, count)
    }
}

impl Inner {
    /// Whether there may be something for a callback. Most times that one looks there is nothing.
    fn may_have_for(&self, kinds: Kinds) -> bool {
        let session = &self.link.session;
        let may_have_messages = || kinds == Kinds::All && (session.has_messages() || !self.calls.is_quiet());
        session.has_notices() || session.has_presence() || may_have_messages()
    }
}

impl Callbacks {
    #[must_use = "to be dropped without the lock"]
    pub(crate) fn set_on_failure(&mut self, callback: Option<OnFailure>) -> Option<OnFailure> {
        self.new_on_failure = true;
        mem::replace(&mut self.on_failure, callback)
    }

    #[must_use = "to be dropped without the lock"]
    pub(crate) fn set_on_message(&mut self, callback: Option<OnMessage>) -> Option<OnMessage> {
        self.takes_messages = callback.is_some();
        self.new_on_message = true;
        mem::replace(&mut self.on_message, callback)
    }

    #[must_use = "to be dropped without the lock"]
    pub(crate) fn set_on_presence(&mut self, callback: Option<OnPresence>) -> Option<OnPresence> {
        self.new_on_presence = true;
        mem::replace(&mut self.on_presence, callback)
    }

    #[must_use = "to be dropped without the lock"]
    pub(crate) fn set_on_drain(&mut self, callback: Option<OnDrain>) -> Option<OnDrain> {
        self.new_on_drain = true;
        mem::replace(&mut self.on_drain, callback)
    }

    #[must_use = "to be dropped without the lock"]
    pub(crate) fn set_handler(&mut self, procedure: Procedure, handler: OnCall) -> Option<OnCall> {
        self.handlers.insert(procedure, handler)
    }

    /// Whether there is a message callback, running or not.
    pub(crate) const fn takes_messages(&self) -> bool {
        self.takes_messages
    }
}

impl Batch {
    fn fill(&mut self, inner: &mut Inner, kinds: Kinds, now: Time) {
        let session = &mut inner.link.session;
        while let Some(event) = session.poll_notice() {
            match event {
                Event::Failed(failure) if inner.callbacks.on_failure.is_some() => self.failures.push(failure),
                Event::Drain(cause) if inner.callbacks.on_drain.is_some() => self.drain = Some(cause),
                // The others are states; whoever waits for one asks the session.
                _ => {}
            }
        }
        self.fill_presences(&mut inner.link.session, inner.callbacks.on_presence.is_some());
        if kinds != Kinds::All {
            return;
        }
        inner.turn_calls(now);
        self.ended.extend(iter::from_fn(|| inner.calls.poll_ended()).take(BATCH_MESSAGES));
        self.fill_messages(inner, now);
        if self.is_empty() {
            self.call = inner.calls.poll_job(now);
            // What was not begun is answered.
            inner.turn_calls(now);
        }
    }

    /// Takes the changes of presence whose turn it is; without a callback nobody hears of them.
    fn fill_presences(&mut self, session: &mut Session, is_wanted: bool) {
        while let Some(event) = session.poll_presence() {
            if is_wanted {
                self.presences.push((self.messages.len(), event));
            }
        }
    }

    fn fill_messages(&mut self, inner: &mut Inner, now: Time) {
        let Inner { callbacks, link, calls, .. } = inner;
        if callbacks.on_message.is_none() {
            if calls.is_used() || link.session.has_call_next() {
                inner.take_calls(now);
            }
            return;
        }
        while self.has_room() {
            if let Some(message) = calls.take_stashed() {
                let Received { src, msgid, channel, age, data } = message;
                self.push(&Message { src, msgid, channel, age, data: &data });
                continue;
            }
            if calls.has_jobs() {
                // They go before what came after them.
                return;
            }
            link.session.take_messages(now, |message| {
                self.push(message);
                self.has_room()
            });
            if !self.has_room() {
                return;
            }
            if let Some(delivery) = link.session.poll_delivery(now) {
                match delivery {
                    Delivery::Message(message) => self.push(&message),
                    Delivery::Call(message) => {
                        calls.handle_message(now, &message);
                        link.session.message_handled();
                    }
                }
            } else if link.session.has_presence() {
                self.fill_presences(&mut link.session, callbacks.on_presence.is_some());
            } else {
                return;
            }
        }
    }

    const fn has_room(&self) -> bool {
        self.messages.len() < BATCH_MESSAGES && self.data.len() < BATCH_BYTES
    }

    #[inline]
    fn push(&mut self, message: &Message<'_>) {
        let Message { src, msgid, channel, age, data } = *message;
        let start = self.data.len().next_multiple_of(MESSAGE_ALIGN);
        self.data.resize(start, 0);
        self.data.extend_from_slice(data);
        let data = start..self.data.len();
        self.messages.push(Head { src, msgid, channel, age, data });
    }

    fn is_empty(&self) -> bool {
        self.failures.is_empty()
            && self.messages.is_empty()
            && self.presences.is_empty()
            && self.drain.is_none()
            && self.ended.is_empty()
            && self.call.is_none()
    }

    fn clear(&mut self) {
        self.drain = None;
        self.presences.clear();
        self.failures.clear();
        self.messages.clear();
        self.data.clear();
        self.data.shrink_to(2 * BATCH_BYTES);
    }
}

impl Turn<'_> {
    fn run(mut self, batch: &mut Batch) -> usize {
        let mut count = batch.ended.len();
        for (callback, result) in batch.ended.drain(..) {
            callback(self.client, result);
        }
        if let Some(on_failure) = &mut self.on_failure {
            batch.failures.iter().for_each(|failure| on_failure(self.client, failure));
            count += batch.failures.len();
        }
        if let Some((on_drain, cause)) = self.on_drain.as_mut().zip(batch.drain) {
            on_drain(self.client, cause);
            count += 1;
        }
        let mut presences = batch.presences.as_slice();
        if let Some(on_message) = &mut self.on_message {
            for (before, Head { src, msgid, channel, age, data }) in batch.messages.iter().enumerate() {
                while let [(at, event), rest @ ..] = presences
                    && *at <= before
                {
                    tell(self.client, self.on_presence.as_mut(), event);
                    presences = rest;
                }
                let data = &batch.data[data.clone()];
                on_message(
                    self.client,
                    &Message { src: *src, msgid: *msgid, channel: *channel, age: *age, data },
                );
            }
            count += batch.messages.len();
        }
        for (_, event) in presences {
            tell(self.client, self.on_presence.as_mut(), event);
        }
        count += batch.presences.len();
        if let Some((call, (_, handler))) = batch.call.take().zip(self.handler.as_mut()) {
            handler(self.client, call);
            count += 1;
        }
        count
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut inner = self.client.lock();
        let callbacks = &mut inner.callbacks;
        if !callbacks.new_on_failure {
            callbacks.on_failure = self.on_failure.take();
        }
        if !callbacks.new_on_message {
            callbacks.on_message = self.on_message.take();
        }
        if !callbacks.new_on_presence {
            callbacks.on_presence = self.on_presence.take();
        }
        if !callbacks.new_on_drain {
            callbacks.on_drain = self.on_drain.take();
        }
        if let Some((procedure, handler)) = self.handler.take() {
            match callbacks.handlers.entry(procedure) {
                Entry::Vacant(place) => drop(place.insert(handler)),
                // Another was set meanwhile. This one is dropped without the lock, as the callbacks are that stay here.
                Entry::Occupied(_) => self.handler = Some((procedure, handler)),
            }
        }
        (inner.running, inner.handing_over) = (None, 0);
        if inner.waiting > 0 {
            self.client.changed.notify_all();
        }
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks").field("slow", &self.slow).finish_non_exhaustive()
    }
}

fn tell(client: &Client, on_presence: Option<&mut OnPresence>, event: &PresenceEvent) {
    if let Some(on_presence) = on_presence {
        on_presence(client, event);
    }
}

/// Messages that are taken at once. With `AckMode::OnHandled` the session gives one at a time.
const BATCH_MESSAGES: usize = 64;

/// Where messages begin in a batch, which begins where `malloc` puts it: C programs cast what they get.
const MESSAGE_ALIGN: usize = 16;

/// Bytes that are taken at once, but for the last message.
const BATCH_BYTES: usize = 256 << 10;

/// What was taken, and what handlers sent, is written this often while there is more to hand out.
const WRITE_AFTER: Span = Span(200);

/// A batch that takes longer delays acks noticeably.
const SLOW_BATCH: Span = Span(500);
