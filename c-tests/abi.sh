#!/usr/bin/env bash
# abi.sh [--update] HEADER FOLDER SCRATCH: checks that a program compiled for the binary interface in FOLDER/NUMBER.abi
# works with the interface that HEADER declares. NUMBER is that of the SONAME. With --update: writes that file.
#
# abidiff (libabigail) compares debug information. The debug information of a Rust library has no C types. So the script
# compiles a stub in which each function of the header has an empty body.
#
# New functions, new constants, and new fields at the end of structs that carry their size are compatible. If the file
# lacks them, the script only says so. Exit status 77: there is no libabigail here.
set -euo pipefail
update=no
if [ "${1-}" = --update ]; then
    update=yes
    shift
fi
header=$1 folder=$2 scratch=$3
for tool in abidw abidiff; do
    command -v "$tool" >/dev/null || {
        echo "LEFT OUT: the comparison of the binary interface: there is no $tool here (Debian: abigail-tools)"
        exit 77
    }
done
mkdir -p "$scratch"

constant() { sed -n "s/^#define $1 //p" "$header"; }
number=$(constant NXF_VERSION_MAJOR)
[ "$number" != 0 ] || number=0.$(constant NXF_VERSION_MINOR)
dump=$folder/$number.abi

# The header's declarations, each in one line: a declaration ends at a semicolon outside of braces.
"${CC:-cc}" -E -P -x c "$header" | awk '
    {
        text = text " " $0
        depth += gsub(/[{]/, "{") - gsub(/[}]/, "}")
        if (depth == 0 && /;[ \t]*$/) { print text; text = "" }
    }' >"$scratch/declarations"
{
    echo '#include "noxu_feeder.h"'
    # A function has its name before the first parenthesis.
    grep -E '^[^(]*\bnxf_[a-z0-9_]+\(' "$scratch/declarations" | grep -vE '^ *typedef' | sed 's/; *$/ { __builtin_trap(); }/'
    # abidiff can be told that a struct may grow, but then overlooks every other change of it. So each field of such a
    # struct is a parameter of a function of its own, with its place and its type.
    sed -nE 's/.*typedef struct ([a-z0-9_]+) \{ *(size_t struct_size;.*)\} [a-z0-9_]+;.*/\1 \2/p' "$scratch/declarations" |
        while read -r struct fields; do
            tr ';' '\n' <<<"$fields" | sed -nE 's/.*\(\*([a-z0-9_]+)\).*/\1/p; t; s/.*[ *]([a-z0-9_]+)(\[.*)?$/\1/p' |
                while read -r field; do
                    echo "void ${struct}_$field(char (*at)[offsetof($struct, $field) + 1]," \
                        "__typeof__(((struct $struct *)0)->$field) *field) { (void)at; (void)field; }"
                done
        done
    # A macro leaves no trace in debug information, an enumerator does. Its value is an int, so each half of a constant
    # has one.
    for half in low high; do
        shift_by=0
        [ "$half" = low ] || shift_by=32
        echo "enum nxf_constants_$half {"
        sed -nE "/^#define NXF_VERSION_/d; s/^#define (NXF_[A-Z0-9_]+) .*/    \1_$half = (int)((uint64_t)(\1) >> $shift_by),/p" \
            "$header"
        echo '};'
    done
    echo 'void nxf_constants(enum nxf_constants_low low, enum nxf_constants_high high) { (void)low; (void)high; }'
} >"$scratch/stub.c"
cp "$header" "$scratch/noxu_feeder.h"
# Compiled in its own folder, because the path of the source is compared, too.
(cd "$scratch" && "${CC:-cc}" -shared -fPIC -g -O0 -I. stub.c -o stub.so)

# Without paths, and with names of types that stay when other types come.
abidw --no-show-locs --no-corpus-path --no-comp-dir-path --no-architecture --type-id-style hash \
    --out-file "$scratch/new.abi" "$scratch/stub.so"
if [ "$update" = yes ]; then
    cp "$scratch/new.abi" "$dump"
    echo "$(basename "$folder")/$number.abi written."
    exit 0
fi
if [ ! -f "$dump" ]; then
    echo "There is no $dump yet, for the new SONAME: scripts/abi.sh --update begins it."
    exit 1
fi

# The structs that may grow.
sed -nE '/\{ *size_t struct_size;/s/.*typedef struct ([a-z0-9_]+) .*/[suppress_type]\n  type_kind = struct\n  name = \1\n  has_data_member_inserted_at = end\n/p' \
    "$scratch/declarations" >"$scratch/may-grow"

if ! abidiff --no-architecture --no-added-syms --suppressions "$scratch/may-grow" \
    "$dump" "$scratch/new.abi" >"$scratch/report"; then
    cat "$scratch/report"
    echo "The binary interface $number has changed so that programs compiled for it break. Keep what was there; or, for a"
    echo "version that may take it away, raise the version in Cargo.toml, which gives the library another SONAME."
    echo "If nothing with this SONAME has been released yet: scripts/abi.sh --update"
    exit 1
fi
if abidiff --no-architecture --harmless "$dump" "$scratch/new.abi" >"$scratch/report"; then
    echo "The binary interface is that of $number.abi."
else
    cat "$scratch/report"
    echo "The binary interface has grown, compatibly. $number.abi lacks what is new: scripts/abi.sh --update"
fi
