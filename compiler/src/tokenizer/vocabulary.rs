//! The tokens of a model as tables: text, flags and special uses of each id.

use std::collections::BTreeMap;

use slmc_runtime_stub::tokenizer::format::{NONE, Section, token_flag};

use super::added::AddedToken;
use super::sections::Sections;
use super::support::{Kind, Pipeline};

/// Largest id that is taken for real: a table has a row for each id.
const MAX_ID: u32 = 1 << 24;

/// Faults listed before the rest is only counted.
const LISTED: usize = 20;

/// The tokens of a model, and those added to it.
pub(super) struct Vocabulary<'m> {
    /// Id of each text.
    pub ids: BTreeMap<&'m str, u32>,
    /// Number of ids, holes included.
    pub size: u32,
    alphabet: BTreeMap<char, u8>,
    over_bytes: bool,
}

/// The byte that each character of the byte alphabet stands for.
fn byte_alphabet() -> BTreeMap<char, u8> {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let plain = (0..=255u8).filter(printable).map(|b| (char::from(b), b));
    let shifted = ('\u{100}'..).zip((0..=255u8).filter(|b| !printable(b)));
    plain.chain(shifted).collect()
}

/// True for the text of a token that decodes to one byte, `<0x41>`.
fn is_byte_token(text: &str) -> bool {
    let digits = text.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    text.len() == 6 && digits.is_some_and(|digits| u8::from_str_radix(digits, 16).is_ok())
}

impl<'m> Vocabulary<'m> {
    /// Of `(text, id)` of the model; of equal texts the last counts.
    pub fn new(texts: impl Iterator<Item = (&'m str, u32)> + Clone, kind: Kind) -> Vocabulary<'m> {
        let size = texts.clone().map(|(_, id)| id.saturating_add(1)).max().unwrap_or(0);
        Vocabulary { ids: texts.collect(), size, alphabet: byte_alphabet(), over_bytes: kind == Kind::Bytes }
    }

    /// Counts the added tokens in; the error says that there are too many ids.
    pub fn add(&mut self, added: &[AddedToken]) -> Result<(), Vec<String>> {
        self.size = added.iter().map(|t| t.id.saturating_add(1)).fold(self.size, u32::max);
        let largest = self.size.saturating_sub(1);
        if self.size > MAX_ID { Err(vec![format!("id {largest} is beyond the supported {MAX_ID}")]) } else { Ok(()) }
    }

    /// The bytes that the encoder compares a token's text with; `None` for a text outside of the byte alphabet.
    pub fn bytes(&self, text: &str) -> Option<Vec<u8>> {
        if !self.over_bytes {
            return Some(text.as_bytes().to_vec());
        }
        text.chars().map(|c| self.alphabet.get(&c).copied()).collect()
    }

    /// The byte alphabet's characters with their bytes.
    pub fn alphabet(&self) -> impl Iterator<Item = (char, u8)> {
        self.alphabet.iter().map(|(&c, &byte)| (c, byte))
    }

    /// Fills the sections of tokens.
    pub fn write(
        &self,
        texts: impl Iterator<Item = (&'m str, u32)>,
        added: &[AddedToken],
        pipeline: &Pipeline,
        sections: &mut Sections,
        faults: &mut Vec<String>,
    ) {
        let mut rows: Vec<Option<(&str, u8)>> = vec![None; self.size as usize];
        for (text, id) in texts {
            if let Some((other, _)) = rows[id as usize].replace((text, token_flag::PRESENT)) {
                faults.push(format!("tokens {other:?} and {text:?} have the same id {id}"));
            }
        }
        for token in added {
            if let Some(&id) = self.ids.get(token.content.as_str()).filter(|&&id| id != token.id) {
                faults.push(format!("added token {:?} has id {}, the model gives it {id}", token.content, token.id));
            }
            let special = if token.special { token_flag::SPECIAL } else { 0 };
            rows[token.id as usize] = Some((&token.pattern, token_flag::PRESENT | special));
        }
        let (mut offsets, mut bytes, mut flags) = (vec![0u32], Vec::new(), Vec::new());
        for row in &rows {
            let (text, mut flag) = row.unwrap_or(("", 0));
            bytes.extend(self.bytes(text).unwrap_or_else(|| text.as_bytes().to_vec()));
            if pipeline.byte_tokens && is_byte_token(text) {
                flag |= token_flag::BYTE;
            }
            offsets.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            flags.push(flag);
        }
        sections.words(Section::TokenOffsets, offsets);
        sections.bytes(Section::TokenBytes, bytes);
        sections.bytes(Section::TokenFlags, flags);
    }

    /// The known texts by their bytes, ascending.
    pub fn words(&self) -> Vec<(Vec<u8>, u32)> {
        let mut words: Vec<_> = self.ids.iter().filter_map(|(text, &id)| Some((self.bytes(text)?, id))).collect();
        words.sort_unstable();
        words
    }

    /// Fills the section of fallback tokens, `<0x00>` to `<0xFF>`.
    pub fn write_fallback(&self, fallback: bool, sections: &mut Sections) -> bool {
        let id = |byte: u8| self.ids.get(format!("<0x{byte:02X}>").as_str()).copied().filter(|_| fallback).unwrap_or(NONE);
        let ids: Vec<u32> = (0..=255).map(id).collect();
        let complete = !ids.contains(&NONE);
        sections.words(Section::ByteIds, ids);
        complete
    }
}

/// The first faults, and the number of the others.
pub(super) fn listed(mut faults: Vec<String>) -> Vec<String> {
    let more = faults.len().saturating_sub(LISTED);
    faults.truncate(LISTED);
    if more > 0 {
        faults.push(format!("and {more} more"));
    }
    faults
}
