# The installed package. Components: NoxuFeeder_Runtime (what a program needs to run), NoxuFeeder_Development,
# NoxuFeeder_Testing (the mock replica for tests; find_package asks for it as the component testing), and
# NoxuFeeder_Documentation (docs, examples and manual pages).
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/NoxuFeeder")
set(doc_dir "${CMAKE_INSTALL_DATAROOTDIR}/doc/noxu-feeder")
set(generated_dir "${CMAKE_CURRENT_BINARY_DIR}/package")

# The facts about the libraries that are written into the package's files.
if(NOXU_FEEDER_SHARED)
    if(APPLE)
        set(NoxuFeeder_SHARED_LIBRARY "libnoxu_feeder.${PROJECT_VERSION}.dylib")
        set(NoxuFeeder_SHARED_SONAME "@rpath/libnoxu_feeder.${abi}.dylib")
    else()
        set(NoxuFeeder_SHARED_LIBRARY "libnoxu_feeder.so.${PROJECT_VERSION}")
        set(NoxuFeeder_SHARED_SONAME "libnoxu_feeder.so.${abi}")
    endif()
endif()

configure_package_config_file(cmake/NoxuFeederConfig.cmake.in "${generated_dir}/NoxuFeederConfig.cmake"
    INSTALL_DESTINATION "${package_dir}"
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)
configure_file(cmake/NoxuFeederConfigVersion.cmake.in "${generated_dir}/NoxuFeederConfigVersion.cmake" @ONLY)

# Made when the prefix is known for good: `cmake --install --prefix` has the last word. The static library's own
# dependencies are private if there is a shared library.
string(REPLACE ";" " " pc_libs_private "${NoxuFeeder_NATIVE_STATIC_LIBS}")
set(pc_libs)
if(NOT NOXU_FEEDER_SHARED)
    set(pc_libs " ${pc_libs_private}")
    set(pc_libs_private)
endif()
configure_file(cmake/InstallPkgConfig.cmake.in "${generated_dir}/InstallPkgConfig.cmake" @ONLY)
install(SCRIPT "${generated_dir}/InstallPkgConfig.cmake" COMPONENT NoxuFeeder_Development)
install(FILES "${generated_dir}/noxu_feeder.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT NoxuFeeder_Development)

if(NOXU_FEEDER_SHARED)
    install(TARGETS NoxuFeeder_shared LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
        COMPONENT NoxuFeeder_Runtime NAMELINK_COMPONENT NoxuFeeder_Development)
endif()
if(NOXU_FEEDER_STATIC)
    install(FILES "${lib_dir}/${static_file}"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT NoxuFeeder_Development)
    # `cmake --install --strip` strips only files that CMake itself made. Most of this file are line tables, which
    # panics and profilers use.
    if(CMAKE_STRIP AND NOT APPLE)
        set(installed "\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}")
        if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
            set(installed "${CMAKE_INSTALL_LIBDIR}")
        endif()
        install(CODE "if(CMAKE_INSTALL_DO_STRIP)
            execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug \"\$ENV{DESTDIR}${installed}/${static_file}\")
        endif()" COMPONENT NoxuFeeder_Development)
    endif()
endif()
install(DIRECTORY include/ DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT NoxuFeeder_Development
    FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" PATTERN "noxu_feeder_test.h" EXCLUDE)
install(FILES include/noxu_feeder_test.h
    DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT NoxuFeeder_Testing)
install(FILES
    "${generated_dir}/NoxuFeederConfig.cmake"
    "${generated_dir}/NoxuFeederConfigVersion.cmake"
    cmake/NoxuFeederTargets.cmake
    DESTINATION "${package_dir}" COMPONENT NoxuFeeder_Development)

install(FILES LICENSE-APACHE LICENSE-MIT DESTINATION "${doc_dir}" COMPONENT NoxuFeeder_Runtime)
# In the same places as in the sources, so that their links to each other work.
install(FILES README.md CHANGELOG.md DESTINATION "${doc_dir}" COMPONENT NoxuFeeder_Documentation)
install(DIRECTORY docs DESTINATION "${doc_dir}" COMPONENT NoxuFeeder_Documentation)
install(DIRECTORY examples DESTINATION "${doc_dir}" COMPONENT NoxuFeeder_Documentation)

# Made of the header, when CMake is configured and whenever the header has changed since.
find_program(NOXU_FEEDER_AWK awk DOC "Makes the manual pages")
mark_as_advanced(NOXU_FEEDER_AWK)
if(NOXU_FEEDER_AWK)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
        "${CMAKE_CURRENT_SOURCE_DIR}/include/noxu_feeder.h" "${CMAKE_CURRENT_SOURCE_DIR}/cmake/man.awk")
    file(REMOVE_RECURSE "${generated_dir}/man3")
    file(MAKE_DIRECTORY "${generated_dir}/man3")
    execute_process(COMMAND "${NOXU_FEEDER_AWK}" -v "out=${generated_dir}/man3" -v "version=${PROJECT_VERSION}"
            -f "${CMAKE_CURRENT_SOURCE_DIR}/cmake/man.awk" "${CMAKE_CURRENT_SOURCE_DIR}/include/noxu_feeder.h"
        COMMAND_ERROR_IS_FATAL ANY)
    install(DIRECTORY "${generated_dir}/man3" DESTINATION "${CMAKE_INSTALL_MANDIR}"
        COMPONENT NoxuFeeder_Documentation)
else()
    message(STATUS "There is no awk here: without manual pages")
endif()

# Removes the files that were installed last. Not if the library is a part of another project, which is installed then.
if(PROJECT_IS_TOP_LEVEL)
    add_custom_target(uninstall
        COMMAND "${CMAKE_COMMAND}" -P "${CMAKE_CURRENT_SOURCE_DIR}/cmake/Uninstall.cmake"
        WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}" VERBATIM)
endif()
