//! msgd.
