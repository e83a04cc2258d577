#!/bin/sh
# Breaks the engine in one way after the other, and says after how many seeds the simulator found it.
# A patch that is not found, or does not apply, makes it fail.
#
# usage: tests/sim/broken/run.sh [SEEDS] [PATCH...]
set -eu
root=$(git rev-parse --show-toplevel)
here=$root/tests/sim/broken
tree=$root/target/broken/tree
seeds=${1:-1000}
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- "$here"/*.patch
export CARGO_TARGET_DIR="$root/target/broken/build"
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_INCREMENTAL=true

git -C "$root" worktree add --force --detach "$tree" HEAD >/dev/null 2>&1 ||
    git -C "$tree" checkout --quiet --force --detach "$(git -C "$root" rev-parse HEAD)"
missed=0
printf '| %-28s | %-20s | %5s |\n' 'broken engine' 'found as' 'seeds'
for patch; do
    name=$(basename "$patch" .patch)
    git -C "$tree" checkout --quiet .
    git -C "$tree" apply "$patch"
    (cd "$tree" && cargo build --quiet --release -p msg-tests --bin sim 2>/dev/null)
    out=$("$CARGO_TARGET_DIR/release/sim" --seeds "$seeds" --jobs 1 --no-shrink) && missed=1
    found=$(printf '%s\n' "$out" | sed -n 's/^seed [0-9]*: \([A-Za-z0-9]*\) .*/\1/p' | head -1)
    count=$(printf '%s\n' "$out" | sed -n 's/^\([0-9]*\) seeds, .*/\1/p')
    printf '| %-28s | %-20s | %5s |\n' "$name" "${found:-not found}" "$count"
done
git -C "$tree" checkout --quiet .
exit $missed
