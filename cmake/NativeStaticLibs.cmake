# What a host has to link besides libnoxu_feeder.a, in rustc's order: the one place where it is written down.
# The package configuration and the pkg-config file take it from here; the test native-static-libs compares it
# with what rustc named in the build. Not used with the shared library, which names its own.
if(APPLE)
    set(NoxuFeeder_NATIVE_STATIC_LIBS -liconv -lSystem -lc -lm)
else()
    set(NoxuFeeder_NATIVE_STATIC_LIBS -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc)
endif()
