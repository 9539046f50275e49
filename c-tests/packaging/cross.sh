#!/usr/bin/env bash
# cross.sh SCRATCH SOURCES CARGO: builds for aarch64 with CMake's cross compiler, of which cargo is not told. Hosts are
# linked with the shared and with the static library, and run if there is an emulator.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/variants.sh
. "$here/variants.sh"
scratch=$1 sources=$2 cargo=$3
target=aarch64-unknown-linux-gnu
rm -rf "$scratch"
mkdir -p "$scratch"
needs aarch64-linux-gnu-gcc readelf
needs_rust_target "$sources" "$target"
unset CARGO_BUILD_TARGET CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER CC CXX

cat >"$scratch/toolchain.cmake" <<'END'
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
END
if configure "$sources" "$scratch/unnamed" "$cargo" -DCMAKE_TOOLCHAIN_FILE="$scratch/toolchain.cmake" 2>"$scratch/log"; then
    echo "what Rust is to build for has to be said"
    exit 1
fi
grep NOXU_FEEDER_RUST_TARGET "$scratch/log"

configure "$sources" "$scratch/build" "$cargo" -DCMAKE_TOOLCHAIN_FILE="$scratch/toolchain.cmake" \
    -DNOXU_FEEDER_RUST_TARGET="$target" -DCMAKE_INSTALL_PREFIX="$scratch/prefix"
"${CMAKE:-cmake}" --build "$scratch/build" 2>&1 | tee "$scratch/log"
if grep '^warning' "$scratch/log"; then
    echo "what compiles without a warning for this machine should do so for others"
    exit 1
fi
"${CMAKE:-cmake}" --install "$scratch/build"
"${CMAKE:-cmake}" -S "$here/find_package" -B "$scratch/hosts" -DCMAKE_TOOLCHAIN_FILE="$scratch/toolchain.cmake" \
    -DCMAKE_FIND_ROOT_PATH="$scratch/prefix" -DNXF_ONLY_C=ON
"${CMAKE:-cmake}" --build "$scratch/hosts"
for program in host host_static; do
    LC_ALL=C readelf -h "$scratch/hosts/$program" | grep -i 'machine:.*aarch64'
    if command -v qemu-aarch64 >/dev/null; then
        qemu-aarch64 -L /usr/aarch64-linux-gnu "$scratch/hosts/$program"
    else
        echo "linked, but not run: there is no qemu-aarch64 here"
    fi
done
