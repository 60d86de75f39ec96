//! Pre-tokenization: each stage cuts a piece of text at the leftmost-first matches of its pattern, walked as a table of rows over
//! character classes. The text between two matches is a piece of its own.
//!
//! The one look-ahead of the patterns in use, `\s+(?!\S)|\s+` at the end, is one row kind: a run of white space that something follows
//! gives its last character back, because that is where the look-ahead first holds.

use super::class::{char_at, char_before};
use super::encode::EncodeError;
use super::format::{DEAD, row};
use super::open::Tokenizer;

impl Tokenizer<'_> {
    /// Cuts `text` by stage `stage` and all later ones and hands the pieces to `word`, in order. The depth of recursion is the number of
    /// stages.
    pub(super) fn split(&self, stage: usize, text: &[u8], word: &mut dyn FnMut(&[u8]) -> Result<(), EncodeError>) -> Result<(), EncodeError> {
        if stage >= self.stages.len() / 3 {
            return if text.is_empty() { Ok(()) } else { word(text) };
        }
        let mut at = 0;
        while at < text.len() {
            let end = match self.find(stage, text, at) {
                Some(end) => end,
                None => self.gap_end(stage, text, at),
            };
            self.split(stage + 1, text.get(at..end).unwrap_or(&[]), word)?;
            at = end;
        }
        Ok(())
    }

    /// The end of the unmatched text that starts at `at`: the next place where the pattern matches.
    fn gap_end(&self, stage: usize, text: &[u8], at: usize) -> usize {
        let mut end = at + char_at(text, at).1;
        while end < text.len() && self.find(stage, text, end).is_none() {
            end += char_at(text, end).1;
        }
        end.min(text.len())
    }

    /// The end of the stage's match at `from`, always beyond `from`.
    fn find(&self, stage: usize, text: &[u8], from: usize) -> Option<usize> {
        let first_row = self.stages.get(stage * 3) as usize;
        let columns = self.classes + 1;
        let step = |state: u16, column: usize| self.transitions.get((first_row + usize::from(state)) * columns + column);
        let kind = |state: u16| self.row_matches.get(first_row + usize::from(state)).copied().unwrap_or(row::NONE);
        let mut state = self.stages.get(stage * 3 + 2) as u16;
        let mut at = from;
        let mut best = (from, row::NONE);
        loop {
            let (column, len) = if at < text.len() {
                let (point, len) = char_at(text, at);
                (self.class(point), len)
            } else {
                (self.classes, 0)
            };
            state = step(state, column);
            if state == DEAD {
                break;
            }
            let found = kind(state);
            if found != row::NONE {
                best = (at, found);
            }
            if len == 0 {
                break;
            }
            at += len;
        }
        let (end, found) = (best.0.min(text.len()), best.1);
        if found == row::SPACES && end < text.len() {
            let shorter = char_before(text, end);
            if shorter > from {
                return Some(shorter);
            }
        }
        (end > from).then_some(end)
    }
}
