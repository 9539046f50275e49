//! Which module of `src/` may import which. The sources are read as text, without their tests: a path that begins with
//! `crate`, `super` or the name of a child is an import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The modules from the ground up. A module may import modules on the floors below its own, and nothing on its own floor.
/// `options::table` counts for itself, because it lies below the rest of `options`.
const FLOORS: &[&[&str]] = &[
    &["diagnostics", "failpoint", "lsn", "memory", "now", "options::table", "sync"],
    &["error", "sys"],
    &["log", "wire"],
    &["source"],
    &["chunk"],
    &["feed"],
    &["stream", "transport"],
    &["acks"],
    &["session", "states"],
    &["runtime"],
    &["server"],
    &["options"],
    &["runner"],
    &["ffi"],
];

/// The name of a module, like `log::format::layout`, and the text of its file.
type Sources = BTreeMap<String, String>;

/// Each module with the modules that it imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_module_imports_what_is_above_it() {
    assert_eq!(upward(&imports(&sources())), [""; 0]);
}

#[test]
fn no_files_import_each_other() {
    assert_eq!(cycles(&imports(&sources())), [""; 0]);
}

#[test]
fn an_upward_import_is_found() {
    for (module, import) in [
        ("log::block", "use crate::{error::Result, chunk::{fill, Chunk}};"),
        ("options::table", "fn planted() -> crate::Result<()> {}"),
        ("acks", "use super::states::State;"),
    ] {
        let mut sources = sources();
        sources.get_mut(module).unwrap().push_str(import);
        assert!(!upward(&imports(&sources)).is_empty(), "{module}: {import}");
    }
}

#[test]
fn a_cycle_is_found() {
    for (module, import) in [
        ("log::format::layout", "use super::entry::EntryHeader;"),
        ("log::checksum", "use crate::log::format::encode_entry;"),
        ("transport::pump", "use super::local::local_pair;"),
    ] {
        let mut sources = sources();
        sources.get_mut(module).unwrap().push_str(import);
        assert!(!cycles(&imports(&sources)).is_empty(), "{module}: {import}");
    }
}

/// The imports that do not lead to a lower floor.
fn upward(imports: &Imports) -> Vec<String> {
    let mut found = Vec::new();
    for (module, imported) in imports {
        let (floor, room) = place_of(module);
        for other in imported {
            let (below, other_room) = place_of(other);
            if room != other_room && below >= floor {
                found.push(format!("{module} imports {other}"));
            }
        }
    }
    found
}

/// The floor and the room of a module: the longest name in the table that it begins with.
fn place_of(module: &str) -> (usize, &'static str) {
    let is_in = |room: &str| module.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let rooms = FLOORS.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |&room| (floor, room)));
    let place = rooms.filter(|(_, room)| is_in(room)).max_by_key(|(_, room)| room.len());
    place.unwrap_or_else(|| panic!("{module} is on no floor: give it one in FLOORS"))
}

/// The imports that are left when modules that import nothing, or that nothing imports, are taken away again and again.
fn cycles(imports: &Imports) -> Vec<String> {
    let mut left = imports.clone();
    loop {
        let imported: BTreeSet<String> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|module, others| !others.is_empty() && imported.contains(module));
        let is_left: BTreeSet<String> = left.keys().cloned().collect();
        left.values_mut().for_each(|others| others.retain(|other| is_left.contains(other)));
        if left.len() == before {
            return left.iter().map(|(module, others)| format!("{module} imports {others:?}")).collect();
        }
    }
}

fn sources() -> Sources {
    let (mut sources, mut test_files) = (Sources::new(), BTreeSet::new());
    read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "", &mut sources, &mut test_files);
    sources.retain(|module, _| !test_files.contains(module));
    sources
}

fn read_folder(folder: &Path, module: &str, sources: &mut Sources, test_files: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        let name = match stem {
            "mod" | "lib" => module.to_owned(),
            _ => joined(module, stem),
        };
        if path.is_dir() {
            read_folder(&path, &name, sources, test_files);
        } else if stem != "tests" {
            let text = std::fs::read_to_string(&path).unwrap();
            let (text, tests) = text.split_once("#[cfg(test)]\nmod ").unwrap_or((&text, ""));
            test_files.extend(tests.lines().filter_map(|line| line.strip_suffix(';')).map(|file| joined(&name, file)));
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
            sources.insert(name, code.collect::<Vec<_>>().join("\n") + "\n");
        }
    }
}

fn imports(sources: &Sources) -> Imports {
    let mut imports = Imports::new();
    let mut aliases = BTreeMap::new();
    for (module, text) in sources {
        imports.insert(module.clone(), BTreeSet::new());
        for (is_exported, path) in paths(module, text, sources) {
            // What a module hands on counts for whoever uses it, and not for that module: a folder may so name its files.
            if is_exported {
                let name = path.rsplit("::").next().unwrap_or_default();
                aliases.insert(joined(module, name), path);
            } else {
                imports.get_mut(module).unwrap().insert(path);
            }
        }
    }
    for (module, imported) in &mut imports {
        let files = imported.iter().map(|path| file_of(path, sources, &aliases));
        *imported = files.filter(|file| file != module && !file.is_empty()).collect();
    }
    imports.remove("");
    imports
}

/// The module in whose file the thing of this path stands.
fn file_of(path: &str, sources: &Sources, aliases: &BTreeMap<String, String>) -> String {
    let mut end = path.len();
    loop {
        let prefix = &path[..end];
        if let Some(meant) = aliases.get(prefix).filter(|meant| *meant != prefix) {
            return file_of(&(meant.clone() + &path[end..]), sources, aliases);
        }
        if sources.contains_key(prefix) {
            return prefix.to_owned();
        }
        end = prefix.rfind("::").unwrap_or(0);
    }
}

/// Each path in the text that leads to a module of `sources`, in full, and whether it is handed on by a `pub use`.
fn paths(module: &str, text: &str, sources: &Sources) -> Vec<(bool, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("::") {
        let before = &text[..at];
        let begin = before.rfind(|c: char| !is_of_name(c)).map_or(0, |at| at + 1);
        if before[..begin].ends_with("::") || begin == at {
            continue;
        }
        let base = match &before[begin..] {
            "crate" => String::new(),
            "super" => parent(module).to_owned(),
            child if sources.contains_key(&joined(module, child)) => joined(module, child),
            _ => continue,
        };
        let line = before[..begin].rsplit(['\n', ';']).next().unwrap_or_default().trim_start();
        let is_exported = line.starts_with("pub") && line.trim_end().ends_with("use");
        let mut all = Vec::new();
        expand(&base, &text[at + 2..], &mut all);
        found.extend(all.into_iter().map(|path| (is_exported, path)));
    }
    found
}

/// Adds the paths of a tree like `a::{b, c::{d, e}}`, each behind `base`; returns what follows the tree.
fn expand<'a>(base: &str, tree: &'a str, found: &mut Vec<String>) -> &'a str {
    if let Some(mut rest) = tree.strip_prefix('{') {
        loop {
            rest = expand(base, rest.trim_start_matches([' ', '\n', ',']), found).trim_start_matches([' ', '\n', ',']);
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
        }
    }
    let (name, rest) = tree.split_at(tree.find(|c: char| !is_of_name(c)).unwrap_or(tree.len()));
    let path = match name {
        "super" => parent(base).to_owned(),
        "self" | "" => base.to_owned(),
        name => joined(base, name),
    };
    match rest.strip_prefix("::") {
        Some(rest) => expand(&path, rest, found),
        None => {
            found.push(path);
            rest.trim_start_matches('*')
        }
    }
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn parent(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(parent, _)| parent)
}

fn joined(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}
