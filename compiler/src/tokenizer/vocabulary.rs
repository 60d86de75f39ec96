//! The BPE model as tables: bytes of each id, merges by left id, ids of single bytes.

use std::collections::BTreeMap;

use serde::Deserialize;
use slmc_runtime_stub::tokenizer::format::{NONE, Section, token_flag};

use super::added::AddedToken;
use super::sections::Sections;

/// The model of `tokenizer.json`, as far as it is used.
#[derive(Deserialize)]
pub(super) struct BpeModel {
    /// Token text (in the byte alphabet) to id.
    pub vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    ignore_merges: bool,
}

/// A merge, in the older or the newer notation.
#[derive(Deserialize)]
#[serde(untagged)]
enum Merge {
    Pair(String, String),
    Spaced(String),
}

impl Merge {
    fn parts(&self) -> Option<(&str, &str)> {
        match self {
            Merge::Pair(left, right) => Some((left, right)),
            Merge::Spaced(text) => text.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        }
    }
}

/// Largest id that is taken for real: a table has a row for each id.
const MAX_ID: u32 = 1 << 24;

/// Faults listed before the rest is only counted.
const LISTED: usize = 20;

/// The byte that each character of the byte alphabet stands for.
fn byte_alphabet() -> BTreeMap<char, u8> {
    let printable = |b: &u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let plain = (0..=255u8).filter(printable).map(|b| (char::from(b), b));
    let shifted = ('\u{100}'..).zip((0..=255u8).filter(|b| !printable(b)));
    plain.chain(shifted).collect()
}

/// The bytes that a token's text stands for, if it is written in the byte alphabet.
fn alphabet_bytes(alphabet: &BTreeMap<char, u8>, text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| alphabet.get(&c).copied()).collect()
}

impl BpeModel {
    /// Number of ids, holes included.
    pub fn size(&self, added: &[AddedToken]) -> u32 {
        let ids = self.vocab.values().copied().chain(added.iter().map(|t| t.id));
        ids.max().map_or(0, |id| id.saturating_add(1))
    }

    /// Fills the vocabulary and merge sections; the error lists what does not fit together.
    pub fn write(&self, added: &[AddedToken], sections: &mut Sections) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        let size = self.size(added);
        if size > MAX_ID {
            return Err(vec![format!("id {} is beyond the supported {MAX_ID}", size - 1)]);
        }
        let alphabet = byte_alphabet();
        self.write_tokens(added, size, &alphabet, sections, &mut faults);
        self.write_bytes(&alphabet, sections, &mut faults);
        self.write_merges(size, sections, &mut faults);
        if faults.is_empty() {
            return Ok(());
        }
        let more = faults.len().saturating_sub(LISTED);
        faults.truncate(LISTED);
        if more > 0 {
            faults.push(format!("and {more} more"));
        }
        Err(faults)
    }

    fn write_tokens(&self, added: &[AddedToken], size: u32, alphabet: &BTreeMap<char, u8>, sections: &mut Sections, faults: &mut Vec<String>) {
        let mut texts: Vec<Option<(&str, u8)>> = vec![None; size as usize];
        for (text, &id) in &self.vocab {
            if let Some((other, _)) = texts[id as usize].replace((text, token_flag::PRESENT)) {
                faults.push(format!("tokens {other:?} and {text:?} have the same id {id}"));
            }
        }
        for token in added {
            if let Some(&id) = self.vocab.get(&token.content).filter(|&&id| id != token.id) {
                faults.push(format!("added token {:?} has id {}, the model gives it {id}", token.content, token.id));
            }
            let special = if token.special { token_flag::SPECIAL } else { 0 };
            texts[token.id as usize] = Some((&token.content, token_flag::PRESENT | special));
        }
        let (mut offsets, mut bytes, mut flags) = (vec![0u32], Vec::new(), Vec::new());
        for text in &texts {
            if let Some((text, _)) = text {
                bytes.extend(alphabet_bytes(alphabet, text).unwrap_or_else(|| text.as_bytes().to_vec()));
            }
            offsets.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            flags.push(text.map_or(0, |(_, flags)| flags));
        }
        sections.words(Section::TokenOffsets, offsets);
        sections.bytes(Section::TokenBytes, bytes);
        sections.bytes(Section::TokenFlags, flags);
        let mut words: Vec<(Vec<u8>, u32)> = Vec::new();
        if self.ignore_merges {
            words = self.vocab.iter().filter_map(|(text, &id)| Some((alphabet_bytes(alphabet, text)?, id))).collect();
            words.sort_unstable();
        }
        sections.words(Section::WordIds, words.into_iter().map(|(_, id)| id));
    }

    fn write_bytes(&self, alphabet: &BTreeMap<char, u8>, sections: &mut Sections, faults: &mut Vec<String>) {
        let mut ids = vec![NONE; 256];
        for (c, &byte) in alphabet {
            ids[usize::from(byte)] = self.vocab.get(c.to_string().as_str()).copied().unwrap_or(NONE);
        }
        if let Some(unknown) = self.unk_token.as_ref().filter(|_| ids.contains(&NONE)) {
            let missing = ids.iter().filter(|&&id| id == NONE).count();
            match self.vocab.get(unknown) {
                Some(_) if self.fuse_unk => faults.push(format!("{missing} bytes have no token and fuse_unk is set; give every byte a token")),
                Some(&id) => ids.iter_mut().filter(|id| **id == NONE).for_each(|slot| *slot = id),
                None => faults.push(format!("unk_token {unknown:?} is not in the vocabulary")),
            }
        }
        sections.words(Section::ByteIds, ids);
    }

    fn write_merges(&self, size: u32, sections: &mut Sections, faults: &mut Vec<String>) {
        let mut pairs = BTreeMap::new();
        let mut results = Vec::new();
        for (rank, merge) in (0u32..).zip(&self.merges) {
            let Some((left, right)) = merge.parts() else {
                faults.push(format!("merge {rank} is not a pair of tokens"));
                continue;
            };
            let joined = format!("{left}{right}");
            match (self.vocab.get(left), self.vocab.get(right), self.vocab.get(&joined)) {
                (Some(&left), Some(&right), Some(&made)) => {
                    pairs.insert((left, right), rank);
                    results.push(made);
                }
                (left_id, right_id, _) => {
                    let missing = if left_id.is_none() {
                        left
                    } else if right_id.is_none() {
                        right
                    } else {
                        &joined
                    };
                    faults.push(format!("merge {rank} ({left:?} {right:?}): {missing:?} is not in the vocabulary"));
                }
            }
        }
        let mut rows = vec![0u32; size as usize + 1];
        for (left, _) in pairs.keys() {
            rows[*left as usize + 1] += 1;
        }
        for i in 1..rows.len() {
            rows[i] += rows[i - 1];
        }
        sections.words(Section::MergeRows, rows);
        sections.words(Section::MergePairs, pairs.into_iter().flat_map(|((_, right), rank)| [right, rank]));
        sections.words(Section::MergeResults, results);
    }
}
