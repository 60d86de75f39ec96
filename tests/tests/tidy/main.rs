//! The rules of the house that a compiler does not check. Each test tells every breach at once.

mod documents;
mod edges;
mod pairing;
mod sources;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The packages, by folder.
const PACKAGES: [&str; 7] = ["ir", "passes", "backends", "runtime-stub", "compiler", "tests", "examples"];

/// Folders whose files are data, not ours to judge.
const DATA: [&str; 2] = ["tests/fixtures", "examples/warehouse"];

/// Every file of the repository as (path from the root with `/`, full path), sorted; build outputs, hidden files and
/// [`DATA`] left out.
fn files() -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), root())];
    while let Some((prefix, folder)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let entry = entry.expect("a readable folder");
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if name.starts_with('.') || name == "target" || name.ends_with(".slm") || DATA.contains(&path.as_str()) {
                continue;
            }
            if entry.path().is_dir() {
                folders.push((path, entry.path()));
            } else {
                found.push((path, entry.path()));
            }
        }
    }
    found.sort();
    found
}

/// The text of every file whose name ends in one of `extensions`.
fn texts(extensions: &[&str]) -> Vec<(String, String)> {
    let wanted = |path: &str| extensions.iter().any(|e| path.ends_with(e));
    let read = |(path, full): (String, PathBuf)| {
        let text = std::fs::read_to_string(&full).unwrap_or_else(|e| panic!("{path}: {e}"));
        (path, text)
    };
    files().into_iter().filter(|(path, _)| wanted(path)).map(read).collect()
}

/// Fails with all of `breaches`, if there are any.
fn no_breach(rule: &str, breaches: Vec<String>) {
    assert!(breaches.is_empty(), "{rule}\n  {}", breaches.join("\n  "));
}
