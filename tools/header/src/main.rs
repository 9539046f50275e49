//! Prints the C header that `src/ffi` declares, as cbindgen sees it and with this project's finishing.
//! `scripts/header.sh` calls it, and writes or compares the file.
//!
//! Only `src/ffi` is read: a `pub const` anywhere else in the crate is no part of the C interface.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(root) = std::env::args_os().nth(1) else {
        eprintln!("usage: noxu-feeder-header <folder of noxu-feeder>");
        return ExitCode::from(2);
    };
    match header(Path::new(&root)) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("no header: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn header(root: &Path) -> Result<String, String> {
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    let guard = config.include_guard.clone().unwrap_or_default();
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/ffi/mod.rs"))
        .generate()
        .map_err(|error| error.to_string())?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;

    let mut finished = String::with_capacity(text.len());
    for line in text.lines() {
        check_constant(line, &guard)?;
        finished.push_str(&finish(line));
        finished.push('\n');
    }
    Ok(finished)
}

/// A public constant in `src/ffi` becomes a macro in every host: it has to carry the prefix.
fn check_constant(line: &str, guard: &str) -> Result<(), String> {
    let Some(name) = line
        .strip_prefix("#define ")
        .and_then(|rest| rest.split(' ').next())
    else {
        return Ok(());
    };
    if name == guard || name.starts_with("NXF_") {
        return Ok(());
    }
    Err(format!(
        "the constant {name} in src/ffi is public, and would become a macro in every host: \
         make it pub(crate), or name it NXF_..."
    ))
}

fn finish(line: &str) -> String {
    // Every struct has a typedef of the same name: `nxf_log *log` says as much as `struct nxf_log *log`.
    let line = if line.starts_with("typedef struct nxf_") {
        line.to_owned()
    } else {
        line.replace("struct nxf_", "nxf_")
    };
    // `#define NXF_E_X -1` as `(-1)`: a macro is pasted into expressions.
    match line.split_once(" -") {
        Some((left, number)) if left.starts_with("#define NXF_") => format!("{left} (-{number})"),
        _ => line,
    }
}
