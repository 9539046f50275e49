#!/usr/bin/env bash
# library_kinds.sh SCRATCH SOURCES CARGO: BUILD_SHARED_LIBS decides which library NoxuFeeder::NoxuFeeder is, and the static
# one can be had by its name whatever it says.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/variants.sh
. "$here/variants.sh"
scratch=$1 sources=$2 cargo=$3
rm -rf "$scratch"
mkdir -p "$scratch"
needs readelf

for shared in ON OFF; do
    "${CMAKE:-cmake}" -S "$here/add_subdirectory" -B "$scratch/$shared" -DBUILD_SHARED_LIBS="$shared" \
        -DNOXU_FEEDER_SOURCES="$sources" -DNOXU_FEEDER_CARGO_TARGET_DIR="$cargo"
    "${CMAKE:-cmake}" --build "$scratch/$shared"
    "$scratch/$shared/hosts/host"
    "$scratch/$shared/hosts/host_static"
done
LC_ALL=C readelf -d "$scratch/ON/hosts/host" | grep 'NEEDED.*libnoxu_feeder'
if LC_ALL=C readelf -d "$scratch/OFF/hosts/host" | grep 'NEEDED.*libnoxu_feeder' ||
    find "$scratch/OFF" -name 'libnoxu_feeder.so*' | grep .; then
    echo "BUILD_SHARED_LIBS is OFF, and there is a shared library"
    exit 1
fi
