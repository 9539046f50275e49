#!/usr/bin/env bash
# add_subdirectory.sh SCRATCH SOURCES CARGO_TARGET_DIR: a host that has the sources in its own tree, and whose build
# builds them too. The folder for cargo is kept from run to run: compiling takes most of the time.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scratch=$1 sources=$2 cargo=$3
rm -rf "$scratch"
"${CMAKE:-cmake}" -S "$here/add_subdirectory" -B "$scratch" -DNOXU_FEEDER_SOURCES="$sources" \
    -DNOXU_FEEDER_CARGO_TARGET_DIR="$cargo"
# Builds only the hosts: the library must be built because they link it.
"${CMAKE:-cmake}" --build "$scratch" --target host host_static
"$scratch/hosts/host"
"$scratch/hosts/host_static"
# The library does not install itself along with the project that uses it.
"${CMAKE:-cmake}" --install "$scratch" --prefix "$scratch/nothing"
if [ -n "$(find "$scratch/nothing" -type f 2>/dev/null)" ]; then
    echo "installing the host installed the library"
    exit 1
fi
