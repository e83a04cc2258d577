#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The C test programs under AddressSanitizer (with LeakSanitizer) and ThreadSanitizer: the programs and all of libmsg.a but
# Rust's standard library are instrumented. Needs a nightly toolchain (sanitizers are not stable) and clang or gcc.
#
#     libmsg/sanitize.sh [address|thread]...       both, unless told which
#
# A finding ends it with a status that is not 0.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
host=$(rustc -vV | sed -n 's/^host: //p')
cc=${CC:-clang}
sysroot=$(rustc +nightly --print sysroot)
work=$(mktemp -d)
daemon=

finish() {
    status=$?
    [ -z "$daemon" ] || kill "$daemon" 2>/dev/null || true
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 1' INT TERM

[ $# -gt 0 ] || set -- address thread

cargo build --quiet -p msgd --bin msgd --manifest-path "$root/Cargo.toml" --target-dir "$target"
cat > "$work/msgd.toml" <<END
[node]
name = "vm-a"
listen = ["127.0.0.1:0"]
runtime_dir = "$work"
[chain]
interval_ms = 200
times = 3
END
"$target/debug/msgd" --config "$work/msgd.toml" 2> "$work/log" &
daemon=$!
tries=0
while [ ! -S "$work/msgd.sock" ]; do
    tries=$((tries + 1))
    if [ $tries -gt 100 ]; then
        cat "$work/log" >&2
        exit 1
    fi
    sleep 0.1
done
export MSGD_SOCKET="$work/msgd.sock"

# die_after_fork: fork.c has a child that starts a thread, which ThreadSanitizer can do, though it warns.
export ASAN_OPTIONS=detect_leaks=1
export TSAN_OPTIONS=exitcode=66:second_deadlock_stack=1:die_after_fork=0

# Programs of a sanitizer need addresses where they expect them, which much randomness does not give.
plain() {
    if command -v setarch >/dev/null; then setarch -R "$@"; else "$@"; fi
}

sanitizers=$*
for sanitizer in $sanitizers; do
    case $sanitizer in
    address) runtime=asan cfg= ;;
    # src/sync.rs says what the cfg is for.
    thread) runtime=tsan cfg='--cfg msg_tsan' ;;
    *)
        echo "usage: sanitize.sh [address|thread]..." >&2
        exit 2
        ;;
    esac
    echo "== $sanitizer: $(rustc +nightly --version), $($cc --version | head -n 1)"
    RUSTFLAGS="-Zsanitizer=$sanitizer -Cunsafe-allow-abi-mismatch=sanitizer $cfg" \
        cargo +nightly build --quiet -p libmsg --manifest-path "$root/Cargo.toml" \
        --target "$host" --target-dir "$target/sanitize-$sanitizer"
    lib=$target/sanitize-$sanitizer/$host/debug/libmsg.a
    # Rust's runtime, for both: the compiler's own may be older than what the library was made for.
    runtime=$sysroot/lib/rustlib/$host/lib/librustc-nightly_rt.$runtime.a

    for run in "misuse" "callbacks" "smallest" "fork" "threads 4 2000" "open -"; do
        # shellcheck disable=SC2086
        set -- $run
        name=$1
        shift
        "$cc" -std=c99 -g -O1 -fno-omit-frame-pointer -fsanitize="$sanitizer" -c -I"$here/include" \
            "$here/tests/c/$name.c" -o "$work/$name.o"
        "$cc" "$work/$name.o" "$lib" -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -Wl,--export-dynamic \
            -lpthread -ldl -lm -lrt -o "$work/$name"
        printf '%s: ' "$run"
        plain "$work/$name" "$@"
    done
done
echo "nothing found"
