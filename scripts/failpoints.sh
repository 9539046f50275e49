#!/usr/bin/env bash
# failpoints.sh FOLDER: builds the library with the feature failpoints into FOLDER, for c-tests/tests/panic.c. It is not
# the library that is installed: a test can have this one panic. In debug, which is quicker to build.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$1

"${CARGO:-cargo}" rustc --locked --manifest-path "$root/Cargo.toml" --package noxu-feeder --lib \
    --crate-type cdylib,staticlib --profile dev --features failpoints --target-dir "$folder"

built=$folder/debug
case "$(uname -s)" in
    # Programs look for it by the name that build.rs gives it.
    Darwin) ln -sf libnoxu_feeder.dylib "$built/libnoxu_feeder.0.dylib" ;;
    *) ln -sf libnoxu_feeder.so "$built/libnoxu_feeder.so.0" ;;
esac
