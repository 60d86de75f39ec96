//! Pre-tokenizer patterns as regular expressions over code points.
//!
//! The one look-ahead in use, the alternatives `\s+(?!\S)|\s+` at the end, is cut off here and stands as the second pattern `\s+`, whose
//! matches the runtime shortens. Everything else must be regular: no look-around, no possessive repetition that differs from a greedy one,
//! no empty match.

use regex_syntax::hir::Hir;

use super::possessive;

/// The pattern that `ByteLevel` with `use_regex` applies.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The end of a pattern with the look-ahead. What the last alternative is left with is one character, so both forms mean the same.
const LOOK_AHEAD: [&str; 2] = [r"\s+(?!\S)|\s+", r"\s+(?!\S)|\s"];

/// How one stage cuts text.
pub(super) enum StagePattern {
    /// At the matches of an expression.
    Regex {
        /// The alternatives before the look-ahead; `None` when there are none.
        head: Option<Hir>,
        /// The pattern ends in `\s+(?!\S)|\s+`.
        spaces: bool,
        /// Text between matches would be lost: the pattern has to match everywhere.
        whole: bool,
    },
    /// At numeric characters: each alone, or runs of them.
    Digits {
        /// Each alone.
        individual: bool,
    },
}

impl StagePattern {
    /// Pieces that begin at each `c`.
    pub fn before_each(c: char) -> String {
        let c = regex_syntax::escape(c.encode_utf8(&mut [0; 4]));
        format!("{c}[^{c}]*|[^{c}]+")
    }

    /// Pieces that end behind each `c`.
    pub fn behind_each(c: char) -> String {
        let c = regex_syntax::escape(c.encode_utf8(&mut [0; 4]));
        format!("[^{c}]+{c}?|{c}")
    }

    /// Parses a pattern; the error says what is not supported.
    pub fn regex(pattern: &str) -> Result<StagePattern, String> {
        let cut = LOOK_AHEAD.iter().find_map(|end| pattern.strip_suffix(end));
        let (head, spaces) = match cut {
            Some("") => return Ok(StagePattern::Regex { head: None, spaces: true, whole: false }),
            Some(rest) => rest.strip_suffix('|').map_or((pattern, false), |head| (head, true)),
            None => (pattern, false),
        };
        let hir = possessive::parse(head)?;
        let properties = hir.properties();
        if !properties.look_set().is_empty() {
            return Err("anchors or word boundaries".to_owned());
        }
        if properties.minimum_len().is_none_or(|n| n == 0) {
            return Err("it matches the empty text".to_owned());
        }
        if !properties.is_utf8() {
            return Err("it matches single bytes".to_owned());
        }
        Ok(StagePattern::Regex { head: Some(hir), spaces, whole: false })
    }
}
