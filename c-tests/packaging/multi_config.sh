#!/usr/bin/env bash
# multi_config.sh SCRATCH SOURCES CARGO: with a generator for several configurations Debug is cargo's profile dev, each
# configuration has its own library, and each can be installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/variants.sh
. "$here/variants.sh"
scratch=$1 sources=$2 cargo=$3
rm -rf "$scratch"
mkdir -p "$scratch"
needs ninja
unset CARGO_BUILD_TARGET

# The release library is taken as it is: to optimise it again would take longer than everything else here.
"${CMAKE:-cmake}" -G "Ninja Multi-Config" -S "$here/add_subdirectory" -B "$scratch/build" \
    -DNOXU_FEEDER_SOURCES="$sources" -DNOXU_FEEDER_CARGO_TARGET_DIR="$cargo" -DNOXU_FEEDER_INSTALL=ON \
    -DNOXU_FEEDER_CARGO_FLAGS="$quick"
host=$(cd "$sources" && rustc -vV | sed -n 's/^host: //p')
rm -f "$cargo/$host"/{debug,release}/libnoxu_feeder.a
for configuration in Debug Release; do
    "${CMAKE:-cmake}" --build "$scratch/build" --config "$configuration" --target host host_static
    "$scratch/build/hosts/$configuration/host"
    "$scratch/build/hosts/$configuration/host_static"
    "${CMAKE:-cmake}" --install "$scratch/build" --config "$configuration" --prefix "$scratch/$configuration" >/dev/null
    cmp "$scratch/build/noxu-feeder/lib/$configuration/libnoxu_feeder.a" \
        "$(find "$scratch/$configuration" -name libnoxu_feeder.a)"
    if [ "$configuration" = Debug ]; then profile=debug; else profile=release; fi
    ls "$cargo/$host"/*/libnoxu_feeder.a
    [ -f "$cargo/$host/$profile/libnoxu_feeder.a" ] && rm "$cargo/$host/$profile/libnoxu_feeder.a"
    if ls "$cargo/$host"/*/libnoxu_feeder.a 2>/dev/null; then
        echo "$configuration is not cargo's profile for $profile alone"
        exit 1
    fi
done
