//! Pre-tokenizer patterns as regular expressions over code points.
//!
//! The one look-ahead in use, the alternatives `\s+(?!\S)|\s+` at the end, is cut off here and stands as the second pattern `\s+`, whose
//! matches the runtime shortens. Everything else must be regular: no look-around, no possessive repetition, no empty match.

use regex_syntax::hir::Hir;

/// The pattern that `ByteLevel` with `use_regex` applies.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// The end of a pattern with the look-ahead.
const LOOK_AHEAD: &str = r"\s+(?!\S)|\s+";

/// How one stage cuts text.
pub(super) enum StagePattern {
    /// At the matches of an expression.
    Regex {
        /// The alternatives before the look-ahead; `None` when there are none.
        head: Option<Hir>,
        /// The pattern ends in `\s+(?!\S)|\s+`.
        spaces: bool,
    },
    /// At numeric characters: each alone, or runs of them.
    Digits {
        /// Each alone.
        individual: bool,
    },
}

impl StagePattern {
    /// Parses a pattern; the error says what is not supported.
    pub fn regex(pattern: &str) -> Result<StagePattern, String> {
        let (head, spaces) = match pattern.strip_suffix(LOOK_AHEAD) {
            Some("") => return Ok(StagePattern::Regex { head: None, spaces: true }),
            Some(rest) => rest.strip_suffix('|').map_or((pattern, false), |head| (head, true)),
            None => (pattern, false),
        };
        if possessive(head) {
            return Err("possessive repetition".to_owned());
        }
        let hir = regex_syntax::Parser::new().parse(head).map_err(|error| match error {
            regex_syntax::Error::Parse(error) => error.kind().to_string(),
            regex_syntax::Error::Translate(error) => error.kind().to_string(),
            other => other.to_string(),
        })?;
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
        Ok(StagePattern::Regex { head: Some(hir), spaces })
    }
}

/// True when a repetition is followed by `+`, which backtracking engines read as possessive and regular ones as a second repetition.
fn possessive(pattern: &str) -> bool {
    let mut class_depth = 0u32;
    let mut after_repetition = false;
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let mut repetition = false;
        match c {
            '\\' => {
                let escaped = rest.next();
                // The braces of `\p{L}` are no repetition.
                if escaped.is_some_and(|c| "pPxuU".contains(c)) && rest.as_str().starts_with('{') {
                    rest.by_ref().find(|&c| c == '}');
                }
            }
            '[' => class_depth += 1,
            ']' => class_depth = class_depth.saturating_sub(1),
            '+' if after_repetition && class_depth == 0 => return true,
            '?' | '*' | '+' | '}' => repetition = class_depth == 0,
            _ => {}
        }
        after_repetition = repetition;
    }
    false
}
