#!/usr/bin/env bash
# Makes the small real logs in tests/fixtures/ anew, with the real Noxu crates. They are checked in, so that the tests
# need no crates; this script made them. If several threads commit at once, each run gives another order.
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$root"
setup rust build
export CARGO_TARGET_DIR=$root/target
interop_cargo build --locked --release --quiet --package noxu-feeder-interop
nxf_interop=$CARGO_TARGET_DIR/release/nxf-interop
fixtures=$root/tests/fixtures

# fixture NAME: an empty folder for it. listed NAME: its log is made; keeps the log files and what they should yield.
fixture() {
    dir=$fixtures/$1
    rm -rf "$dir"
    mkdir -p "$dir"
}
listed() {
    find "$dir" -type f ! -name '*.ndb' -delete
    find "$dir" -mindepth 1 -type d -empty -delete
    "$nxf_interop" list --dir "$dir" >"$dir/expected.txt"
    echo "$1: $(wc -l <"$dir/expected.txt") entries, $(du -sk "$dir" | cut -f1) KiB"
}
make_log() { "$nxf_interop" make-log --dir "$dir" --payload 30..300 "$@" >/dev/null; }

fixture mixed-7.11.2 # several files, all types a replica takes, untagged entries in between
make_log --entries 200 --file-max 8K --untagged-every 4
listed mixed-7.11.2

fixture mixed-6.2.0 # the same by the older writer
make_log --entries 200 --file-max 8K --untagged-every 4 --format 6
listed mixed-6.2.0

fixture begins-at-50 # as after a restore, or behind the cleaner
make_log --entries 60 --file-max 8K --first-vlsn 50
listed begins-at-50

fixture rolled-back # the last 40 taken back by a real rollback, and a new history at their VLSNs
make_log --entries 100 --file-max 8K
"$nxf_interop" roll-back --dir "$dir" --to-vlsn 60 >/dev/null
"$nxf_interop" append --dir "$dir" --payload 30..300 --file-max 8K --seed 2 --entries 50 >/dev/null
listed rolled-back

# Until VLSNs stand out of order: with few commits they do not always.
for _ in {1..50}; do
    fixture out-of-order # a real environment, eight threads that commit at once
    "$nxf_interop" commit --dir "$dir" --threads 8 --commits 1500 --file-max 32K >"$root/target/fixture.txt"
    grep -q 'out_of_order=0 ' "$root/target/fixture.txt" || break
done
listed out-of-order

# The writer fills its buffer of 1 MiB in the old file first, so this one cannot be small.
fixture backup # a real backup while four threads commit: the next file begins with zeros, for good
"$nxf_interop" commit --dir "$dir" --threads 4 --commits 20000 --backup-after 300 >/dev/null
listed backup
