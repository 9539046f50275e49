#!/usr/bin/env bash
# Compares the binary interface that include/noxu_feeder.h declares with the one in c-tests/abi, which all programs
# compiled so far for this SONAME use. Fails if one of them would break.
#   scripts/abi.sh [--check]     compares
#   scripts/abi.sh --update      writes it anew
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

update=no
case "${1-}" in
    '' | --check) ;;
    --update) update=yes ;;
    *)
        echo "usage: scripts/abi.sh [--check|--update]" >&2
        exit 2
        ;;
esac
mkdir -p "$root/target/abi"
compare=("$root/c-tests/abi.sh")
[ "$update" = no ] || compare+=(--update)
exec "${compare[@]}" "$root/include/noxu_feeder.h" "$root/c-tests/abi" "$root/target/abi"
