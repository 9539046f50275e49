#!/usr/bin/env bash
# docs_snippets.sh SCRATCH SOURCES INCLUDE-DIR LIBRARY-DIR: compiles the programs in README.md,
# docs/getting-started.md and docs/server.md as they stand there, as C11 and as C++17, and runs them against a mock replica.
#
# A program is a block of C with a main(). The comment behind main's parameters says what its arguments are:
#     /* DIRECTORY HOST PORT LAST */   ends by itself when VLSN LAST is acknowledged
#     /* DIRECTORY HOST PORT */        ends when the replica closes
#     /* DIRECTORY PORT, to dial in */ a server; it is ended by a signal
#     (void)                           needs no arguments
# If a block's first line is a comment that begins with a file name, the block is kept under that name, for other blocks
# to include. Any other block of C is an error: nobody would notice if it did not compile any more.
set -euo pipefail
scratch=$1 sources=$2 include=$3 libs=$4
rm -rf "$scratch"
mkdir -p "$scratch"
cd "$scratch"

for page in README.md docs/getting-started.md docs/server.md; do
    awk -v page="$(basename "$page" .md)" '
        /^```c$/ { number++; file = page "-" number ".c"; inside = 1; next }
        /^```/ && inside { inside = 0; close(file); next }
        inside { print > file }
    ' "$sources/$page"
done

warnings=(-Wall -Wextra -Werror -pedantic "-I$include" -I.)
link=("-L$libs" "-Wl,-rpath,$libs" -lnoxu_feeder -lpthread)
"${CC:-cc}" -std=c11 -O1 -g "${warnings[@]}" "$sources/examples/c/tests/with_replicas.c" -o with_replicas "${link[@]}"
"${CC:-cc}" -std=c11 -O1 -g "${warnings[@]}" "$sources/examples/c/tests/dial_in.c" -o dial_in "${link[@]}"

for block in *-*.c; do
    name=$(sed -n '1s|^/\* \([a-z_]*\.h\):.*|\1|p' "$block")
    if [ -n "$name" ]; then
        mv "$block" "$name"
    elif ! grep -q '^int main(' "$block"; then
        echo "$block is no program:"
        cat "$block"
        exit 1
    fi
done

count=0
for block in *-*.c; do
    name=${block%.c}
    "${CC:-cc}" -std=c11 -O1 -g "${warnings[@]}" "$block" -o "$name.c11" "${link[@]}"
    cp "$block" "$name.cpp"
    "${CXX:-c++}" -std=c++17 -O1 -g "${warnings[@]}" "$name.cpp" -o "$name.cxx17" "${link[@]}"
    for program in "$name.c11" "$name.cxx17"; do
        echo "$program"
        fed=("./$program" '{DIR}' 127.0.0.1 '{PORT1}')
        case $(grep '^int main(' "$block") in
            *'/* DIRECTORY HOST PORT LAST */') run=(./with_replicas 1000 1 "${fed[@]}" '{LAST}') ;;
            *'/* DIRECTORY HOST PORT */') run=(./with_replicas --close 1000 1 "${fed[@]}") ;;
            *'/* DIRECTORY PORT, to dial in */') run=(./dial_in --dies 1000 "./$program" '{DIR}' 0) ;;
            *'(void)') run=("./$program") ;;
            *)
                echo "$block: how is it to be run?"
                exit 1
                ;;
        esac
        if ! "${run[@]}" >"$program.out" 2>&1; then
            cat "$program.out"
            exit 1
        fi
    done
    count=$((count + 1))
done
[ "$count" -ge 2 ] || { echo "no programs were found"; exit 1; }
echo "$count programs, each as C and as C++"
