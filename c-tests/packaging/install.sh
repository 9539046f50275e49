#!/usr/bin/env bash
# install.sh SCRATCH SOURCES CARGO: checks an installation into a prefix of the system, staged as packagers do it: its
# files, the links between its documents, and its examples, which are built. `uninstall` removes all of it and nothing
# else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
scratch=$1 sources=$2 cargo=$3
rm -rf "$scratch"
mkdir -p "$scratch"
"${CMAKE:-cmake}" -S "$sources" -B "$scratch/build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=/usr \
    -DCMAKE_INSTALL_LIBDIR=lib -DNOXU_FEEDER_CARGO_TARGET_DIR="$cargo"
"${CMAKE:-cmake}" --build "$scratch/build"

# pkg-config names no folder that compilers know by themselves, in no spelling.
DESTDIR=$scratch/stage "${CMAKE:-cmake}" --install "$scratch/build" >/dev/null
export PKG_CONFIG_PATH=$scratch/stage/usr/lib/pkgconfig
flags=$(pkg-config --cflags --libs noxu_feeder | tr -s ' ' | sed 's/^ //; s/ $//')
if [ "$flags" != -lnoxu_feeder ]; then
    echo "pkg-config names folders of the system: $flags"
    exit 1
fi
# The stage does not become a part of the path for hosts that build against it.
PKG_CONFIG_SYSROOT_DIR=$scratch/stage pkg-config --variable=prefix noxu_feeder
"${CC:-cc}" "$here/host.c" -o "$scratch/host" -I"$scratch/stage/usr/include" -L"$scratch/stage/usr/lib" "$flags"
LD_LIBRARY_PATH=$scratch/stage/usr/lib DYLD_LIBRARY_PATH=$scratch/stage/usr/lib "$scratch/host"

# Every page that another page links to is there, except pages that only developers of the library need.
doc=$scratch/stage/usr/share/doc/noxu-feeder
cd "$doc"
dangling=$(for page in README.md docs/*.md; do
    grep -oE '\]\([^):]+\)' "$page" | sed -E 's/^\]\(//; s/\)$//; s/#.*//' | grep . | while read -r link; do
        [ -e "$(dirname "$page")/$link" ] || echo "$page: $link"
    done
done | grep -vE ': (\.\./)?(CONTRIBUTING\.md|interop/README\.md|\.\./interop/README\.md)$' || true)
if [ -n "$dangling" ]; then
    echo "links that lead nowhere:"
    echo "$dangling"
    exit 1
fi
for example in "$sources"/examples/*/*.c "$sources"/examples/*/*.cpp; do
    cmp "$example" "$doc/examples/${example#"$sources"/examples/}"
done
man -w -M "$scratch/stage/usr/share/man" 3 noxu_feeder 2>/dev/null || ls "$scratch/stage/usr/share/man/man3/noxu_feeder.3"

# Installs into a prefix in which others have files, too: once whole, and once by components.
"${CMAKE:-cmake}" --install "$scratch/build" --prefix "$scratch/noxu-feeder" >/dev/null
theirs=(lib/libother.so include/other.h share/doc/noxu-feeder/notes-of-the-administrator share/man/man3/other.3)
for file in "${theirs[@]}"; do
    mkdir -p "$scratch/noxu-feeder/$(dirname "$file")"
    touch "$scratch/noxu-feeder/$file"
done
for how in whole components; do
    if [ "$how" = components ]; then
        for component in Runtime Development Testing Documentation; do
            "${CMAKE:-cmake}" --install "$scratch/build" --prefix "$scratch/noxu-feeder" --component "NoxuFeeder_$component"
        done >/dev/null
    fi
    "${CMAKE:-cmake}" --build "$scratch/build" --target uninstall >/dev/null
    left=$(cd "$scratch/noxu-feeder" && find . ! -type d | sed 's|^\./||' | LC_ALL=C sort)
    if [ "$left" != "$(printf '%s\n' "${theirs[@]}" | LC_ALL=C sort)" ]; then
        printf 'uninstall (%s) has left:\n%s\n' "$how" "$left"
        exit 1
    fi
    [ ! -e "$scratch/noxu-feeder/lib/cmake/NoxuFeeder" ]
done
# If nothing is left to uninstall, the target says so.
if "${CMAKE:-cmake}" --build "$scratch/build" --target uninstall >/dev/null 2>&1; then
    echo "uninstall had nothing to do, and was content"
    exit 1
fi
