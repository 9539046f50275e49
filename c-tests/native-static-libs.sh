#!/usr/bin/env bash
# native-static-libs.sh FILE LIBRARY...: the package tells hosts of the static library to link exactly what rustc
# wrote into FILE when it built it.
set -euo pipefail
printed=$(cat "$1")
shift
if [ "$printed" != "$*" ]; then
    echo "rustc names:       $printed"
    echo "the package names: $*"
    echo "Correct cmake/NativeStaticLibs.cmake."
    exit 1
fi
echo "$printed"
