# nxf_c_test(name [NO_VALGRIND] [TIMEOUT seconds] [LIBRARIES library...] [DEFINITIONS NAME=value...])
#   tests/<name>.c, written with cmocka (include "nxf_test.h"), four times: as C11 and as C++17, with the shared and
#   with the static library. Each runs plainly, as <name>.<language>.<library>, and, labelled valgrind, as
#   valgrind.<name>.<language>.<library>.
# nxf_failpoints_test(name folder ...)
#   The same with the libraries in that folder, which have the feature failpoints, instead of those under test.
# nxf_cxx_test(name ...)
#   tests/<name>.cpp, written with doctest, as C++17, with the shared and with the static library, likewise.
#
# A test runs in an empty folder of its own, so that tests can run at the same time. The timeout is that of the plain
# run (60 s unless told); under valgrind it is ten times as long. The environment variable NXF_VALGRIND is set there,
# for tests that do less under valgrind.
#
# With NXF_SANITIZER, only the variants in which a sanitizer can find something new are built: C tests as C11 and C++
# tests as C++17, linked with the static library, which must be instrumented, too. scripts/sanitize.sh does this.

set(NXF_WARNINGS -Wall -Wextra -Werror -pedantic CACHE STRING "Warnings for the tests, and for the header in them")

find_package(cmocka CONFIG QUIET)
if(NOT TARGET cmocka::cmocka)
    find_path(CMOCKA_INCLUDE cmocka.h HINTS ${CMOCKA_INCLUDE_DIR} REQUIRED)
    find_library(CMOCKA_LIBRARY cmocka HINTS ${CMOCKA_LIBRARIES} REQUIRED)
    add_library(cmocka::cmocka UNKNOWN IMPORTED)
    set_target_properties(cmocka::cmocka PROPERTIES
        IMPORTED_LOCATION "${CMOCKA_LIBRARY}" INTERFACE_INCLUDE_DIRECTORIES "${CMOCKA_INCLUDE}")
endif()

find_package(doctest CONFIG QUIET)
if(NOT TARGET doctest::doctest)
    find_path(DOCTEST_INCLUDE doctest/doctest.h REQUIRED)
    add_library(doctest::doctest INTERFACE IMPORTED)
    set_target_properties(doctest::doctest PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${DOCTEST_INCLUDE}")
endif()

find_package(Threads REQUIRED)

set(NXF_SANITIZER "" CACHE STRING "address or thread: the tests are compiled with that sanitizer; empty: with none")
set(NXF_SANITIZER_RUNTIME "" CACHE FILEPATH "The sanitizer's runtime, a static library: that of the Rust compiler")
if(NXF_SANITIZER)
    if(NOT EXISTS "${NXF_SANITIZER_RUNTIME}")
        message(FATAL_ERROR "NXF_SANITIZER needs NXF_SANITIZER_RUNTIME, the runtime that the library was compiled for.")
    endif()
    # Only for compiling. If the compiler linked with the sanitizer's flag, it would bring a runtime of its own, and a
    # process can have only one. The whole runtime is linked, and visible to the C library and the frameworks, whose
    # calls it intercepts.
    add_compile_options(-fsanitize=${NXF_SANITIZER} -fno-omit-frame-pointer -g)
    set(sanitizer_runtime -Wl,--whole-archive "${NXF_SANITIZER_RUNTIME}" -Wl,--no-whole-archive -Wl,--export-dynamic
        -lpthread -lrt -lm -ldl -lresolv)
    # Undefined behaviour in the tests' own C and in the inline functions of the headers: by traps, which need no runtime.
    if(NXF_SANITIZER STREQUAL "address")
        add_compile_options($<$<COMPILE_LANGUAGE:C>:-fsanitize=undefined> $<$<COMPILE_LANGUAGE:C>:-fsanitize-undefined-trap-on-error>)
    endif()
endif()

find_program(BASH bash REQUIRED)
if(NOT NXF_SANITIZER)
    find_program(VALGRIND valgrind)
endif()
if(NOT VALGRIND AND NOT NXF_SANITIZER)
    message(STATUS "valgrind is not there: the tests run without it only")
endif()

# nxf_c_test_support(source...): sources in tests/ that every C test is linked with.
function(nxf_c_test_support)
    set(as_c "")
    set(as_cxx "")
    foreach(source ${ARGN})
        nxf_as_cxx(one_as_cxx "${source}")
        list(APPEND as_c "${CMAKE_CURRENT_SOURCE_DIR}/tests/${source}")
        list(APPEND as_cxx "${one_as_cxx}")
    endforeach()
    nxf_test_library(test-support.c11 ${as_c})
    if(NOT NXF_SANITIZER)
        nxf_test_library(test-support.cxx17 ${as_cxx})
    endif()
endfunction()

function(nxf_test_library library)
    add_library(${library} STATIC ${ARGN})
    nxf_use_settings(${library})
    get_target_property(include NoxuFeeder::NoxuFeeder INTERFACE_INCLUDE_DIRECTORIES)
    target_include_directories(${library} PRIVATE ${include})
    nxf_use_framework(${library} cmocka::cmocka)
endfunction()

function(nxf_c_test name)
    nxf_test_variants(${name} c11 "${CMAKE_CURRENT_SOURCE_DIR}/tests/${name}.c" cmocka::cmocka
        ${ARGN} LIBRARIES test-support.c11)
    if(NXF_SANITIZER)
        return()
    endif()
    nxf_as_cxx(as_cxx "${name}.c")
    nxf_test_variants(${name} cxx17 "${as_cxx}" cmocka::cmocka ${ARGN} LIBRARIES test-support.cxx17)
endfunction()

# Compiles a C file as C++. Not by the source file's LANGUAGE property, which would hold for both variants.
function(nxf_as_cxx result source)
    set(as_cxx "${CMAKE_CURRENT_BINARY_DIR}/as-cxx/${source}.cpp")
    file(CONFIGURE OUTPUT "${as_cxx}" CONTENT "#include \"${CMAKE_CURRENT_SOURCE_DIR}/tests/${source}\"\n")
    set(${result} "${as_cxx}" PARENT_SCOPE)
endfunction()

function(nxf_cxx_test name)
    nxf_test_variants(${name} cxx17 "${CMAKE_CURRENT_SOURCE_DIR}/tests/${name}.cpp" doctest::doctest ${ARGN})
endfunction()

function(nxf_failpoints_test name folder)
    get_target_property(include NoxuFeeder::NoxuFeeder INTERFACE_INCLUDE_DIRECTORIES)
    if(TARGET NoxuFeeder::NoxuFeederStatic)
        add_library(nxf-failpoints-static STATIC IMPORTED)
        set_target_properties(nxf-failpoints-static PROPERTIES
            IMPORTED_LOCATION "${folder}/libnoxu_feeder.a" INTERFACE_INCLUDE_DIRECTORIES "${include}"
            INTERFACE_LINK_LIBRARIES "${NoxuFeeder_NATIVE_STATIC_LIBS}")
        list(APPEND libraries static)
    endif()
    add_library(nxf-failpoints-shared SHARED IMPORTED)
    set_target_properties(nxf-failpoints-shared PROPERTIES
        IMPORTED_LOCATION "${folder}/libnoxu_feeder${CMAKE_SHARED_LIBRARY_SUFFIX}"
        INTERFACE_INCLUDE_DIRECTORIES "${include}")
    list(APPEND libraries shared)
    nxf_as_cxx(as_cxx "${name}.c")
    foreach(library IN LISTS libraries)
        nxf_test(${name}.c11.${library} c11 "${CMAKE_CURRENT_SOURCE_DIR}/tests/${name}.c" cmocka::cmocka
            nxf-failpoints-${library} ${ARGN} LIBRARIES test-support.c11)
        nxf_test(${name}.cxx17.${library} cxx17 "${as_cxx}" cmocka::cmocka
            nxf-failpoints-${library} ${ARGN} LIBRARIES test-support.cxx17)
        if(TARGET NoxuFeeder_failpoints)
            add_dependencies(${name}.c11.${library} NoxuFeeder_failpoints)
            add_dependencies(${name}.cxx17.${library} NoxuFeeder_failpoints)
        endif()
    endforeach()
endfunction()

function(nxf_test_variants name language source framework)
    if(TARGET NoxuFeeder::NoxuFeederStatic)
        nxf_test(${name}.${language}.static ${language} "${source}" ${framework} NoxuFeeder::NoxuFeederStatic ${ARGN})
    endif()
    get_target_property(type NoxuFeeder::NoxuFeeder TYPE)
    if(type STREQUAL "SHARED_LIBRARY" AND NOT NXF_SANITIZER)
        nxf_test(${name}.${language}.shared ${language} "${source}" ${framework} NoxuFeeder::NoxuFeeder ${ARGN})
    endif()
endfunction()

function(nxf_test test language source framework library)
    cmake_parse_arguments(arg "NO_VALGRIND" "TIMEOUT" "LIBRARIES;DEFINITIONS" ${ARGN})
    if(arg_UNPARSED_ARGUMENTS)
        message(FATAL_ERROR "${test}: what is ${arg_UNPARSED_ARGUMENTS}?")
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 60)
    endif()

    add_executable(${test} "${source}")
    nxf_use_settings(${test})
    # The tests' libraries come before the one under test, because they use it.
    target_link_libraries(${test} PRIVATE ${arg_LIBRARIES} ${library})
    nxf_use_framework(${test} ${framework})
    target_compile_definitions(${test} PRIVATE ${arg_DEFINITIONS})
    target_link_libraries(${test} PRIVATE ${sanitizer_runtime})

    set(folder "${CMAKE_CURRENT_BINARY_DIR}/run/${test}")
    file(MAKE_DIRECTORY "${folder}" "${folder}.valgrind")
    add_test(NAME ${test} COMMAND ${test} WORKING_DIRECTORY "${folder}")
    set_tests_properties(${test} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS plain)

    if(VALGRIND AND NOT arg_NO_VALGRIND)
        math(EXPR timeout "${arg_TIMEOUT} * 10")
        add_test(NAME valgrind.${test}
            COMMAND "${PROJECT_SOURCE_DIR}/valgrind.sh" "${VALGRIND}" $<TARGET_FILE:${test}>
            WORKING_DIRECTORY "${folder}.valgrind")
        set_tests_properties(valgrind.${test} PROPERTIES TIMEOUT ${timeout} LABELS valgrind ENVIRONMENT NXF_VALGRIND=1)
    endif()
endfunction()

# nxf_every_function_is_called(list): checks that one of the C tests above, linked with the shared library, calls each
# function.
function(nxf_every_function_is_called list)
    get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
    list(FILTER targets INCLUDE REGEX "\\.c11\\.shared$")
    list(TRANSFORM targets REPLACE "(.+)" "$<TARGET_FILE:\\1>")
    if(targets)
        add_test(NAME every-function-is-called COMMAND "${BASH}" "${PROJECT_SOURCE_DIR}/called.sh" "${list}" ${targets})
        set_tests_properties(every-function-is-called PROPERTIES LABELS plain)
    endif()
endfunction()

function(nxf_use_settings target)
    set_target_properties(${target} PROPERTIES
        C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
        CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF
        # Headers of imported targets are system headers to CMake, and compilers keep quiet about those.
        NO_SYSTEM_FROM_IMPORTED ON)
    target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
    # C_EXTENSIONS OFF hides POSIX, which the tests need.
    target_compile_definitions(${target} PRIVATE _POSIX_C_SOURCE=200809L
        NXF_TEST_PACKAGE_VERSION="${NoxuFeeder_VERSION}")
    target_compile_options(${target} PRIVATE ${NXF_WARNINGS})
    target_link_libraries(${target} PRIVATE Threads::Threads)
endfunction()

# Warnings in the frameworks' own headers do not count.
function(nxf_use_framework test framework)
    get_target_property(include ${framework} INTERFACE_INCLUDE_DIRECTORIES)
    if(include)
        target_include_directories(${test} SYSTEM PRIVATE "${include}")
    endif()
    target_link_libraries(${test} PRIVATE ${framework})
endfunction()
