# The installed package. Components: NoxuFeeder_Runtime (what a program needs to run), NoxuFeeder_Development, and
# NoxuFeeder_Testing (the mock replica for tests; find_package asks for it as the component testing).
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/NoxuFeeder")
set(generated_dir "${CMAKE_CURRENT_BINARY_DIR}/package")

# Until 1.0 a minor version may take something away, afterwards only a major one.
if(PROJECT_VERSION_MAJOR EQUAL 0)
    set(compatibility SameMinorVersion)
else()
    set(compatibility SameMajorVersion)
endif()
write_basic_package_version_file("${generated_dir}/NoxuFeederConfigVersion.cmake" COMPATIBILITY ${compatibility})
configure_package_config_file(cmake/NoxuFeederConfig.cmake.in "${generated_dir}/NoxuFeederConfig.cmake"
    INSTALL_DESTINATION "${package_dir}"
    PATH_VARS CMAKE_INSTALL_INCLUDEDIR CMAKE_INSTALL_LIBDIR)

# pkg-config: relative to the .pc file, for a prefix that is moved; but an absolute folder, as some distributions
# give it, stays what it is.
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(pc_libdir "${CMAKE_INSTALL_LIBDIR}")
    file(RELATIVE_PATH pc_prefix "${CMAKE_INSTALL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
else()
    set(pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
    file(RELATIVE_PATH pc_prefix "/prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig" "/prefix")
endif()
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
if(IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
    set(pc_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
else()
    set(pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
string(REPLACE ";" " " pc_libs_private "${NoxuFeeder_NATIVE_STATIC_LIBS}")
configure_file(cmake/noxu_feeder.pc.in "${generated_dir}/noxu_feeder.pc" @ONLY)

set(strip "${CMAKE_STRIP}")
set(installed_lib_dir "\$ENV{DESTDIR}${CMAKE_INSTALL_FULL_LIBDIR}")
if(NOT IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}")
    set(installed_lib_dir "\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}")
endif()

if(NOXU_FEEDER_SHARED)
    install(PROGRAMS "${lib_dir}/${shared_file}"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT NoxuFeeder_Runtime)
    install(FILES "${lib_dir}/${shared_soname}"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT NoxuFeeder_Runtime)
    install(FILES "${lib_dir}/${shared_link}"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT NoxuFeeder_Development)
    # `cmake --install --strip` knows only what CMake itself linked. The line tables that panics and profilers
    # use are most of the file.
    if(strip AND NOT APPLE)
        install(CODE "if(CMAKE_INSTALL_DO_STRIP)
            execute_process(COMMAND \"${strip}\" --strip-unneeded \"${installed_lib_dir}/${shared_file}\")
        endif()" COMPONENT NoxuFeeder_Runtime)
    endif()
endif()
if(NOXU_FEEDER_STATIC)
    install(FILES "${lib_dir}/${static_file}"
        DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT NoxuFeeder_Development)
    if(strip AND NOT APPLE)
        install(CODE "if(CMAKE_INSTALL_DO_STRIP)
            execute_process(COMMAND \"${strip}\" --strip-debug \"${installed_lib_dir}/${static_file}\")
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
install(FILES "${generated_dir}/noxu_feeder.pc"
    DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT NoxuFeeder_Development)
install(FILES LICENSE-APACHE LICENSE-MIT
    DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc/noxu-feeder" COMPONENT NoxuFeeder_Runtime)
install(FILES README.md CHANGELOG.md OPTIONAL
    DESTINATION "${CMAKE_INSTALL_DATAROOTDIR}/doc/noxu-feeder" COMPONENT NoxuFeeder_Development)
