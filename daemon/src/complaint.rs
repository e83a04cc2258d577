//! Log lines about what may happen a million times a second.

use msg_proto::units::{Span, Time};

use crate::limits::LOG_GAP_US;

/// One kind of log line, written every ten seconds at most.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    last: Option<Time>,
    suppressed: u64,
}

impl Complaint {
    /// Whether to write it now, and how many were suppressed since it was last written.
    pub(crate) fn due(&mut self, now: Time) -> Option<u64> {
        if self.last.is_some_and(|last| now.since(last) < Span(LOG_GAP_US)) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_made_once_in_ten_seconds_and_tells_what_it_left_out() {
        let mut complaint = Complaint::default();
        assert_eq!(complaint.due(Time(5)), Some(0));
        assert_eq!(complaint.due(Time(6)), None);
        assert_eq!(complaint.due(Time(LOG_GAP_US)), None);
        assert_eq!(complaint.due(Time(LOG_GAP_US + 5)), Some(2));
        assert_eq!(complaint.due(Time(LOG_GAP_US * 2 + 5)), Some(0));
    }
}
