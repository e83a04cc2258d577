#!/bin/sh
# Makes the program with all mutants in DIR: DIR/unit and DIR/together, and DIR/list.json, DIR/left-out.
#
# usage: tests/mutants/prepare.sh DIR
set -eu
root=$(git rev-parse --show-toplevel)
mkdir -p "$1"
dir=$(cd "$1" && pwd)
tool="$dir/tool/release/mutants"
CARGO_TARGET_DIR="$dir/tool" cargo build --quiet --release --manifest-path "$root/tests/mutants/Cargo.toml"
(cd "$root" && cargo mutants --list --json) >"$dir/list.json"
export CARGO_TARGET_DIR="$dir/build"
touch "$dir/left-out"
while :; do
    rm -rf "$dir/tree"
    mkdir "$dir/tree"
    (cd "$root" && git ls-files -z -co --exclude-standard | tar -c --null -T -) | tar -x -C "$dir/tree"
    cp "$root/tests/mutants/switch.rs" "$dir/tree/proto/src/switch.rs"
    printf '#[allow(dead_code, missing_docs)]\nmod switch;\n' >>"$dir/tree/proto/src/lib.rs"
    "$tool" weave "$dir/list.json" "$dir/left-out" "$dir/tree" >"$dir/unplaced"
    cd "$dir/tree"
    RUSTFLAGS="--cap-lints allow" cargo check --profile mutants -p msg-proto --lib --message-format json >"$dir/messages" 2>/dev/null && break
    "$tool" blame "$dir/tree" <"$dir/messages" >"$dir/blamed"
    echo "do not compile: $(cat "$dir/blamed")"
    [ -n "$(tr -d ' \n' <"$dir/blamed")" ] || exit 1
    tr ' ' '\n' <"$dir/blamed" >>"$dir/left-out"
done
RUSTFLAGS="--cap-lints allow" cargo test --profile mutants -p msg-proto --lib --test together --no-run --message-format json >"$dir/messages"
for name in msg_proto together; do
    sed -n "s/.*\"name\":\"$name\".*\"test\":true.*\"executable\":\"\([^\"]*\)\".*/\1/p" "$dir/messages" | tail -1 | xargs -I{} cp {} "$dir/$name"
done
