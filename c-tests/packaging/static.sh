#!/usr/bin/env bash
# static.sh SCRATCH PREFIX LIBDIR: builds programs that need no shared library, at a fixed address (-static) and at any
# (-static-pie), in C and in C++, by pkg-config and by CMake.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/variants.sh
. "$here/variants.sh"
scratch=$1 prefix=$2 libdir=$3
rm -rf "$scratch"
mkdir -p "$scratch"
cd "$scratch"
needs readelf

export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
for kind in -static -static-pie; do
    echo 'int main(void) { return 0; }' >empty.c
    if ! "${CC:-cc}" "$kind" empty.c -o empty 2>/dev/null || ! ./empty; then
        left_out "this C compiler links nothing with $kind"
    fi

    # Word splitting is how the output of pkg-config is used.
    # shellcheck disable=SC2046
    "${CC:-cc}" "$kind" "$here/host.c" -o "c$kind" $(pkg-config --static --cflags --libs noxu_feeder)
    # shellcheck disable=SC2046
    "${CXX:-c++}" "$kind" "$here/host.cpp" -o "c++$kind" $(pkg-config --static --cflags --libs noxu_feeder)
    "${CMAKE:-cmake}" -S "$here/find_package" -B "cmake$kind" -DCMAKE_PREFIX_PATH="$prefix" \
        -DCMAKE_EXE_LINKER_FLAGS="$kind" -DCMAKE_POSITION_INDEPENDENT_CODE=ON
    "${CMAKE:-cmake}" --build "cmake$kind" --target host_static
    for program in "c$kind" "c++$kind" "cmake$kind/host_static"; do
        "./$program"
        is_static "$program"
    done
done
