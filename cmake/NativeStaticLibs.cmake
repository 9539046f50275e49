# The libraries that a host has to link besides libnoxu_feeder.a, in rustc's order. This is the one place that lists
# them: the package configuration and the pkg-config file take the list from here, and the test native-static-libs
# compares it with rustc's own list in the build. The shared library does not need the list.
#
# The list lacks the unwinder (-lgcc_s), which rustc names, too: every C compiler brings its own, and chooses the one
# that fits the kind of linking. With -static there is no -lgcc_s.
if(APPLE)
    set(NoxuFeeder_NATIVE_STATIC_LIBS -liconv -lSystem -lc -lm)
elseif(rust_target MATCHES "musl")
    set(NoxuFeeder_NATIVE_STATIC_LIBS -lc)
else()
    set(NoxuFeeder_NATIVE_STATIC_LIBS -lutil -lrt -lpthread -lm -ldl -lc)
endif()
