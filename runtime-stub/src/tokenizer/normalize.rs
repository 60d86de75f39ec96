//! NFC, the one normalizer of byte-level models, from tables of the compiled file.
//!
//! Most text needs none of it: a piece whose characters all belong to classes that NFC leaves alone is used as it is.
//! A long run of combining marks is ordered by counting, so no input is quadratic.

use super::class::char_at;
use super::encode::EncodeError;
use super::format::{Words, class_flag};
use super::open::Tokenizer;

const HANGUL: u32 = 0xac00;
const HANGUL_COUNT: u32 = 11172;
const LEADING: u32 = 0x1100;
const VOWEL: u32 = 0x1161;
const TRAILING: u32 = 0x11a7;

/// Runs of marks up to this length are ordered by insertion.
const SHORT_RUN: usize = 32;

/// The NFC section's four tables.
#[derive(Clone, Copy)]
struct Tables<'a> {
    words: Words<'a>,
    decompositions: usize,
    points: usize,
    classes: usize,
    compositions: usize,
}

impl Tables<'_> {
    /// First word of the row of `width` words whose first word is `key`, in `count` rows from `base`.
    fn row(self, base: usize, count: usize, width: usize, key: u32) -> Option<usize> {
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.words.get(base + middle * width);
            if found == key {
                return Some(base + middle * width);
            }
            if found < key { low = middle + 1 } else { high = middle }
        }
        None
    }

    fn combining_class(self, point: u32) -> u32 {
        let base = 4 + self.decompositions * 3 + self.points;
        self.row(base, self.classes, 2, point).map_or(0, |at| self.words.get(at + 1))
    }

    fn compose(self, first: u32, second: u32) -> Option<u32> {
        if let (leading @ 0..=18, vowel @ 0..=20) = (first.wrapping_sub(LEADING), second.wrapping_sub(VOWEL)) {
            return Some(HANGUL + (leading * 21 + vowel) * 28);
        }
        if let (syllable, trailing @ 1..=27) = (first.wrapping_sub(HANGUL), second.wrapping_sub(TRAILING))
            && syllable < HANGUL_COUNT
            && syllable % 28 == 0
        {
            return Some(first + trailing);
        }
        let base = 4 + self.decompositions * 3 + self.points + self.classes * 2;
        let (mut low, mut high) = (0, self.compositions);
        while low < high {
            let middle = low + (high - low) / 2;
            let at = base + middle * 3;
            let found = (self.words.get(at), self.words.get(at + 1));
            match found.cmp(&(first, second)) {
                core::cmp::Ordering::Equal => return Some(self.words.get(at + 2)),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

impl Tokenizer<'_> {
    /// True when NFC leaves `text` as it is, as far as single characters tell.
    pub(super) fn is_normalized(&self, text: &[u8]) -> bool {
        if self.nfc.len() == 0 {
            return true;
        }
        let mut at = 0;
        while at < text.len() {
            let (point, len) = char_at(text, at);
            if point >= 0x80 && self.is(point, class_flag::NFC) {
                return false;
            }
            at += len;
        }
        true
    }

    /// Writes the NFC of `text` to `bytes` and returns its length.
    pub(super) fn normalize(&self, text: &[u8], points: &mut [u32], bytes: &mut [u8]) -> Result<usize, EncodeError> {
        let get = |i| self.nfc.get(i) as usize;
        let tables = Tables { words: self.nfc, decompositions: get(0), points: get(1), classes: get(2), compositions: get(3) };
        let short = EncodeError::Scratch { needed: text.len().saturating_mul(3) };
        let count = decompose(tables, text, points).ok_or(short)?;
        let (points, spare) = points.split_at_mut_checked(count).ok_or(short)?;
        order(tables, points, spare).ok_or(short)?;
        let count = compose(tables, points);
        let mut len = 0;
        for &point in points.iter().take(count) {
            let (utf8, width) = utf8(point);
            for &byte in utf8.iter().take(width) {
                *bytes.get_mut(len).ok_or(short)? = byte;
                len += 1;
            }
        }
        Ok(len)
    }
}

/// The bytes of a code point and their number.
pub(super) fn utf8(point: u32) -> ([u8; 4], usize) {
    let tail = |shift: u32| 0x80 | (point >> shift & 0x3f) as u8;
    match point {
        0..=0x7f => ([point as u8, 0, 0, 0], 1),
        0x80..=0x7ff => ([0xc0 | (point >> 6) as u8, tail(0), 0, 0], 2),
        0x800..=0xffff => ([0xe0 | (point >> 12) as u8, tail(6), tail(0), 0], 3),
        _ => ([0xf0 | (point >> 18 & 7) as u8, tail(12), tail(6), tail(0)], 4),
    }
}

/// Writes the full canonical decomposition of `text` and returns its number of code points; `None` when `out` is too short.
fn decompose(tables: Tables<'_>, text: &[u8], out: &mut [u32]) -> Option<usize> {
    let mut count = 0;
    let mut push = |point| {
        *out.get_mut(count)? = point;
        count += 1;
        Some(())
    };
    let mut at = 0;
    while at < text.len() {
        let (point, len) = char_at(text, at);
        at += len;
        let syllable = point.wrapping_sub(HANGUL);
        if syllable < HANGUL_COUNT {
            push(LEADING + syllable / 588)?;
            push(VOWEL + syllable % 588 / 28)?;
            if syllable % 28 != 0 {
                push(TRAILING + syllable % 28)?;
            }
        } else if let Some(row) = tables.row(4, tables.decompositions, 3, point).filter(|_| point >= 0x80) {
            let start = 4 + tables.decompositions * 3 + tables.words.get(row + 1) as usize;
            for i in 0..tables.words.get(row + 2) as usize {
                push(tables.words.get(start + i))?;
            }
        } else {
            push(point)?;
        }
    }
    Some(count)
}

/// Orders each run of combining marks by class, keeping the order within a class. `spare` must be as long as the longest long run.
fn order(tables: Tables<'_>, points: &mut [u32], spare: &mut [u32]) -> Option<()> {
    let mut start = 0;
    while start < points.len() {
        let marks = points.iter().skip(start).take_while(|&&point| tables.combining_class(point) != 0).count();
        let end = start + marks.max(1);
        let run = points.get_mut(start..end)?;
        start = end;
        if run.len() <= SHORT_RUN {
            for sorted in 1..run.len() {
                let mut i = sorted;
                while let Some([before, mark]) = i.checked_sub(1).and_then(|first| run.get_mut(first..=i)) {
                    if tables.combining_class(*before) <= tables.combining_class(*mark) {
                        break;
                    }
                    core::mem::swap(before, mark);
                    i -= 1;
                }
            }
        } else {
            let copy = spare.get_mut(..run.len())?;
            copy.iter_mut().zip(run.iter()).for_each(|(slot, &point)| *slot = point);
            let mut slots = run.iter_mut();
            for class in 1..=255 {
                for &point in copy.iter().filter(|&&p| tables.combining_class(p) == class) {
                    *slots.next()? = point;
                }
            }
        }
    }
    Some(())
}

/// Composes in place and returns the new number of code points.
fn compose(tables: Tables<'_>, points: &mut [u32]) -> usize {
    let mut len = 0;
    let mut starter = None;
    let mut last_class = 0;
    for i in 0..points.len() {
        let point = points.get(i).copied().unwrap_or(0);
        let class = tables.combining_class(point);
        if let Some(at) = starter {
            let first = points.get(at).copied().unwrap_or(0);
            if (len == at + 1 || last_class < class)
                && let Some(composed) = tables.compose(first, point)
            {
                if let Some(slot) = points.get_mut(at) {
                    *slot = composed;
                }
                continue;
            }
        }
        if class == 0 {
            starter = Some(len);
        }
        last_class = class;
        if let Some(slot) = points.get_mut(len) {
            *slot = point;
        }
        len += 1;
    }
    len
}
