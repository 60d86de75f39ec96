//! Characters and their classes: UTF-8 stepping over text already known to be valid, and the two-stage class table.
//!
//! All stages of the pre-tokenizer share one partition of Unicode into at most 255 classes, so an automaton's row is a few bytes wide.

use super::format::class_flag;
use super::open::Tokenizer;

/// The character at `at` and its length in bytes. The text must be valid UTF-8 and `at` a boundary; otherwise some value with a length of
/// at least 1 is returned.
#[inline]
pub(super) fn char_at(text: &[u8], at: usize) -> (u32, usize) {
    let byte = |i: usize| u32::from(text.get(at.wrapping_add(i)).copied().unwrap_or(0)) & 0x3f;
    let lead = u32::from(text.get(at).copied().unwrap_or(0));
    match lead {
        0..=0x7f => (lead, 1),
        0x80..=0xdf => ((lead & 0x1f) << 6 | byte(1), 2),
        0xe0..=0xef => ((lead & 0x0f) << 12 | byte(1) << 6 | byte(2), 3),
        _ => ((lead & 0x07) << 18 | byte(1) << 12 | byte(2) << 6 | byte(3), 4),
    }
}

/// The start of the character that ends at `end`; 0 at the start of the text.
#[inline]
pub(super) fn char_before(text: &[u8], end: usize) -> usize {
    let mut at = end.saturating_sub(1);
    while at > 0 && text.get(at).is_some_and(|b| b & 0xc0 == 0x80) {
        at -= 1;
    }
    at
}

impl Tokenizer<'_> {
    /// The class of a code point.
    #[inline]
    pub(super) fn class(&self, point: u32) -> usize {
        let block = usize::from(self.class_index.get((point >> 8) as usize));
        let at = block.wrapping_mul(256).wrapping_add((point & 0xff) as usize);
        usize::from(self.class_blocks.get(at).copied().unwrap_or(0))
    }

    /// True when the code point's class has `flag` of [`class_flag`].
    #[inline]
    pub(super) fn is(&self, point: u32, flag: u8) -> bool {
        self.class_flags.get(self.class(point)).is_some_and(|f| f & flag != 0)
    }

    /// Where the run of characters with `flag` that ends at `end` begins.
    pub(super) fn run_before(&self, text: &[u8], end: usize, flag: u8) -> usize {
        let mut at = end;
        while at > 0 {
            let before = char_before(text, at);
            if !self.is(char_at(text, before).0, flag) {
                break;
            }
            at = before;
        }
        at
    }

    /// Where the run of characters with `flag` that begins at `start` ends.
    pub(super) fn run_after(&self, text: &[u8], start: usize, flag: u8) -> usize {
        let mut at = start;
        while at < text.len() {
            let (point, len) = char_at(text, at);
            if !self.is(point, flag) {
                break;
            }
            at += len;
        }
        at.min(text.len())
    }

    /// `content` without the white space that a template's strip removes.
    pub(super) fn stripped<'t>(&self, content: &'t [u8], start: bool, end: bool) -> &'t [u8] {
        let from = if start { self.run_after(content, 0, class_flag::TRIMMED) } else { 0 };
        let rest = content.get(from..).unwrap_or(&[]);
        let to = if end { self.run_before(rest, rest.len(), class_flag::TRIMMED) } else { rest.len() };
        rest.get(..to).unwrap_or(&[])
    }
}
