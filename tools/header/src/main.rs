//! Prints the C header that `src/ffi` declares: cbindgen module by module, in the order of the `pub mod` lines of
//! `src/ffi/mod.rs`, each under a heading made of the first line of its `//!` comment, and with this project's finishing.
//! `scripts/header.sh` calls it, and writes or compares the file.
//!
//! Only `src/ffi` is read: a `pub const` anywhere else in the crate is no part of the C interface.

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;

/// The length of a line, where that can be chosen.
const WIDTH: usize = 120;
/// In the opening comment: stands for the list of the sections.
const CONTENTS: &str = "@contents@";

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
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml"))?;
    // What stands once around all modules is written here, and not for each of them.
    let opening = config.header.take().unwrap_or_default();
    let warning = config.autogen_warning.take().unwrap_or_default();
    let guard = config.include_guard.take().ok_or("cbindgen.toml names no include_guard")?;
    let includes = std::mem::take(&mut config.sys_includes);

    let mut sections = Vec::new();
    for module in modules(&root.join("src/ffi/mod.rs"))? {
        let path = root.join(format!("src/ffi/{module}.rs"));
        sections.push(Section { heading: heading(&path)?, body: body(&path, &config)? });
    }
    check_declared_once(&sections)?;

    let mut text = String::new();
    for line in opening.trim_start().lines() {
        match line.split_once(CONTENTS) {
            Some((before, _)) => {
                for section in &sections {
                    text.push_str(&format!("{before}- {}\n", section.heading));
                }
            }
            None => text.push_str(&format!("{line}\n")),
        }
    }
    text.push_str(&format!("\n#ifndef {guard}\n#define {guard}\n\n{warning}\n\n"));
    for include in includes {
        text.push_str(&format!("#include <{include}>\n"));
    }
    text.push_str("\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n");
    for Section { heading, body } in &sections {
        let rule = "-".repeat((WIDTH - 11).saturating_sub(heading.len()));
        text.push_str(&format!("\n/* --- {heading} {rule} */\n\n{}\n", body.trim()));
    }
    text.push_str(&format!("\n#ifdef __cplusplus\n}}\n#endif\n\n#endif /* {guard} */\n"));
    Ok(text)
}

struct Section {
    heading: String,
    body: String,
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// The public modules, as they stand there.
fn modules(path: &Path) -> Result<Vec<String>, String> {
    let names = read(path)?;
    let names = names.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    Ok(names.map(str::to_owned).collect())
}

fn heading(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    let line = text.lines().next().and_then(|line| line.strip_prefix("//! "));
    let line = line.ok_or_else(|| format!("{}: does not begin with a line of //!", path.display()))?;
    Ok(line.trim_end_matches('.').to_owned())
}

/// The constants, types and functions of one module.
fn body(path: &Path, config: &cbindgen::Config) -> Result<String, String> {
    let mut config = config.clone();
    config.cpp_compat = false;
    config.no_includes = true;
    // cbindgen writes only the types that a function in the same file uses.
    let source = read(path)?;
    let types = source.lines().filter_map(|line| {
        let rest = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub type "))?;
        rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()
    });
    config.export.include = types.map(str::to_owned).collect();
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(path)
        .generate()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let mut text = Vec::new();
    bindings.write(&mut text);
    let text = String::from_utf8(text).map_err(|error| error.to_string())?;

    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        check_constant(line)?;
        lines.push(finish(line));
    }
    Ok(fill(&shorten(&lines)).join("\n"))
}

/// A public constant in `src/ffi` becomes a macro in every host: it has to carry the prefix.
fn check_constant(line: &str) -> Result<(), String> {
    let Some(name) = line.strip_prefix("#define ").and_then(|rest| rest.split(' ').next()) else {
        return Ok(());
    };
    if name.starts_with("NXF_") {
        return Ok(());
    }
    Err(format!(
        "the constant {name} in src/ffi is public, and would become a macro in every host: \
         make it pub(crate), or name it NXF_..."
    ))
}

/// Modules are read one by one, so nothing else would notice a type that two of them declare.
fn check_declared_once(sections: &[Section]) -> Result<(), String> {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for Section { heading, body } in sections {
        for line in body.lines() {
            let name = match line.strip_prefix("typedef ") {
                Some(rest) if rest.ends_with('{') => rest.split(' ').nth(1),
                Some(rest) => rest.trim_end_matches(';').rsplit([' ', '*']).next().filter(|name| !name.contains(')')),
                None => None,
            };
            if let Some(name) = name
                && let Some(before) = seen.insert(name, heading)
            {
                return Err(format!("the type {name} is declared twice: under {before:?}, and under {heading:?}"));
            }
        }
    }
    Ok(())
}

fn finish(line: &str) -> String {
    let line = line.trim_end();
    // Every struct has a typedef of the same name: `nxf_log *log` says as much as `struct nxf_log *log`.
    let line =
        if line.starts_with("typedef struct nxf_") { line.to_owned() } else { line.replace("struct nxf_", "nxf_") };
    // `#define NXF_E_X -1` as `(-1)`: a macro is pasted into expressions.
    match line.split_once(" -") {
        Some((left, number)) if left.starts_with("#define NXF_") => format!("{left} (-{number})"),
        _ => line,
    }
}

/// Comments of one line as one line, and no empty line between constants that belong together.
fn shorten(lines: &[String]) -> Vec<String> {
    let mut short: Vec<String> = Vec::new();
    let mut rest = lines;
    while let [line, after @ ..] = rest {
        rest = after;
        if let ("/**", [text, end, ..]) = (line.trim_start(), after)
            && end.trim_start() == "*/"
            && let Some(text) = text.trim_start().strip_prefix("* ")
        {
            let indent = &line[..line.len() - 3];
            let one_line = format!("{indent}/** {text} */");
            if one_line.len() <= WIDTH {
                short.push(one_line);
                rest = &after[2..];
                continue;
            }
        }
        let between_constants = line.is_empty()
            && match (short.last().and_then(|before| group(before)), after.iter().find(|line| !is_comment(line))) {
                (Some(before), Some(next)) => group(next) == Some(before),
                _ => false,
            };
        if !between_constants {
            short.push(line.clone());
        }
    }
    short
}

/// What constants have in common that belong together: NXF_RUN of NXF_RUN_NEW, and nothing of NXF_OK.
fn group(line: &str) -> Option<&str> {
    let name = line.strip_prefix("#define ")?.split(' ').next()?;
    Some(name.match_indices('_').nth(1).map_or("", |(at, _)| &name[..at]))
}

fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("/**") || line.starts_with('*')
}

/// Parameters in as few lines as they fit in, below the first one.
fn fill(lines: &[String]) -> Vec<String> {
    let mut filled = Vec::new();
    let mut rest = lines;
    while let [line, after @ ..] = rest {
        let is_open = |text: &str| text.matches('(').count() > text.matches(')').count();
        if is_comment(line) || line.starts_with('#') || !is_open(line) {
            filled.push(line.clone());
            rest = after;
            continue;
        }
        let mut whole = line.clone();
        rest = after;
        while is_open(&whole)
            && let [next, after @ ..] = rest
        {
            whole = format!("{whole} {}", next.trim_start());
            rest = after;
        }
        let parameters = whole.rfind('(').map_or(0, |at| at + 1);
        let mut current = String::new();
        for word in whole.split_inclusive(", ") {
            if current.len() + word.trim_end().len() > WIDTH {
                filled.push(current.trim_end().to_owned());
                current = " ".repeat(parameters);
            }
            current.push_str(word);
        }
        filled.push(current);
    }
    filled
}
