#!/usr/bin/env bash
# native-static-libs.sh FILE LIBRARY...: checks that the package tells hosts of the static library to link exactly the
# libraries that rustc wrote into FILE when it built it, except the unwinder: the C compiler brings its own.
set -euo pipefail
printed=$(sed -E 's/-l(gcc_s|gcc_eh|unwind) ?//; s/ $//' "$1")
shift
if [ "$printed" != "$*" ]; then
    echo "rustc names:       $printed"
    echo "the package names: $*"
    echo "Correct cmake/NativeStaticLibs.cmake."
    exit 1
fi
echo "$printed"
