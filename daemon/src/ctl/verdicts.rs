//! Failures counted by reason and certainty.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use msg_proto::outcome::Verdict;
use serde::Serialize;

use super::table::{Align::Left, Align::Right, Table};

/// How many messages failed in one way.
#[derive(Serialize, PartialEq, Eq, Debug)]
pub(super) struct FailedBy {
    reason: &'static str,
    certainty: &'static str,
    messages: u64,
}

/// In the order of the reasons' values.
pub(super) fn count(verdicts: impl IntoIterator<Item = Verdict>) -> Vec<FailedBy> {
    let mut groups = BTreeMap::new();
    for Verdict { reason, certainty } in verdicts {
        *groups.entry((reason, certainty)).or_insert(0) += 1;
    }
    let groups = groups.into_iter();
    groups.map(|((r, c), messages)| FailedBy { reason: r.name(), certainty: c.name(), messages }).collect()
}

/// A table of them.
pub(super) fn write(groups: &[FailedBy], out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(&[("FAILED BY", Left), ("CERTAINTY", Left), ("MESSAGES", Right)]);
    for group in groups {
        table.row([group.reason.to_owned(), group.certainty.to_owned(), group.messages.to_string()]);
    }
    table.write(out, "nothing failed")
}

#[cfg(test)]
mod tests {
    use msg_proto::outcome::{Certainty, Reason};

    use super::*;

    #[test]
    fn each_reason_and_certainty_is_counted_apart() {
        let verdict = |reason, certainty| Verdict { reason, certainty };
        let groups = count([
            verdict(Reason::NoAnswer, Certainty::Unknown),
            verdict(Reason::NoRoute, Certainty::NotStarted),
            verdict(Reason::NoAnswer, Certainty::Unknown),
            verdict(Reason::NoAnswer, Certainty::NotStarted),
        ]);
        let mut out = Vec::new();
        write(&groups, &mut out).unwrap();
        let lines = "FAILED BY  CERTAINTY   MESSAGES\nNoRoute    NotStarted         1\n\
                     NoAnswer   NotStarted         1\nNoAnswer   Unknown            2\n";
        assert_eq!(String::from_utf8(out).unwrap(), lines);
    }
}
