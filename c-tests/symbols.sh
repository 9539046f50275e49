#!/usr/bin/env bash
# symbols.sh LIBRARY LIST SONAME: the shared library exports exactly the functions in LIST, each under the version of
# the SONAME. The library carries that SONAME, and is never unloaded.
set -euo pipefail
library=$1 list=$2 soname=$3

case "$(uname -s)" in
    Darwin)
        exported=$(nm -gU "$library" | awk '{ print $NF }' | sed 's/^_//' | LC_ALL=C sort)
        found_soname=$(otool -D "$library" | tail -n 1)
        found_soname=${found_soname##*/}
        unversioned='' # not known to this system
        flags=NODELETE # not known to this system
        ;;
    *)
        # A symbol of type A is the name of a version.
        exported=$(nm -D --defined-only "$library" |
            awk '$2 != "A" { sub(/@.*/, ""); print $NF }' | LC_ALL=C sort)
        version=NXF_${soname##*.so.}
        unversioned=$(nm -D --defined-only "$library" |
            awk -v version="@@$version" '$2 != "A" && substr($NF, index($NF, "@")) != version { print $NF }')
        found_soname=$(readelf -d "$library" | sed -n 's/.*(SONAME).*\[\(.*\)\]/\1/p')
        flags=$(readelf -d "$library" | sed -n 's/.*(FLAGS_1).*Flags: *//p')
        ;;
esac

failed=0
if ! diff -u --label "expected: $list" --label "exported: $library" "$list" <(printf '%s\n' "$exported"); then
    echo "The exports are not what $(basename "$list") lists. If the header has changed: scripts/symbols.sh --update"
    failed=1
fi
if stray=$(grep -v '^nxf_' <<<"$exported"); then
    echo "Exports that do not begin with nxf_:" "$stray"
    failed=1
fi
if [ -n "$unversioned" ]; then
    echo "Exports without the version $version:" "$unversioned"
    failed=1
fi
if [ "$found_soname" != "$soname" ]; then
    echo "The SONAME is '$found_soname', not '$soname'."
    failed=1
fi
case " $flags " in
    *NODELETE*) ;;
    *)
        echo "The library is not marked NODELETE: its flags are '$flags'."
        failed=1
        ;;
esac
[ "$failed" = 0 ] && echo "$(wc -l <<<"$exported" | tr -d ' ') symbols, all nxf_*; SONAME $found_soname; never unloaded"
exit "$failed"
