#!/usr/bin/env bash
# cargo_target.sh SCRATCH SOURCES CARGO: if cargo is told of a target by CARGO_BUILD_TARGET, or by a configuration file
# in a folder above, the library is for that target. If it is told of several, the error says what to do.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/variants.sh
. "$here/variants.sh"
scratch=$1 sources=$2 cargo=$3
host=$(cd "$sources" && rustc -vV | sed -n 's/^host: //p')
rm -rf "$scratch"
mkdir -p "$scratch/home/.cargo"
cp -R "$sources"/{Cargo.toml,Cargo.lock,CMakeLists.txt,build.rs,cmake,src,include,benches,interop} "$scratch/home/"
mkdir "$scratch/home/tests"
cp -R "$sources/tests/models" "$scratch/home/tests/"
unset CARGO_BUILD_TARGET

builds() { # SOURCES BUILD
    configure "$1" "$2" "$cargo" -DNOXU_FEEDER_INSTALL=OFF
    "${CMAKE:-cmake}" --build "$2"
    "${CC:-cc}" -I"$sources/include" "$here/host.c" -o "$2/host" "$2/lib/libnoxu_feeder.a" -lpthread -ldl -lm
    "$2/host"
}
CARGO_BUILD_TARGET=$host builds "$sources" "$scratch/by-environment"
printf '[build]\ntarget = "%s"\n' "$host" >"$scratch/home/.cargo/config.toml"
builds "$scratch/home" "$scratch/by-file"

printf '[build]\ntarget = ["%s", "wasm32-unknown-unknown"]\n' "$host" >"$scratch/home/.cargo/config.toml"
if configure "$scratch/home" "$scratch/several" "$cargo" >"$scratch/several.log" 2>&1; then
    echo "two targets are one too many"
    exit 1
fi
grep -E 'several targets at once' "$scratch/several.log"
configure "$scratch/home" "$scratch/one-of-several" "$cargo" -DNOXU_FEEDER_RUST_TARGET="$host"

# If Rust lacks the target, CMake says so when it configures, and not in the middle of a build.
if CARGO_BUILD_TARGET=no-such-target configure "$sources" "$scratch/none" "$cargo" >"$scratch/none.log" 2>&1; then
    echo "there is no such target"
    exit 1
fi
tr -s ' \n' ' ' <"$scratch/none.log" | grep -oE 'cargo cannot build .*CARGO_BUILD_TARGET .*rustup target add'
