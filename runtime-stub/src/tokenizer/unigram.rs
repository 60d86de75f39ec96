//! Unigram: the pieces of a word with the greatest sum of scores (Kudo 2018), found from left to right over the ends of pieces.
//!
//! Pieces that begin at a place are found by narrowing the sorted list of all pieces byte by byte, so there is no trie to store. The
//! sums are those of the `tokenizers` crate, addition by addition, so that equal sums fall to the same piece.

use super::class::char_at;
use super::encode::{EncodeError, Sink};
use super::format::NONE;
use super::open::Tokenizer;

/// Scratch words per place of the word.
const PLACE: usize = 5;

/// The best way to each place.
struct Places<'s>(&'s mut [u32]);

/// Words of a place.
#[derive(Clone, Copy)]
enum Field {
    /// Sum of the scores up to here, two words.
    Sum = 0,
    /// Where the last piece begins, [`NONE`] while there is no way.
    Start = 2,
    /// The last piece.
    Id = 3,
    /// Where the piece that begins here ends.
    Next = 4,
}

impl Places<'_> {
    fn get(&self, at: usize, field: Field) -> u32 {
        self.0.get(at.wrapping_mul(PLACE) + field as usize).copied().unwrap_or(NONE)
    }

    fn set(&mut self, at: usize, field: Field, value: u32) {
        if let Some(slot) = self.0.get_mut(at.wrapping_mul(PLACE) + field as usize) {
            *slot = value;
        }
    }

    fn sum(&self, at: usize) -> f64 {
        let word = |k| u64::from(self.0.get(at.wrapping_mul(PLACE) + k).copied().unwrap_or(0));
        f64::from_bits(word(0) | word(1) << 32)
    }

    /// A way to `end` whose last piece is `start .. end`; the better and earlier one stays.
    fn offer(&mut self, start: usize, end: usize, id: u32, score: f64) {
        let sum = score + self.sum(start);
        if self.get(end, Field::Start) == NONE || sum > self.sum(end) {
            let bits = sum.to_bits();
            self.set(end, Field::Sum, bits as u32);
            if let Some(high) = self.0.get_mut(end.wrapping_mul(PLACE) + 1) {
                *high = (bits >> 32) as u32;
            }
            self.set(end, Field::Start, start as u32);
            self.set(end, Field::Id, id);
        }
    }
}

impl Tokenizer<'_> {
    /// Writes the ids of `word`.
    pub(super) fn encode_pieces(&self, word: &[u8], scratch: &mut [u32], out: &mut Sink<'_>) -> Result<(), EncodeError> {
        let needed = (word.len() + 1).saturating_mul(PLACE);
        let room = scratch.get_mut(..needed).filter(|_| needed < NONE as usize).ok_or(EncodeError::Scratch { needed })?;
        room.fill(NONE);
        let mut places = Places(room);
        places.set(0, Field::Sum, 0);
        if let Some(high) = places.0.get_mut(1) {
            *high = 0;
        }
        let mut at = 0;
        while at < word.len() {
            let character = char_at(word, at).1;
            if !self.offer_pieces(word, at, at + character, &mut places) {
                places.offer(at, at + character, self.unknown, self.score(self.word_ids.len()));
            }
            at += character;
        }
        let mut end = word.len();
        while end > 0 && end != NONE as usize {
            let start = places.get(end, Field::Start) as usize;
            places.set(start, Field::Next, end as u32);
            end = start;
        }
        let mut at = 0;
        while at < word.len() {
            let end = places.get(at, Field::Next) as usize;
            let id = places.get(end, Field::Id);
            if id != self.unknown {
                out.push(id);
                at = end;
                continue;
            }
            let mut end = end;
            while end < word.len() && places.get(places.get(end, Field::Next) as usize, Field::Id) == self.unknown {
                end = places.get(end, Field::Next) as usize;
            }
            self.encode_unknown(word.get(at..end).unwrap_or(&[]), out);
            at = end;
        }
        Ok(())
    }

    /// Offers the pieces that begin at `start`; true when one of them is the character that ends at `character`.
    fn offer_pieces(&self, word: &[u8], start: usize, character: usize, places: &mut Places<'_>) -> bool {
        let (mut low, mut high) = (0, self.word_ids.len());
        let mut single = false;
        let bytes = |i: usize| self.bytes_of(self.word_ids.get(i));
        for (depth, &byte) in word.get(start..).unwrap_or(&[]).iter().enumerate() {
            let next = |i: usize| bytes(i).get(depth).map_or(-1, |&b| i32::from(b));
            low = first(low, high, |i| next(i) >= i32::from(byte));
            high = first(low, high, |i| next(i) > i32::from(byte));
            if low == high {
                break;
            }
            if bytes(low).len() == depth + 1 {
                let end = start + depth + 1;
                places.offer(start, end, self.word_ids.get(low), self.score(low));
                single |= end == character;
            }
        }
        single
    }

    /// Successive characters without a piece: their bytes, or the unknown token.
    fn encode_unknown(&self, text: &[u8], out: &mut Sink<'_>) {
        if let Some(id) = self.whole_word(text) {
            out.push(id);
        } else if self.has_bytes(text) {
            text.iter().for_each(|&byte| out.push(self.byte_ids.get(usize::from(byte))));
        } else {
            out.push(self.unknown);
        }
    }

    fn score(&self, i: usize) -> f64 {
        f64::from_bits(u64::from(self.scores.get(i * 2)) | u64::from(self.scores.get(i * 2 + 1)) << 32)
    }
}

/// The first of `low .. high` for which `reached` holds, `high` where none does; it holds for all behind one for which it does.
fn first(mut low: usize, mut high: usize, reached: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if reached(middle) { high = middle } else { low = middle + 1 }
    }
    low
}
