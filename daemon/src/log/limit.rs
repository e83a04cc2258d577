//! How often one place in the code is heard.

use std::collections::HashMap;

use msg_proto::units::{Span, Time};
use tracing::callsite::Identifier;

use crate::limits::{LOG_GAP_US, LOG_LINES_PER_GAP};

/// A budget for each place that says something: what goes wrong a million times a second is not to push out of the
/// journal what went wrong once.
#[derive(Default, Debug)]
pub(super) struct RateLimit {
    /// As many as there are places in the code.
    sites: HashMap<Identifier, Site>,
}

#[derive(Debug)]
struct Site {
    since: Time,
    lines: u32,
    suppressed: u64,
}

/// What to do with a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ruling {
    /// Write it. So many of its kind were suppressed before it.
    Write { suppressed: u64 },
    /// There were enough of its kind.
    Suppress,
}

impl RateLimit {
    pub(super) fn rule(&mut self, now: Time, site: Identifier) -> Ruling {
        let site = self.sites.entry(site).or_insert(Site { since: now, lines: 0, suppressed: 0 });
        if now.since(site.since) >= Span(LOG_GAP_US) {
            (site.since, site.lines) = (now, 0);
        }
        if site.lines >= LOG_LINES_PER_GAP {
            site.suppressed += 1;
            return Ruling::Suppress;
        }
        site.lines += 1;
        Ruling::Write { suppressed: std::mem::take(&mut site.suppressed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_has_its_budget_and_tells_what_it_left_out() {
        let site = tracing::callsite!(name: "test", kind: tracing::metadata::Kind::EVENT, fields: x);
        let site = tracing::callsite::Callsite::metadata(site).callsite();
        let mut limit = RateLimit::default();
        for _ in 0..LOG_LINES_PER_GAP {
            assert_eq!(limit.rule(Time(5), site.clone()), Ruling::Write { suppressed: 0 });
        }
        assert_eq!(limit.rule(Time(6), site.clone()), Ruling::Suppress);
        assert_eq!(limit.rule(Time(LOG_GAP_US + 4), site.clone()), Ruling::Suppress);
        assert_eq!(limit.rule(Time(LOG_GAP_US + 5), site.clone()), Ruling::Write { suppressed: 2 });
        assert_eq!(limit.rule(Time(LOG_GAP_US + 6), site), Ruling::Write { suppressed: 0 });
    }
}
