//! Finds filetests, runs each, compares or blesses.

use std::path::{Path, PathBuf};

use crate::command::{self, Outcome};
use crate::file::{TestFile, difference};

/// What to do with an expectation that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Fail.
    Check,
    /// Rewrite the file.
    Bless,
}

/// Every `.slmir` under `root`, sorted, as (name, path); the name is the path below `root`. `Err` names what cannot be read.
pub fn find(root: &Path) -> Result<Vec<(String, PathBuf)>, String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "slmir") {
                let name = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                found.push((name, path));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Runs one file. `name` is its path below the root: `COMMAND/TOPIC/…`, where COMMAND is the one in its header.
pub fn run(name: &str, path: &Path, mode: Mode) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let mut file = TestFile::parse(&text)?;
    let beside = path.with_extension("expected");
    if file.beside {
        file.expected = std::fs::read_to_string(&beside).ok();
    } else if beside.exists() {
        return Err(format!("{} lies beside the file, which does not end in `; expect: beside`: remove one", beside.display()));
    }
    if name.split('/').next() != Some(&file.command) {
        return Err(format!("the file says `; test {}` but lies in {name}: move it to {}/", file.command, file.command));
    }
    let Some(command) = command::ALL.iter().find(|c| c.name == file.command) else {
        let known: Vec<_> = command::ALL.iter().map(|c| c.name).collect();
        return Err(format!("unknown command `{}`; there are {}", file.command, known.join(", ")));
    };
    let blessed = match (command.run)(&file)? {
        Outcome::Output(output) => {
            let fault = match &file.expected {
                Some(expected) => match difference(expected, &output) {
                    None => return Ok(()),
                    Some(fault) => fault,
                },
                None => "the file has no `; expect:`, or nothing beside it".to_owned(),
            };
            (if file.beside { output } else { file.with_expectation(&output) }, fault)
        }
        Outcome::Errors(mut errors) => {
            if file.beside || file.expected.is_some() {
                return Err(format!("`{}` judges lines: write `; error: …` on them, not `; expect:`", file.command));
            }
            let last = file.input.lines().count();
            errors.iter_mut().for_each(|e| e.line = e.line.min(last));
            errors.sort();
            let expected = file.expected_errors();
            if errors == expected {
                return Ok(());
            }
            let missing = expected.iter().filter(|e| !errors.contains(e)).map(|e| format!("  line {}: expected `{}`", e.line, e.message));
            let surplus = errors.iter().filter(|e| !expected.contains(e)).map(|e| format!("  line {}: found `{}`", e.line, e.message));
            let fault = missing.chain(surplus).collect::<Vec<_>>().join("\n");
            (file.with_errors(&errors), fault)
        }
    };
    match mode {
        Mode::Check => Err(format!("{}\n(SLMC_BLESS=1 rewrites the expectation)", blessed.1)),
        Mode::Bless => std::fs::write(if file.beside { &beside } else { path }, blessed.0).map_err(|e| e.to_string()),
    }
}
