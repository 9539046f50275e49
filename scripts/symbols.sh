#!/usr/bin/env bash
# Compares c-tests/symbols.txt with the functions that include/noxu_feeder.h declares. The list is what the
# installed shared library is tested against, so a change of it is a change of the ABI, to be seen in review.
# With --update: writes it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
list=$root/c-tests/symbols.txt

update=no
case "${1-}" in
    '') ;;
    --update) update=yes ;;
    *)
        echo "usage: scripts/symbols.sh [--update]" >&2
        exit 2
        ;;
esac

# The preprocessor takes the comments out, which name functions too. A function's name is followed by its
# parameters at once; that of a function pointer is not.
declared=$("${CC:-cc}" -E -P -x c "$root/include/noxu_feeder.h" |
    grep -oE '\bnxf_[a-z0-9_]+\(' | tr -d '(' | LC_ALL=C sort -u)

if [ "$update" = yes ]; then
    printf '%s\n' "$declared" >"$list"
    echo "c-tests/symbols.txt written: $(wc -l <"$list" | tr -d ' ') functions."
elif ! diff -u "$list" <(printf '%s\n' "$declared") >&2; then
    echo "error: c-tests/symbols.txt is not what include/noxu_feeder.h declares: run scripts/symbols.sh --update" >&2
    exit 1
else
    echo "c-tests/symbols.txt lists what include/noxu_feeder.h declares: $(wc -l <"$list" | tr -d ' ') functions."
fi
