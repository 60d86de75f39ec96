//! What a model family tells the import about a model of its kind.
//!
//! A family is one file with a [`Family`] constant, and one line in the table of `mod.rs`. It reads its keys of
//! `config.json` and says what they mean as a [`Decoder`]; tensor names, shapes and the graph follow from that.

use super::{
    config::Config,
    decoder::Decoder,
    fault::{Fault, Warning},
};
use serde_json::{Map, Value};

/// A model family.
#[derive(Debug)]
pub struct Family {
    /// Its values of `model_type` in `config.json`; the first names the family.
    pub model_types: &'static [&'static str],
    /// The classes that it computes the same as, by their names in `architectures`.
    pub classes: &'static [&'static str],
    /// Classes of Python code that published checkpoints of the family bring (`auto_map`), and that compute what this family
    /// does.
    pub code: &'static [&'static str],
    /// Keys of `config.json` that [`Family::describe`] reads, beside those that are read for every family.
    pub keys: &'static [&'static str],
    /// Keys that change what other families compute and mean nothing in this one.
    pub ignored: &'static [&'static str],
    /// The part of `config.json` with the language model, for checkpoints that have more parts.
    pub nested: Option<Nested>,
    /// `head_dim` where `config.json` has none; where this is `None` too, `hidden_size / num_attention_heads`.
    pub head_dim: Option<usize>,
    /// Reads the family's keys. What is wrong is pushed to the configuration's faults; the decoder is used if there are none.
    pub describe: fn(&mut Config<'_>) -> Decoder,
}

/// A configuration within `config.json`.
#[derive(Debug)]
pub struct Nested {
    /// Its key.
    pub key: &'static str,
    /// The values that absent keys have: configurations of this kind state differences only.
    pub defaults: fn() -> Map<String, Value>,
}

/// What a family made of the configuration files.
pub type Described = Result<(Decoder, Vec<Warning>), Vec<Fault>>;

impl Family {
    /// The name of the family.
    pub fn name(&self) -> &'static str {
        self.model_types.first().copied().unwrap_or_default()
    }
}

/// Facts of a model that outlive its import. All sizes are at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSummary {
    /// Name of the family.
    pub family: &'static str,
    /// Number of weights, a tied head counted once.
    pub parameters: u64,
    /// Width of the residual stream, D.
    pub hidden: usize,
    /// Decoder layers that are run, each with its own KV slot.
    pub layers: usize,
    /// Decoder layers that are stored: `layers`, or fewer where a block is run several times in a row.
    pub blocks: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements per head.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub ffn: usize,
    /// Token ids, V.
    pub vocab: usize,
    /// Longest context that the model was made for, in tokens.
    pub ctx_max: usize,
    /// The output head is the token embedding.
    pub tied: bool,
    /// Id that starts a text.
    pub bos: Option<u32>,
    /// Ids that end an answer, sorted.
    pub eos: Vec<u32>,
}
