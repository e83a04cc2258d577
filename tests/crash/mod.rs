//! Crashes of the real programs under traffic (I6): daemons and clients that are killed and stopped at random moments.
//!
//! Two nodes, a relay between them that loses 5 % each way, and three client processes on each that send to all the others
//! all the time. Each process writes what it sends, is given and is told into a pipe, which outlives it; at the end every
//! message of every life is compared with every ledger.
//!
//! * [`run`]: who is killed when. [`client`]: the client's program. [`ledger`]: what a client writes. [`actor`]: its lives.
//! * [`check`]: whether the ledgers are what DESIGN promises. [`recovery`]: how long a new daemon takes.

pub mod actor;
pub mod check;
pub mod client;
pub mod ledger;
pub mod recovery;
pub mod run;
