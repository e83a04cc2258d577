//! When the chain's entries are due (R2, R4, R5).
//!
//! Entries with equal `interval` form a class. Within it, an entry stands in one of three lists, each in the
//! order of its times, because what is added to it is due one `interval` after the moment of adding (what comes in late is sorted in):
//!
//! * `First`: sent once, or waiting to be; due a whole number of intervals after the send;
//! * `Again`: retransmitted by a scan; due one interval after that scan's nominal time, so that a scan that
//!   ran late does not push the outcome out (I1);
//! * `Last`: its last copy is out; it fails when that one's interval is over.
//!
//! A scan runs every `interval / 2` while the class holds anything (R2), and looks only at the fronts.

mod check;

use super::{
    arena::Arena,
    chain::{Entry, EntryKey},
};
use crate::{
    limits::LAST_COPY_SLACK_MS,
    units::{Span, Time},
};

/// Which list of its class an entry stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    First = 0,
    Again = 1,
    Last = 2,
}

/// An entry's place in the lists.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    class: u32,
    list: List,
    prev: Option<EntryKey>,
    next: Option<EntryKey>,
    /// When it is due.
    pub(crate) at: Time,
}

/// When an entry's time began, and how it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) interval: Span,
    pub(crate) sent_at: Time,
}

/// What a scan found due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    /// No answer within its interval: send it again (R4).
    Retransmit(EntryKey),
    /// No answer to the last copy either: it fails (R5).
    Fail(EntryKey),
}

/// The lists.
#[derive(Debug, Default)]
pub(crate) struct DueLists {
    classes: Vec<Class>,
}

#[derive(Debug)]
struct Class {
    interval: Span,
    lists: [Ends; 3],
    /// The nominal time of the next scan, while the class holds anything.
    scan_at: Option<Time>,
    /// The nominal time of the scan that runs now, or ran last.
    scanned_at: Time,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ends {
    head: Option<EntryKey>,
    tail: Option<EntryKey>,
}

type Entries = Arena<EntryKey, Entry>;

impl DueLists {
    /// The class of an interval. There are no more than clients with intervals of their own.
    pub(crate) fn class(&mut self, interval: Span) -> u32 {
        let found = self.classes.iter().position(|c| c.interval == interval);
        let index = found.unwrap_or_else(|| self.open_class(interval));
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn open_class(&mut self, interval: Span) -> usize {
        let class = Class { interval, lists: [Ends::default(); 3], scan_at: None, scanned_at: Time(0) };
        let free = self.classes.iter().position(Class::is_empty);
        match free {
            Some(index) => self.classes[index] = class,
            None => self.classes.push(class),
        }
        free.unwrap_or(self.classes.len() - 1)
    }

    /// Adds an entry that was sent at `sent_at`: its intervals count from there, however late it comes in (I1).
    pub(crate) fn add(&mut self, entries: &mut Entries, key: EntryKey, life: Life, now: Time) {
        let Life { interval, sent_at } = life;
        let class = self.class(interval);
        self.classes[class as usize].scan_at.get_or_insert(now + interval.div(2));
        let (age, entry) = (now.since(sent_at), &mut entries[key]);
        let (list, at) = match age < interval && entry.retries_left > 0 {
            true => (List::First, sent_at + interval),
            false => entry.place_late(life, age),
        };
        self.push(entries, key, Place { class, list, prev: None, next: None, at });
    }

    /// Takes an entry out: its outcome is known.
    pub(crate) fn remove(&mut self, entries: &mut Entries, key: EntryKey) {
        let Some(place) = entries[key].place.take() else { return };
        let class = &mut self.classes[place.class as usize];
        let ends = &mut class.lists[place.list as usize];
        match place.prev {
            Some(prev) => set_next(entries, prev, place.next),
            None => ends.head = place.next,
        }
        match place.next {
            Some(next) => set_prev(entries, next, place.prev),
            None => ends.tail = place.prev,
        }
        if class.is_empty() {
            class.scan_at = None;
        }
    }

    /// An entry gets no more copies, and ends at `at` if no outcome comes before.
    pub(crate) fn end_by(&mut self, entries: &mut Entries, key: EntryKey, at: Time) {
        let Some(place) = entries[key].place.filter(|p| p.list != List::Last || p.at > at) else { return };
        let scan_at = self.classes[place.class as usize].scan_at;
        self.remove(entries, key);
        self.classes[place.class as usize].scan_at = scan_at;
        let entry = &mut entries[key];
        entry.retries_left = 0;
        self.push(entries, key, Place { list: List::Last, at, ..place });
    }

    /// The next entry that is due at `now`, moved to where it stands from now on. Call until it gives `None`.
    ///
    /// Begin with [`begin_scan`](Self::begin_scan).
    pub(crate) fn pop(&mut self, entries: &mut Entries, now: Time) -> Option<Due> {
        for index in 0..self.classes.len() {
            let class = &self.classes[index];
            let front = |list: List| class.lists[list as usize].head;
            let due =
                |list: List, by: Time| front(list).filter(|k| entries[*k].place.is_some_and(|p| p.at <= by));
            if let Some(key) = due(List::Last, now) {
                return Some(Due::Fail(key));
            }
            let scanned_at = class.scanned_at;
            if let Some(key) = due(List::First, scanned_at).or_else(|| due(List::Again, scanned_at)) {
                self.move_on(entries, key, index, now);
                return Some(Due::Retransmit(key));
            }
        }
        None
    }

    /// Starts the scans whose time has come; returns how many.
    pub(crate) fn begin_scan(&mut self, now: Time) -> u64 {
        let mut scans = 0;
        for class in &mut self.classes {
            let half = class.interval.div(2);
            while let Some(at) = class.scan_at.filter(|at| *at <= now) {
                class.scanned_at = at;
                class.scan_at = Some(at + half);
                scans += 1;
            }
        }
        scans
    }

    /// When something may be due next: the next scan, or the end of a last copy's interval.
    pub(crate) fn next_at(&self, entries: &Entries) -> Option<Time> {
        let last = |c: &Class| c.lists[List::Last as usize].head.and_then(|k| entries[k].place).map(|p| p.at);
        self.classes.iter().fold(None, |first, c| Time::first_of([first, c.scan_at, last(c)]))
    }

    fn move_on(&mut self, entries: &mut Entries, key: EntryKey, index: usize, now: Time) {
        self.remove(entries, key);
        let class = &mut self.classes[index];
        let entry = &mut entries[key];
        entry.retries_left = entry.retries_left.saturating_sub(1);
        let (list, at) = match entry.retries_left {
            0 => (List::Last, now + class.interval + Span::from_millis(LAST_COPY_SLACK_MS)),
            _ => (List::Again, class.scanned_at + class.interval),
        };
        class.scan_at.get_or_insert(class.scanned_at + class.interval.div(2));
        let class = u32::try_from(index).unwrap_or(0);
        self.push(entries, key, Place { class, list, prev: None, next: None, at });
    }

    /// Puts an entry into its list, in the order of times: behind the last one, but for what comes in late.
    #[inline]
    fn push(&mut self, entries: &mut Entries, key: EntryKey, place: Place) {
        let ends = &mut self.classes[place.class as usize].lists[place.list as usize];
        let mut before = ends.tail;
        while let Some(earlier) = before.and_then(|k| entries[k].place.as_ref()).filter(|p| p.at > place.at) {
            before = earlier.prev;
        }
        let after = match before {
            Some(before) => entries[before].place.as_mut().and_then(|p| p.next.replace(key)),
            None => ends.head.replace(key),
        };
        match after {
            Some(after) => set_prev(entries, after, Some(key)),
            None => ends.tail = Some(key),
        }
        entries[key].place = Some(Place { prev: before, next: after, ..place });
    }
}

impl Entry {
    /// Where one stands that comes in so long after it was sent, or is sent once: which list, and when it is due.
    #[cold]
    fn place_late(&mut self, life: Life, age: Span) -> (List, Time) {
        let Life { interval, sent_at } = life;
        let passed = if age < interval { 0 } else { age.0 / interval.0.max(1) };
        // Of one that comes after its time nothing is left, and its outcome is due at once.
        let passed = passed.min(u64::from(self.retries_left));
        let left = u64::from(self.retries_left) - passed;
        self.retries_left = u8::try_from(left).unwrap_or(u8::MAX);
        match left {
            // A copy of an earlier daemon may have left as late as half an interval behind its time, and is handed over for one
            // more (I4).
            0 => (List::Last, sent_at + interval.times(passed + 1) + interval.div(2)),
            _ => (List::First, sent_at + interval.times(passed + 1)),
        }
    }
}

impl Class {
    fn is_empty(&self) -> bool {
        self.lists.iter().all(|l| l.head.is_none())
    }
}

fn set_next(entries: &mut Entries, key: EntryKey, next: Option<EntryKey>) {
    if let Some(place) = &mut entries[key].place {
        place.next = next;
    }
}

fn set_prev(entries: &mut Entries, key: EntryKey, prev: Option<EntryKey>) {
    if let Some(place) = &mut entries[key].place {
        place.prev = prev;
    }
}
