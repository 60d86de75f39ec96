//! Runs clang over an MSL text; the outcome is a shared library.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::caller::{self, TEXT_FILE};
use super::signature::{Signature, SignatureError};

/// Compilers that are tried, in turn.
const COMPILERS: [&str; 2] = ["clang++-19", "clang++"];

/// A compiled text. The library goes when this does.
pub struct Compiled {
    folder: TempDir,
    /// The entry points, in the order of the text.
    pub entries: Vec<Signature>,
}

/// Why a text did not become a library.
#[derive(Debug)]
pub enum CompileError {
    /// There is no compiler here, or another processor.
    Missing(String),
    /// An entry point is not understood.
    Signature(SignatureError),
    /// The text is not valid: the compiler's messages.
    Invalid(String),
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(what) => write!(f, "{what}"),
            Self::Signature(error) => write!(f, "{error}"),
            Self::Invalid(messages) => write!(f, "the text does not compile:\n{messages}"),
        }
    }
}

impl Compiled {
    /// Compiles `text` for this machine. Floating-point expressions are not contracted.
    ///
    /// # Errors
    /// [`CompileError`].
    ///
    /// # Panics
    /// When the temporary folder cannot be written.
    pub fn new(text: &str) -> Result<Self, CompileError> {
        let compiler = compiler().map_err(CompileError::Missing)?;
        let entries = Signature::parse_all(text).map_err(CompileError::Signature)?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(TEXT_FILE), text).expect("a file in the temporary folder");
        std::fs::write(folder.path().join("caller.cpp"), caller::source(&entries)).expect("a file in the temporary folder");
        let headers = Path::new(env!("CARGO_MANIFEST_DIR")).join("metal");
        let output = Command::new(compiler)
            .current_dir(folder.path())
            .args(["-std=c++17", "-O2", "-march=native", "-ffp-contract=off", "-fno-exceptions", "-fno-rtti", "-shared", "-fPIC"])
            // A literal without suffix is a float: there is no double.
            .args(["-Xclang", "-cl-single-precision-constant"])
            .args(["-Wall", "-Werror", "-Wno-unknown-attributes", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-unused-const-variable"])
            .arg("-I")
            .arg(headers)
            .args(["caller.cpp", "-lm", "-o", "kernels.so"])
            .output()
            .expect("the compiler answered its version and runs");
        if !output.status.success() {
            let messages = String::from_utf8_lossy(&output.stderr);
            return Err(CompileError::Invalid(messages.lines().take(40).collect::<Vec<_>>().join("\n")));
        }
        Ok(Self { folder, entries })
    }

    /// The library.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("kernels.so")
    }

    /// The entry point of this name, and its number.
    pub fn entry(&self, name: &str) -> Option<(usize, &Signature)> {
        self.entries.iter().enumerate().find(|(_, e)| e.name == name)
    }
}

/// A C++ compiler that takes the extensions that the headers use, or what to do about it.
fn compiler() -> Result<&'static str, String> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        return Err("kernels in Metal's language run on x86-64 Linux only: their lanes switch stacks by its instructions".to_owned());
    }
    let answers = |name: &&str| {
        let output = Command::new(name).arg("--version").output();
        output.is_ok_and(|o| o.status.success() && version(&String::from_utf8_lossy(&o.stdout)) >= 18)
    };
    COMPILERS.iter().find(|name| answers(name)).copied().ok_or_else(|| {
        format!("none of {} is here in version 18 or newer; install clang 19 (Debian: apt-get install clang-19)", COMPILERS.join(", "))
    })
}

fn version(text: &str) -> u32 {
    let rest = text.split_once("clang version ").map_or("", |(_, rest)| rest);
    rest.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Says that a test did not run and what to do about it; `None` if it can run.
pub fn skipped(test: &str) -> Option<()> {
    let why = compiler().err()?;
    println!("skipped {test}: {why}");
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_kernels_in_metals_language_run_here_is_said() {
        if skipped("all of `--test metal`").is_none() {
            assert!(compiler().is_ok_and(|name| COMPILERS.contains(&name)));
        }
    }

    #[test]
    fn versions_are_read_from_what_compilers_say() {
        assert_eq!(version("Debian clang version 19.1.7 (3~deb12u1)\nTarget: x86_64-pc-linux-gnu"), 19);
        assert_eq!(version("Apple clang"), 0);
    }
}
