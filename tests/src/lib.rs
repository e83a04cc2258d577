//! Shared pieces of the tests.

/// The README's Rust example is compiled with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
