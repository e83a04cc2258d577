//! A line on its way from the thread that says it to the one that writes it.

use std::fmt::{self, Write as _};

use crossbeam_channel::{Sender, TrySendError};
use tracing::{
    Event, Subscriber,
    callsite::Identifier,
    field::{Field, Visit},
};
use tracing_subscriber::layer::{Context, Layer};

use super::{DROPPED, Item};

/// A line and its fields.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) level: tracing::Level,
    /// Which place in the code says it.
    pub(super) site: Identifier,
    pub(super) text: String,
    pub(super) fields: Fields,
}

/// What a line is about, for those who look for it by field.
#[derive(Default, Debug)]
pub(super) struct Fields {
    pub(super) clientid: Option<String>,
    pub(super) peer: Option<String>,
    pub(super) reason: Option<String>,
}

/// Takes every line, never waits, and counts those for which there is no room.
pub(super) struct Capture(pub(super) Sender<Item>);

impl<S: Subscriber> Layer<S> for Capture {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        let mut record = Record {
            level: *metadata.level(),
            site: metadata.callsite(),
            text: String::new(),
            fields: Fields::default(),
        };
        event.record(&mut record);
        if let Err(TrySendError::Full(_)) = self.0.try_send(Item::Record(record)) {
            DROPPED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    /// The fields are for looking things up; the text says it all without them.
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let fields = &mut self.fields;
        let known = match field.name() {
            "message" => {
                self.text.insert_str(0, &format!("{value:?}"));
                return;
            }
            "clientid" => &mut fields.clientid,
            "peer" => &mut fields.peer,
            "reason" => &mut fields.reason,
            name => {
                let written = write!(self.text, " {name}={value:?}");
                debug_assert!(written.is_ok(), "a String takes what is written to it");
                return;
            }
        };
        *known = Some(format!("{value:?}"));
    }
}
