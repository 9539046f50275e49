#!/usr/bin/env bash
# library_kinds.sh SCRATCH SOURCES CARGO: BUILD_SHARED_LIBS decides which library NoxuFeeder::NoxuFeeder is, and the
# static library is there by its own name in any case. The same holds for the installed package, and for pkg-config
# without --static.
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
        -DNOXU_FEEDER_SOURCES="$sources" -DNOXU_FEEDER_CARGO_TARGET_DIR="$cargo" -DNOXU_FEEDER_INSTALL=ON
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

"${CMAKE:-cmake}" --install "$scratch/OFF" --prefix "$scratch/prefix" >/dev/null
"${CMAKE:-cmake}" -S "$here/find_package" -B "$scratch/hosts" -DCMAKE_PREFIX_PATH="$scratch/prefix"
"${CMAKE:-cmake}" --build "$scratch/hosts"
"$scratch/hosts/host"
PKG_CONFIG_PATH=$(dirname "$(find "$scratch/prefix" -name noxu_feeder.pc)")
export PKG_CONFIG_PATH
if [ "$(pkg-config --libs noxu_feeder)" != "$(pkg-config --libs --static noxu_feeder)" ]; then
    echo "there is only the static library, and pkg-config names what goes with it only when asked for a static program"
    exit 1
fi
