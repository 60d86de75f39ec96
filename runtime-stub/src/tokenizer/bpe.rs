//! BPE of one word: symbols in a linked list, candidate merges in a binary heap ordered by (rank, place). The first symbols are bytes, or
//! characters of which those without a token are the tokens of their bytes.
//!
//! The order and the test for outdated candidates are those of the `tokenizers` crate, so ids are equal even where two merges make the same
//! token. A word of `n` bytes costs O(n log n) time and [`WORDS_PER_BYTE`]` * n` words of scratch.

use super::class::char_at;
use super::encode::{EncodeError, Sink};
use super::format::{NONE, Words, model};
use super::open::Tokenizer;

/// Scratch words per byte of the longest word: three lists, and a heap of two words for each of at most `2 n` candidates.
pub(super) const WORDS_PER_BYTE: usize = 7;

/// The symbols of the word and the heap, in the caller's scratch.
struct Symbols<'s> {
    ids: &'s mut [u32],
    previous: &'s mut [u32],
    next: &'s mut [u32],
    heap: &'s mut [u32],
    /// Entries in the heap.
    len: usize,
    /// Symbols.
    count: u32,
}

/// Reads `list[i]`, [`NONE`] beyond the end.
#[inline]
fn read(list: &[u32], i: u32) -> u32 {
    list.get(i as usize).copied().unwrap_or(NONE)
}

/// Writes `list[i]`; nothing beyond the end.
#[inline]
fn write(list: &mut [u32], i: u32, value: u32) {
    if let Some(slot) = list.get_mut(i as usize) {
        *slot = value;
    }
}

/// The second word of the pair whose first is `key`, in pairs ascending by it.
fn pair(pairs: Words<'_>, key: u32) -> Option<u32> {
    let (mut low, mut high) = (0, pairs.len() / 2);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = pairs.get(middle * 2);
        if found == key {
            return Some(pairs.get(middle * 2 + 1));
        }
        if found < key { low = middle + 1 } else { high = middle }
    }
    None
}

impl Symbols<'_> {
    /// Appends a symbol to the list.
    fn add(&mut self, id: u32) {
        write(self.ids, self.count, id);
        write(self.previous, self.count, self.count.wrapping_sub(1));
        write(self.next, self.count, self.count + 1);
        self.count += 1;
    }

    fn add_unless_none(&mut self, id: u32) {
        if id != NONE {
            self.add(id);
        }
    }

    fn entry(&self, i: usize) -> (u32, u32) {
        (read(self.heap, i as u32 * 2), read(self.heap, i as u32 * 2 + 1))
    }

    fn put(&mut self, i: usize, entry: (u32, u32)) {
        write(self.heap, i as u32 * 2, entry.0);
        write(self.heap, i as u32 * 2 + 1, entry.1);
    }

    fn push(&mut self, entry: (u32, u32)) {
        if self.len >= self.heap.len() / 2 {
            return;
        }
        let mut i = self.len;
        self.len += 1;
        while i > 0 {
            let parent = (i - 1) / 2;
            let above = self.entry(parent);
            if above <= entry {
                break;
            }
            self.put(i, above);
            i = parent;
        }
        self.put(i, entry);
    }

    fn pop(&mut self) -> Option<(u32, u32)> {
        let last = self.len.checked_sub(1)?;
        let top = self.entry(0);
        let moved = self.entry(last);
        self.len = last;
        let mut i = 0;
        loop {
            let mut below = i * 2 + 1;
            if below >= last {
                break;
            }
            if below + 1 < last && self.entry(below + 1) < self.entry(below) {
                below += 1;
            }
            let least = self.entry(below);
            if moved <= least {
                break;
            }
            self.put(i, least);
            i = below;
        }
        if last > 0 {
            self.put(i, moved);
        }
        Some(top)
    }
}

impl Tokenizer<'_> {
    /// Rank of the merge of `left` and `right`.
    fn merge_rank(&self, left: u32, right: u32) -> Option<u32> {
        if left >= self.vocab_size {
            return None;
        }
        let mut low = self.merge_rows.get(left as usize) as usize;
        let mut high = self.merge_rows.get(left as usize + 1) as usize;
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.merge_pairs.get(middle * 2);
            if found == right {
                return Some(self.merge_pairs.get(middle * 2 + 1));
            }
            if found < right { low = middle + 1 } else { high = middle }
        }
        None
    }

    /// The token that is exactly `word`, where the model looks words up before merging.
    pub(super) fn whole_word(&self, word: &[u8]) -> Option<u32> {
        let (mut low, mut high) = (0, self.word_ids.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let id = self.word_ids.get(middle);
            match self.bytes_of(id).cmp(word) {
                core::cmp::Ordering::Equal => return Some(id),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Writes the ids of `word`.
    pub(super) fn encode_merged(&self, word: &[u8], scratch: &mut [u32], out: &mut Sink<'_>) -> Result<(), EncodeError> {
        if let Some(id) = self.whole_word(word) {
            out.push(id);
            return Ok(());
        }
        let needed = word.len().saturating_mul(WORDS_PER_BYTE);
        if scratch.len() < needed || word.len() >= (NONE / 4) as usize {
            return Err(EncodeError::Scratch { needed });
        }
        let lists = scratch.split_at_mut_checked(word.len()).and_then(|(ids, rest)| {
            let (previous, rest) = rest.split_at_mut_checked(word.len())?;
            let (next, heap) = rest.split_at_mut_checked(word.len())?;
            Some((ids, previous, next, heap))
        });
        let (ids, previous, next, heap) = lists.ok_or(EncodeError::Scratch { needed })?;
        let mut symbols = Symbols { ids, previous, next, heap, len: 0, count: 0 };
        if self.model == model::CHARS {
            self.add_chars(word, &mut symbols);
        } else {
            word.iter().map(|&byte| self.byte_ids.get(usize::from(byte))).filter(|&id| id != NONE).for_each(|id| symbols.add(id));
        }
        let count = symbols.count;
        if count == 0 {
            return Ok(());
        }
        write(symbols.next, count - 1, NONE);
        for i in 0..count - 1 {
            if let Some(rank) = self.merge_rank(read(symbols.ids, i), read(symbols.ids, i + 1)) {
                symbols.push((rank, i));
            }
        }
        self.merge(&mut symbols);
        let mut i = 0;
        while i != NONE {
            out.push(read(symbols.ids, i));
            i = read(symbols.next, i);
        }
        Ok(())
    }

    /// The symbols of `word`, characters first. An unknown token waits until the next character with a token; the tokens of bytes do not
    /// wait for it, as in the `tokenizers` crate.
    fn add_chars(&self, word: &[u8], symbols: &mut Symbols<'_>) {
        let mut unknown = NONE;
        let mut at = 0;
        while at < word.len() {
            let (point, len) = char_at(word, at);
            let utf8 = word.get(at..at + len).unwrap_or(&[]);
            at += len;
            if let Some(id) = pair(self.char_ids, point) {
                symbols.add_unless_none(core::mem::replace(&mut unknown, NONE));
                symbols.add(id);
            } else if self.has_bytes(utf8) {
                utf8.iter().for_each(|&byte| symbols.add(self.byte_ids.get(usize::from(byte))));
            } else if self.unknown != NONE {
                let waiting = core::mem::replace(&mut unknown, self.unknown);
                if !self.fuse_unknown {
                    symbols.add_unless_none(waiting);
                }
            }
        }
        symbols.add_unless_none(unknown);
    }

    /// True when every byte of `text` has a token of its own.
    pub(super) fn has_bytes(&self, text: &[u8]) -> bool {
        text.iter().all(|&byte| self.byte_ids.get(usize::from(byte)) != NONE)
    }

    /// Applies the candidates in order until none is left. A symbol that was merged into its left neighbour has the id [`NONE`].
    fn merge(&self, symbols: &mut Symbols<'_>) {
        while let Some((rank, at)) = symbols.pop() {
            let (left, right_at) = (read(symbols.ids, at), read(symbols.next, at));
            if left == NONE || right_at == NONE {
                continue;
            }
            let made = self.merge_results.get(rank as usize);
            let current = self.merge_rank(left, read(symbols.ids, right_at)).map(|r| self.merge_results.get(r as usize));
            if current != Some(made) {
                continue;
            }
            let behind = read(symbols.next, right_at);
            write(symbols.ids, at, made);
            write(symbols.next, at, behind);
            write(symbols.ids, right_at, NONE);
            let before = read(symbols.previous, at);
            if before != NONE
                && let Some(rank) = self.merge_rank(read(symbols.ids, before), made)
            {
                symbols.push((rank, before));
            }
            if behind != NONE {
                write(symbols.previous, behind, at);
                if let Some(rank) = self.merge_rank(made, read(symbols.ids, behind)) {
                    symbols.push((rank, at));
                }
            }
        }
    }
}
