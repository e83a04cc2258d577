//! ctl
pub mod clock;
