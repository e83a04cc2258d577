//! msgd.

pub mod ctl;
pub mod relay;
