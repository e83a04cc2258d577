//! End to end: the real daemons as processes, clients through the library, a bad network between them.
//!
//! * `loss`: lost, doubled, delayed and corrupted datagrams. `cut`: a line that carries nothing for a while, one way.
//!   `chain`: three nodes, everybody to everybody. `fragments`: messages of every size.
//! * `life`: in which order things start, and come and go. `death`: processes that die. `quotas`: queues that are full.
//! * `deploy`: processes and daemons that are replaced, drained and killed in turn, with other instances beside them.
//!   `drain`: the same as an operator asks for it. `serve`: `msgctl serve`, and how it ends.
//! * `calls`: requests and replies. `replies`: to whom they go. `truth`: what each fault makes of a call, cell by cell.
//! * `outage`: a daemon that is away or stands still; clients that come back late.
//! * `clocks`: nodes whose clocks differ by a day.
//! * `datagrams`, `local_socket`, `crowd`: what bad input gets. `scripted`: a peer that does as the test says.
//! * `versions`: programs of other versions.
//! * `status`: what the daemon says of itself. `idle`: a daemon with nothing to do.

mod calls;
mod chain;
mod clocks;
mod crowd;
mod cut;
mod datagrams;
mod death;
mod deploy;
mod drain;
mod fragments;
mod idle;
mod life;
mod local_socket;
mod loss;
mod outage;
mod quotas;
mod replies;
mod scripted;
mod serve;
mod status;
mod truth;
mod versions;
