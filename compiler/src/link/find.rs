//! Finding lld: what the user named, else `ld.lld` in the path, else the `rust-lld` that comes with a Rust toolchain.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::LinkError;

/// A linker that takes GNU options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Linker {
    /// The program.
    pub program: PathBuf,
    /// Arguments that come before all others (`rust-lld` wants to be told which linker it is).
    pub first_args: Vec<String>,
}

/// Names under which lld is installed, newest first after the plain one.
const NAMES: &[&str] = &["ld.lld", "ld.lld-22", "ld.lld-21", "ld.lld-20", "ld.lld-19", "ld.lld-18", "ld.lld-17"];

impl Linker {
    /// The linker at `path`, which must be lld: the file, or a name in the path.
    pub fn at(path: &Path) -> Self {
        let is_rust_lld = path.file_stem().is_some_and(|stem| stem == "rust-lld" || stem == "lld");
        let first_args = if is_rust_lld { vec!["-flavor".to_owned(), "gnu".to_owned()] } else { Vec::new() };
        Self { program: path.to_owned(), first_args }
    }

    /// The linker to use: `asked` if given, else the first one found.
    ///
    /// # Errors
    /// [`LinkError::Start`] if the one asked for does not run, [`LinkError::NoLinker`] if none was asked for and none found.
    pub fn find(asked: Option<&Path>) -> Result<Self, LinkError> {
        if let Some(path) = asked {
            let linker = Self::at(path);
            return linker.version().map(|_| linker);
        }
        for name in NAMES {
            if let Some(path) = in_path(name) {
                return Ok(Self::at(&path));
            }
        }
        if let Some(path) = rust_lld() {
            return Ok(Self::at(&path));
        }
        Err(LinkError::NoLinker { looked: format!("{} in PATH, and rust-lld in the Rust toolchain", NAMES.join(", ")) })
    }

    /// The linker's own version line, as recorded in the manifest.
    ///
    /// # Errors
    /// [`LinkError::Start`] if the program does not run.
    pub fn version(&self) -> Result<String, LinkError> {
        let start = |detail: String| LinkError::Start { program: self.program.clone(), detail };
        let run = Command::new(&self.program).args(&self.first_args).arg("--version").output().map_err(|e| start(e.to_string()))?;
        if !run.status.success() {
            return Err(start(format!("`--version` ended with {}", run.status)));
        }
        let line = String::from_utf8_lossy(&run.stdout).lines().next().unwrap_or_default().trim().to_owned();
        if !line.contains("LLD") {
            return Err(start(format!("is not lld (it calls itself {line:?})")));
        }
        Ok(line)
    }
}

/// The first program of this name in the path.
pub(crate) fn in_path(name: &str) -> Option<PathBuf> {
    let dirs = env::var_os("PATH")?;
    env::split_paths(&dirs).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn rust_lld() -> Option<PathBuf> {
    let run = Command::new("rustc").args(["--print", "target-libdir"]).output().ok()?;
    let libdir = PathBuf::from(String::from_utf8(run.stdout).ok()?.trim());
    let path = libdir.parent()?.join("bin").join("rust-lld");
    path.is_file().then_some(path)
}
