//! The layout of `tokenizer.bin`: what the compiler writes and [`Tokenizer::open`](super::Tokenizer::open) reads.
//!
//! All numbers are little endian. The file is a header of u32 words
//! `magic, version, file length, section count, (offset, length in bytes) per section`, followed by the sections in the order of
//! [`Section`], each starting at a multiple of 8. Nothing may follow the last section but its padding. Every section is present; one that
//! a tokenizer does not need is empty.

/// First word of the file: `SLMT`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SLMT");
/// Version of the layout; a file of any other version is refused.
pub const VERSION: u32 = 2;
/// Number of sections.
pub const SECTION_COUNT: usize = 28;
/// Bytes of the header.
pub const HEADER_LEN: usize = 16 + SECTION_COUNT * 8;
/// Sections start at multiples of this.
pub const SECTION_ALIGN: usize = 8;
/// "No id", "no state" in u32 tables.
pub const NONE: u32 = u32::MAX;
/// "No match can follow" in [`Section::Transitions`].
pub const DEAD: u16 = u16::MAX;
/// Entries of [`Section::ClassIndex`]: one per block of 256 code points.
pub const CLASS_BLOCKS: usize = 0x1100;
/// Most pre-tokenizer stages a file may have.
pub const MAX_STAGES: usize = 8;

/// The sections, in file order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Section {
    /// u32 `[Meta::COUNT]`, see [`Meta`].
    Meta,
    /// u32 `[V + 1]`: where each token's bytes start in [`Section::TokenBytes`].
    TokenOffsets,
    /// The bytes of each token, in id order: over bytes what it stands for, over characters and in Unigram its text as the model writes it.
    TokenBytes,
    /// u8 `[V]`, bits of [`token_flag`].
    TokenFlags,
    /// u32 `[256]`: the id of each single byte, over characters and in Unigram of its fallback token; [`NONE`] for a byte without one.
    ByteIds,
    /// u32 `[V + 1]`: where the merges whose left part is this id start in [`Section::MergePairs`].
    MergeRows,
    /// u32 `[M, 2]`: right id and rank, ascending by right id within a row.
    MergePairs,
    /// u32 `[ranks]`: the id that the merge of this rank makes.
    MergeResults,
    /// u32 ids of all whole words, ascending by their bytes; empty unless the model looks words up before merging. In Unigram all pieces.
    WordIds,
    /// u16 [`CLASS_BLOCKS`]: the block in [`Section::ClassBlocks`] of each 256 code points.
    ClassIndex,
    /// u8 `[blocks, 256]`: the class of a code point.
    ClassBlocks,
    /// u8 `[classes]`, bits of [`class_flag`].
    ClassFlags,
    /// u32 `[stages, 3]`: first row in [`Section::Transitions`], number of rows, start row (relative).
    Stages,
    /// u16 `[rows, classes + 1]`: next row of the stage or [`DEAD`]; the last column is the end of the text.
    Transitions,
    /// u8 `[rows]`: what entering the row says about the text before the character just read, see [`row`].
    RowMatches,
    /// Trie of added tokens that match before normalization: word `n`, then u32 `[n, 3]` nodes (first edge, edges, added token + 1 or 0),
    /// then u32 `[edges, 2]` (byte, node), ascending by byte within a node. Node 0 is the root. Empty when there is no such token.
    RawTrie,
    /// Trie of added tokens that match after normalization.
    NormalizedTrie,
    /// u32 `[added, 2]`: id and bits of [`added_flag`].
    Added,
    /// u32 ids put before a raw prompt (usually BOS).
    Prefix,
    /// u32 ids put after a raw prompt.
    Suffix,
    /// u32 ids that end an answer.
    Eos,
    /// u32 `[keys, 2]`: key of a gap between messages and its piece, ascending; empty when the model has no chat.
    ChatKeys,
    /// u32 `[pieces, 3]`: first op, number of ops, bits of [`trim`].
    ChatPieces,
    /// u32 `[ops, 3]`, see [`op`].
    ChatOps,
    /// Literal UTF-8 text of the prompt table.
    ChatText,
    /// NFC data: words `d, x, c, p`, then u32 `[d, 3]` (code point, start, length) of full canonical decompositions ascending, `[x]` their
    /// code points, `[c, 2]` (code point, combining class) ascending, `[p, 3]` (first, second, composed) ascending. Empty: no normalizer.
    Nfc,
    /// u32 `[chars, 2]`: code point and id of each token of one character, ascending; empty unless [`model::CHARS`].
    CharIds,
    /// `[words + 1]` f64 as two u32, low word first: score of each entry of [`Section::WordIds`], and at last that of a character without a
    /// piece; empty unless [`model::UNIGRAM`].
    Scores,
}

/// Words of [`Section::Meta`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Meta {
    /// Number of ids, V.
    VocabSize,
    /// Number of character classes, at most 255.
    Classes,
    /// BOS id or [`NONE`].
    Bos,
    /// Which features select a prompt piece, bits of [`gap`].
    ChatFeatures,
    /// How words become ids, see [`model`].
    Model,
    /// What is done to spaces before that, bits of [`space`].
    Spaces,
    /// The code point that stands for a space, below 2^16; 0 where none does.
    Mark,
    /// The id of a character without a token, or [`NONE`].
    Unknown,
    /// 1 when successive such characters of a BPE model are one token.
    FuseUnknown,
    /// What decoding does, bits of [`decode`].
    Decode,
}

impl Meta {
    /// Number of words.
    pub const COUNT: usize = 10;
}

/// Values of [`Meta::Model`].
pub mod model {
    /// BPE whose first symbols are bytes.
    pub const BYTES: u32 = 0;
    /// BPE whose first symbols are characters, those without a token falling back to their bytes' tokens.
    pub const CHARS: u32 = 1;
    /// Unigram: the cut into pieces with the greatest sum of scores.
    pub const UNIGRAM: u32 = 2;
}

/// Bits of [`Meta::Spaces`]. The first two belong to the normalizer, the others to the pre-tokenizer; a file has those of one.
pub mod space {
    /// A space becomes the mark.
    pub const NORMALIZE: u32 = 1;
    /// A mark is put before every text.
    pub const PREPEND: u32 = 2;
    /// A space becomes the mark, after added tokens of normalized text are cut out.
    pub const REPLACE: u32 = 4;
    /// Then a mark is put before what stands at the start of the whole text, unless it begins with one.
    pub const FIRST: u32 = 8;
    /// Then a mark is put before every text that does not begin with one.
    pub const ALWAYS: u32 = 16;
    /// All bits.
    pub const ALL: u32 = 31;
}

/// Bits of [`Meta::Decode`]; none for a model over bytes.
pub mod decode {
    /// Tokens are text, not bytes. Set with any other bit.
    pub const TEXT: u32 = 1;
    /// The mark becomes a space.
    pub const MARKS: u32 = 2;
    /// The text loses one space at its start.
    pub const STRIP: u32 = 4;
    /// The first token loses its marks.
    pub const FIRST_MARKS: u32 = 8;
    /// All bits.
    pub const ALL: u32 = 15;
}

/// Bits of [`Section::TokenFlags`].
pub mod token_flag {
    /// The id names a token.
    pub const PRESENT: u8 = 1;
    /// A special token: not shown when specials are skipped.
    pub const SPECIAL: u8 = 2;
    /// Written `<0x41>`, decodes to the byte.
    pub const BYTE: u8 = 4;
}

/// Bits of [`Section::ClassFlags`].
pub mod class_flag {
    /// `\s`.
    pub const SPACE: u8 = 1;
    /// `\w`.
    pub const WORD: u8 = 2;
    /// NFC may change or reorder the character.
    pub const NFC: u8 = 4;
    /// Trimmed by a template's `strip` (Python's `str.isspace`).
    pub const TRIMMED: u8 = 8;
}

/// Values of [`Section::RowMatches`].
pub mod row {
    /// No match ends here.
    pub const NONE: u8 = 0;
    /// A match ends before the character just read.
    pub const MATCH: u8 = 1;
    /// The match is that of the final `\s+(?!\S)|\s+`: unless the text ends with it, it gives its last character back if it has two.
    pub const SPACES: u8 = 2;
}

/// Bits of an added token's flags.
pub mod added_flag {
    /// Swallows white space on its left.
    pub const LSTRIP: u32 = 1;
    /// Swallows white space on its right.
    pub const RSTRIP: u32 = 2;
    /// Matches only between non-word characters.
    pub const SINGLE_WORD: u32 = 4;
    /// A special token.
    pub const SPECIAL: u32 = 8;
}

/// First words of a prompt op.
pub mod op {
    /// `TEXT, offset, length` of [`Section::ChatText`](super::Section::ChatText).
    pub const TEXT: u32 = 0;
    /// `SPECIAL, id, added flags`.
    pub const SPECIAL: u32 = 1;
}

/// How a template trims the contents on both sides of a gap.
pub mod trim {
    /// White space at the end of the content before the gap is dropped.
    pub const BEFORE: u32 = 1;
    /// White space at the start of the content after the gap is dropped.
    pub const AFTER: u32 = 2;
}

/// The key of a gap: the place before a message, or after the last one.
///
/// A key is the roles on both sides and, as far as [`Meta::ChatFeatures`] asks, what else the template looks at. Compiler and runtime use
/// the same function, so the table cannot be read differently from how it was probed.
pub mod gap {
    /// Role code "before the first message".
    pub const START: u32 = 3;
    /// Role code "after the last message".
    pub const END: u32 = 4;
    /// Role code "after the last message, and the answer's head follows".
    pub const END_GENERATE: u32 = 5;
    /// Feature: the role before the previous one.
    pub const BEFORE_PREVIOUS: u32 = 1;
    /// Feature: number of messages before, up to two.
    pub const INDEX: u32 = 2;
    /// Feature: number of messages after, up to two.
    pub const REMAINING: u32 = 4;
    /// Feature: a user message follows.
    pub const USER_FOLLOWS: u32 = 8;
    /// Feature: the first message is the system's.
    pub const HAS_SYSTEM: u32 = 16;
    /// Feature: an answer's head follows the last message.
    pub const GENERATE: u32 = 32;
    /// All features.
    pub const ALL: u32 = 63;

    /// The key of gap `at` (0 = before the first message, `count` = after the last), where `role(i)` is the code 0, 1, 2 of message `i`.
    pub fn key(features: u32, count: usize, at: usize, generate: bool, role: impl Fn(usize) -> u32) -> u32 {
        let previous = at.checked_sub(1).map_or(START, &role);
        let next = if at < count {
            role(at)
        } else if generate {
            END_GENERATE
        } else {
            END
        };
        let mut key = previous | next << 3;
        if features & BEFORE_PREVIOUS != 0 {
            key |= at.checked_sub(2).map_or(START, &role) << 6;
        }
        if features & INDEX != 0 {
            key |= (at.min(2) as u32) << 9;
        }
        if features & REMAINING != 0 {
            key |= (count.saturating_sub(at).min(2) as u32) << 11;
        }
        if features & USER_FOLLOWS != 0 && (at..count).any(|i| role(i) == 1) {
            key |= 1 << 13;
        }
        if features & HAS_SYSTEM != 0 && count > 0 && role(0) == 0 {
            key |= 1 << 14;
        }
        if features & GENERATE != 0 && generate {
            key |= 1 << 15;
        }
        key
    }
}

/// Why a file is not a tokenizer that this runtime can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatError {
    /// The first word is not [`MAGIC`], or the file is shorter than its header.
    NotATokenizer,
    /// Written by another version of the compiler.
    Version {
        /// The version found; expected [`VERSION`].
        found: u32,
    },
    /// The file's length is not the one in its header.
    Length {
        /// Bytes found.
        found: usize,
        /// Bytes that the header states.
        expected: usize,
    },
    /// A section lies outside the file, or is not at its place.
    Place(Section),
    /// A section has an impossible length.
    Size(Section),
    /// A section holds an id, offset or index that is out of range.
    Value(Section),
}

impl FormatError {
    /// One line for the person who reads the log; the caller adds the file's name.
    pub fn message(&self) -> &'static str {
        match self {
            FormatError::NotATokenizer => "not a compiled tokenizer",
            FormatError::Version { .. } => "compiled tokenizer of another version; compile the model again",
            FormatError::Length { .. } => "compiled tokenizer is truncated or has surplus bytes",
            FormatError::Place(_) => "compiled tokenizer is corrupt: a section is misplaced",
            FormatError::Size(_) => "compiled tokenizer is corrupt: a section has a wrong size",
            FormatError::Value(_) => "compiled tokenizer is corrupt: a table holds a value out of range",
        }
    }
}

/// A table of little-endian u32 words.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Words<'a>(pub &'a [u8]);

impl Words<'_> {
    /// Number of words.
    pub fn len(self) -> usize {
        self.0.len() / 4
    }

    /// Word `i`; 0 where the table ends, which opening has made impossible for the indices in use.
    #[inline]
    pub fn get(self, i: usize) -> u32 {
        let at = i.wrapping_mul(4);
        match self.0.get(at..at.wrapping_add(4)) {
            Some(&[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]),
            _ => 0,
        }
    }

    /// All words.
    pub fn iter(self) -> impl Iterator<Item = u32> {
        (0..self.len()).map(move |i| self.get(i))
    }
}

/// A table of little-endian u16 numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Halves<'a>(pub &'a [u8]);

impl Halves<'_> {
    /// Number `i`; [`DEAD`] where the table ends.
    #[inline]
    pub fn get(self, i: usize) -> u16 {
        let at = i.wrapping_mul(2);
        match self.0.get(at..at.wrapping_add(2)) {
            Some(&[a, b]) => u16::from_le_bytes([a, b]),
            _ => DEAD,
        }
    }
}
