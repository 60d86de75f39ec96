//! Ids to text, token by token.
//!
//! A token may end in the middle of a character: [`Decoder`] holds such bytes back until the next token completes them, so every piece that
//! it hands out is valid UTF-8. Bytes that can no longer become a character turn into U+FFFD.
//!
//! Over bytes there is one U+FFFD for each maximal part, so that all pieces together are what decoding the ids at once gives. Where tokens
//! are text, only byte tokens can be broken, and each broken one is one U+FFFD. The `tokenizers` crate turns all byte tokens of a run into
//! U+FFFD when one is broken; a stream cannot take back characters that were complete, so here they stay.

use super::format::{decode, token_flag};
use super::open::Tokenizer;

/// U+FFFD.
const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// Why a token was not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// `out` is shorter than [`Tokenizer::longest_piece`].
    OutputFull {
        /// Bytes that suffice.
        needed: usize,
    },
}

impl DecodeError {
    /// One line for a person.
    pub fn message(&self) -> &'static str {
        "the text buffer is shorter than the longest token"
    }
}

/// The incomplete character at the end of the tokens so far, and what else the next token's text depends on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decoder {
    held: [u8; 4],
    len: u8,
    /// Bits of [`decode`] of the tokenizer.
    how: u32,
    /// A token was decoded.
    later: bool,
    /// Some text was written.
    begun: bool,
}

impl<'a> Tokenizer<'a> {
    /// The bytes of a token; empty for an id that names none.
    pub(super) fn bytes_of(&self, id: u32) -> &'a [u8] {
        if id >= self.vocab_size {
            return &[];
        }
        let (start, end) = (self.token_offsets.get(id as usize), self.token_offsets.get(id as usize + 1));
        self.token_bytes.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// The bytes of a token as the tables hold them, `None` for an id that names none. They need not be whole characters.
    pub fn token_bytes(&self, id: u32) -> Option<&'a [u8]> {
        (self.flags_of(id) & token_flag::PRESENT != 0).then(|| self.bytes_of(id))
    }

    /// True for a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.flags_of(id) & token_flag::SPECIAL != 0
    }

    fn flags_of(&self, id: u32) -> u8 {
        self.token_flags.get(id as usize).copied().unwrap_or(0)
    }

    /// Bytes that suffice as `out` of [`Self::decode_piece`] and [`Decoder::finish`].
    pub fn longest_piece(&self) -> usize {
        self.longest_token.saturating_add(4).saturating_mul(REPLACEMENT.len())
    }

    /// Appends a token and writes the text that is now complete; returns its length in bytes. An id that names no token adds nothing, nor
    /// does a special one if `skip_special`.
    pub fn decode_piece(&self, id: u32, skip_special: bool, decoder: &mut Decoder, out: &mut [u8]) -> Result<usize, DecodeError> {
        let needed = self.longest_piece();
        if out.len() < needed {
            return Err(DecodeError::OutputFull { needed });
        }
        let Some(text) = self.token_bytes(id).filter(|_| !(skip_special && self.is_special(id))) else { return Ok(0) };
        decoder.how = self.decode;
        let mut written = 0;
        if self.decode & decode::TEXT == 0 {
            for &byte in text {
                written = decoder.step(byte, out, written);
            }
        } else if self.flags_of(id) & token_flag::BYTE != 0 {
            let digit = |at: usize| text.get(at).and_then(|&d| char::from(d).to_digit(16)).unwrap_or(0);
            written = decoder.step((digit(3) << 4 | digit(4)) as u8, out, 0);
        } else {
            written = decoder.flush(out);
            let drops = self.decode & decode::FIRST_MARKS != 0 && !decoder.later;
            let mut at = 0;
            while at < text.len() {
                let mark = if self.decode & decode::MARKS != 0 { self.mark_at(text, at) } else { None };
                let end = mark.unwrap_or(at + 1);
                let shown = if mark.is_none() { text.get(at..end) } else { Some(&b" "[..usize::from(!drops)]) };
                written = decoder.write(out, written, shown.unwrap_or(&[]));
                at = end;
            }
        }
        decoder.later = true;
        Ok(written)
    }
}

impl Decoder {
    /// True when no bytes are held back.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the text: writes U+FFFD for bytes still held back and returns the length; `out` needs 12 bytes at most.
    pub fn finish(&mut self, out: &mut [u8]) -> usize {
        self.flush(out)
    }

    /// Writes U+FFFD for the bytes held back.
    fn flush(&mut self, out: &mut [u8]) -> usize {
        let held = usize::from(core::mem::take(&mut self.len));
        self.broken(held, out, 0)
    }

    /// Writes U+FFFD for `count` bytes that are no character.
    fn broken(&mut self, count: usize, out: &mut [u8], mut written: usize) -> usize {
        let times = if self.how & decode::TEXT == 0 { count.min(1) } else { count };
        for _ in 0..times {
            written = self.write(out, written, REPLACEMENT);
        }
        written
    }

    /// Writes text, without the space that the start of the whole text loses.
    fn write(&mut self, out: &mut [u8], at: usize, text: &[u8]) -> usize {
        let begun = self.begun;
        self.begun |= !text.is_empty();
        let strips = self.how & decode::STRIP != 0 && !begun && text.first() == Some(&b' ');
        append(out, at, text.get(usize::from(strips)..).unwrap_or(&[]))
    }

    fn step(&mut self, byte: u8, out: &mut [u8], mut written: usize) -> usize {
        if let Some(slot) = self.held.get_mut(usize::from(self.len)) {
            *slot = byte;
            self.len += 1;
        }
        loop {
            let held = self.held;
            let pending = held.get(..usize::from(self.len)).unwrap_or(&[]);
            match core::str::from_utf8(pending) {
                Ok(text) => {
                    self.len = 0;
                    return self.write(out, written, text.as_bytes());
                }
                Err(error) => {
                    let Some(bad) = error.error_len() else { return written };
                    written = self.broken(bad, out, written);
                    let rest = pending.get(bad..).unwrap_or(&[]);
                    self.held = [0; 4];
                    for (slot, &byte) in self.held.iter_mut().zip(rest) {
                        *slot = byte;
                    }
                    self.len = rest.len() as u8;
                }
            }
        }
    }
}

/// Copies `bytes` to `out[at..]` and returns the new length; nothing where there is no room.
pub(super) fn append(out: &mut [u8], at: usize, bytes: &[u8]) -> usize {
    let end = at.saturating_add(bytes.len());
    match out.get_mut(at..end) {
        Some(room) => {
            room.iter_mut().zip(bytes).for_each(|(slot, &byte)| *slot = byte);
            end
        }
        None => at,
    }
}
