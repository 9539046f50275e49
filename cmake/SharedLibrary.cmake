# The shared library, as the target NoxuFeeder_shared: all of the static library, linked by CMake's C compiler. Rustc
# does not link it: rustc brings a version script of its own, beside which the linker accepts no other, and for another
# machine it would have to be told of a linker.
#
# It exports nxf_* and nothing else, each under the version of the ABI; c-tests/symbols.txt pins it.
set(stub "${CMAKE_CURRENT_BINARY_DIR}/shared.c")
file(CONFIGURE OUTPUT "${stub}" CONTENT "typedef int nxf_all_of_it_is_in_the_static_library;\n")
add_library(NoxuFeeder_shared SHARED "${stub}")
add_library(NoxuFeeder::NoxuFeeder ALIAS NoxuFeeder_shared)
add_dependencies(NoxuFeeder_shared NoxuFeeder_cargo)
set_target_properties(NoxuFeeder_shared PROPERTIES
    OUTPUT_NAME noxu_feeder VERSION ${PROJECT_VERSION} SOVERSION ${abi}
    # These hold whatever names and folders the project around it gives its own libraries.
    PREFIX lib DEBUG_POSTFIX "" RELEASE_POSTFIX "" RELWITHDEBINFO_POSTFIX "" MINSIZEREL_POSTFIX ""
    LIBRARY_OUTPUT_DIRECTORY "${lib_dir}")
target_include_directories(NoxuFeeder_shared SYSTEM INTERFACE "${CMAKE_CURRENT_SOURCE_DIR}/include")

set(linked "${lib_dir}/${static_file}")
if(APPLE)
    target_link_libraries(NoxuFeeder_shared PRIVATE "-Wl,-force_load" "${linked}" ${NoxuFeeder_NATIVE_STATIC_LIBS})
    target_link_options(NoxuFeeder_shared PRIVATE "-Wl,-exported_symbol,_nxf_*" -Wl,-dead_strip)
    set_target_properties(NoxuFeeder_shared PROPERTIES LINK_DEPENDS "${linked}" INSTALL_NAME_DIR "@rpath")
else()
    set(version_script "${CMAKE_CURRENT_BINARY_DIR}/noxu_feeder.map")
    file(CONFIGURE OUTPUT "${version_script}" CONTENT "NXF_@abi@ { global: nxf_*; local: *; };\n" @ONLY)
    target_link_libraries(NoxuFeeder_shared PRIVATE
        -Wl,--whole-archive "${linked}" -Wl,--no-whole-archive ${NoxuFeeder_NATIVE_STATIC_LIBS})
    target_link_options(NoxuFeeder_shared PRIVATE
        "-Wl,--version-script=${version_script}"
        # When a host calls dlclose, a thread of the library may still be returning, and thread-local destructors may
        # still have to run. If their code were unmapped then, the host would crash.
        -Wl,-z,nodelete
        # All symbols are bound at load time, and the tables are read-only afterwards.
        -Wl,-z,relro,-z,now -Wl,-z,noexecstack
        -Wl,--gc-sections -Wl,--as-needed -Wl,-O1)
    set_target_properties(NoxuFeeder_shared PROPERTIES LINK_DEPENDS "${linked};${version_script}")
endif()
