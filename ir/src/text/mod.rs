//! The text form `.slmir`: what graph and kernel IR share. Printers and parsers stand beside the IR they belong to.
//!
//! Line breaks and blanks separate tokens and mean nothing else; `;` starts a comment that ends with its line.

pub mod float;
pub mod lexer;

/// The first line of every `.slmir` text.
pub const VERSION_LINE: &str = "slmir 0";

pub use float::HexFloat;
pub use lexer::{Cursor, Token, TokenKind, quote};
