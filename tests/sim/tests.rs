//! Seeds that found something once, and a fixed set of others.
