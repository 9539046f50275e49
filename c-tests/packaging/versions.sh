#!/usr/bin/env bash
# versions.sh SCRATCH PREFIX VERSION: checks which versions and components find_package accepts.
set -euo pipefail
scratch=$1 prefix=$2 version=$3
rm -rf "$scratch"
mkdir -p "$scratch"
IFS=. read -r major minor _ <<<"$version"
before=$((minor - 1)) next=$((minor + 1)) after=$((minor + 2))

{
    cat <<'END'
cmake_minimum_required(VERSION 3.22)
project(versions NONE)
function(asks expected)
    unset(NoxuFeeder_DIR CACHE)
    find_package(NoxuFeeder ${ARGN} QUIET)
    if(NoxuFeeder_FOUND)
        set(found yes)
    else()
        set(found no)
    endif()
    if(NOT found STREQUAL expected)
        message(SEND_ERROR "find_package(NoxuFeeder ${ARGN}): ${found}")
    endif()
    message(STATUS "${ARGN}: ${found}")
endfunction()
END
    echo "asks(yes)"
    echo "asks(yes $version)"
    echo "asks(yes $version EXACT)"
    echo "asks(yes $major.$minor)"
    echo "asks(no $major.$minor.999)"
    echo "asks(no $major.$next)"
    [ "$major" != 0 ] || echo "asks(no $major.$before)"
    # A range names the versions that the host works with.
    echo "asks(yes $major.$minor...$major.$next)"
    echo "asks(yes $major.$before...$major.$next)"
    echo "asks(yes $major.$before...$version)"
    echo "asks(no $major.$before...<$version)"
    echo "asks(no $major.$next...$major.$after)"
    echo "asks(yes $major.$before...<$((major + 1)))"
    echo "asks(yes COMPONENTS testing)"
    echo "asks(no COMPONENTS brewing)"
    echo "asks(yes OPTIONAL_COMPONENTS brewing)"
} >"$scratch/CMakeLists.txt"
"${CMAKE:-cmake}" -S "$scratch" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$prefix"

mkdir "$scratch/unknown"
printf 'cmake_minimum_required(VERSION 3.22)\nproject(unknown NONE)\nfind_package(NoxuFeeder REQUIRED COMPONENTS brewing)\n' \
    >"$scratch/unknown/CMakeLists.txt"
if "${CMAKE:-cmake}" -S "$scratch/unknown" -B "$scratch/unknown/build" -DCMAKE_PREFIX_PATH="$prefix" \
    >"$scratch/log" 2>&1; then
    echo "a component that is not there was found"
    exit 1
fi
tr -s ' \n' ' ' <"$scratch/log" | grep -o 'NoxuFeeder has no component brewing. There is one: testing' || {
    cat "$scratch/log"
    exit 1
}
