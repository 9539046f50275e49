#!/usr/bin/env bash
# Measures the library (through its C interface), the original sender and the machine's limit side by side, and says
# which goals are met; also a server against as many runners, as Rust uses them. Results: target/bench/results.json and
# performance.svg. The logs, some 7 GiB, stay in target/bench/logs for the next time; the first run makes them.
#   --quick        two rounds instead of five, and shorter ones
#   --only A,B     only cases whose names begin so
#   --publish      writes the plot to docs/performance.svg as well
# Other options go to the benchmark: `scripts/bench.sh --help`.
# NXF_BENCH_PREFIX: measure the library installed there instead of this source's.
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
cd "$root"
setup rust build

publish=no
arguments=()
for argument in "$@"; do
    if [ "$argument" = --publish ]; then publish=yes; else arguments+=("$argument"); fi
done

bench=$root/target/bench
mkdir -p "$bench"
prefix=${NXF_BENCH_PREFIX-}
if [ -z "$prefix" ]; then
    prefix=$bench/prefix
    "$root/scripts/install.sh" "$prefix"
fi
library=$(find "$prefix" \( -name libnoxu_feeder.so -o -name libnoxu_feeder.dylib \) | head -n 1)
[ -n "$library" ] || fail "there is no shared library in $prefix"

interop_cargo build --locked --release --package noxu-feeder-interop --bin nxf-bench
"${CARGO_TARGET_DIR:-$root/target}/release/nxf-bench" run --library "$library" --logs "$bench/logs" \
    --json "$bench/results.json" --plot "$bench/performance.svg" ${arguments[@]+"${arguments[@]}"} | tee "$bench/last.log"

if [ "$publish" = yes ]; then
    cp "$bench/performance.svg" "$root/docs/performance.svg"
fi
