#!/usr/bin/env bash
# valgrind.sh VALGRIND PROGRAM: runs the program under valgrind, and fails on errors, on leaks of memory, and on
# descriptors that the program opened and left open.
set -uo pipefail
valgrind=$1
program=$2
logs=$PWD/valgrind.log
rm -f "$logs".*

# Descriptors that this shell has inherited do not count: ctest may have left some open.
for fd in /proc/self/fd/* /dev/fd/*; do
    fd=${fd##*/}
    case "$fd" in
        [0-2] | *[!0-9]*) ;;
        *) eval "exec $fd>&-" 2>/dev/null ;;
    esac
done

# A process of its own for each log: tests that fork must not mix theirs with their children's.
"$valgrind" --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,possible \
    --show-leak-kinds=definite,possible --track-fds=yes --num-callers=40 --fair-sched=try \
    --log-file="$logs.%p" "$program" </dev/null &
pid=$!
wait "$pid"
status=$?

# Only newer valgrinds count a descriptor that is left open as an error, so the script looks at the list that all of
# them print.
open=$(awk '
    /Open (file descriptor|AF_[A-Z0-9]+ socket|.*socket)/ { line = $0; next }
    line && /<inherited from parent>/ { line = ""; next }
    line { print line; line = "" }
' "$logs.$pid")

if [ "$status" != 0 ] || [ -n "$open" ]; then
    cat "$logs".*
    [ -n "$open" ] && printf 'descriptors left open:\n%s\n' "$open"
    [ "$status" = 0 ] && status=98
fi
exit "$status"
