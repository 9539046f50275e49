#!/usr/bin/env bash
# Writes include/noxu_feeder.h as src/ffi declares it. With --check: changes nothing, and fails with the
# differences when the header is not what the sources generate.
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
setup rust

check=no
case "${1-}" in
    '') ;;
    --check) check=yes ;;
    *)
        echo "usage: scripts/header.sh [--check]" >&2
        exit 2
        ;;
esac

header=$root/include/noxu_feeder.h
tools=$root/target/tools
cargo build --quiet --locked --manifest-path "$root/tools/header/Cargo.toml" --target-dir "$tools"
fresh=$tools/noxu_feeder.h
"$tools/debug/noxu-feeder-header" "$root" >"$fresh"

if cmp -s "$header" "$fresh"; then
    echo "include/noxu_feeder.h is what src/ffi generates."
elif [ "$check" = yes ]; then
    diff -u "$header" "$fresh" >&2 || true
    fail "include/noxu_feeder.h is stale: run scripts/header.sh and commit what it writes."
else
    mkdir -p "$(dirname "$header")"
    cp "$fresh" "$header"
    echo "include/noxu_feeder.h written."
fi
