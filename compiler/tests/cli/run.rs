//! Running the command and looking at what it said.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// How a command ended.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// The command, with a cache folder of its own.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_slmc"));
    command.args(args).env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command
}

/// Runs the command to its end.
pub fn slmc(args: &[&str]) -> Ran {
    Ran::of(command(args).output().expect("the command starts"))
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// It worked.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }

    /// It failed with an error, not a panic, and said all of `parts`; nothing went to standard output.
    pub fn fails_with(self, parts: &[&str]) {
        assert_eq!(self.code, Some(1), "{}\n{}", self.out, self.err);
        assert!(self.err.lines().any(|line| line.starts_with("error: ")), "{}", self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "expected {part:?} in:\n{}", self.err);
        }
        assert_eq!(self.out, "");
    }
}

/// A folder of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("a path of this test is UTF-8")
}
