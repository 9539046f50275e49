#!/usr/bin/env bash
# Builds the library in release and installs it for C and C++ hosts. Quick when nothing has changed.
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

case "${1-}" in
    -*)
        echo "usage: scripts/install.sh [prefix]     (default: target/prefix)" >&2
        exit 2
        ;;
esac
setup rust build

prefix=${1:-$root/target/prefix}
mkdir -p "$prefix"
prefix=$(cd "$prefix" && pwd)
build=$root/target/cmake

cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix"
cmake --build "$build"
cmake --install "$build"
echo "Installed into $prefix. For CMake: -DCMAKE_PREFIX_PATH=$prefix"
