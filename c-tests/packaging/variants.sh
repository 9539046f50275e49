# shellcheck shell=bash
# For the tests that build the library once more, for another target or in another way.

# left_out REASON: ends a test that cannot run here, so that ctest says "Skipped" and scripts/test.sh names it.
left_out() {
    echo "LEFT OUT: package.$(basename "$0" .sh): $1"
    exit 77
}

# needs TOOL...: leaves the test out where one of them is missing.
needs() {
    local tool
    for tool; do
        command -v "$tool" >/dev/null || left_out "there is no $tool here"
    done
}

# needs_rust_target SOURCES TRIPLE
needs_rust_target() {
    [ -d "$(cd "$1" && rustc --print target-libdir --target "$2" 2>/dev/null)" ] ||
        left_out "the standard library of Rust for $2 is not here (rustup target add $2)"
}

# configure SOURCES BUILD CARGO ARGS...: configures the library without optimisation, so that it builds in a few
# seconds. Crates that do not depend on the target are compiled once for all variants, in the folder CARGO.
quick='--config;profile.dev.opt-level=0;--config;profile.dev.debug=0;--config;profile.dev.package."*".opt-level=0'
configure() {
    local sources=$1 build=$2 cargo=$3
    shift 3
    "${CMAKE:-cmake}" -S "$sources" -B "$build" -DCMAKE_BUILD_TYPE=Debug -DNOXU_FEEDER_CARGO_TARGET_DIR="$cargo" \
        -DNOXU_FEEDER_CARGO_FLAGS="$quick" "$@"
}

# is_static PROGRAM: needs no other library, nor a loader.
is_static() {
    if LC_ALL=C readelf -ld "$1" | grep -E 'INTERP|\(NEEDED\)'; then
        echo "$1 is not linked statically"
        return 1
    fi
}
