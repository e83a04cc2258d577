#!/bin/bash
# Runs the tests with one mutant alive after the other, in an order that is random but the same each time, so that a part
# is a fair sample. Goes on where it was stopped. Results: DIR/results, one line a mutant.
#
# usage: [QUICK=1] tests/mutants/run.sh DIR [HOW_MANY]
# QUICK: those that all tests let pass are not looked for in the worlds of many_worlds, nor in the seconds of goodput.
set -u
dir=$(cd "$1" && pwd)
count=${2:-1000000}
export PROPTEST_CASES=32
touch "$dir/results"
"$dir/tool/release/mutants" names "$dir/list.json" >"$dir/names"
cd "$dir/tree/proto"

# What came of one program, mutant, seconds of processor time, arguments: survived, caught, timeout.
judge() {
    (
        ulimit -t "$3" -v 6000000
        MUTANT=$2 exec timeout 600 "$dir/$1" -q $4
    ) >/dev/null 2>&1
    case $? in
        0) echo survived ;;
        124 | 137 | 152) echo timeout ;;
        *) echo caught ;;
    esac
}

while read -r id name; do
    case $name in proto/src/engine/*) set -- together msg_proto ;; *) set -- msg_proto together ;; esac
    result=$(judge "$1" "$id" 10 "--skip goodput")
    [ "$result" != survived ] || result=$(judge "$2" "$id" 10 "--skip goodput")
    if [ "$result" = survived ] && [ -z "${QUICK:-}" ]; then
        result=$(judge together "$id" 60 --include-ignored)
    fi
    [ "$result" != survived ] || result=missed
    echo "$id $result $name" >>"$dir/results"
done < <(shuf --random-source="$dir/names" "$dir/names" | awk -v count="$count" '
    BEGIN { while ((getline line < "'"$dir"'/results") > 0) { split(line, w, " "); done[w[1]] = 1 }
            while ((getline line < "'"$dir"'/left-out") > 0) done[line] = 1
            while ((getline line < "'"$dir"'/unplaced") > 0) { n = split(line, w, " "); for (i = 1; i <= n; i++) done[w[i]] = 1 } }
    !($1 in done) && count-- > 0')
