#!/bin/sh
# SPDX-License-Identifier: Apache-2.0 OR MIT
# The C and C++ test programs under AddressSanitizer (with LeakSanitizer) and ThreadSanitizer: the programs and all of libmsg.a but
# Rust's standard library are instrumented. Needs a nightly toolchain (sanitizers are not stable) and clang or gcc, for C and C++.
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
cxx=${CXX:-$cc++}
[ -n "${CXX:-}" ] || [ "$cc" != gcc ] || cxx=g++
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

cargo build --quiet -p msgd --bin msgd --bin msgctl --manifest-path "$root/Cargo.toml" --target-dir "$target"
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

# Runs a program to its end; one that asks for it is drained.
run() {
    plain "$@" > "$work/said" &
    program=$!
    while kill -0 $program 2>/dev/null; do
        if grep -q '^drain me$' "$work/said"; then
            "$target/debug/msgctl" --runtime-dir "$work" drain 200 > "$work/drained" || true
            break
        fi
        sleep 0.1
    done
    status=0
    wait $program || status=$?
    cat "$work/said"
    return $status
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

    for words in "misuse" "callbacks" "calls" "instances" "smallest" "fork" "threads 4 2000" "open -" "wrapper_calls"; do
        # shellcheck disable=SC2086
        set -- $words
        name=$1
        shift
        compiler=$cc source=$here/tests/c/$name.c standard=c99
        if [ ! -e "$source" ]; then
            compiler=$cxx source=$here/tests/c/$name.cpp standard=c++11
        fi
        "$compiler" -std=$standard -g -O1 -fno-omit-frame-pointer -fsanitize="$sanitizer" -c -I"$here/include" \
            "$source" -o "$work/$name.o"
        "$compiler" "$work/$name.o" "$lib" -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -Wl,--export-dynamic \
            -lpthread -ldl -lm -lrt -o "$work/$name"
        printf '%s: ' "$words"
        run "$work/$name" "$@"
    done
done
echo "nothing found"
