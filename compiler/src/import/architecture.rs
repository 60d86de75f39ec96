//! What a model family tells the import about a model of its kind.
//!
//! A family is one file with a [`Family`] constant, and one line in the table of `mod.rs`.

use super::{
    fault::{Fault, Warning},
    tensors::{Expected, Tied},
    weights::Weights,
};
use serde_json::{Map, Value};
use slmc_ir::graph::Graph;

/// A model family.
#[derive(Debug)]
pub struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// Reads `config.json` and, where there is one, `generation_config.json`.
    pub describe: Describe,
}

/// Turns the two configuration files into an architecture, or into all that is wrong with them.
pub type Describe = fn(&Map<String, Value>, Option<&Map<String, Value>>) -> Described;

/// What a family made of the configuration files.
pub type Described = Result<(Box<dyn Architecture>, Vec<Warning>), Vec<Fault>>;

/// A model of a family, known by its configuration.
pub trait Architecture {
    /// What the rest of the compiler wants to know.
    fn summary(&self) -> ModelSummary;

    /// Every tensor that the model needs.
    fn tensors(&self) -> Vec<Expected>;

    /// The tied pair, if the model has one.
    fn tied(&self) -> Option<Tied>;

    /// Builds both segments into `graph`, which has its name and bounds. Every tensor of [`Architecture::tensors`] is in
    /// the checkpoint with its expected shape.
    fn build(&self, graph: &mut Graph, weights: &Weights<'_>);
}

/// Facts of a model that outlive its import. All sizes are at least 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSummary {
    /// `model_type` in `config.json`.
    pub family: &'static str,
    /// Number of weights, a tied head counted once.
    pub parameters: u64,
    /// Width of the residual stream, D.
    pub hidden: usize,
    /// Decoder layers.
    pub layers: usize,
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
