//! What msgd's tests share. Each kind of test is a folder that says what it is.

pub mod fuzz;
