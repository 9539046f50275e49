#!/usr/bin/env bash
# examples.sh SCRATCH PREFIX SOURCES: the examples, copied out of the sources as a user would, are built against the
# package, and each runs.
set -euo pipefail
scratch=$1 prefix=$2 sources=$3
rm -rf "$scratch"
mkdir -p "$scratch"
cp -R "$sources/examples/c" "$scratch/c"
"${CMAKE:-cmake}" -S "$scratch/c" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_BUILD_TYPE=RelWithDebInfo \
    -DCMAKE_C_FLAGS=-Werror
"${CMAKE:-cmake}" --build "$scratch/build"
ctest=$(dirname "${CMAKE:-$(command -v cmake)}")/ctest
"$ctest" --test-dir "$scratch/build" --output-on-failure --no-tests=error
