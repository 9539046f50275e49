#!/usr/bin/env bash
# man.sh SCRATCH PREFIX SYMBOLS: there is a manual page for every function, and it shows the function's declaration. No
# page has a mistake, and every page that another page names exists.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/variants.sh
. "$here/variants.sh"
scratch=$1 prefix=$2 symbols=$3
rm -rf "$scratch"
mkdir -p "$scratch"
folder=$(find "$prefix" -type d -name man3 | head -n 1)
[ -n "$folder" ] || left_out "the package has no manual pages (there was no awk)"
cd "$folder"

failed=0
while read -r function; do
    page=$function.3
    if [ ! -f "$page" ]; then
        echo "no page for $function"
        failed=1
        continue
    fi
    to=$(sed -n 's/^\.so //p' "$page")
    [ -z "$to" ] || page=../$to
    for wanted in "^[a-z].*[ *]$function\\(" "^\\.SS $function\\(\\)\$"; do
        if ! grep -qE "$wanted" "$page"; then
            echo "$page does not have $wanted"
            failed=1
        fi
    done
done <"$symbols"
# No page is about a function that does not exist.
grep -hoE '^\.SS nxf_[a-z0-9_]+\(\)' ./*.3 | sed 's/^\.SS //; s/()//' | LC_ALL=C sort >"$scratch/said"
diff "$symbols" "$scratch/said" || failed=1
for named in $(grep -hoE '\b[a-z_]+ ?\(3\)' ./*.3 | tr -d ' ' | sort -u); do
    [ -f "${named%(3)}.3" ] || { echo "there is no page $named"; failed=1; }
done

if command -v mandoc >/dev/null; then
    # Word splitting is meant: a list of pages.
    # shellcheck disable=SC2046
    # A page has no date, because only releases have one. Long lines come from the header.
    if mandoc -T lint -W style $(grep -L '^\.so ' ./*.3) | grep -vE 'missing date|input text line longer'; then
        failed=1
    fi
else
    echo "not looked at by mandoc: it is not here"
fi
[ "$failed" = 0 ] && echo "$(find . -name '*.3' | wc -l) pages"
exit "$failed"
