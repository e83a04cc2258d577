//! `msgctl reload`: SIGHUP, and what the daemon says came of it.

use std::{path::Path, thread, time::Duration};

use msg_proto::units::Span;
use rustix::process::{Pid, Signal, kill_process};

use super::{error::CtlError, status};
use crate::clock;

/// Has the daemon reread its config, and waits until it has.
pub(super) fn run(dir: &Path) -> Result<(), CtlError> {
    let failed = |what: String| Err(CtlError::Answer { path: dir.to_owned(), what });
    let before = status::fetch(dir)?;
    let pid = i32::try_from(before.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return failed("does not say its process; send it SIGHUP".to_owned()) };
    if let Err(error) = kill_process(pid, Signal::HUP) {
        return failed(format!("process {}: {error}", before.pid));
    }
    let deadline = clock::now() + PATIENCE;
    while clock::now() < deadline {
        let after = status::fetch(dir)?;
        if after.pid == before.pid && after.reloads > before.reloads {
            return after.reload_error.map_or(Ok(()), |why| Err(CtlError::NotReloaded(why)));
        }
        thread::park_timeout(GAP);
    }
    failed(format!("has not reread its config in {} ms", PATIENCE.as_millis()))
}

/// Directories of users can be slow.
const PATIENCE: Span = Span::from_millis(30_000);
const GAP: Duration = Duration::from_millis(20);
