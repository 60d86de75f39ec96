//! Added tokens in text: leftmost-longest, not overlapping, with the strip and single-word flags of the `tokenizers` crate.
//!
//! A match that a flag forbids is passed over whole: the search goes on behind it, as the crate's does.

use super::class::{char_at, char_before};
use super::format::{Words, added_flag, class_flag};
use super::open::Tokenizer;

/// A part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segment {
    /// Ordinary text, `start .. end`.
    Text(usize, usize),
    /// An added token.
    Token(u32),
}

/// Cuts a text at its added tokens.
pub(super) struct Segments<'t, 'a> {
    tokenizer: &'t Tokenizer<'a>,
    trie: Words<'a>,
    text: &'t [u8],
    specials: bool,
    scan: usize,
    done: usize,
    pending: Option<u32>,
}

impl<'t, 'a> Segments<'t, 'a> {
    /// Over `text`, with the tokens of `trie`; special ones are taken only if `specials`.
    pub fn new(tokenizer: &'t Tokenizer<'a>, trie: Words<'a>, text: &'t [u8], specials: bool) -> Self {
        Segments { tokenizer, trie, text, specials, scan: 0, done: 0, pending: None }
    }

    /// The place of the token that matches at `scan`, its flags and its end, if the flags let it match.
    fn accept(&self, start: usize, end: usize, flags: u32) -> bool {
        if flags & added_flag::SPECIAL != 0 && !self.specials {
            return false;
        }
        if flags & added_flag::SINGLE_WORD != 0 {
            let word = |at: usize| self.tokenizer.is(char_at(self.text, at).0, class_flag::WORD);
            let left = start > 0 && word(char_before(self.text, start));
            let right = end < self.text.len() && word(end);
            return !left && !right;
        }
        true
    }
}

impl Iterator for Segments<'_, '_> {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        if let Some(id) = self.pending.take() {
            return Some(Segment::Token(id));
        }
        while self.trie.len() > 0 && self.scan < self.text.len() {
            let Some((token, end)) = longest(self.trie, self.text, self.scan) else {
                self.scan += 1;
                continue;
            };
            let start = core::mem::replace(&mut self.scan, end);
            let (id, flags) = (self.tokenizer.added.get(token * 2), self.tokenizer.added.get(token * 2 + 1));
            if !self.accept(start, end, flags) {
                continue;
            }
            let from =
                if flags & added_flag::LSTRIP != 0 { self.tokenizer.run_before(self.text, start, class_flag::SPACE).max(self.done) } else { start };
            let to = if flags & added_flag::RSTRIP != 0 { self.tokenizer.run_after(self.text, end, class_flag::SPACE) } else { end };
            let before = core::mem::replace(&mut self.done, to);
            if before < from {
                self.pending = Some(id);
                return Some(Segment::Text(before, from));
            }
            return Some(Segment::Token(id));
        }
        if self.done < self.text.len() {
            let from = core::mem::replace(&mut self.done, self.text.len());
            return Some(Segment::Text(from, self.text.len()));
        }
        None
    }
}

/// The longest token of the trie that starts at `at`: its number and its end.
fn longest(trie: Words<'_>, text: &[u8], at: usize) -> Option<(usize, usize)> {
    let nodes = trie.get(0) as usize;
    let mut node = 0;
    let mut found = None;
    for (i, &byte) in text.get(at..)?.iter().enumerate() {
        let Some(next) = child(trie, nodes, node, u32::from(byte)) else { break };
        node = next;
        let token = trie.get(3 + node * 3) as usize;
        if token > 0 {
            found = Some((token - 1, at + i + 1));
        }
    }
    found
}

/// The node that `byte` leads to.
fn child(trie: Words<'_>, nodes: usize, node: usize, byte: u32) -> Option<usize> {
    let mut low = trie.get(1 + node * 3) as usize;
    let mut high = low + trie.get(2 + node * 3) as usize;
    let edge = |e: usize| 1 + nodes * 3 + e * 2;
    while low < high {
        let middle = low + (high - low) / 2;
        let found = trie.get(edge(middle));
        if found == byte {
            return Some(trie.get(edge(middle) + 1) as usize);
        }
        if found < byte { low = middle + 1 } else { high = middle }
    }
    None
}
