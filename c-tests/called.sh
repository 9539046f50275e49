#!/usr/bin/env bash
# called.sh LIST PROGRAM...: every function in LIST is called by one of the programs, which use the shared library. (The
# script looks at the symbols that the programs need, not at their text: a name in a comment is not a call.)
set -euo pipefail
list=$1
shift

case "$(uname -s)" in
    Darwin) undefined() { nm -u "$@" | awk '{ print $NF }' | sed 's/^_//'; } ;;
    *) undefined() { nm -D -u "$@" | awk '{ print $NF }' | sed 's/@.*//'; } ;;
esac

if missing=$(LC_ALL=C comm -23 "$list" <(undefined "$@" | LC_ALL=C sort -u) | grep .); then
    printf 'No C test calls these functions:\n%s\n' "$missing"
    exit 1
fi
echo "$(wc -l <"$list" | tr -d ' ') functions, each called by one of $# programs"
