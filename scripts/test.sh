#!/usr/bin/env bash
# Runs every check that must pass before a change is merged. The checks that fail fastest come first. Stops at the first
# failure. Writes only to target/.
#   --quick   without the real replica (interop/), without valgrind, sanitizers and Miri
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

quick=no
case "${1-}" in
    '') ;;
    --quick) quick=yes ;;
    *)
        echo "usage: scripts/test.sh [--quick]" >&2
        exit 2
        ;;
esac
cd "$root"
setup rust build tests package
[ "$quick" = yes ] || setup sanitizers

work=$root/target/test
logs=$work/logs
rm -rf "$logs"
mkdir -p "$logs"
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
summary=''
started=$SECONDS

# section TITLE COMMAND...: runs it with its output shown and kept in $log, and ends the script if it fails.
section() {
    local title=$1 start=$SECONDS status
    shift
    log=$logs/${title//[^A-Za-z0-9]/-}.log
    printf '\n==> %s\n' "$title"
    # `set -e` holds inside only as long as no condition surrounds it.
    set +e
    (set -e; "$@") </dev/null 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    set -e
    if [ "$status" != 0 ]; then
        printf '\n%s\nFAILED: %s (exit status %s)\nIts output is above, and in %s\n' \
            "$summary" "$title" "$status" "${log#"$root"/}" >&2
        exit 1
    fi
    note "$title" "$((SECONDS - start)) s"
}

note() { # TITLE WHAT
    summary="$summary$(printf '%-46s %s' "$1" "$2")
"
}

cargo_passed=0
ctest_passed=0

count_cargo() { # adds up what `cargo test` has said in $log
    local counts passed ignored
    counts=$(awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, i + 0 }' "$log")
    passed=${counts% *} ignored=${counts#* }
    cargo_passed=$((cargo_passed + passed))
    note "" "$passed tests passed, $ignored ignored"
    # The reason that a test gives if it cannot run here.
    while IFS= read -r line; do note "" "$line"; done < <(grep '^LEFT OUT:' "$log" || true)
}

count_ctest() { # takes over the closing line of ctest in $log: "100% tests passed, 0 tests failed out of 25"
    local closing skipped
    closing=$(grep -E '^[0-9]+% tests passed' "$log")
    skipped=$(grep -c '\*\*\*Skipped' "$log" || true)
    ctest_passed=$((ctest_passed + ${closing##* } - skipped))
    note "" "$closing"
}

# --- Rust ---------------------------------------------------------------------------------------------------

format() {
    cargo fmt --all --check
    cargo fmt --manifest-path tools/header/Cargo.toml --check
}

lint() {
    cargo clippy --locked --package noxu-feeder --package noxu-feeder-models --all-targets -- -D warnings
    cargo clippy --locked --manifest-path tools/header/Cargo.toml --target-dir target/tools -- -D warnings
}

interop() {
    interop_cargo clippy --locked --release --package noxu-feeder-interop --all-targets -- -D warnings
    interop_cargo test --locked --release --package noxu-feeder-interop
}

section "Formatting" format
section "Lints" lint
if [ "$quick" = no ]; then
    section "The real master and replica" interop
    count_cargo
else
    note "The real master and replica" "left out (--quick)"
fi
section "Rust tests" cargo test --locked
count_cargo
section "Models: threads in every order" cargo test --locked --package noxu-feeder-models
count_cargo
if [ "$quick" = yes ]; then
    note "Instructions for an entry and an ack" "left out (--quick)"
elif setup_has valgrind; then
    section "Instructions for an entry and an ack" scripts/instructions.sh
    note "" "$(awk '/instructions each/ { printf "%s%s %s", (n++ ? ", " : ""), $1, $2 }' "$log")"
else
    note "Instructions for an entry and an ack" "LEFT OUT: there is no valgrind here"
fi

# --- C ------------------------------------------------------------------------------------------------------

header() {
    scripts/header.sh --check
    scripts/symbols.sh
}

# The package is installed into one folder, copied to another and tested there, with the first folder deleted: nothing
# can reach back to it. It does not use target/prefix, which a developer may be using.
installed=$work/installed
prefix=$work/relocated
install_package() {
    rm -rf "$installed" "$prefix"
    scripts/install.sh "$installed"
    cp -pR "$installed" "$prefix"
    rm -rf "$installed"
    if grep -rIF "$installed" "$prefix"; then
        echo "The lines above name the folder of the installation: the package cannot be moved."
        return 1
    fi
}

# 1.2 times its size when the limit was set: a change that makes it grow by so much must be noticed.
stripped_bytes_max=1500000

build_failpoints() {
    scripts/failpoints.sh "$work/failpoints"
}

build_c_tests() {
    cmake -S c-tests -B "$work/c-tests" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_PREFIX_PATH="$prefix" \
        -DNXF_NATIVE_STATIC_LIBS_PRINTED="$root/target/cmake/cargo/native-static-libs-release.txt" \
        -DNXF_CARGO_TARGET_DIR="$root/target/cmake/cargo" \
        -DNXF_FAILPOINTS_DIR="$work/failpoints" -DNXF_STRIPPED_BYTES_MAX="$stripped_bytes_max"
    cmake --build "$work/c-tests" --parallel "$jobs"
}

# run_c_tests ARGS...: those of the C tests that the arguments of ctest select; none is a failure.
run_c_tests() {
    ctest --test-dir "$work/c-tests" --output-on-failure --no-tests=error --parallel "$jobs" "$@"
}

exports() {
    local library
    library=$(find "$prefix" \( -name libnoxu_feeder.so -o -name libnoxu_feeder.dylib \) | head -n 1)
    if [ "$(uname -s)" = Darwin ]; then nm -gU "$library"; else nm -D --defined-only "$library"; fi | awk '
        $2 == "A" { next } # the name of the version
        { sub(/@.*/, ""); print $NF; all++ }
        $NF ~ /^_?nxf_/ { ours++ }
        END { print ours + 0 " of " all + 0; exit ours != all || !all }'
}

section "Header and list of symbols" header
section "Package, installed and moved" install_package
if setup_has doxygen; then
    section "Reference from the installed headers" scripts/doxygen.sh "$prefix"
else
    note "Reference from the installed headers" "LEFT OUT: there is no doxygen here"
fi
section "Library that can be had to panic" build_failpoints
section "C and C++ tests, built against the package" build_c_tests
section "C and C++ tests" run_c_tests --label-exclude 'package|valgrind'
count_ctest
section "Package tests" run_c_tests --label-regex package
count_ctest
# Only ctest's own log has the reason that a test gives if it cannot run here.
while read -r left_out; do
    note "" "$left_out"
done < <(grep -h '^LEFT OUT: ' "$work/c-tests/Testing/Temporary/LastTest.log" || true)
section "Size and load time" run_c_tests --verbose --tests-regex '^weight$'
note "" "$(sed -n 's/^[0-9]*: *\(size: .*\)/\1/p' "$log")"
note "" "$(sed -n 's/^[0-9]*: *\(load time: .*\)/\1/p' "$log")"
if [ "$quick" = yes ]; then
    note "C and C++ tests under valgrind" "left out (--quick)"
elif setup_has valgrind; then
    section "C and C++ tests under valgrind" run_c_tests --label-regex valgrind
    count_ctest
else
    note "C and C++ tests under valgrind" "LEFT OUT: there is no valgrind here"
fi

# sanitizer KIND TITLE COUNT: runs the most useful part; scripts/sanitize.sh without --quick runs more.
sanitizer() {
    local lacks
    if [ "$quick" = yes ]; then
        note "$2" "left out (--quick)"
        return
    fi
    lacks=$(sanitizer_lacks "$1")
    if [ -n "$lacks" ]; then
        note "$2" "LEFT OUT: $lacks"
    else
        section "$2" scripts/sanitize.sh --quick "$1"
        "$3"
    fi
}
sanitizer asan "C and C++ tests under AddressSanitizer" count_ctest
sanitizer tsan "C and C++ tests under ThreadSanitizer" count_ctest
sanitizer miri "The C interface in Miri" count_cargo
section "Only nxf_* is exported" exports
note "" "$(tail -n 1 "$log") exported symbols"

printf '\n==> Summary\n%s%s s in all\n\n%s passed, 0 failed\n' \
    "$summary" "$((SECONDS - started))" "$((cargo_passed + ctest_passed))"
