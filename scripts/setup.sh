# shellcheck shell=bash
# What the scripts need, checked and, where the system's package manager has it, installed. Sourced:
#
#     set -euo pipefail
#     . "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
#     setup rust build tests
#
#   rust    cargo, and a compiler that is new enough
#   build   a C compiler, CMake, make: to build, install and use the package
#   tests   rustfmt, clippy, a C++ compiler, cmocka, doctest, pkg-config, valgrind, doxygen, ip
#   package   what the tests of the package need to build it for others: Ninja, musl, a cross compiler for aarch64 with
#             an emulator, libabigail, mandoc, and the standard libraries of Rust; all of it optional
#   demo    what scripts/demo.sh needs besides `rust build`
#   sanitizers   a nightly Rust with its sources and Miri, beside yours; all of it optional
#
# Installs only what is missing, and says so before it does. NXF_SETUP=check: installs nothing, only says.
# Afterwards $root is the folder of the project, setup_has NAME tells whether an optional tool is there, and
# sanitizer_lacks NAME why a sanitizer cannot be used.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# A new shell after rustup has cargo in its PATH; a service or a CI job often has not.
case ":$PATH:" in
    *":${CARGO_HOME:-$HOME/.cargo}/bin:"*) ;;
    *) PATH="$PATH:${CARGO_HOME:-$HOME/.cargo}/bin" ;;
esac

fail() {
    echo "error: $*" >&2
    exit 1
}

# interop_cargo ARGS...: cargo for the crates in interop/, in release but without link-time optimisation, which
# would take minutes for every test program, and buys nothing there. One function, so that all scripts build
# them alike and find each other's results.
interop_cargo() {
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo "$@"
}

# --- what is there ------------------------------------------------------------------------------------------

version_at_least() { # FOUND WANTED
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

compiles() { # COMPILER LANGUAGE, the source on standard input
    "$1" -x "$2" -fsyntax-only - >/dev/null 2>&1
}

setup_has() {
    case "$1" in
        cc) echo 'int main(void) { return 0; }' | compiles "${CC:-cc}" c ;;
        c++) echo '#include <vector>' | compiles "${CXX:-c++}" c++ ;;
        cmake) command -v cmake >/dev/null && version_at_least "$(cmake --version | awk 'NR == 1 { print $3 }')" 3.22 ;;
        make) command -v make >/dev/null || [ -n "${CMAKE_GENERATOR-}" ] ;;
        pkg-config) command -v pkg-config >/dev/null ;;
        cmocka)
            { command -v pkg-config >/dev/null && pkg-config --exists cmocka; } ||
                printf '#include <stdarg.h>\n#include <stddef.h>\n#include <stdint.h>\n#include <setjmp.h>\n#include <cmocka.h>\n' |
                compiles "${CC:-cc}" c
            ;;
        doctest)
            [ -f /opt/homebrew/include/doctest/doctest.h ] || [ -f /usr/local/include/doctest/doctest.h ] ||
                echo '#include <doctest/doctest.h>' | compiles "${CXX:-c++}" c++
            ;;
        valgrind) command -v valgrind >/dev/null && valgrind --error-exitcode=9 true >/dev/null 2>&1 ;;
        nightly) command -v rustup >/dev/null && rustup run "$nightly" rustc --version >/dev/null 2>&1 ;;
        rust-src) [ -f "$(rustup run "$nightly" rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ] ;;
        miri) rustup run "$nightly" cargo miri --version >/dev/null 2>&1 ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# Who installs packages here, and what each of them calls what we need.
package_manager() {
    local name
    for name in apt-get dnf pacman brew; do
        if command -v "$name" >/dev/null; then
            echo "$name"
            return
        fi
    done
}

packages_for() { # MANAGER TOOL
    case "$1:$2" in
        apt-get:cc) echo gcc libc6-dev ;;
        apt-get:c++) echo g++ ;;
        apt-get:cmocka) echo libcmocka-dev ;;
        apt-get:doctest) echo doctest-dev ;;
        apt-get:valgrind) echo valgrind libc6-dbg ;;
        apt-get:ip | pacman:ip) echo iproute2 ;;
        dnf:ip) echo iproute ;;
        apt-get:ninja) echo ninja-build ;;
        apt-get:musl-gcc) echo musl-tools ;;
        apt-get:aarch64-linux-gnu-gcc) echo gcc-aarch64-linux-gnu libc6-dev-arm64-cross ;;
        apt-get:qemu-aarch64) echo qemu-user ;;
        apt-get:abidiff) echo abigail-tools ;;
        dnf:cc) echo gcc ;;
        dnf:c++) echo gcc-c++ ;;
        dnf:pkg-config) echo pkgconf-pkg-config ;;
        dnf:cmocka) echo libcmocka-devel ;;
        dnf:doctest) echo doctest-devel ;;
        dnf:ninja) echo ninja-build ;;
        dnf:musl-gcc) echo musl-gcc musl-devel ;;
        dnf:qemu-aarch64) echo qemu-user ;;
        dnf:abidiff) echo libabigail ;;
        pacman:cc | pacman:c++) echo gcc ;;
        pacman:pkg-config) echo pkgconf ;;
        pacman:musl-gcc) echo musl ;;
        pacman:qemu-aarch64) echo qemu-user ;;
        pacman:abidiff) echo libabigail ;;
        brew:pkg-config) echo pkgconf ;;
        # The compilers and make come with Xcode's command line tools; valgrind is not made for current systems.
        # Network namespaces are Linux's.
        brew:cc | brew:c++ | brew:make | brew:valgrind | brew:ip) ;;
        # What is about Linux.
        brew:musl-gcc | brew:aarch64-linux-gnu-gcc | brew:qemu-aarch64 | brew:abidiff) ;;
        # There the compiler comes without a C library for it.
        dnf:aarch64-linux-gnu-gcc) ;;
        *) echo "$2" ;;
    esac
}

# What it means when a tool cannot be had.
consequence() {
    case "$1" in
        cc) echo "a C compiler: nothing can be built or linked without one" ;;
        c++) echo "a C++ compiler (C++17): the C++ half of the tests needs one" ;;
        cmake) echo "CMake 3.22 or later (here: $(cmake --version 2>/dev/null | head -n 1 | grep . || echo none)): it builds and installs the package" ;;
        make) echo "make (or Ninja, with CMAKE_GENERATOR=Ninja): CMake calls it" ;;
        pkg-config) echo "pkg-config: the test that a host can be built with it alone needs it" ;;
        cmocka) echo "cmocka: the C tests are written with it" ;;
        doctest) echo "doctest: the C++ tests are written with it" ;;
        valgrind) echo "valgrind: the C tests run, but not under valgrind as well" ;;
        doxygen) echo "doxygen: that the headers are wholly documented is not checked" ;;
        ip) echo "ip (iproute2): what happens when a replica's machine vanishes is not tested" ;;
        ninja) echo "Ninja: the package is not built with a generator for several configurations" ;;
        musl-gcc) echo "musl-gcc: the package is not built for musl" ;;
        aarch64-linux-gnu-gcc) echo "aarch64-linux-gnu-gcc: the package is not built for another machine" ;;
        qemu-aarch64) echo "qemu-aarch64: hosts for another machine are linked, and not run" ;;
        abidiff) echo "abidiff (libabigail): the binary interface is not compared with the one that is checked in" ;;
        mandoc) echo "mandoc: the manual pages are not checked for mistakes" ;;
        *) echo "$1" ;;
    esac
}

# --- getting it ---------------------------------------------------------------------------------------------

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        # Without a terminal nobody can type a password.
        if [ -t 0 ]; then sudo "$@"; else sudo -n "$@"; fi
    else
        echo "neither root nor sudo" >&2
        return 1
    fi
}

install_packages() { # MANAGER PACKAGE...
    local manager=$1
    shift
    echo "setup: installing $* ($manager)"
    case "$manager" in
        apt-get)
            as_root apt-get -o DPkg::Lock::Timeout=300 -qq update &&
                as_root env DEBIAN_FRONTEND=noninteractive \
                    apt-get -o DPkg::Lock::Timeout=300 -qq -y --no-install-recommends install "$@"
            ;;
        dnf) as_root dnf -q -y install "$@" ;;
        pacman) as_root pacman -S --noconfirm --needed "$@" ;;
        brew) brew install --quiet "$@" ;;
    esac </dev/null >/dev/null
}

# require TOOL...: installs what is missing of them, and fails, naming all of it, when something cannot be had.
# A tool written as name? is optional.
require() {
    local tool manager packages='' missing='' lacking=no
    for tool in "$@"; do
        setup_has "${tool%\?}" || missing="$missing $tool"
    done
    [ -n "$missing" ] || return 0

    manager=$(package_manager)
    if [ -n "$manager" ] && [ "${NXF_SETUP-}" != check ]; then
        for tool in $missing; do
            packages="$packages $(packages_for "$manager" "${tool%\?}")"
        done
        # One at a time when all at once does not work: what one repository lacks must not stop the others.
        # Word splitting is meant: these are lists of package names.
        # shellcheck disable=SC2086
        if [ -n "${packages// /}" ] && ! install_packages "$manager" $packages; then
            for tool in $missing; do
                packages=$(packages_for "$manager" "${tool%\?}")
                if [ -n "$packages" ]; then
                    install_packages "$manager" $packages || echo "setup: $manager could not install $packages" >&2
                fi
            done
        fi
    fi

    for tool in $missing; do
        setup_has "${tool%\?}" && continue
        case "$tool" in
            *\?) echo "setup: going on without $(consequence "${tool%\?}")" >&2 ;;
            *)
                echo "setup: missing: $(consequence "$tool")" >&2
                lacking=yes
                ;;
        esac
    done
    [ "$lacking" = no ] || fail "install what is named above, and start again."
}

setup_rust() {
    local wanted found
    command -v cargo >/dev/null || fail "cargo is not there: install Rust (https://rustup.rs), and start again."
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
    found=$(cd "$root" && rustc --version | awk '{ print $2 }')
    version_at_least "$found" "$wanted" ||
        fail "Rust $found is too old, $wanted is needed: rustup update stable, and start again."
}

setup_rust_component() { # COMMAND COMPONENT
    (cd "$root" && cargo "$1" --version >/dev/null 2>&1) && return
    if command -v rustup >/dev/null && [ "${NXF_SETUP-}" != check ]; then
        echo "setup: installing $2 (rustup)"
        (cd "$root" && rustup component add "$2" >/dev/null 2>&1) && return
    fi
    fail "cargo $1 is not there: install the $2 that belongs to your Rust, and start again."
}

# The standard libraries of Rust for the targets that the package is tested for, besides this machine's.
setup_rust_targets() {
    local target
    for target in aarch64-unknown-linux-gnu "$(uname -m)-unknown-linux-musl"; do
        [ ! -d "$(cd "$root" && rustc --print target-libdir --target "$target" 2>/dev/null)" ] || continue
        if command -v rustup >/dev/null && [ "${NXF_SETUP-}" != check ]; then
            echo "setup: installing the standard library for $target (rustup)"
            (cd "$root" && rustup target add "$target" >/dev/null 2>&1) && continue
        fi
        echo "setup: going on without Rust's standard library for $target: the package is not built for it" >&2
    done
}

# --- sanitizers ---------------------------------------------------------------------------------------------

# Sanitizers and Miri are only in nightly Rust; a dated one can be named.
nightly=${NXF_NIGHTLY:-nightly}

setup_nightly() {
    local component
    if command -v rustup >/dev/null && [ "${NXF_SETUP-}" != check ]; then
        if ! setup_has nightly; then
            echo "setup: installing the Rust toolchain $nightly (rustup); yours stays what it is"
            rustup toolchain install "$nightly" --profile minimal --no-self-update >/dev/null 2>&1 || true
        fi
        for component in rust-src miri; do
            if setup_has nightly && ! setup_has "$component"; then
                echo "setup: installing $component for $nightly (rustup)"
                rustup component add --toolchain "$nightly" "$component" >/dev/null 2>&1 || true
            fi
        done
    fi
}

rust_host() {
    rustup run "$nightly" rustc -vV | sed -n 's/^host: //p'
}

# sanitizer_runtime asan|tsan: the static library that comes with the nightly Rust; nothing where there is none.
sanitizer_runtime() {
    local file
    for file in "$(rustup run "$nightly" rustc --print sysroot)/lib/rustlib/$(rust_host)/lib"/librustc*_rt."$1".a; do
        if [ -f "$file" ]; then
            echo "$file"
        fi
    done
}

# Whether an empty program with the runtime starts and ends here: a container may forbid what the runtime needs.
sanitizer_starts() { # address|thread RUNTIME
    local folder status=0
    folder=$(mktemp -d)
    echo 'int main(void) { return 0; }' >"$folder/empty.c"
    { "${CC:-cc}" "-fsanitize=$1" -c "$folder/empty.c" -o "$folder/empty.o" &&
        "${CC:-cc}" "$folder/empty.o" -o "$folder/empty" -Wl,--whole-archive "$2" -Wl,--no-whole-archive \
            -Wl,--export-dynamic -lpthread -lrt -lm -ldl -lresolv &&
        "$folder/empty"; } >/dev/null 2>&1 || status=$?
    rm -rf "$folder"
    return "$status"
}

# sanitizer_lacks asan|tsan|miri: why it cannot be used here, in words; nothing if it can.
sanitizer_lacks() {
    local runtime name=address
    if ! command -v rustup >/dev/null; then
        echo "there is no rustup here to bring a nightly Rust, which it needs"
    elif ! setup_has nightly; then
        echo "there is no Rust toolchain $nightly here"
    elif [ "$1" = miri ]; then
        setup_has miri || echo "the toolchain $nightly has no Miri"
    else
        [ "$1" = asan ] || name=thread
        runtime=$(sanitizer_runtime "$1")
        if [ -z "$runtime" ]; then
            echo "the toolchain $nightly has no such runtime for this system"
        elif [ "$1" = tsan ] && ! setup_has rust-src; then
            echo "the toolchain $nightly has no sources of the standard library, which has to be built with it"
        elif ! setup_has cmocka || ! setup_has doctest || ! setup_has c++; then
            echo "the C tests need cmocka, doctest and a C++ compiler"
        elif ! sanitizer_starts "$name" "$runtime"; then
            echo "a program with its runtime cannot be built by this C compiler, or does not run on this system"
        fi
    fi
}

setup() {
    local purpose
    for purpose in "$@"; do
        case "$purpose" in
            rust) setup_rust ;;
            build) require cc cmake make ;;
            tests)
                setup_rust_component fmt rustfmt
                setup_rust_component clippy clippy
                require cc c++ pkg-config cmocka doctest valgrind\? doxygen\? ip\?
                ;;
            package)
                require ninja\? musl-gcc\? aarch64-linux-gnu-gcc\? qemu-aarch64\? abidiff\? mandoc\?
                [ "$(uname -s)" != Linux ] || setup_rust_targets
                ;;
            sanitizers)
                require c++\? pkg-config\? cmocka\? doctest\?
                setup_nightly
                ;;
            demo) ;; # nothing beyond rust and build so far
            *) fail "setup: unknown purpose $purpose" ;;
        esac
    done
}
