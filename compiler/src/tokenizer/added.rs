//! Added tokens: their flags and the two tries that find them in text.

use std::collections::BTreeMap;

use serde::Deserialize;
use slmc_runtime_stub::tokenizer::format::{Section, added_flag};

use super::sections::Sections;

/// An entry of `added_tokens` in `tokenizer.json`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AddedToken {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    normalized: bool,
    /// A control token, not text.
    #[serde(default)]
    pub special: bool,
    /// What it matches: its text, or that as the normalizer makes it.
    #[serde(skip)]
    pub pattern: String,
}

impl AddedToken {
    /// Bits of [`added_flag`].
    pub fn flags(&self) -> u32 {
        let bit = |on: bool, flag: u32| if on { flag } else { 0 };
        bit(self.single_word, added_flag::SINGLE_WORD)
            | bit(self.lstrip, added_flag::LSTRIP)
            | bit(self.rstrip, added_flag::RSTRIP)
            | bit(self.special, added_flag::SPECIAL)
    }
}

/// The tokens that take part in matching: the last of each content, none without content; those that match normalized text in the form
/// that `normalize` gives them.
pub(super) fn effective(tokens: Vec<AddedToken>, normalize: impl Fn(&str) -> String) -> Vec<AddedToken> {
    let mut known = BTreeMap::new();
    for mut token in tokens.into_iter().filter(|t| !t.content.is_empty()) {
        token.pattern = if token.normalized { normalize(&token.content) } else { token.content.clone() };
        known.insert(token.content.clone(), token);
    }
    let mut tokens: Vec<AddedToken> = known.into_values().collect();
    tokens.sort_by_key(|t| t.id);
    tokens
}

/// Gives the tokens of `tokenizer.json` the flags that `tokenizer_config.json` states, and adds those that only the latter has. A text keeps
/// the id that it has.
pub(super) fn overruled(mut listed: Vec<AddedToken>, flagged: &[AddedToken], model: &BTreeMap<&str, u32>) -> Vec<AddedToken> {
    for token in flagged {
        match listed.iter_mut().rev().find(|t| t.content == token.content) {
            Some(known) => *known = AddedToken { id: known.id, ..token.clone() },
            None => listed.push(AddedToken { id: model.get(token.content.as_str()).copied().unwrap_or(token.id), ..token.clone() }),
        }
    }
    listed
}

/// Faults of the list as a whole.
pub(super) fn faults(tokens: &[AddedToken]) -> Vec<String> {
    let same = |pair: &&[AddedToken]| pair[0].id == pair[1].id;
    let message = |pair: &[AddedToken]| format!("added tokens {:?} and {:?} have the same id {}", pair[0].content, pair[1].content, pair[0].id);
    tokens.windows(2).filter(same).map(message).collect()
}

/// Fills the sections of added tokens.
pub(super) fn write(tokens: &[AddedToken], sections: &mut Sections) {
    sections.words(Section::Added, tokens.iter().flat_map(|t| [t.id, t.flags()]));
    for (normalized, section) in [(false, Section::RawTrie), (true, Section::NormalizedTrie)] {
        let members = (0u32..).zip(tokens).filter(|(_, t)| t.normalized == normalized);
        sections.words(section, trie(members.map(|(i, t)| (t.pattern.as_bytes(), i))));
    }
}

/// The longest added token that starts at the beginning of `text`, among those that match raw text first and then the others.
pub(super) fn longest_at<'t>(tokens: &'t [AddedToken], text: &str) -> Option<&'t AddedToken> {
    let longest = |normalized: bool| {
        let fits = tokens.iter().filter(move |t| t.normalized == normalized && text.starts_with(&t.pattern));
        fits.max_by_key(|t| t.pattern.len())
    };
    longest(false).or_else(|| longest(true))
}

/// A special token in `text` that matches only what the normalizer makes of text, which depends on what stands around it.
pub(super) fn changed_in<'t>(tokens: &'t [AddedToken], text: &str) -> Option<&'t AddedToken> {
    tokens.iter().find(|t| t.special && t.pattern != t.content && text.contains(&t.content))
}

/// The words of a trie section; empty without tokens.
fn trie<'t>(tokens: impl Iterator<Item = (&'t [u8], u32)>) -> Vec<u32> {
    let mut nodes: Vec<(BTreeMap<u8, usize>, u32)> = vec![(BTreeMap::new(), 0)];
    for (content, number) in tokens {
        let mut node = 0;
        for &byte in content {
            let fresh = nodes.len();
            node = *nodes[node].0.entry(byte).or_insert(fresh);
            if node == fresh {
                nodes.push((BTreeMap::new(), 0));
            }
        }
        nodes[node].1 = number + 1;
    }
    if nodes.len() == 1 {
        return Vec::new();
    }
    let mut words = vec![nodes.len() as u32];
    let mut edges = Vec::new();
    for (children, token) in &nodes {
        words.extend([edges.len() as u32 / 2, children.len() as u32, *token]);
        edges.extend(children.iter().flat_map(|(&byte, &node)| [u32::from(byte), node as u32]));
    }
    words.append(&mut edges);
    words
}
