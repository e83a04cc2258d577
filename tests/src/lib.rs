//! What msgd's tests share. Each kind of test is a folder that says what it is.

#[path = "../sim/mod.rs"]
pub mod sim;

/// The README's Rust example is compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
