#!/usr/bin/env bash
# relocated.sh SCRATCH PREFIX LIBDIR: the package works in another folder than the one that it was installed into.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/copy.sh
. "$here/copy.sh"
scratch=$1 prefix=$2 libdir=$3
rm -rf "$scratch"
mkdir -p "$scratch"

copy_package "$prefix" "$libdir" "$scratch/moved"
"${CMAKE:-cmake}" -S "$here/find_package" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/moved"
grep -F "NoxuFeeder_DIR:PATH=$scratch/moved/" "$scratch/build/CMakeCache.txt"
"${CMAKE:-cmake}" --build "$scratch/build"
"$scratch/build/host"
"$scratch/build/host_static"
