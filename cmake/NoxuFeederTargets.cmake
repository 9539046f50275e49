# Declares NoxuFeeder::NoxuFeeder (the shared library, or the static one if there is no other),
# NoxuFeeder::NoxuFeederStatic, and NoxuFeeder::Testing (the mock replica for tests: a header, which is linked in
# addition to one of the others). Included by the build tree and by the installed NoxuFeederConfig.cmake, which set:
#   NoxuFeeder_INCLUDE_DIR, NoxuFeeder_LIBRARY_DIR   where the header and the libraries are
#   NoxuFeeder_SHARED_LIBRARY, NoxuFeeder_SHARED_SONAME, NoxuFeeder_STATIC_LIBRARY   file names; empty: not there
#   NoxuFeeder_CONFIGURATIONS                        those that have a folder each in LIBRARY_DIR; empty: none has
#   NoxuFeeder_NATIVE_STATIC_LIBS                    what goes with the static library
#   NoxuFeeder_TARGET_SCOPE                          GLOBAL, or empty for the caller's directory

if(NoxuFeeder_STATIC_LIBRARY AND NOT TARGET NoxuFeeder::NoxuFeederStatic)
    add_library(NoxuFeeder::NoxuFeederStatic STATIC IMPORTED ${NoxuFeeder_TARGET_SCOPE})
    set_target_properties(NoxuFeeder::NoxuFeederStatic PROPERTIES
        IMPORTED_LOCATION "${NoxuFeeder_LIBRARY_DIR}/${NoxuFeeder_STATIC_LIBRARY}"
        IMPORTED_LINK_INTERFACE_LANGUAGES C
        INTERFACE_INCLUDE_DIRECTORIES "${NoxuFeeder_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES "${NoxuFeeder_NATIVE_STATIC_LIBS}")
    foreach(NoxuFeeder_configuration IN LISTS NoxuFeeder_CONFIGURATIONS)
        string(TOUPPER "IMPORTED_LOCATION_${NoxuFeeder_configuration}" NoxuFeeder_location)
        set_target_properties(NoxuFeeder::NoxuFeederStatic PROPERTIES ${NoxuFeeder_location}
            "${NoxuFeeder_LIBRARY_DIR}/${NoxuFeeder_configuration}/${NoxuFeeder_STATIC_LIBRARY}")
    endforeach()
endif()

if(NOT TARGET NoxuFeeder::NoxuFeeder)
    if(NoxuFeeder_SHARED_LIBRARY)
        add_library(NoxuFeeder::NoxuFeeder SHARED IMPORTED ${NoxuFeeder_TARGET_SCOPE})
        set_target_properties(NoxuFeeder::NoxuFeeder PROPERTIES
            IMPORTED_LOCATION "${NoxuFeeder_LIBRARY_DIR}/${NoxuFeeder_SHARED_LIBRARY}"
            IMPORTED_SONAME "${NoxuFeeder_SHARED_SONAME}"
            INTERFACE_INCLUDE_DIRECTORIES "${NoxuFeeder_INCLUDE_DIR}")
    else()
        add_library(NoxuFeeder::NoxuFeeder INTERFACE IMPORTED ${NoxuFeeder_TARGET_SCOPE})
        set_target_properties(NoxuFeeder::NoxuFeeder PROPERTIES
            INTERFACE_LINK_LIBRARIES NoxuFeeder::NoxuFeederStatic
            INTERFACE_INCLUDE_DIRECTORIES "${NoxuFeeder_INCLUDE_DIR}")
    endif()
endif()

if(EXISTS "${NoxuFeeder_INCLUDE_DIR}/noxu_feeder_test.h" AND NOT TARGET NoxuFeeder::Testing)
    # The threads by name, not as Threads::Threads, which would have to be found in each directory that links this.
    add_library(NoxuFeeder::Testing INTERFACE IMPORTED ${NoxuFeeder_TARGET_SCOPE})
    set_target_properties(NoxuFeeder::Testing PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${NoxuFeeder_INCLUDE_DIR}"
        INTERFACE_LINK_LIBRARIES pthread)
endif()
