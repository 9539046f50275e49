#!/usr/bin/env bash
# mock_used.sh HEADER TEST...: every function that the mock's header offers is used by its tests.
set -euo pipefail
header=$1
shift
functions=$(grep -oE '\bnxft_[a-z_0-9]+\(' "$header" | tr -d '(' | grep -v '^nxft_x_' | LC_ALL=C sort -u)
missing=$(for function in $functions; do grep -qw "$function" "$@" || echo "$function"; done)
if [ -z "$functions" ] || [ -n "$missing" ]; then
    printf 'No test of the mock replica uses these functions:\n%s\n' "$missing"
    exit 1
fi
echo "$(wc -l <<<"$functions" | tr -d ' ') functions of the mock, each used"
