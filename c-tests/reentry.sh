#!/usr/bin/env bash
# reentry.sh SYMBOLS HEADER PROGRAM: the tables of reentry.c have every function in SYMBOLS, and every place where a host
# gives a function to the library: each function pointer in a struct, each parameter that is a callback.
set -euo pipefail
symbols=$1
header=$2
program=$3
export LC_ALL=C

# "struct.member" or "function.parameter", from the header's declarations; comments are left out.
places() {
    sed -e 's|/\*.*\*/||' -e '/\/\*/,/\*\//d' "$header" | tr '\n' ' ' | tr ';{}' '\n' | awk '
        match($0, /typedef struct [a-z_]+ *$/) { split(substr($0, RSTART), words, " "); owner = words[3]; next }
        /typedef/ { next }
        match($0, /nxf_[a-z_]+\(/) && !/\(\*/ { owner = substr($0, RSTART, RLENGTH - 1); named = 1 }
        match($0, /\(\*[a-z_]+\)/) { print owner "." substr($0, RSTART + 2, RLENGTH - 3) }
        {
            rest = $0
            while (match(rest, /nxf_[a-z]+_callback +[a-z_]+/)) {
                split(substr(rest, RSTART, RLENGTH), words, " ")
                print owner "." words[2]
                rest = substr(rest, RSTART + RLENGTH)
            }
        }' | sort -u
}

same() { # WHAT ONE OTHER
    if ! difference=$(diff "$2" "$3"); then
        printf '%s (<), and in reentry.c (>):\n%s\n' "$1" "$difference"
        exit 1
    fi
}

same "Exported functions" "$symbols" <("$program" functions | sort)
[[ $(places | wc -l) -gt 10 ]] || { echo "Hardly a place was found in $header"; exit 1; }
same "Functions that a host gives in $header" <(places) <("$program" places | sort)
