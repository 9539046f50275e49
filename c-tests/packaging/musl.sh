#!/usr/bin/env bash
# musl.sh SCRATCH SOURCES CARGO: builds for musl, whose Rust brings an unwinder of its own. One host is built by
# pkg-config and linked statically, others by CMake with both libraries.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/variants.sh
. "$here/variants.sh"
scratch=$1 sources=$2 cargo=$3
target=$(uname -m)-unknown-linux-musl
rm -rf "$scratch"
mkdir -p "$scratch"
needs musl-gcc readelf
needs_rust_target "$sources" "$target"
unset CARGO_BUILD_TARGET
export CC=musl-gcc

configure "$sources" "$scratch/build" "$cargo" -DNOXU_FEEDER_RUST_TARGET="$target" -DCMAKE_INSTALL_PREFIX="$scratch/prefix"
"${CMAKE:-cmake}" --build "$scratch/build"
"${CMAKE:-cmake}" --install "$scratch/build"
libdir=$(dirname "$(find "$scratch/prefix" -name pkgconfig)")

export PKG_CONFIG_PATH=$libdir/pkgconfig
# Word splitting is how the output of pkg-config is used.
# shellcheck disable=SC2046
"$CC" -static "$here/host.c" -o "$scratch/static" $(pkg-config --static --cflags --libs noxu_feeder)
"$scratch/static"
is_static "$scratch/static"

"${CMAKE:-cmake}" -S "$here/find_package" -B "$scratch/hosts" -DCMAKE_PREFIX_PATH="$scratch/prefix" -DNXF_ONLY_C=ON
"${CMAKE:-cmake}" --build "$scratch/hosts"
for program in host host_static; do
    # musl's loader may be there only for the linker. Then it is enough that the host can be linked.
    if [ -e "$(LC_ALL=C readelf -l "$scratch/hosts/$program" | sed -n 's/.*interpreter: \(.*\)\]/\1/p')" ]; then
        "$scratch/hosts/$program"
    fi
done
