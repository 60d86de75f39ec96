//! Text to ids: added tokens, normalization, pre-tokenization, then the model on each word.

use super::added::{Segment, Segments};
use super::bpe::WORDS_PER_BYTE;
use super::format::{model, space};
use super::open::Tokenizer;

/// What special tokens typed in a text are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypedSpecials {
    /// Their ids, as in a prompt that already carries its markup.
    Tokens,
    /// Ordinary text; added tokens that are not special are still tokens.
    Text,
}

/// How to encode a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncodeOptions {
    /// What special tokens in the text are.
    pub typed_specials: TypedSpecials,
    /// Put the model's own BOS / EOS around the text, as its post-processor does.
    pub frame: bool,
}

/// Scratch that [`Tokenizer::scratch_len`] and [`Tokenizer::chat_scratch_len`] ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScratchLen {
    /// Length of [`Scratch::words`].
    pub words: usize,
    /// Length of [`Scratch::bytes`].
    pub bytes: usize,
}

/// The caller's working memory. Its content before and after a call means nothing.
#[derive(Debug)]
pub struct Scratch<'s> {
    /// Symbols and candidate merges of one word.
    pub words: &'s mut [u32],
    /// Rendered and normalized text.
    pub bytes: &'s mut [u8],
}

/// Why a text was not encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// The text is not UTF-8 from this byte on.
    NotUtf8 {
        /// Bytes before the first bad one.
        at: usize,
    },
    /// More ids than `out` holds; `out` is filled as far as it goes.
    OutputFull {
        /// Ids of the whole text.
        needed: usize,
    },
    /// Scratch is shorter than [`Tokenizer::scratch_len`] says and a word was too long for it.
    Scratch {
        /// Words or bytes that this step needed.
        needed: usize,
    },
}

impl EncodeError {
    /// One line for a person.
    pub fn message(&self) -> &'static str {
        match self {
            EncodeError::NotUtf8 { .. } => "the text is not valid UTF-8",
            EncodeError::OutputFull { .. } => "the text has more tokens than there is room for",
            EncodeError::Scratch { .. } => "the tokenizer's scratch memory is too small for this text",
        }
    }
}

/// Ids on their way out: counts on when the slice is full, so that the error can say how many there are.
pub(super) struct Sink<'o> {
    out: &'o mut [u32],
    len: usize,
}

impl<'o> Sink<'o> {
    pub fn new(out: &'o mut [u32]) -> Self {
        Sink { out, len: 0 }
    }

    #[inline]
    pub fn push(&mut self, id: u32) {
        if let Some(slot) = self.out.get_mut(self.len) {
            *slot = id;
        }
        self.len += 1;
    }

    pub fn finish(self) -> Result<usize, EncodeError> {
        if self.len <= self.out.len() { Ok(self.len) } else { Err(EncodeError::OutputFull { needed: self.len }) }
    }
}

/// How a run of text is to be encoded.
#[derive(Clone, Copy)]
pub(super) struct Run {
    /// Special tokens in it are tokens.
    pub specials: bool,
    /// It stands at the start of the whole text.
    pub first: bool,
}

impl<'a> Tokenizer<'a> {
    /// Scratch that suffices for any text of `text_len` bytes. Shorter `words` also do where the longest word is short: a word of `n` bytes
    /// needs `7 (n + 1)`.
    pub fn scratch_len(&self, text_len: usize) -> ScratchLen {
        let rewritten = self.nfc.len() > 0 || self.spaces != 0;
        let longest = if rewritten { text_len.saturating_add(1).saturating_mul(3) } else { text_len };
        ScratchLen { words: longest.saturating_add(1).saturating_mul(WORDS_PER_BYTE), bytes: if rewritten { longest } else { 0 } }
    }

    /// Encodes `text` into `out` and returns the number of ids.
    pub fn encode(&self, text: &[u8], options: EncodeOptions, scratch: &mut Scratch<'_>, out: &mut [u32]) -> Result<usize, EncodeError> {
        if let Err(error) = core::str::from_utf8(text) {
            return Err(EncodeError::NotUtf8 { at: error.valid_up_to() });
        }
        let mut sink = Sink::new(out);
        if options.frame {
            self.prefix.iter().for_each(|id| sink.push(id));
        }
        let run = Run { specials: options.typed_specials == TypedSpecials::Tokens, first: true };
        self.encode_run(text, run, scratch.words, scratch.bytes, &mut sink)?;
        if options.frame {
            self.suffix.iter().for_each(|id| sink.push(id));
        }
        sink.finish()
    }

    /// Encodes valid UTF-8 `text`.
    pub(super) fn encode_run(&self, text: &[u8], run: Run, words: &mut [u32], bytes: &mut [u8], out: &mut Sink<'_>) -> Result<(), EncodeError> {
        for segment in Segments::new(self, self.raw_trie, text, run.specials) {
            match segment {
                Segment::Token(id) => out.push(id),
                Segment::Text(start, end) => {
                    let piece = text.get(start..end).unwrap_or(&[]);
                    let run = Run { first: run.first && start == 0, ..run };
                    if self.spaces & (space::NORMALIZE | space::PREPEND) != 0 {
                        let len = self.mark_spaces(piece, self.spaces & space::PREPEND != 0, self.spaces & space::NORMALIZE != 0, bytes)?;
                        self.encode_normalized(bytes.get(..len).unwrap_or(&[]), run, words, &mut [], out)?;
                    } else if self.is_normalized(piece) {
                        self.encode_normalized(piece, run, words, bytes, out)?;
                    } else {
                        let len = self.normalize(piece, words, bytes)?;
                        self.encode_normalized(bytes.get(..len).unwrap_or(&[]), run, words, &mut [], out)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// `bytes` is free where the pre-tokenizer rewrites the text.
    fn encode_normalized(&self, text: &[u8], run: Run, words: &mut [u32], bytes: &mut [u8], out: &mut Sink<'_>) -> Result<(), EncodeError> {
        for segment in Segments::new(self, self.normalized_trie, text, run.specials) {
            match segment {
                Segment::Token(id) => out.push(id),
                Segment::Text(start, end) => {
                    let mut piece = text.get(start..end).unwrap_or(&[]);
                    if self.spaces & space::REPLACE != 0 {
                        let wanted = self.spaces & space::ALWAYS != 0 || (self.spaces & space::FIRST != 0 && run.first && start == 0);
                        let len = self.mark_spaces(piece, wanted && !self.starts_marked(piece), true, bytes)?;
                        piece = bytes.get(..len).unwrap_or(&[]);
                    }
                    self.split(0, piece, &mut |word| self.encode_word(word, words, out))?;
                }
            }
        }
        Ok(())
    }

    /// Writes the ids of a word.
    fn encode_word(&self, word: &[u8], words: &mut [u32], out: &mut Sink<'_>) -> Result<(), EncodeError> {
        if self.model == model::UNIGRAM { self.encode_pieces(word, words, out) } else { self.encode_merged(word, words, out) }
    }
}
