//! What a person sees: answers on standard output, everything else on standard error.
//!
//! A failure is `error: …` and, where something can be done about it, `hint: …`; exit code 1 (2 for a wrong command line, by
//! clap). A reader that goes away (`slmc … | head`) ends a command quietly.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::{self, ExitCode};

use serde::Serialize;
use slmc::bundle::BundleError;
use slmc::import::ImportError;
use slmc::pipeline::CompileError;
use slmc::target::TargetError;

/// Why a command failed.
#[derive(Debug)]
pub struct Failure {
    message: String,
    hints: Vec<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(message: impl Display) -> Self {
        Self { message: message.to_string(), hints: Vec::new() }
    }

    /// Adds what a user can do about it.
    pub fn hint(mut self, hint: impl Display) -> Self {
        self.hints.push(hint.to_string());
        self
    }

    /// Writes the message and gives the exit code.
    pub fn show(&self) -> ExitCode {
        note(format_args!("error: {}", self.message));
        for hint in &self.hints {
            note(format_args!("hint: {hint}"));
        }
        ExitCode::FAILURE
    }
}

impl From<CompileError> for Failure {
    fn from(error: CompileError) -> Self {
        with_hint(&error, error.hint())
    }
}

impl From<BundleError> for Failure {
    fn from(error: BundleError) -> Self {
        with_hint(&error, error.hint())
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::new(error)
    }
}

impl From<TargetError> for Failure {
    fn from(error: TargetError) -> Self {
        Self::new(error).hint("slmc targets lists them all")
    }
}

fn with_hint(error: &dyn Display, hint: Option<&str>) -> Failure {
    let failure = Failure::new(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Writes a line of an answer to standard output.
pub fn say(line: impl Display) {
    put(format_args!("{line}\n"));
}

/// Writes a piece of an answer to standard output at once.
pub fn put(text: impl Display) {
    let mut out = io::stdout().lock();
    if let Err(e) = write!(out, "{text}").and_then(|()| out.flush()) {
        // 0 for a reader that has seen enough
        process::exit(i32::from(e.kind() != io::ErrorKind::BrokenPipe));
    }
}

/// Writes a value as JSON to standard output.
pub fn say_json(value: &impl Serialize) {
    match serde_json::to_string_pretty(value) {
        Ok(text) => say(text),
        Err(e) => note(format_args!("error: {e}")),
    }
}

/// Writes a line to standard error, where a failure to do so is nobody's loss.
pub fn note(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Rows of text with columns in line: the last column as it is, the others filled up with spaces.
pub fn columns(rows: &[Vec<String>]) -> String {
    let mut widths = Vec::new();
    for row in rows {
        for (i, cell) in row.iter().enumerate() {
            if widths.len() <= i {
                widths.push(0);
            }
            widths[i] = widths[i].max(cell.chars().count());
        }
    }
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(i, cell)| if i + 1 == row.len() { cell.clone() } else { format!("{cell:<width$}", width = widths[i]) })
                .collect();
            cells.join("  ").trim_end().to_owned()
        })
        .collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_in_line() {
        let rows = [vec!["a".to_owned(), "one".to_owned()], vec!["bcd".to_owned(), "two".to_owned()]];
        assert_eq!(columns(&rows), "a    one\nbcd  two");
    }
}
