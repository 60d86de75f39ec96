//! The form of a filetest.
//!
//! ```text
//! ; test COMMAND ARGUMENTS
//! slmir 0
//! …
//! ; expect:
//! ; one line of the command's output
//! ```
//!
//! Everything is a comment to the parser of the IR, so `slmc opt` runs a filetest as it stands. Commands that judge lines
//! instead of printing have `; error: TEXT` at the end of each offending line and no `; expect:`. A long output may lie
//! beside the file, as NAME.expected; then `; expect: beside` is the last line.

use std::fmt::Write;

const HEADER: &str = "; test ";
const EXPECT: &str = "; expect:";
const BESIDE: &str = "; expect: beside";
const ERROR: &str = "; error: ";

/// A filetest, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestFile {
    /// First word after `; test`.
    pub command: String,
    /// The rest of that line.
    pub arguments: String,
    /// Everything before `; expect:`, header included.
    pub input: String,
    /// What the command has to print; `None` if the file does not say.
    pub expected: Option<String>,
    /// Whether that lies in a file of its own. It is not in `expected` then.
    pub beside: bool,
}

/// A complaint about one line of the input, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineError {
    /// The line.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl TestFile {
    /// Takes a file apart. `Err` says what is missing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(header) = text.lines().next().and_then(|l| l.strip_prefix(HEADER)) else {
            return Err(format!("line 1: expected `{HEADER}COMMAND ARGUMENTS`"));
        };
        let (command, arguments) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        let (mut input, mut expected) = (String::new(), None::<String>);
        let (text, beside) = match text.trim_end().strip_suffix(BESIDE) {
            Some(text) => (text, true),
            None => (text, false),
        };
        for line in text.lines() {
            match &mut expected {
                None if line.trim_end() == EXPECT => expected = Some(String::new()),
                None => {
                    input.push_str(line);
                    input.push('\n');
                }
                Some(expected) => {
                    let Some(line) = line.strip_prefix(';') else {
                        return Err(format!("expected only comments behind `{EXPECT}`, found `{line}`"));
                    };
                    expected.push_str(line.strip_prefix(' ').unwrap_or(line));
                    expected.push('\n');
                }
            }
        }
        Ok(Self { command: command.to_owned(), arguments: arguments.trim().to_owned(), input, expected, beside })
    }

    /// The file with `output` as its expectation.
    pub fn with_expectation(&self, output: &str) -> String {
        let mut text = format!("{}{EXPECT}\n", self.input);
        for line in output.lines() {
            let line = if line.is_empty() { ";".to_owned() } else { format!("; {line}") };
            text.push_str(&line);
            text.push('\n');
        }
        text
    }

    /// The errors that the input's lines ask for, in order.
    pub fn expected_errors(&self) -> Vec<LineError> {
        let mut errors = Vec::new();
        for (i, line) in self.input.lines().enumerate() {
            let messages = line.split(ERROR).skip(1);
            errors.extend(messages.map(|m| LineError { line: i + 1, message: m.trim().to_owned() }));
        }
        errors.sort();
        errors
    }

    /// The file with `errors` on their lines in place of those that stand there.
    pub fn with_errors(&self, errors: &[LineError]) -> String {
        let mut text = String::new();
        for (i, line) in self.input.lines().enumerate() {
            text.push_str(line.split(ERROR).next().unwrap_or(line).trim_end());
            for error in errors.iter().filter(|e| e.line == i + 1) {
                let _ = write!(text, " {ERROR}{}", error.message);
            }
            text.push('\n');
        }
        text
    }
}

/// The first line in which two texts differ, for a message.
pub fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (mut e, mut f, mut line) = (expected.lines(), found.lines(), 1);
    loop {
        match (e.next(), f.next()) {
            (Some(a), Some(b)) if a == b => line += 1,
            (None, None) => return Some("the texts differ in their line ends".to_owned()),
            (a, b) => {
                let show = |l: Option<&str>| l.map_or("the end".to_owned(), |l| format!("`{l}`"));
                return Some(format!("line {line} of the output:\n  expected {}\n  found    {}", show(a), show(b)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expectation_round_trips() {
        let text = "; test cat\nslmir 0\n; expect:\n; slmir 0\n;\n; end\n";
        let file = TestFile::parse(text).expect("well formed");
        assert_eq!((file.command.as_str(), file.arguments.as_str()), ("cat", ""));
        assert_eq!(file.expected.as_deref(), Some("slmir 0\n\nend\n"));
        assert_eq!(file.with_expectation("slmir 0\n\nend\n"), text);
    }

    #[test]
    fn expectations_may_lie_beside() {
        let file = TestFile::parse("; test cat\nslmir 0\n; expect: beside\n").expect("well formed");
        assert_eq!((file.beside, file.expected, file.input.as_str()), (true, None, "; test cat\nslmir 0\n"));
    }

    #[test]
    fn errors_round_trip() {
        let text = "; test verify\nv0: a ; error: x ; error: y\nv1\n";
        let file = TestFile::parse(text).expect("well formed");
        let errors = file.expected_errors();
        assert_eq!(errors.len(), 2);
        assert_eq!(file.with_errors(&errors), text);
        assert_eq!(file.with_errors(&[]), "; test verify\nv0: a\nv1\n");
    }
}
