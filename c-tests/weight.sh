#!/usr/bin/env bash
# weight.sh LIBRARY STRIP PROGRAM LIMIT: says how large the shared library is without its debug information, and how long
# it takes to load, which PROGRAM (tests/load_time.c) measures. Fails above LIMIT bytes; 0: no limit.
set -euo pipefail
library=$1 strip=$2 program=$3 limit=$4

stripped=$PWD/stripped.so
"$strip" --strip-unneeded -o "$stripped" "$library"
bytes=$(wc -c <"$stripped" | tr -d ' ')
echo "size: $((bytes / 1024)) KiB stripped, $(($(wc -c <"$library") / 1024)) KiB with debug information"
"$program" "$stripped"
rm -f "$stripped"

if [ "$limit" != 0 ] && [ "$bytes" -gt "$limit" ]; then
    echo "The stripped library has $bytes bytes, above the limit of $limit: see what has come in, or raise the limit."
    exit 1
fi
