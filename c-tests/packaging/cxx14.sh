#!/usr/bin/env bash
# cxx14.sh SCRATCH INCLUDE: a compiler for C++14 says once that noxu_feeder.hpp needs C++17, and nothing else. It
# accepts noxu_feeder.h.
set -euo pipefail
scratch=$1 include=$2
rm -rf "$scratch"
mkdir -p "$scratch"
cd "$scratch"
for standard in c++11 c++14; do
    echo '#include <noxu_feeder.hpp>' >hpp.cpp
    if LC_ALL=C "${CXX:-c++}" -std="$standard" -I"$include" -fsyntax-only hpp.cpp 2>log; then
        echo "noxu_feeder.hpp compiles as $standard"
        exit 1
    fi
    if [ "$(grep -c 'error' log)" != "$(grep -c 'error.*needs C++17' log)" ] || [ "$(grep -c 'error: ' log)" != 1 ]; then
        cat log
        exit 1
    fi
    cat log
    echo '#include <noxu_feeder.h>' >h.cpp
    "${CXX:-c++}" -std="$standard" -Wall -Wextra -Werror -pedantic -I"$include" -fsyntax-only h.cpp
done
