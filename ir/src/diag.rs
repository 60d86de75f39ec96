//! What goes wrong with IR: places in a text, parse errors, verifier faults, and the proof that there are none.
//!
//! A parse error is the first one (later ones would follow from it); a verifier reports every fault. Neither ever panics.

use std::fmt;

/// A range of bytes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A place in a text, for people: both count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineColumn {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl LineColumn {
    /// The place of byte `offset` of `text`; an offset past the end is the end.
    pub fn of(text: &str, offset: usize) -> Self {
        let mut before = offset.min(text.len());
        while !text.is_char_boundary(before) {
            before -= 1;
        }
        let head = &text[..before];
        let line_start = head.rfind('\n').map_or(0, |i| i + 1);
        Self { line: head.matches('\n').count() + 1, column: head[line_start..].chars().count() + 1 }
    }
}

impl fmt::Display for LineColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a `.slmir` text could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {kind}")]
pub struct ParseError {
    /// The bytes that do not fit.
    pub span: Span,
    /// Where `span` starts.
    pub at: LineColumn,
    /// What does not fit.
    pub kind: ParseErrorKind,
}

/// Kinds of [`ParseError`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// Another token was needed.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What the grammar allows here.
        expected: String,
        /// What stands there.
        found: String,
    },
    /// A character that starts no token.
    #[error("unexpected character {0:?}")]
    Character(char),
    /// A string without its closing quote.
    #[error("string is not closed: expected `\"` before the end of the line")]
    OpenString,
    /// A backslash followed by something other than `\\`, `\"`, `n`, `t`, `u{hex}`.
    #[error("unknown escape in a string: expected \\\\, \\\", \\n, \\t or \\u{{hex}}")]
    Escape,
    /// A number that its place cannot hold.
    #[error("number {text} does not fit: expected {expected}")]
    Number {
        /// As written.
        text: String,
        /// What the place holds.
        expected: String,
    },
    /// A name that is defined twice.
    #[error("{0} is defined twice; give the second another name")]
    Duplicate(String),
    /// A name that is not defined anywhere.
    #[error("{0} is not defined")]
    Undefined(String),
    /// Blocks nested too deep to read.
    #[error("blocks are nested deeper than {0}")]
    Nesting(usize),
    /// Anything else, in words: expected and found.
    #[error("{0}")]
    Other(String),
}

/// One fault that a verifier found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message} [{rule}]")]
pub struct VerifyError {
    /// The entity in IR text: `v3`, `w0`, `body`, `kernel linear_12`.
    pub at: String,
    /// The rule that is broken, one of those listed in the verifier's header.
    pub rule: &'static str,
    /// Expected and found.
    pub message: String,
}

/// Proof that a verifier found no fault in `T`. Only verifiers make it.
#[derive(Debug)]
pub struct Verified<'a, T>(&'a T);

impl<'a, T> Verified<'a, T> {
    /// For verifiers only.
    pub(crate) fn new(proven: &'a T) -> Self {
        Self(proven)
    }
    /// What was verified.
    pub fn get(&self) -> &'a T {
        self.0
    }
}

impl<T> Clone for Verified<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Verified<'_, T> {}

impl<T> std::ops::Deref for Verified<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        self.0
    }
}
