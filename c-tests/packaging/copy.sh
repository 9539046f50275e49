# shellcheck shell=bash
# copy_package PREFIX LIBDIR TO: copies the files that were installed into PREFIX, whose libraries are in PREFIX/LIBDIR,
# to TO. It does not copy the whole folder: PREFIX may be /usr.
copy_package() {
    local prefix=$1 libdir=$2 to=$3
    mkdir -p "$to/include" "$to/$libdir/cmake" "$to/$libdir/pkgconfig"
    cp "$prefix"/include/noxu_feeder* "$to/include/"
    cp -P "$prefix/$libdir"/libnoxu_feeder* "$to/$libdir/"
    cp -R "$prefix/$libdir/cmake/NoxuFeeder" "$to/$libdir/cmake/"
    cp "$prefix/$libdir/pkgconfig/noxu_feeder.pc" "$to/$libdir/pkgconfig/"
}
