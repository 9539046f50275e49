#!/usr/bin/env bash
# native-static-libs.sh FILE LIBRARY...: the package tells hosts of the static library to link exactly what rustc
# wrote into FILE when it built it, but for the unwinder: the C compiler knows which one goes with how it links.
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
