# What a host has to link besides libnoxu_feeder.a, in rustc's order: the one place where it is written down.
# The package configuration and the pkg-config file take it from here; the test native-static-libs compares it
# with what rustc named in the build. Not used with the shared library, which names its own.
#
# Without the unwinder (-lgcc_s), which rustc names, too: every C compiler brings its own, and only it knows which one
# goes with the way a program is linked. With -static there is no -lgcc_s.
if(APPLE)
    set(NoxuFeeder_NATIVE_STATIC_LIBS -liconv -lSystem -lc -lm)
elseif(rust_target MATCHES "musl")
    set(NoxuFeeder_NATIVE_STATIC_LIBS -lc)
else()
    set(NoxuFeeder_NATIVE_STATIC_LIBS -lutil -lrt -lpthread -lm -ldl -lc)
endif()
