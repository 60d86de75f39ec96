//! Opening a compiled tokenizer: every offset, length, id and index is checked here, once.

use super::format::{
    CLASS_BLOCKS, DEAD, FormatError, HEADER_LEN, Halves, MAGIC, MAX_STAGES, Meta, NONE, SECTION_ALIGN, SECTION_COUNT, Section, VERSION, Words,
    decode, model, op, row, space, token_flag,
};

/// A compiled tokenizer, borrowed from the bytes of `tokenizer.bin`. Cheap to copy; holds no state.
#[derive(Debug, Clone, Copy)]
pub struct Tokenizer<'a> {
    pub(super) vocab_size: u32,
    pub(super) classes: usize,
    pub(super) bos: u32,
    pub(super) chat_features: u32,
    pub(super) model: u32,
    pub(super) spaces: u32,
    pub(super) mark: u32,
    pub(super) unknown: u32,
    pub(super) fuse_unknown: bool,
    pub(super) decode: u32,
    pub(super) longest_token: usize,
    pub(super) token_offsets: Words<'a>,
    pub(super) token_bytes: &'a [u8],
    pub(super) token_flags: &'a [u8],
    pub(super) byte_ids: Words<'a>,
    pub(super) merge_rows: Words<'a>,
    pub(super) merge_pairs: Words<'a>,
    pub(super) merge_results: Words<'a>,
    pub(super) word_ids: Words<'a>,
    pub(super) class_index: Halves<'a>,
    pub(super) class_blocks: &'a [u8],
    pub(super) class_flags: &'a [u8],
    pub(super) stages: Words<'a>,
    pub(super) transitions: Halves<'a>,
    pub(super) row_matches: &'a [u8],
    pub(super) raw_trie: Words<'a>,
    pub(super) normalized_trie: Words<'a>,
    pub(super) added: Words<'a>,
    pub(super) prefix: Words<'a>,
    pub(super) suffix: Words<'a>,
    pub(super) eos: Words<'a>,
    pub(super) chat_keys: Words<'a>,
    pub(super) chat_pieces: Words<'a>,
    pub(super) chat_ops: Words<'a>,
    pub(super) chat_text: &'a [u8],
    pub(super) nfc: Words<'a>,
    pub(super) char_ids: Words<'a>,
    pub(super) scores: Words<'a>,
}

impl<'a> Tokenizer<'a> {
    /// Checks the whole file and borrows its tables.
    pub fn open(file: &'a [u8]) -> Result<Self, FormatError> {
        let s = sections(file)?;
        let at = |section: Section| s.get(section as usize).copied().unwrap_or(&[]);
        let words = |section: Section| match at(section) {
            bytes if bytes.len() % 4 == 0 => Ok(Words(bytes)),
            _ => Err(FormatError::Size(section)),
        };
        let meta = words(Section::Meta)?;
        if meta.len() != Meta::COUNT {
            return Err(FormatError::Size(Section::Meta));
        }
        let mut t = Tokenizer {
            vocab_size: meta.get(Meta::VocabSize as usize),
            classes: meta.get(Meta::Classes as usize) as usize,
            bos: meta.get(Meta::Bos as usize),
            chat_features: meta.get(Meta::ChatFeatures as usize),
            model: meta.get(Meta::Model as usize),
            spaces: meta.get(Meta::Spaces as usize),
            mark: meta.get(Meta::Mark as usize),
            unknown: meta.get(Meta::Unknown as usize),
            fuse_unknown: meta.get(Meta::FuseUnknown as usize) != 0,
            decode: meta.get(Meta::Decode as usize),
            longest_token: 0,
            token_offsets: words(Section::TokenOffsets)?,
            token_bytes: at(Section::TokenBytes),
            token_flags: at(Section::TokenFlags),
            byte_ids: words(Section::ByteIds)?,
            merge_rows: words(Section::MergeRows)?,
            merge_pairs: words(Section::MergePairs)?,
            merge_results: words(Section::MergeResults)?,
            word_ids: words(Section::WordIds)?,
            class_index: Halves(at(Section::ClassIndex)),
            class_blocks: at(Section::ClassBlocks),
            class_flags: at(Section::ClassFlags),
            stages: words(Section::Stages)?,
            transitions: Halves(at(Section::Transitions)),
            row_matches: at(Section::RowMatches),
            raw_trie: words(Section::RawTrie)?,
            normalized_trie: words(Section::NormalizedTrie)?,
            added: words(Section::Added)?,
            prefix: words(Section::Prefix)?,
            suffix: words(Section::Suffix)?,
            eos: words(Section::Eos)?,
            chat_keys: words(Section::ChatKeys)?,
            chat_pieces: words(Section::ChatPieces)?,
            chat_ops: words(Section::ChatOps)?,
            chat_text: at(Section::ChatText),
            nfc: words(Section::Nfc)?,
            char_ids: words(Section::CharIds)?,
            scores: words(Section::Scores)?,
        };
        t.check_vocabulary()?;
        t.check_model()?;
        t.check_merges()?;
        t.check_classes()?;
        t.check_stages()?;
        check_trie(t.raw_trie, t.added.len() / 2, Section::RawTrie)?;
        check_trie(t.normalized_trie, t.added.len() / 2, Section::NormalizedTrie)?;
        t.check_chat()?;
        check_nfc(t.nfc)?;
        Ok(t)
    }

    /// Number of ids.
    pub fn vocab_size(&self) -> u32 {
        self.vocab_size
    }

    /// The id that begins a text, if the model has one.
    pub fn bos(&self) -> Option<u32> {
        (self.bos != NONE).then_some(self.bos)
    }

    /// The ids that end an answer.
    pub fn eos(&self) -> impl Iterator<Item = u32> + 'a {
        self.eos.iter()
    }

    /// True when `id` ends an answer.
    pub fn is_eos(&self, id: u32) -> bool {
        self.eos.iter().any(|e| e == id)
    }

    /// True when the bundle has a prompt table.
    pub fn has_chat(&self) -> bool {
        self.chat_keys.len() > 0
    }

    fn is_token(&self, id: u32) -> bool {
        id < self.vocab_size
    }

    fn check_vocabulary(&mut self) -> Result<(), FormatError> {
        let v = self.vocab_size as usize;
        expect(self.token_offsets.len() == v.wrapping_add(1), FormatError::Size(Section::TokenOffsets))?;
        expect(self.token_flags.len() == v, FormatError::Size(Section::TokenFlags))?;
        expect(
            self.token_flags.iter().all(|f| f & !(token_flag::PRESENT | token_flag::SPECIAL | token_flag::BYTE) == 0),
            FormatError::Value(Section::TokenFlags),
        )?;
        let mut before = 0;
        let mut longest = 0;
        for (i, offset) in self.token_offsets.iter().enumerate() {
            expect(offset >= before && (i > 0 || offset == 0), FormatError::Value(Section::TokenOffsets))?;
            longest = longest.max(offset - before);
            before = offset;
        }
        expect(before as usize == self.token_bytes.len(), FormatError::Value(Section::TokenOffsets))?;
        self.longest_token = longest as usize;
        expect(self.byte_ids.len() == 256, FormatError::Size(Section::ByteIds))?;
        expect(self.byte_ids.iter().all(|id| id == NONE || self.is_token(id)), FormatError::Value(Section::ByteIds))?;
        for (list, section) in
            [(self.word_ids, Section::WordIds), (self.prefix, Section::Prefix), (self.suffix, Section::Suffix), (self.eos, Section::Eos)]
        {
            expect(list.iter().all(|id| self.is_token(id)), FormatError::Value(section))?;
        }
        expect(self.bos == NONE || self.is_token(self.bos), FormatError::Value(Section::Meta))?;
        expect(self.added.len().is_multiple_of(2), FormatError::Size(Section::Added))?;
        expect((0..self.added.len() / 2).all(|i| self.is_token(self.added.get(i * 2))), FormatError::Value(Section::Added))
    }

    fn check_model(&self) -> Result<(), FormatError> {
        let id_or_none = |id: u32| id == NONE || self.is_token(id);
        let metaspace = self.spaces & !(space::NORMALIZE | space::PREPEND);
        let sound = self.model <= model::UNIGRAM
            && id_or_none(self.unknown)
            && self.spaces <= space::ALL
            && (metaspace == 0 || (metaspace == self.spaces && self.nfc.len() == 0))
            && self.mark < 0x10000
            && char::from_u32(self.mark).is_some()
            && self.decode <= decode::ALL
            && (self.decode & decode::TEXT != 0) == (self.model != model::BYTES);
        expect(sound, FormatError::Value(Section::Meta))?;
        if self.model != model::BYTES {
            // Tokens are handed out as text as they are.
            let text = core::str::from_utf8(self.token_bytes).ok();
            let whole = |offset: u32| text.is_some_and(|text| text.is_char_boundary(offset as usize));
            expect(self.token_offsets.iter().all(whole), FormatError::Value(Section::TokenBytes))?;
        }
        expect(self.char_ids.len().is_multiple_of(2), FormatError::Size(Section::CharIds))?;
        expect((0..self.char_ids.len() / 2).all(|i| self.is_token(self.char_ids.get(i * 2 + 1))), FormatError::Value(Section::CharIds))?;
        let scores = if self.model == model::UNIGRAM { (self.word_ids.len() + 1) * 2 } else { 0 };
        expect(self.scores.len() == scores, FormatError::Size(Section::Scores))
    }

    fn check_merges(&self) -> Result<(), FormatError> {
        let ranks = self.merge_results.len() as u32;
        expect(self.merge_pairs.len().is_multiple_of(2), FormatError::Size(Section::MergePairs))?;
        let pairs = self.merge_pairs.len() / 2;
        expect(self.merge_rows.len() == self.vocab_size as usize + 1, FormatError::Size(Section::MergeRows))?;
        let mut before = 0;
        for row in self.merge_rows.iter() {
            expect(row >= before, FormatError::Value(Section::MergeRows))?;
            before = row;
        }
        expect(before as usize == pairs && self.merge_rows.get(0) == 0, FormatError::Value(Section::MergeRows))?;
        for i in 0..pairs {
            let sound = self.is_token(self.merge_pairs.get(i * 2)) && self.merge_pairs.get(i * 2 + 1) < ranks;
            expect(sound, FormatError::Value(Section::MergePairs))?;
        }
        expect(self.merge_results.iter().all(|id| self.is_token(id)), FormatError::Value(Section::MergeResults))
    }

    fn check_classes(&self) -> Result<(), FormatError> {
        expect(self.classes > 0 && self.classes <= 255, FormatError::Value(Section::Meta))?;
        expect(self.class_flags.len() == self.classes, FormatError::Size(Section::ClassFlags))?;
        expect(self.class_index.0.len() == CLASS_BLOCKS * 2, FormatError::Size(Section::ClassIndex))?;
        expect(self.class_blocks.len().is_multiple_of(256), FormatError::Size(Section::ClassBlocks))?;
        let blocks = self.class_blocks.len() / 256;
        let indexed = (0..CLASS_BLOCKS).all(|i| usize::from(self.class_index.get(i)) < blocks);
        expect(indexed, FormatError::Value(Section::ClassIndex))?;
        let classed = self.class_blocks.iter().all(|&class| usize::from(class) < self.classes);
        expect(classed, FormatError::Value(Section::ClassBlocks))
    }

    fn check_stages(&self) -> Result<(), FormatError> {
        let columns = self.classes + 1;
        let rows = self.row_matches.len();
        let stages = self.stages.len() / 3;
        expect(self.stages.len().is_multiple_of(3) && stages <= MAX_STAGES, FormatError::Size(Section::Stages))?;
        expect(self.transitions.0.len() == rows.wrapping_mul(columns).wrapping_mul(2), FormatError::Size(Section::Transitions))?;
        expect(self.row_matches.iter().all(|&m| m <= row::SPACES), FormatError::Value(Section::RowMatches))?;
        let mut first = 0;
        for stage in 0..stages {
            let (begin, count, start) =
                (self.stages.get(stage * 3) as usize, self.stages.get(stage * 3 + 1) as usize, self.stages.get(stage * 3 + 2) as usize);
            expect(begin == first && start < count && count <= rows - first, FormatError::Value(Section::Stages))?;
            for i in begin * columns..(begin + count) * columns {
                let next = self.transitions.get(i);
                expect(next == DEAD || usize::from(next) < count, FormatError::Value(Section::Transitions))?;
            }
            first = begin + count;
        }
        expect(first == rows, FormatError::Value(Section::Stages))
    }

    fn check_chat(&self) -> Result<(), FormatError> {
        let (keys, pieces, ops) = (self.chat_keys, self.chat_pieces, self.chat_ops);
        expect(keys.len() % 2 == 0, FormatError::Size(Section::ChatKeys))?;
        expect(pieces.len() % 3 == 0, FormatError::Size(Section::ChatPieces))?;
        expect(ops.len() % 3 == 0, FormatError::Size(Section::ChatOps))?;
        for i in 0..keys.len() / 2 {
            let sound = (keys.get(i * 2 + 1) as usize) < pieces.len() / 3 && (i == 0 || keys.get(i * 2 - 2) < keys.get(i * 2));
            expect(sound, FormatError::Value(Section::ChatKeys))?;
        }
        for i in 0..pieces.len() / 3 {
            expect(within(pieces.get(i * 3), pieces.get(i * 3 + 1), ops.len() / 3), FormatError::Value(Section::ChatPieces))?;
        }
        for i in 0..ops.len() / 3 {
            let (a, b) = (ops.get(i * 3 + 1), ops.get(i * 3 + 2));
            let sound = match ops.get(i * 3) {
                op::TEXT => within(a, b, self.chat_text.len()),
                op::SPECIAL => self.is_token(a),
                _ => false,
            };
            expect(sound, FormatError::Value(Section::ChatOps))?;
        }
        expect(core::str::from_utf8(self.chat_text).is_ok(), FormatError::Value(Section::ChatText))
    }
}

fn expect(sound: bool, error: FormatError) -> Result<(), FormatError> {
    if sound { Ok(()) } else { Err(error) }
}

/// True when `first .. first + count` lies in `0 .. len`.
fn within(first: u32, count: u32, len: usize) -> bool {
    (first as usize).checked_add(count as usize).is_some_and(|end| end <= len)
}

/// Splits the file into its sections.
fn sections(file: &[u8]) -> Result<[&[u8]; SECTION_COUNT], FormatError> {
    const ALL: [Section; SECTION_COUNT] = [
        Section::Meta,
        Section::TokenOffsets,
        Section::TokenBytes,
        Section::TokenFlags,
        Section::ByteIds,
        Section::MergeRows,
        Section::MergePairs,
        Section::MergeResults,
        Section::WordIds,
        Section::ClassIndex,
        Section::ClassBlocks,
        Section::ClassFlags,
        Section::Stages,
        Section::Transitions,
        Section::RowMatches,
        Section::RawTrie,
        Section::NormalizedTrie,
        Section::Added,
        Section::Prefix,
        Section::Suffix,
        Section::Eos,
        Section::ChatKeys,
        Section::ChatPieces,
        Section::ChatOps,
        Section::ChatText,
        Section::Nfc,
        Section::CharIds,
        Section::Scores,
    ];
    let header = Words(file.get(..HEADER_LEN).ok_or(FormatError::NotATokenizer)?);
    expect(header.get(0) == MAGIC, FormatError::NotATokenizer)?;
    expect(header.get(1) == VERSION, FormatError::Version { found: header.get(1) })?;
    let expected = header.get(2) as usize;
    expect(expected == file.len(), FormatError::Length { found: file.len(), expected })?;
    expect(header.get(3) as usize == SECTION_COUNT, FormatError::NotATokenizer)?;
    let mut found: [&[u8]; SECTION_COUNT] = [&[]; SECTION_COUNT];
    let mut place = HEADER_LEN;
    for ((slot, section), i) in found.iter_mut().zip(ALL).zip(0..) {
        let (offset, len) = (header.get(4 + i * 2) as usize, header.get(5 + i * 2) as usize);
        let end = offset.checked_add(len).filter(|_| offset == place).ok_or(FormatError::Place(section))?;
        *slot = file.get(offset..end).ok_or(FormatError::Place(section))?;
        place = end.next_multiple_of(SECTION_ALIGN);
        let padding = file.get(end..place).ok_or(FormatError::Place(section))?;
        expect(padding.iter().all(|&b| b == 0), FormatError::Place(section))?;
    }
    expect(place == file.len(), FormatError::Place(Section::Scores))?;
    Ok(found)
}

fn check_trie(trie: Words<'_>, added: usize, section: Section) -> Result<(), FormatError> {
    if trie.len() == 0 {
        return Ok(());
    }
    let nodes = trie.get(0) as usize;
    let edge_words = nodes.checked_mul(3).and_then(|n| trie.len().checked_sub(n.checked_add(1)?)).ok_or(FormatError::Size(section))?;
    expect(nodes > 0 && edge_words % 2 == 0, FormatError::Size(section))?;
    for n in 0..nodes {
        let (first, count, token) = (trie.get(1 + n * 3), trie.get(2 + n * 3), trie.get(3 + n * 3));
        expect(within(first, count, edge_words / 2) && token as usize <= added, FormatError::Value(section))?;
    }
    for e in 0..edge_words / 2 {
        let (byte, node) = (trie.get(1 + nodes * 3 + e * 2), trie.get(2 + nodes * 3 + e * 2));
        expect(byte < 256 && (node as usize) < nodes, FormatError::Value(section))?;
    }
    Ok(())
}

fn check_nfc(nfc: Words<'_>) -> Result<(), FormatError> {
    if nfc.len() == 0 {
        return Ok(());
    }
    let (d, x, c, p) = (nfc.get(0) as usize, nfc.get(1) as usize, nfc.get(2) as usize, nfc.get(3) as usize);
    let small = [d, x, c, p].iter().all(|&n| n < 1 << 24);
    expect(small && nfc.len() == 4 + d * 3 + x + c * 2 + p * 3, FormatError::Size(Section::Nfc))?;
    for i in 0..d {
        let (start, len) = (nfc.get(4 + i * 3 + 1), nfc.get(4 + i * 3 + 2));
        expect(len > 0 && len <= 4 && within(start, len, x), FormatError::Value(Section::Nfc))?;
    }
    let points = 4 + d * 3;
    expect((0..x).all(|i| char::from_u32(nfc.get(points + i)).is_some()), FormatError::Value(Section::Nfc))?;
    let composed = points + x + c * 2;
    expect((0..p).all(|i| char::from_u32(nfc.get(composed + i * 3 + 2)).is_some()), FormatError::Value(Section::Nfc))
}
