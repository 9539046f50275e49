#!/usr/bin/env bash
# examples_cpp.sh SCRATCH PREFIX SOURCES: what examples.sh does, for the examples in C++.
set -euo pipefail
scratch=$1 prefix=$2 sources=$3
rm -rf "$scratch"
mkdir -p "$scratch"
# What runs them is with the examples in C.
cp -R "$sources/examples/c" "$sources/examples/cpp" "$scratch"
"${CMAKE:-cmake}" -S "$scratch/cpp" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$prefix" \
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_CXX_FLAGS=-Werror
"${CMAKE:-cmake}" --build "$scratch/build"
ctest=$(dirname "${CMAKE:-$(command -v cmake)}")/ctest
"$ctest" --test-dir "$scratch/build" --output-on-failure --no-tests=error
