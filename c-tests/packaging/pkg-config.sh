#!/usr/bin/env bash
# pkg-config.sh SCRATCH PREFIX LIBDIR: a host that knows pkg-config and a compiler, and nothing else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/copy.sh
. "$here/copy.sh"
scratch=$1 prefix=$2 libdir=$3
rm -rf "$scratch"
mkdir -p "$scratch"
cd "$scratch"

export PKG_CONFIG_PATH=$prefix/$libdir/pkgconfig
pkg-config --print-errors --exists noxu_feeder
# Word splitting is how the output of pkg-config is used.
# shellcheck disable=SC2046
"${CC:-cc}" "$here/host.c" -o shared $(pkg-config --cflags --libs noxu_feeder)
LD_LIBRARY_PATH=$prefix/$libdir DYLD_LIBRARY_PATH=$prefix/$libdir ./shared

# If there is only the static library, --static names all libraries that go with it. The copy is used, so the .pc file's
# paths must be relative to the file.
copy_package "$prefix" "$libdir" static-only
rm -f static-only/"$libdir"/libnoxu_feeder.so* static-only/"$libdir"/libnoxu_feeder*.dylib
export PKG_CONFIG_PATH=$scratch/static-only/$libdir/pkgconfig
# shellcheck disable=SC2046
"${CC:-cc}" "$here/host.c" -o static $(pkg-config --static --cflags --libs noxu_feeder)
./static
