//! Marks in the place of spaces, as SentencePiece writes them.

use super::encode::EncodeError;
use super::normalize::utf8;
use super::open::Tokenizer;

impl Tokenizer<'_> {
    /// Writes `text` to `bytes`, after a mark if `prepend`, with a mark for each space if `replace`, and returns its length.
    pub(super) fn mark_spaces(&self, text: &[u8], prepend: bool, replace: bool, bytes: &mut [u8]) -> Result<usize, EncodeError> {
        let (mark, width) = utf8(self.mark);
        let mut slots = bytes.iter_mut();
        let needed = text.len().saturating_add(1).saturating_mul(3);
        let mut len = 0;
        let mut put = |byte: u8| -> Result<(), EncodeError> {
            *slots.next().ok_or(EncodeError::Scratch { needed })? = byte;
            len += 1;
            Ok(())
        };
        if prepend {
            mark.iter().take(width).try_for_each(|&byte| put(byte))?;
        }
        for &byte in text {
            if replace && byte == b' ' {
                mark.iter().take(width).try_for_each(|&byte| put(byte))?;
            } else {
                put(byte)?;
            }
        }
        Ok(len)
    }

    /// True when `text` begins with the mark or with a space that becomes one.
    pub(super) fn starts_marked(&self, text: &[u8]) -> bool {
        text.first() == Some(&b' ') || self.mark_at(text, 0).is_some()
    }

    /// The end of the mark that stands at `at`.
    pub(super) fn mark_at(&self, text: &[u8], at: usize) -> Option<usize> {
        let (mark, width) = utf8(self.mark);
        let end = at + width;
        (text.get(at..end)? == mark.get(..width)?).then_some(end)
    }
}
