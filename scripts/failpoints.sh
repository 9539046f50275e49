#!/usr/bin/env bash
# failpoints.sh FOLDER: builds the library with the feature failpoints into FOLDER, for c-tests/tests/panic.c. It is not
# the installed library: a test can make this one panic. It is a debug build, which is quicker.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$1

"${CARGO:-cargo}" rustc --locked --manifest-path "$root/Cargo.toml" --package noxu-feeder --lib \
    --crate-type cdylib,staticlib --profile dev --features failpoints --target-dir "$folder"

# Programs look for the library by the name that build.rs gives it.
built=$folder/debug
case "$(uname -s)" in
    Darwin)
        name=$(otool -D "$built/libnoxu_feeder.dylib" | tail -n 1)
        ln -sf libnoxu_feeder.dylib "$built/${name##*/}"
        ;;
    *)
        name=$(LC_ALL=C readelf -d "$built/libnoxu_feeder.so" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
        ln -sf libnoxu_feeder.so "$built/$name"
        ;;
esac
