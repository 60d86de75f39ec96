//! Ids to text, token by token.
//!
//! A token may end in the middle of a character: [`Decoder`] holds such bytes back until the next token completes them, so every piece that
//! it hands out is valid UTF-8. Bytes that can no longer become a character turn into U+FFFD, one for each maximal part, so that all pieces
//! together are what decoding the ids at once gives.

use super::format::token_flag;
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

/// The incomplete character at the end of the tokens so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Decoder {
    held: [u8; 4],
    len: u8,
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

    /// The bytes of a token, `None` for an id that names none. They need not be whole characters.
    pub fn token_bytes(&self, id: u32) -> Option<&'a [u8]> {
        let present = self.token_flags.get(id as usize).is_some_and(|f| f & token_flag::PRESENT != 0);
        present.then(|| self.bytes_of(id))
    }

    /// True for a special token.
    pub fn is_special(&self, id: u32) -> bool {
        self.token_flags.get(id as usize).is_some_and(|f| f & token_flag::SPECIAL != 0)
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
        if skip_special && self.is_special(id) {
            return Ok(0);
        }
        let mut written = 0;
        for &byte in self.token_bytes(id).unwrap_or(&[]) {
            written = decoder.step(byte, out, written);
        }
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
        let written = if self.len > 0 { append(out, 0, REPLACEMENT) } else { 0 };
        self.len = 0;
        written
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
                    written = append(out, written, text.as_bytes());
                    self.len = 0;
                    return written;
                }
                Err(error) => {
                    let Some(bad) = error.error_len() else { return written };
                    written = append(out, written, REPLACEMENT);
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
