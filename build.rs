//! How a shared library is linked that cargo alone makes: for tests of this project. The one that is installed is made of
//! the static library by `cmake/SharedLibrary.cmake`, and has its symbols versioned besides. Generates nothing and writes
//! nothing: the header is checked in, and `scripts/header.sh` is what keeps it true.
//!
//! Every flag here is for the cdylib alone; tests, examples and the static library are linked as usual.
// The build script's way of talking to cargo is its standard output.
#![allow(clippy::print_stdout)]

fn main() {
    println!("cargo:rerun-if-changed=build.rs");

    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    // The number of the ABI, as CMakeLists.txt has it.
    let abi = match env!("CARGO_PKG_VERSION_MAJOR") {
        "0" => concat!("0.", env!("CARGO_PKG_VERSION_MINOR")),
        major => major,
    };
    match os.as_str() {
        "linux" | "android" | "freebsd" | "netbsd" | "openbsd" | "dragonfly" => {
            // Hosts look for this name at run time. CMakeLists.txt installs the links that belong to it.
            link_arg(&format!("-Wl,-soname,libnoxu_feeder.so.{abi}"));
            // A thread of the library may still be returning, and thread-local destructors are still to
            // run, when a host calls dlclose. Unmapping their code then would crash the host.
            link_arg("-Wl,-z,nodelete");
            // All symbols are bound at load time, and the tables are read-only afterwards.
            link_arg("-Wl,-z,relro,-z,now");
        }
        "macos" | "ios" => link_arg(&format!("-Wl,-install_name,@rpath/libnoxu_feeder.{abi}.dylib")),
        _ => {}
    }
}

fn link_arg(arg: &str) {
    println!("cargo:rustc-cdylib-link-arg={arg}");
}
