//! What msgd's tests share. Each kind of test is a folder that says what it is.
//!
//! * [`node`]: a daemon as a process of its own, and two of them joined by a relay. [`program`]: where its program is.
//! * [`party`]: a client that sends and receives known messages and remembers all of it. [`promise`]: whether
//!   what it remembers is what DESIGN promises. [`pattern`]: the messages.
//! * [`client_process`]: a client in a process that can be stopped and killed.
//! * [`mod@fuzz`]: what reads bytes from outside, as functions of any bytes.
//! * [`direct`]: two engines and their clients' sessions in memory, for what is counted.
//! * [`wait`]: waiting for a condition. [`report`]: figures and seeds, printed.

pub mod client_process;
pub mod direct;
pub mod fuzz;
pub mod node;
pub mod party;
pub mod pattern;
pub mod program;
pub mod promise;
pub mod report;
pub mod wait;

#[path = "../crash/mod.rs"]
pub mod crash;

#[path = "../sim/mod.rs"]
pub mod sim;

/// The README's Rust example is compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
