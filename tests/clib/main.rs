//! The C library as C, C++ and Python programs meet it: installed, compiled against, loaded, run against a real daemon.
//!
//! * `header`: the headers say what the library does. `install`: what `install.sh` puts where, and that it serves.
//! * `examples`: they compile with every compiler there is, and run. `programs`: the test programs in `libmsg/tests/c`.
//! * `misuse`: what `msg_open` says of daemons that are not there, not msgd, or of another version.
//! * `pingpong`: a program that knows only the library's path, twice, through two daemons.
//! * `memcheck`: valgrind over the examples. `python`: the module and its tests.
//! * `tools`: compilers, and running what they made.
//!
//! What needs a tool that is not installed prints `SKIPPED` and why.

mod examples;
mod header;
mod install;
mod memcheck;
mod misuse;
mod pingpong;
mod programs;
mod python;
mod tools;
