#!/usr/bin/env bash
# Runs the tests under AddressSanitizer with its search for leaks, under ThreadSanitizer, and in Miri: they see mistakes
# that do not show. Needs a nightly Rust, which scripts/setup.sh installs beside yours. A kind that cannot run here is
# named in a line that begins with LEFT OUT. The exit status is that of the kinds that ran, and 3 if none did.
#   --quick   of each the part that pays most: the C tests under the two sanitizers, tests/ffi.rs in Miri
set -euo pipefail
# shellcheck source=scripts/setup.sh
. "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

quick=no
kinds=''
for argument; do
    case "$argument" in
        --quick) quick=yes ;;
        asan | tsan | miri) kinds="$kinds $argument" ;;
        *)
            echo "usage: scripts/sanitize.sh [--quick] [asan|tsan|miri ...]" >&2
            exit 2
            ;;
    esac
done
cd "$root"
setup rust build sanitizers

work=$root/target/sanitize
jobs=$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
summary=''

# step TITLE COMMAND...
step() {
    local title=$1 start=$SECONDS
    shift
    printf '\n--> %s\n' "$title"
    "$@"
    summary="$summary$(printf '%-46s %s s' "$title" "$((SECONDS - start))")
"
}

# sanitized asan|tsan COMMAND...: with the nightly Rust, told to compile for the sanitizer.
sanitized() {
    local flags
    case "$1" in
        asan) flags='-Zsanitizer=address -Cforce-frame-pointers=yes' ;;
        tsan) flags=-Zsanitizer=thread ;;
    esac
    shift
    RUSTFLAGS=$flags rustup run "$nightly" "$@"
}

# Accesses that ThreadSanitizer does not see look like races to it, so the standard library is built with it, too.
std_flag() { # asan|tsan
    [ "$1" != tsan ] || echo -Zbuild-std
}

# The library is compiled by the nightly Rust and the tests by the C compiler. Both call runtimes of one interface, and
# a process can have only one: here that of the nightly Rust, which is the newer.
build_c_tests() { # asan|tsan
    local kind=$1 name=address
    [ "$kind" = asan ] || name=thread
    sanitized "$kind" cmake -S . -B "$work/$kind-c" -DCMAKE_BUILD_TYPE=None \
        -DNOXU_FEEDER_PROFILE=sanitize -DNOXU_FEEDER_RUST_TARGET="$(rust_host)" \
        -DNOXU_FEEDER_CARGO_FLAGS="$(std_flag "$kind")" -DNOXU_FEEDER_CARGO_TARGET_DIR="$work/$kind" \
        -DNOXU_FEEDER_SHARED=OFF -DNOXU_FEEDER_INSTALL=OFF \
        -DNOXU_FEEDER_BUILD_TESTS=ON -DNXF_SANITIZER="$name" -DNXF_SANITIZER_RUNTIME="$(sanitizer_runtime "$kind")"
    sanitized "$kind" cmake --build "$work/$kind-c" --parallel "$jobs"
}

run_c_tests() { # asan|tsan
    ctest --test-dir "$work/$1-c" --label-regex plain --output-on-failure --no-tests=error --parallel "$jobs"
}

# --target names this machine, and keeps build scripts and macros free of the sanitizer.
rust_tests() { # asan|tsan ARGS...
    local kind=$1
    shift
    # Word splitting is meant: a flag or none.
    # shellcheck disable=SC2046
    sanitized "$kind" cargo test $(std_flag "$kind") --locked --profile sanitize --target "$(rust_host)" \
        --target-dir "$work/$kind" "$@"
}

# miri strict|permissive ARGS...: how it takes pointers that are made of integers. The locks of parking_lot make some
# when a thread has to wait; everywhere else nothing does, and the strict way finds more.
# The tests read real files and the real clock, which Miri has to allow. Random cases are few: it is slow.
miri() {
    local provenance=$1
    shift
    MIRIFLAGS="-Zmiri-$provenance-provenance -Zmiri-disable-isolation" \
        PROPTEST_CASES=2 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 \
        rustup run "$nightly" cargo miri test --locked --profile sanitize --target-dir "$work/miri" "$@"
}

# Modules whose tests call the system for what Miri does not have (poll, inotify, name look-up) are not among these.
miri_modules='chunk:: error:: ffi:: log:: options:: source:: stream:: transport::message::'
miri_modules_that_wait='transport::local:: acks::'

# --- what runs ----------------------------------------------------------------------------------------------

export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1${ASAN_OPTIONS:+:$ASAN_OPTIONS}

run_asan() {
    step "C tests for AddressSanitizer, built" build_c_tests asan
    step "C tests under AddressSanitizer" run_c_tests asan
    if [ "$quick" = no ]; then
        NXF_SIM_SEEDS=${NXF_SIM_SEEDS:-2000} step "Rust tests under AddressSanitizer" rust_tests asan --lib --tests
    fi
}

run_tsan() {
    step "C tests for ThreadSanitizer, built" build_c_tests tsan
    step "C tests under ThreadSanitizer" run_c_tests tsan
    if [ "$quick" = no ]; then
        # The others have one thread.
        step "Rust tests under ThreadSanitizer" rust_tests tsan --lib --test running --test ffi
    fi
}

run_miri() {
    step "tests/ffi.rs in Miri" miri strict --test ffi -- --skip waiting::
    step "tests/ffi.rs in Miri, what waits" miri permissive --test ffi -- waiting::
    if [ "$quick" = no ]; then
        # Word splitting is meant: lists of filters.
        # shellcheck disable=SC2086
        step "Unit tests in Miri" miri strict --lib -- $miri_modules
        # shellcheck disable=SC2086
        step "Unit tests in Miri, what waits" miri permissive --lib -- $miri_modules_that_wait --skip stream::
    fi
}

ran=no
for kind in ${kinds:-asan tsan miri}; do
    lacks=$(sanitizer_lacks "$kind")
    if [ -n "$lacks" ]; then
        line="LEFT OUT: $kind: $lacks"
        echo "$line"
        summary="$summary$line
"
    else
        "run_$kind"
        ran=yes
    fi
done

printf '\n--> Summary\n%s' "$summary"
[ "$ran" = yes ] || exit 3
