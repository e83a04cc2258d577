#!/usr/bin/env bash
# Instructions for a message, from the send to its outcome, in both engines and sessions (no socket): callgrind counts
# them, so what else the machine does makes no difference. Compares with instructions.txt, and fails beyond a tenth more.
# --update writes it anew.
set -euo pipefail
cd "$(dirname "$0")"
command -v valgrind >/dev/null || { echo "SKIPPED: valgrind is not installed"; exit 0; }
cargo build --quiet --release -p msg-tests --bin bench
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

collected() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$target/release/bench" direct "$@" 2>&1 |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

# What the start takes is in both, and falls out.
each() {
    local messages=$1 burst=$2 size=$3 few many
    few=$(collected "$messages" "$burst" "$size")
    many=$(collected $((messages * 2)) "$burst" "$size")
    echo $(((many - few) / messages))
}

found=$(
    echo "at-once size instructions"
    for case in "4000 1 64" "4000 1 256" "20000 100 64" "20000 100 256" "1000 10 16384"; do
        read -r messages burst size <<<"$case"
        echo "$burst $size $(each "$messages" "$burst" "$size")"
    done
)
if [ "${1:-}" = --update ]; then
    echo "$found" >instructions.txt
    column -t instructions.txt
    exit
fi
status=0
while read -r burst size now _ _ before; do
    [ "$burst" = at-once ] && { echo "at-once size before now percent"; continue; }
    echo "$burst $size $before $now $(((now - before) * 100 / before))"
    [ "$now" -le $((before * 11 / 10)) ] || status=1
done < <(paste -d ' ' <(echo "$found") instructions.txt) > >(column -t)
exit $status
