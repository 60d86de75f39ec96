//! A BPE model as tables: merges by left id, first symbols.

use std::collections::BTreeMap;

use serde::Deserialize;
use slmc_runtime_stub::tokenizer::format::{NONE, Section};

use super::sections::Sections;
use super::support::Kind;
use super::vocabulary::Vocabulary;

/// The model of `tokenizer.json`, as far as it is used.
#[derive(Deserialize)]
pub(super) struct BpeModel {
    /// Token text (over bytes: in the byte alphabet) to id.
    pub vocab: BTreeMap<String, u32>,
    merges: Vec<Merge>,
    #[serde(default)]
    unk_token: Option<String>,
    #[serde(default)]
    fuse_unk: Option<bool>,
    #[serde(default)]
    byte_fallback: Option<bool>,
    #[serde(default)]
    ignore_merges: Option<bool>,
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

/// What a model makes of characters without a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unknown {
    /// The id that stands for one, [`NONE`] where it is dropped.
    pub id: u32,
    /// Successive ones are one token.
    pub fuse: bool,
}

impl BpeModel {
    /// Fills the sections of words, first symbols and merges.
    pub fn write(&self, kind: Kind, vocabulary: &Vocabulary<'_>, sections: &mut Sections, faults: &mut Vec<String>) -> Unknown {
        let words = if self.ignore_merges == Some(true) { vocabulary.words() } else { Vec::new() };
        sections.words(Section::WordIds, words.into_iter().map(|(_, id)| id));
        self.write_merges(vocabulary, sections, faults);
        let fuse = self.fuse_unk == Some(true);
        if kind == Kind::Bytes {
            self.write_bytes(fuse, vocabulary, sections, faults);
            return Unknown { id: NONE, fuse: false };
        }
        let complete = vocabulary.write_fallback(self.byte_fallback == Some(true), sections);
        let chars = vocabulary.ids.iter().filter_map(|(text, &id)| Some((text.parse::<char>().ok()?, id)));
        sections.words(Section::CharIds, chars.flat_map(|(c, id)| [c.into(), id]));
        let id = self.unk_token.as_ref().filter(|_| !complete).and_then(|unknown| self.known(unknown, vocabulary, faults));
        Unknown { id: id.unwrap_or(NONE), fuse }
    }

    fn known(&self, unknown: &str, vocabulary: &Vocabulary<'_>, faults: &mut Vec<String>) -> Option<u32> {
        let id = vocabulary.ids.get(unknown).copied();
        if id.is_none() {
            faults.push(format!("unk_token {unknown:?} is not in the vocabulary"));
        }
        id
    }

    fn write_bytes(&self, fuse: bool, vocabulary: &Vocabulary<'_>, sections: &mut Sections, faults: &mut Vec<String>) {
        let mut ids = vec![NONE; 256];
        for (c, byte) in vocabulary.alphabet() {
            ids[usize::from(byte)] = vocabulary.ids.get(c.encode_utf8(&mut [0; 4]) as &str).copied().unwrap_or(NONE);
        }
        let missing = ids.iter().filter(|&&id| id == NONE).count();
        if let Some(unknown) = self.unk_token.as_ref().filter(|_| missing > 0) {
            if fuse {
                faults.push(format!("{missing} bytes have no token and fuse_unk is set; give every byte a token"));
            } else if let Some(id) = self.known(unknown, vocabulary, faults) {
                ids.iter_mut().filter(|id| **id == NONE).for_each(|slot| *slot = id);
            }
        }
        sections.words(Section::ByteIds, ids);
    }

    fn write_merges(&self, vocabulary: &Vocabulary<'_>, sections: &mut Sections, faults: &mut Vec<String>) {
        let mut pairs = BTreeMap::new();
        let mut results = Vec::new();
        let id = |text: &str| vocabulary.ids.get(text).copied();
        for (rank, merge) in (0u32..).zip(&self.merges) {
            let Some((left, right)) = merge.parts() else {
                faults.push(format!("merge {rank} is not a pair of tokens"));
                continue;
            };
            let joined = format!("{left}{right}");
            match (id(left), id(right), id(&joined)) {
                (Some(left), Some(right), Some(made)) => {
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
        let mut rows = vec![0u32; vocabulary.size as usize + 1];
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
