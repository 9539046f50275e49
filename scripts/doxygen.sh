#!/usr/bin/env bash
# Builds the reference of the C and the C++ header, as they are installed, into target/doxygen/html. Fails on any
# warning: something undocumented, a name that does not exist.
#   scripts/doxygen.sh [prefix]     of the package installed there; without one, of include/
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

case "${1-}" in
    -*)
        echo "usage: scripts/doxygen.sh [prefix]" >&2
        exit 2
        ;;
esac
include=${1:-$root}/include
out=$root/target/doxygen
rm -rf "$out"
mkdir -p "$out"

# The details of the C++ header are
# no part of its interface.
doxygen - <<END
PROJECT_NAME           = noxu-feeder
PROJECT_NUMBER         = $(sed -n 's/^version = "\(.*\)"/\1/p' "$root/Cargo.toml" | head -n 1)
OUTPUT_DIRECTORY       = "$out"
INPUT                  = "$include/noxu_feeder.h" "$include/noxu_feeder.hpp"
FULL_PATH_NAMES        = NO
EXCLUDE_SYMBOLS        = nxf::detail nxf::detail::*
JAVADOC_AUTOBRIEF      = YES
QUIET                  = YES
WARNINGS               = YES
WARN_IF_UNDOCUMENTED   = YES
WARN_IF_DOC_ERROR      = YES
WARN_NO_PARAMDOC       = NO
WARN_AS_ERROR          = FAIL_ON_WARNINGS
WARN_LOGFILE           =
EXTRACT_ALL            = NO
GENERATE_HTML          = YES
GENERATE_LATEX         = NO
# Settings that the C++ header needs.
PREDEFINED             = __cplusplus=201703L
HAVE_DOT               = NO
CLASS_GRAPH            = NO
END
if [ ! -f "$out/html/classnxf_1_1runner.html" ]; then
    echo "error: doxygen has read nothing in noxu_feeder.hpp" >&2
    exit 1
fi
echo "The reference is in ${out#"$root"/}/html/index.html"
