//! What must always hold in the due lists.

use super::{DueLists, Entries, List};
use crate::engine::check::{Check, holds, same};

impl DueLists {
    /// Each list is linked both ways, in the order of its times, and holds what says that it stands there.
    pub(crate) fn check(&self, entries: &Entries) -> Check {
        let mut listed = 0;
        for (index, class) in self.classes.iter().enumerate() {
            for list in [List::First, List::Again, List::Last] {
                let ends = class.lists[list as usize];
                let (mut before, mut at) = (None, ends.head);
                while let Some(key) = at {
                    let entry = &entries[key];
                    let Some(place) = entry.place else { return holds("what is listed has a place", false) };
                    same("an entry's class", place.class as usize, index)?;
                    same("an entry's list", place.list, list)?;
                    same("the entry before", place.prev, before)?;
                    let is_behind = before.and_then(|b| entries[b].place).is_none_or(|p| p.at <= place.at);
                    holds("a list is in order", is_behind)?;
                    same("the last list has no retries", list == List::Last, entry.retries_left == 0)?;
                    (before, at) = (at, place.next);
                    listed += 1;
                    holds("a list has an end", listed <= entries.len())?;
                }
                same("a list's end", ends.tail, before)?;
            }
            same("a class that holds anything is scanned", class.scan_at.is_some(), !class.is_empty())?;
        }
        same("entries that are due some time", listed, entries.len())
    }
}
