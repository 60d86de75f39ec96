//! A Unigram model as tables: all pieces in order, and their scores.

use serde::Deserialize;
use slmc_runtime_stub::tokenizer::format::Section;

use super::bpe::Unknown;
use super::sections::Sections;
use super::vocabulary::Vocabulary;

/// The model of `tokenizer.json`, as far as it is used.
#[derive(Deserialize)]
pub(super) struct UnigramModel {
    /// Text and score of each id.
    vocab: Vec<(String, f64)>,
    unk_id: u32,
    #[serde(default)]
    byte_fallback: bool,
}

/// How much worse than the worst piece a character without a piece is, as SentencePiece has it.
const UNKNOWN_PENALTY: f64 = 10.0;

impl UnigramModel {
    /// Texts with their ids.
    pub fn texts(&self) -> impl Iterator<Item = (&str, u32)> + Clone {
        self.vocab.iter().map(|(text, _)| text.as_str()).zip(0..)
    }

    /// Fills the sections of pieces, scores and fallback tokens.
    pub fn write(&self, vocabulary: &Vocabulary<'_>, sections: &mut Sections, faults: &mut Vec<String>) -> Unknown {
        if self.unk_id as usize >= self.vocab.len() {
            faults.push(format!("unk_id {} is not below the {} pieces", self.unk_id, self.vocab.len()));
        }
        let words: Vec<u32> = vocabulary.words().into_iter().filter(|(text, _)| !text.is_empty()).map(|(_, id)| id).collect();
        let least = self.vocab.iter().map(|(_, score)| *score).fold(f64::INFINITY, f64::min);
        let score = |&id: &u32| self.vocab.get(id as usize).map_or(0.0, |(_, score)| *score);
        let scores = words.iter().map(score).chain([least - UNKNOWN_PENALTY]);
        sections.words(Section::Scores, scores.map(f64::to_bits).flat_map(|bits| [bits as u32, (bits >> 32) as u32]));
        sections.words(Section::WordIds, words);
        sections.words(Section::MergeRows, vec![0; vocabulary.size as usize + 1]);
        vocabulary.write_fallback(self.byte_fallback, sections);
        Unknown { id: self.unk_id, fuse: true }
    }
}
