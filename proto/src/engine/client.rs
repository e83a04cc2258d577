//! Clients, and their connections.

mod check;

use std::collections::{BTreeSet, VecDeque};

use super::{
    Credentials, Fault,
    arena::key,
    chain::{EntryKey, FlowKey},
    inbox::InboxKey,
    lives::Home,
    map::Map,
    output::OutBuffer,
    target::Restored,
};
use crate::{
    control::Arrival,
    ids::{Channel, ClientId, ConnId, Instance, MsgId, Seq},
    limits::{DELIVERY_WINDOW_BYTES, DELIVERY_WINDOW_MESSAGES, MAX_USER_BYTES, MSGID_SPAN},
    units::{Span, Time},
};

key! {
    /// A client incarnation: it outlives its connection until what it sent has ended.
    ClientKey
}

impl From<u32> for ConnId {
    fn from(key: u32) -> Self {
        Self(key)
    }
}

impl From<ConnId> for usize {
    fn from(key: ConnId) -> Self {
        key.index()
    }
}

/// A connection to the client socket.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) peer: Credentials,
    pub(crate) opened_at: Time,
    pub(crate) state: ConnState,
    /// The beginning of a frame whose end has not come.
    pub(crate) partial: Vec<u8>,
    pub(crate) out: OutBuffer,
    /// It stands in the list of connections with new output.
    pub(crate) is_listed: bool,
    /// It stands in the list of connections whose output has room to give back.
    pub(crate) is_roomy: bool,
    /// Something was written to it since that list was gone through.
    pub(crate) was_used: bool,
    /// Why it is to be closed, if that is its client's fault.
    pub(crate) fault: Option<Fault>,
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnState {
    /// REGISTER has not come.
    New,
    /// REGISTER has come; READY has not.
    Registered(ClientKey),
    /// Messages come and go.
    Ready(ClientKey),
    /// It broke a rule, or said goodbye: what it sends is not read.
    Closing,
}

impl ConnState {
    pub(crate) const fn client(self) -> Option<ClientKey> {
        match self {
            Self::Registered(key) | Self::Ready(key) => Some(key),
            Self::New | Self::Closing => None,
        }
    }
}

/// A client incarnation.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) instance: Instance,
    pub(crate) peer: Credentials,
    pub(crate) name: String,
    pub(crate) priority: u8,
    pub(crate) arrival: Arrival,
    /// It takes no more messages, and sees the outcomes of its own.
    pub(crate) is_leaving: bool,
    /// It came back as one that leaves, and has not said DRAINED: what came for it since, to be refused then.
    pub(crate) unanswered: Option<Vec<(InboxKey, MsgId, Seq)>>,
    /// It has not said DRAINED: until then its successors on this node are given nothing in order.
    pub(crate) drained_by: Option<Time>,
    /// What it had begun and not handled when it came back, until it has.
    pub(crate) begun: Option<(InboxKey, Seq)>,
    pub(crate) conn: Option<ConnId>,
    pub(crate) interval: Span,
    pub(crate) times: u8,
    pub(crate) max_stored: u32,
    /// Whom it may send to; `None`: everybody.
    pub(crate) may_send_to: Option<Vec<ClientId>>,
    pub(crate) sent: SentMessages,
    pub(crate) flows: Map<(ClientId, Channel), FlowKey>,
    /// The flow of the last submission, found again without a look-up.
    pub(crate) last_flow: Option<((ClientId, Channel), FlowKey)>,
    /// Runs of msgids whose outcome is `Acked`, not told yet.
    pub(crate) resolved: Vec<(MsgId, u32)>,
    /// Frames with the outcomes that came about while it had no connection: at most `max_stored` of them.
    pub(crate) missed: Vec<u8>,
    /// It came back to this daemon, or to one that was started since: what it submits may have ended already. Or limits
    /// were changed under it: it may have been granted more than it would be now.
    pub(crate) has_returned: bool,
    /// Flows whose floor moved since outcomes were written last.
    pub(crate) moved_flows: Vec<FlowKey>,
    /// Floors that its library knows once so much of the stream is written.
    pub(crate) known_at: VecDeque<(u64, FlowKey, Seq)>,
    /// Flows whose target its library knows then.
    pub(crate) told_targets: VecDeque<(u64, FlowKey)>,
    /// What it said of flows when it came back, until they are used.
    pub(crate) restored: Map<(ClientId, Channel), Restored>,
    /// Without a connection: from when on it counts as gone for good.
    pub(crate) gone_at: Option<Time>,
    pub(crate) queue: ReceiveQueue,
    /// The clientids whose instances it wants to know of, and those of them that it is to be told of.
    pub(crate) subscriptions: Vec<ClientId>,
    pub(crate) presence_due: Vec<ClientId>,
    /// The instances that it watches.
    pub(crate) watches: BTreeSet<(Home, Instance)>,
    /// Inboxes towards it.
    pub(crate) inboxes: Vec<InboxKey>,
    pub(crate) totals: Totals,
}

impl Client {
    /// Whether what is next in order goes to its library as soon as there is room: it takes messages, and nobody else has to
    /// begin any before it.
    pub(crate) const fn takes_at_once(&self) -> bool {
        !self.is_leaving && self.unanswered.is_none() && !self.queue.is_held_back
    }
}

/// What the status tells of a client.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) submitted: u64,
    pub(crate) acked: u64,
    pub(crate) failed: u64,
    pub(crate) taken: u64,
}

/// A client's part of the chain: from msgid to entry.
#[derive(Debug, Default)]
pub(crate) struct SentMessages {
    base: Option<MsgId>,
    ring: VecDeque<Option<EntryKey>>,
    pub(crate) count: u32,
    /// Of them, those for one instance only.
    pub(crate) addressed: u32,
    pub(crate) bytes: usize,
}

impl SentMessages {
    /// How far a msgid is beyond the oldest unresolved one; `None` if it does not follow the newest.
    pub(crate) fn distance(&self, msgid: MsgId) -> Option<u32> {
        match self.base {
            None => Some(0),
            Some(base) => msgid.since(base).filter(|d| *d as usize >= self.ring.len()),
        }
    }

    /// Whether the next message may have that number.
    #[inline]
    pub(crate) fn takes(&self, msgid: MsgId) -> bool {
        self.distance(msgid).is_some_and(|distance| distance < MSGID_SPAN)
    }

    #[inline]
    pub(crate) fn push(&mut self, msgid: MsgId, entry: EntryKey, bytes: usize) {
        if self.ring.is_empty() {
            self.base = Some(msgid);
        }
        let ahead = self.base.and_then(|b| msgid.since(b)).unwrap_or(0) as usize;
        if ahead > self.ring.len() {
            self.ring.resize(ahead, None);
        }
        self.ring.push_back(Some(entry));
        self.count += 1;
        self.bytes += bytes;
    }

    #[inline]
    pub(crate) fn find(&self, msgid: MsgId) -> Option<EntryKey> {
        *self.ring.get(msgid.since(self.base?)? as usize)?
    }

    /// Which of the `count` msgids from `first` on are between the oldest unresolved and the newest, as offsets.
    pub(crate) fn overlap(&self, first: MsgId, count: u32) -> std::ops::Range<u32> {
        let Some(base) = self.base else { return 0..0 };
        let len = u32::try_from(self.ring.len()).unwrap_or(u32::MAX);
        match (first.since(base), base.since(first)) {
            (Some(ahead), _) => 0..count.min(len.saturating_sub(ahead)),
            (None, Some(behind)) => behind.min(count)..count.min(behind.saturating_add(len)),
            (None, None) => 0..0,
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, msgid: MsgId, bytes: usize) {
        let Some(index) = self.base.and_then(|b| msgid.since(b)) else { return };
        if let Some(slot) = self.ring.get_mut(index as usize)
            && slot.take().is_some()
        {
            self.count -= 1;
            self.bytes -= bytes;
        }
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.base = self.base.map(MsgId::next);
        }
    }

    /// The entries, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = EntryKey> + '_ {
        self.ring.iter().flatten().copied()
    }
}

/// What a client is being given, and what waits for it.
#[derive(Debug, Default)]
pub(crate) struct ReceiveQueue {
    /// What the library dropped as stale, the last of it: nobody has it until it comes again.
    pub(crate) dropped: VecDeque<(InboxKey, MsgId, Seq)>,
    /// On their way to the library, in the order of their numbers.
    deliveries: VecDeque<Delivery>,
    /// The number of the first of them.
    first: u64,
    /// Bytes of those.
    window_bytes: usize,
    /// Bytes held in inboxes and half reassembled.
    pub(crate) held_bytes: usize,
    /// Messages held in inboxes.
    pub(crate) held: usize,
    /// Inboxes that wait for room in the window, in turn.
    pub(crate) blocked: VecDeque<InboxKey>,
    /// The round with which a new inbox begins: of an earlier one of the same flow, which was forgotten, the library may
    /// still drop what has a lower one.
    pub(crate) first_round: u32,
    /// Ordered flows are given nothing: who had them before it may still have to begin what it took (I5).
    pub(crate) is_held_back: bool,
}

/// A message on its way to a library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delivery {
    pub(crate) inbox: InboxKey,
    pub(crate) msgid: MsgId,
    pub(crate) seq: Seq,
    pub(crate) round: u32,
    pub(crate) len: usize,
    /// The stream offset where its frame begins: once anything of it is written, it may have been taken.
    pub(crate) starts_at: u64,
    /// It is for this instance only, which takes it though it leaves.
    pub(crate) is_addressed: bool,
    /// It was dropped, or refused: a TAKEN that covers it does not mean it.
    pub(crate) is_stale: bool,
}

impl ReceiveQueue {
    /// Whether a delivery of `len` bytes may go to the library. One always may.
    pub(crate) fn has_room(&self, len: usize) -> bool {
        self.deliveries.is_empty()
            || (self.window_bytes + len <= DELIVERY_WINDOW_BYTES
                && self.deliveries.len() < DELIVERY_WINDOW_MESSAGES)
    }

    /// Bytes that count against `client_queue_bytes`.
    pub(crate) const fn bytes(&self) -> usize {
        self.window_bytes + self.held_bytes + self.held * HELD_BYTES
    }

    /// Messages given and not taken, and waiting.
    pub(crate) fn messages(&self) -> usize {
        self.deliveries.len() + self.held
    }

    /// The number of the next delivery; they count from 1.
    pub(crate) fn next_number(&self) -> u64 {
        self.first + self.deliveries.len() as u64 + 1
    }

    pub(crate) fn push(&mut self, delivery: Delivery) {
        self.window_bytes += delivery.len;
        self.deliveries.push_back(delivery);
    }

    /// The next delivery that is taken with all up to `upto`; call until `None`.
    pub(crate) fn pop(&mut self, upto: u64) -> Option<Delivery> {
        if self.first >= upto {
            return None;
        }
        let delivery = self.deliveries.pop_front()?;
        self.first += 1;
        self.window_bytes -= delivery.len;
        Some(delivery)
    }

    /// Stale deliveries in front are done with: no TAKEN comes for them while nothing behind them is taken.
    pub(crate) fn pop_stale(&mut self) {
        while self.deliveries.front().is_some_and(|d| d.is_stale) {
            self.pop(u64::MAX);
        }
    }

    /// All on their way, in order.
    pub(crate) fn given(&mut self) -> impl Iterator<Item = &mut Delivery> {
        self.deliveries.iter_mut()
    }

    /// Whether that number is one of a delivery on its way, or of an earlier one.
    pub(crate) fn is_known(&self, number: u64) -> bool {
        number > 0 && number < self.next_number()
    }

    pub(crate) fn find(&mut self, number: u64) -> Option<&mut Delivery> {
        let index = usize::try_from(number.checked_sub(self.first + 1)?).ok()?;
        self.deliveries.get_mut(index)
    }

    /// The deliveries behind one that is on its way.
    pub(crate) fn behind(&mut self, number: u64) -> impl Iterator<Item = &mut Delivery> {
        let index = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.deliveries.iter_mut().skip(index)
    }

    /// Whether a message of that inbox is on its way.
    pub(crate) fn is_giving(&self, inbox: InboxKey) -> bool {
        self.deliveries.iter().any(|d| d.inbox == inbox)
    }

    /// Everything on its way: the connection is gone.
    pub(crate) fn drain(&mut self) -> Vec<Delivery> {
        self.first = 0;
        self.window_bytes = 0;
        self.dropped.clear();
        self.deliveries.drain(..).collect()
    }
}

/// What a message that waits counts for beside its bytes: messages may be empty, and what keeps them is not.
const HELD_BYTES: usize = MAX_USER_BYTES;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn msgids_are_found_across_the_wrap_and_gaps() {
        let mut sent = SentMessages::default();
        sent.push(MsgId(u32::MAX), EntryKey(1), 10);
        sent.push(MsgId(0), EntryKey(2), 10);
        assert_eq!(sent.distance(MsgId(0)), None);
        assert_eq!(sent.distance(MsgId(5)), Some(6));
        sent.push(MsgId(5), EntryKey(3), 10);
        assert_eq!(sent.find(MsgId(5)), Some(EntryKey(3)));
        assert_eq!(sent.find(MsgId(3)), None);
        assert_eq!(sent.overlap(MsgId(4), 9), 0..2);
        assert_eq!(sent.overlap(MsgId(u32::MAX - 2), 4), 2..4);
        assert_eq!(sent.overlap(MsgId(u32::MAX - 2), 1), 1..1);
        assert_eq!(sent.overlap(MsgId(7), 4), 0..0);
        sent.remove(MsgId(u32::MAX), 10);
        sent.remove(MsgId(u32::MAX), 10);
        sent.remove(MsgId(0), 10);
        assert_eq!((sent.count, sent.bytes), (1, 10));
        assert_eq!(sent.iter().collect::<Vec<_>>(), [EntryKey(3)]);
        assert_eq!(sent.find(MsgId(5)), Some(EntryKey(3)));
    }

    #[test]
    fn so_many_deliveries_are_on_their_way() {
        let mut queue = ReceiveQueue::default();
        for n in 0..DELIVERY_WINDOW_MESSAGES {
            assert!(queue.has_room(1), "{n}");
            queue.push(Delivery {
                inbox: InboxKey(0),
                msgid: MsgId(1),
                seq: Seq(1),
                round: 0,
                len: 1,
                starts_at: 0,
                is_addressed: false,
                is_stale: false,
            });
        }
        assert!(!queue.has_room(1));
    }

    #[test]
    fn i7_empty_messages_that_wait_count_too() {
        let queue = ReceiveQueue { held: 3, held_bytes: 10, ..ReceiveQueue::default() };
        assert_eq!(queue.bytes(), 10 + 3 * HELD_BYTES);
    }

    #[test]
    fn taken_is_cumulative() {
        let mut queue = ReceiveQueue::default();
        let delivery = |seq| Delivery {
            inbox: InboxKey(0),
            msgid: MsgId(seq),
            seq: Seq(seq),
            round: 0,
            len: 100,
            starts_at: 0,
            is_addressed: false,
            is_stale: false,
        };
        for seq in 0..3 {
            assert_eq!(queue.next_number(), u64::from(seq) + 1);
            queue.push(delivery(seq));
        }
        assert_eq!(queue.find(2).map(|d| d.seq), Some(Seq(1)));
        assert!(queue.find(0).is_none() && queue.find(4).is_none());
        assert!(queue.is_known(3) && !queue.is_known(4) && !queue.is_known(0));
        assert_eq!(queue.pop(2).map(|d| d.seq), Some(Seq(0)));
        assert_eq!(queue.pop(2).map(|d| d.seq), Some(Seq(1)));
        assert!(queue.pop(2).is_none());
        assert_eq!(queue.bytes(), 100);
        queue.find(3).unwrap().is_stale = true;
        queue.pop_stale();
        assert!(queue.is_known(3) && queue.find(3).is_none());
        assert_eq!(
            (queue.bytes(), queue.next_number()),
            (0, 4),
            "a window full of stale ones does not stay full"
        );
    }
}
