//! Dumps: the state after each phase as a numbered file, so that `ls` shows the way a model went.

use std::fs;
use std::path::Path;

use super::CompileError;

/// Writes `00-import.slmir` and its like to a folder, or nothing.
pub(super) struct Dumper<'a> {
    dir: Option<&'a Path>,
    next: usize,
}

impl<'a> Dumper<'a> {
    /// The folder is made if need be.
    pub(super) fn new(dir: Option<&'a Path>) -> Result<Self, CompileError> {
        if let Some(dir) = dir {
            fs::create_dir_all(dir).map_err(|e| CompileError::dump(dir, &e))?;
        }
        Ok(Self { dir, next: 0 })
    }

    pub(super) fn is_on(&self) -> bool {
        self.dir.is_some()
    }

    /// Writes IR text.
    pub(super) fn text(&mut self, phase: &str, text: &str) -> Result<(), CompileError> {
        self.file(phase, "slmir", text)
    }

    /// Counts a phase that changed nothing.
    pub(super) fn unchanged(&mut self, phase: &str) -> Result<(), CompileError> {
        self.file(&format!("{phase}-unchanged"), "slmir", "")
    }

    /// Writes text of another kind.
    pub(super) fn file(&mut self, phase: &str, extension: &str, text: &str) -> Result<(), CompileError> {
        let Some(dir) = self.dir else { return Ok(()) };
        let path = dir.join(format!("{:02}-{phase}.{extension}", self.next));
        self.next += 1;
        fs::write(&path, text).map_err(|e| CompileError::dump(&path, &e))
    }
}
