//! The service manager: what it is told, and what it hands over. Without one, nothing of this does anything.
//!
//! * `sockets`: the listeners that it holds, so that connections and datagrams wait while there is no daemon.
//! * `watchdog`: the loop says that it turns.

mod sockets;
mod watchdog;

use sd_notify::NotifyState;

pub use self::sockets::Inherited;
pub(crate) use self::watchdog::Watchdog;
use crate::clock;

/// The daemon is ready; `status` is the line that `systemctl status` shows.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// The daemon rereads its config; [`ready`] must follow, whatever comes of it.
pub(crate) fn reloading() {
    notify(&[NotifyState::Reloading, NotifyState::MonotonicUsec(clock::monotonic_micros().into())]);
}

/// The daemon is stopping.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// The line that `systemctl status` shows.
pub(crate) fn status(line: &str) {
    notify(&[NotifyState::Status(&one_line(line))]);
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager is not told: {error}");
    }
}

/// A line break would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
