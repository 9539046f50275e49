#!/usr/bin/env bash
# The main job, for real: a C program built against the installed package feeds a real Noxu replica from a real Noxu
# log, while another process goes on writing that log. At the end the replica's log is compared with the master's.
# The first run builds everything (some minutes); later ones take seconds. Leaves nothing outside target/.
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

entries_before=80000 # in the log when the feeder starts
entries_after=40000  # appended while it is fed
per_second=20000
last=$((entries_before + entries_after))

cd "$root"
setup rust build demo
work=$root/target/demo
rm -rf "$work"
mkdir -p "$work"
# The same folder for all results of cargo, whatever the machine's own settings say.
export CARGO_TARGET_DIR=$root/target
writer='' replica=''

step() {
    printf '==> %s\n' "$*"
}

# Ends the processes that still run. After a failure, says why each part ended.
finish() {
    local status=$?
    [ -z "$writer" ] || kill "$writer" 2>/dev/null || :
    [ -z "$replica" ] || kill "$replica" 2>/dev/null || :
    if [ "$status" != 0 ]; then
        for log in "$work"/*.log; do
            [ -s "$log" ] && { echo "--- the end of ${log#"$root"/}" && tail -n 5 "$log"; } >&2
        done
        echo "FAILED: see above." >&2
    fi
    exit "$status"
}
trap finish EXIT

step "Building the real master and replica (the first time takes some minutes)"
interop_cargo build --locked --release --quiet --package noxu-feeder-interop
nxf_interop=$CARGO_TARGET_DIR/release/nxf-interop

step "Building and installing the library into target/prefix"
scripts/install.sh "$root/target/prefix" >"$work/install.log" 2>&1

step "Building examples/c/feed.c against it"
{
    cmake -S examples/c -B "$work/feed" -DCMAKE_PREFIX_PATH="$root/target/prefix" -DCMAKE_BUILD_TYPE=Release
    cmake --build "$work/feed"
} >"$work/example.log" 2>&1

step "Writing a real log: $entries_before entries, in several files, with unreplicated entries in between"
log_options=(--dir "$work/log" --payload 100..3000 --file-max 8M --untagged-every 20)
"$nxf_interop" make-log "${log_options[@]}" --entries "$entries_before" 2>"$work/make-log.log"

step "Starting a real replica, and a writer that appends $entries_after more at $per_second a second"
"$nxf_interop" replica --dir "$work/replica" --port-file "$work/port" --expect-vlsn "$last" \
    --timeout-seconds 300 >"$work/replica.log" 2>&1 &
replica=$!
"$nxf_interop" append "${log_options[@]}" --until-vlsn "$last" --per-second "$per_second" \
    >"$work/writer.log" 2>&1 &
writer=$!
for ((tenths = 0; tenths < 600; tenths++)); do
    [ ! -s "$work/port" ] || break
    kill -0 "$replica" 2>/dev/null || fail "the replica ended before it listened"
    sleep 0.1
done
[ -s "$work/port" ] || fail "the replica does not listen after a minute"

step "Feeding it"
"$work/feed/feed" "$work/log" 127.0.0.1 "$(cat "$work/port")" "$last"

wait "$replica" || fail "the replica failed"
replica=''
wait "$writer" || fail "the writer failed"
writer=''

step "Comparing what the replica holds with the log"
"$nxf_interop" compare --master "$work/log" --replica "$work/replica"
