//! Names the C library: programs that link `libmsg.so` ask the loader for `libmsg.so.0`, whose ABI stays as it is.

#![allow(clippy::print_stdout, reason = "it is how a build script tells cargo anything")]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Set by sanitize.sh; src/sync.rs says what for.
    println!("cargo:rustc-check-cfg=cfg(msg_tsan)");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libmsg.so.0");
}
