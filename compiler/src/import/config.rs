//! The configuration of a Llama: `config.json` of either generation, and the end tokens of `generation_config.json`.
//!
//! Values are believed only after each was checked alone and against the others. Limits are far above any real model
//! and low enough that a product of two of them fits in 64 bits; the sum over all tensors is checked by the import.

use super::{
    fault::{Fault, Warning},
    fields::Fields,
    json_file::brief,
    options,
    rope::{self, RopeSpec},
};
use serde_json::{Map, Value};

/// File names as they appear in messages.
const CONFIG: &str = super::folder::CONFIG;
const GENERATION: &str = "generation_config.json";

/// Keys that this reader owns, beside those of [`rope`].
const READ: &[&str] = &[
    "architectures",
    "attention_bias",
    "bos_token_id",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "intermediate_size",
    "max_position_embeddings",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "rms_norm_eps",
    "tie_word_embeddings",
    "vocab_size",
];

const MAX_WIDTH: usize = 1 << 20;
const MAX_LAYERS: usize = 1 << 12;
const MAX_HEADS: usize = 1 << 12;
const MAX_HEAD_DIM: usize = 1 << 12;
const MAX_VOCAB: usize = 1 << 24;
const MAX_CONTEXT: usize = 1 << 28;

/// Shape and options of a model of the Llama family. All sizes are at least 1.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Width of the residual stream, D.
    pub hidden: usize,
    /// Decoder layers.
    pub layers: usize,
    /// Query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Elements per head, even; not necessarily `hidden / heads`.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub ffn: usize,
    /// Token ids, V.
    pub vocab: usize,
    /// Longest context that the model was made for, in tokens.
    pub ctx_max: usize,
    /// Added to the mean square in RMS norms; above 0.
    pub eps: f32,
    /// Rotary embedding.
    pub rope: RopeSpec,
    /// The output head is the token embedding.
    pub tied: bool,
    /// q, k, v and o projections have biases.
    pub attention_bias: bool,
    /// gate, up and down projections have biases.
    pub mlp_bias: bool,
    /// Ids that end an answer, sorted; from both files.
    pub eos: Vec<u32>,
    /// Id that starts a text.
    pub bos: Option<u32>,
}

impl LlamaConfig {
    /// Reads the content of `config.json` and, where there is one, `generation_config.json`.
    ///
    /// # Errors
    /// Every value that is absent, of the wrong type, out of range, in conflict with another or not supported.
    pub fn parse(config: &Map<String, Value>, generation: Option<&Map<String, Value>>) -> Result<(Self, Vec<Warning>), Vec<Fault>> {
        let mut faults = Vec::new();
        let mut warnings = Vec::new();
        check_family(&mut Fields::new(CONFIG, "", config, &mut faults));
        options::check(CONFIG, config, &[READ, rope::KEYS], &mut faults, &mut warnings);
        let rope = rope::read(CONFIG, config, &mut faults);
        let parsed = read(config, generation, rope, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        if parsed.eos.is_empty() {
            warnings.push(Warning { file: CONFIG.to_owned(), detail: "no eos_token_id: answers end at the token limit only".to_owned() });
        }
        Ok((parsed, warnings))
    }
}

fn read(config: &Map<String, Value>, generation: Option<&Map<String, Value>>, rope: RopeSpec, faults: &mut Vec<Fault>) -> LlamaConfig {
    let before = faults.len();
    let mut f = Fields::new(CONFIG, "", config, faults);
    let hidden = f.size("hidden_size", 1..=MAX_WIDTH);
    let layers = f.size("num_hidden_layers", 1..=MAX_LAYERS);
    let heads = f.size("num_attention_heads", 1..=MAX_HEADS);
    let kv_heads = f.optional_size("num_key_value_heads", 1..=MAX_HEADS);
    let head_dim = f.optional_size("head_dim", 2..=MAX_HEAD_DIM);
    let ffn = f.size("intermediate_size", 1..=MAX_WIDTH);
    let vocab = f.size("vocab_size", 1..=MAX_VOCAB);
    let ctx_max = f.size("max_position_embeddings", 1..=MAX_CONTEXT);
    let eps = f.number("rms_norm_eps", "a number above 0 and below 1", |v| v < 1.0 && v as f32 > 0.0);
    let sizes_read = f.faults().len() == before;
    let kv_heads = kv_heads.unwrap_or(heads);
    if sizes_read && !heads.is_multiple_of(kv_heads) {
        f.fault("num_attention_heads", format!("found {heads}, a multiple of num_key_value_heads = {kv_heads} is expected"));
    }
    let head_dim = head_dim.unwrap_or_else(|| {
        if sizes_read && !hidden.is_multiple_of(heads) {
            f.fault("hidden_size", format!("found {hidden}, a multiple of num_attention_heads = {heads} is expected where head_dim is not given"));
        }
        (hidden / heads).max(1)
    });
    if sizes_read && !head_dim.is_multiple_of(2) {
        f.fault("head_dim", format!("found {head_dim}, an even number is expected: rotation pairs the halves of a head"));
    }
    if sizes_read && head_dim > MAX_HEAD_DIM {
        f.fault("head_dim", format!("hidden_size / num_attention_heads is {head_dim}, at most {MAX_HEAD_DIM} is expected"));
    }
    let tied = f.flag("tie_word_embeddings", false);
    let attention_bias = f.flag("attention_bias", false);
    let mlp_bias = f.flag("mlp_bias", false);
    // Without a sound vocab_size every id would look wrong.
    let id_limit = if sizes_read { vocab } else { MAX_VOCAB };
    let bos = f.token_ids("bos_token_id", id_limit, &[1]).first().copied();
    let mut eos = f.token_ids("eos_token_id", id_limit, &[2]);
    if let Some(generation) = generation {
        let mut g = Fields::new(GENERATION, "", generation, faults);
        eos.extend(g.token_ids("eos_token_id", id_limit, &[]));
    }
    eos.sort_unstable();
    eos.dedup();
    LlamaConfig { hidden, layers, heads, kv_heads, head_dim, ffn, vocab, ctx_max, eps: eps as f32, rope, tied, attention_bias, mlp_bias, eos, bos }
}

/// Architecture, model type and activation.
fn check_family(fields: &mut Fields<'_>) {
    match fields.optional_text("model_type") {
        Some("llama") => {}
        Some(other) => {
            fields.unsupported("model_type", &Value::String(other.to_owned()), format!("supported model types are {}", super::supported()))
        }
        None if fields.value("model_type").is_none() => {
            fields.fault("model_type", format!("is missing; supported model types are {}", super::supported()));
        }
        None => {}
    }
    match fields.value("architectures") {
        None => {}
        Some(Value::Array(list)) if list.iter().all(|v| v == "LlamaForCausalLM") => {}
        Some(found @ Value::Array(list)) if list.iter().all(Value::is_string) => {
            fields.unsupported("architectures", found, "LlamaForCausalLM alone is expected");
        }
        Some(other) => fields.fault("architectures", format!("found {}, a list of names is expected", brief(other))),
    }
    if let Some(act) = fields.optional_text("hidden_act")
        && !["silu", "swish"].contains(&act)
    {
        fields.unsupported("hidden_act", &Value::String(act.to_owned()), "silu is expected");
    }
}
