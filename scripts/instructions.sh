#!/usr/bin/env bash
# Counts the instructions that an entry and an ack cost on their way through the library, with callgrind: figures that
# no other load on the machine changes. Fails when one is above its limit. The limits are half as much again as what
# was counted when they were set: they are there for what makes a path half as long again.
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$root"
setup rust
setup_has valgrind || fail "valgrind is not there, and callgrind is part of it."

work=$root/target/instructions
mkdir -p "$work"
program=$(cargo bench --locked --no-run --bench instructions --message-format=json 2>/dev/null |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$program" ] || fail "the program to count was not built: cargo bench --no-run --bench instructions"

failed=no
count() { # PATH ENTRIES LIMIT
    local out=$work/$1.callgrind log=$work/$1.log instructions each
    valgrind --tool=callgrind --collect-atstart=no --toggle-collect="measured_$1" --callgrind-out-file="$out" \
        "$program" "$1" "$2" >"$log" 2>&1 || { cat "$log"; fail "callgrind failed on $1"; }
    instructions=$(sed -n 's/^totals: \([0-9]*\).*/\1/p' "$out")
    each=$((instructions / $2))
    printf '%-5s %5s instructions each, at most %s\n' "$1" "$each" "$3"
    [ "$each" -gt 0 ] || fail "nothing was counted in measured_$1"
    if [ "$each" -gt "$3" ]; then
        failed=yes
        callgrind_annotate "$out" | sed -n '/Ir/,$p' | head -n 30
    fi
}

# The payloads have 100 bytes. Counted were 470, 622 and 28.
count scan 100000 720
count send 100000 940
count ack 1000000 45
[ "$failed" = no ] || fail "the profiles of what is above its limit are above and in ${work#"$root"/}"
