#!/usr/bin/env bash
# stranger.sh SCRATCH PREFIX LIBDIR SOURCES: plays a user who has only the package and the README. In an empty folder,
# with a copy of the package next to it and an empty environment, the README's program is built by CMake, by pkg-config,
# and as C++, and feeds the package's mock replica.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=c-tests/packaging/copy.sh
. "$here/copy.sh"
scratch=$1 prefix=$2 libdir=$3 sources=$4
cc=${CC:-cc} cxx=${CXX:-c++} cmake=${CMAKE:-cmake}
rm -rf "$scratch"
mkdir -p "$scratch/home"
copy_package "$prefix" "$libdir" "$scratch/package"
package=$scratch/package

# The stranger has copies of the README's program and of its lines for CMake. From the examples comes the program that
# runs another program against a mock, because the package has the mock only as a header.
awk '/^```c$/ { inside = 1; next } /^```/ { if (inside) exit } inside' "$sources/README.md" >"$scratch/home/host.c"
cp "$scratch/home/host.c" "$scratch/home/host.cpp"
cp "$sources/examples/c/tests/with_replicas.c" "$scratch/home/"
grep -q '^int main(' "$scratch/home/host.c"
{
    echo 'cmake_minimum_required(VERSION 3.22)'
    echo 'project(stranger LANGUAGES C CXX)'
    echo 'add_executable(host host.c)'
    awk '/^```cmake$/ { inside = 1; next } /^```/ { if (inside) exit } inside' "$sources/README.md"
    echo 'add_executable(host_cxx host.cpp)'
    echo 'target_link_libraries(host_cxx PRIVATE NoxuFeeder::NoxuFeeder)'
    echo 'add_executable(host_static host.c)'
    echo 'target_link_libraries(host_static PRIVATE NoxuFeeder::NoxuFeederStatic)'
    echo 'find_package(NoxuFeeder 0.1 REQUIRED COMPONENTS testing)'
    echo 'add_executable(with_replicas with_replicas.c)'
    echo 'target_link_libraries(with_replicas PRIVATE NoxuFeeder::Testing NoxuFeeder::NoxuFeeder)'
} >"$scratch/home/CMakeLists.txt"
cd "$scratch/home"

# Nothing of this environment reaches the stranger: no flags, and only the paths of the system's programs.
alone() {
    env -i PATH="$PATH" HOME="$scratch/home" CC="$cc" CXX="$cxx" "$@"
}
feeds() { # PROGRAM [VARIABLE=VALUE]: it feeds a replica, until the replica closes
    local program=$1
    shift
    echo "$program feeds:"
    alone "$@" ./build/with_replicas --close 1000 1 "$program" '{DIR}' 127.0.0.1 '{PORT1}' >out 2>&1 || {
        cat out
        return 1
    }
    tail -n 1 out
}

alone "$cmake" -S . -B build -DCMAKE_PREFIX_PATH="$package" >cmake.log || { cat cmake.log; exit 1; }
alone "$cmake" --build build >>cmake.log || { cat cmake.log; exit 1; }
for program in host host_cxx host_static; do
    feeds "./build/$program"
done

flags=$(alone env PKG_CONFIG_PATH="$package/$libdir/pkgconfig" pkg-config --cflags --libs noxu_feeder)
# Word splitting is how the output of pkg-config is used.
# shellcheck disable=SC2086
alone "$cc" -std=c11 -Wall -Wextra -Werror -pedantic host.c -o host_pc $flags
# shellcheck disable=SC2086
alone "$cxx" -std=c++17 -Wall -Wextra -Werror -pedantic host.cpp -o host_pc_cxx $flags
for program in host_pc host_pc_cxx; do
    feeds "./$program" LD_LIBRARY_PATH="$package/$libdir" DYLD_LIBRARY_PATH="$package/$libdir"
done

# The copy was used, and no other installation.
if grep -F "$prefix/" build/CMakeCache.txt; then
    echo "the build has found the folder of the installation"
    exit 1
fi
