//! Versions: of this header, and of the library that is loaded.

use std::ffi::{CStr, c_char};

/// The version that this header belongs to. While this is 0, a new minor version may take something away.
pub const NXF_VERSION_MAJOR: u32 = 0;
/// The version that this header belongs to. It grows when something was added.
pub const NXF_VERSION_MINOR: u32 = 1;
/// The version that this header belongs to. It grows when something was repaired.
pub const NXF_VERSION_PATCH: u32 = 0;

const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => panic!("a version has no NUL inside"),
};

/// The version of the library that is loaded, as "major.minor.patch". Valid for as long as the library is loaded. Any
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn nxf_version() -> *const c_char {
    VERSION.as_ptr()
}

/// The number of the binary interface. A program that was compiled with a header of the same number runs with this
/// library. Under one number, functions are only ever added. Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn nxf_abi_version() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_headers_version_is_the_packages() {
        let header = format!("{NXF_VERSION_MAJOR}.{NXF_VERSION_MINOR}.{NXF_VERSION_PATCH}");
        assert_eq!(header, env!("CARGO_PKG_VERSION").split('-').next().unwrap());
    }
}
