# Finds the target that cargo builds for. NOXU_FEEDER_RUST_TARGET may say it, CARGO_BUILD_TARGET, or a configuration
# file in the folders above or in cargo's home. So cargo itself is asked: it builds cmake/probe. Sets
#   rust_target     the triple (or the file of JSON that NOXU_FEEDER_RUST_TARGET names)
#   rust_host       this machine's triple
#   rust_unwinder   the archive with the unwinder, where Rust brings its own (musl); else empty

set(probe "${CMAKE_CURRENT_BINARY_DIR}/probe")
file(REMOVE_RECURSE "${probe}/answers")
file(MAKE_DIRECTORY "${probe}/answers")
file(COPY cmake/probe/build.rs cmake/probe/lib.rs DESTINATION "${probe}")
configure_file(cmake/probe/Cargo.toml.in "${probe}/Cargo.toml" COPYONLY)
set(probe_target)
if(NOXU_FEEDER_RUST_TARGET)
    set(probe_target --target "${NOXU_FEEDER_RUST_TARGET}")
endif()
# Without RUSTFLAGS, which may be for a standard library that the build brings itself.
# In the folder of the sources: cargo looks for configuration files, and rustup for toolchain files, from there upwards.
execute_process(
    COMMAND "${CMAKE_COMMAND}" -E env --unset=RUSTFLAGS "CARGO_TARGET_DIR=${probe}/target"
        "NOXU_FEEDER_PROBE=${probe}/answers"
        "${NOXU_FEEDER_CARGO}" check --quiet --offline --manifest-path "${probe}/Cargo.toml" ${probe_target}
    WORKING_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}"
    OUTPUT_VARIABLE probe_output ERROR_VARIABLE probe_output RESULT_VARIABLE probe_result)
file(GLOB answers RELATIVE "${probe}/answers" "${probe}/answers/*")
list(LENGTH answers count)
if(count GREATER 1)
    list(JOIN answers ", " answers)
    message(FATAL_ERROR "cargo is configured for several targets at once (${answers}): "
        "set NOXU_FEEDER_RUST_TARGET to one of them.")
elseif(NOT probe_result EQUAL 0)
    message(FATAL_ERROR "cargo cannot build for the target that it is told to, by NOXU_FEEDER_RUST_TARGET, "
        "CARGO_BUILD_TARGET or a configuration file. Where rustup is, `rustup target add` brings the standard library "
        "of one more. cargo says:\n${probe_output}")
endif()

file(STRINGS "${probe}/answers/${answers}" answer)
list(GET answer 0 rust_host)
list(GET answer 1 rust_libdir)
set(rust_target "${NOXU_FEEDER_RUST_TARGET}")
if(NOT rust_target)
    set(rust_target "${answers}")
    if(CMAKE_CROSSCOMPILING AND rust_target STREQUAL rust_host)
        message(FATAL_ERROR "Cross compiling: set NOXU_FEEDER_RUST_TARGET, e.g. to aarch64-unknown-linux-gnu.")
    endif()
endif()
set(rust_unwinder "${rust_libdir}/self-contained/libunwind.a")
if(NOT EXISTS "${rust_unwinder}")
    set(rust_unwinder)
endif()
message(STATUS "noxu-feeder is built for ${rust_target}")
